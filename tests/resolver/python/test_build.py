from __future__ import annotations

import hashlib
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from resolver.python.build import build_wheel
from resolver.python.editable import build_editable, editable_key, static_editable
from resolver.python.lock import lock
from resolver.python.selection import Choice, Source, select
from unionfs.formats.wheel.editable import editable_members

if TYPE_CHECKING:
    from resolver.python.interpreter import Interpreter

    Tree = Any

# A back end of a few lines, so that no test here needs a network.
BACKEND = """
import os, zipfile
def _wheel(directory, editable):
    print("building in", os.getcwd())
    if os.path.exists("broken"):
        raise SystemExit("\\n".join(f"line {n}" for n in range(100)))
    name = "lib-1-py3-none-any.whl"
    work_tree = os.getcwd()  # as back ends look for what is ignored
    while not os.path.exists(os.path.join(work_tree, ".git")) and work_tree != "/":
        work_tree = os.path.dirname(work_tree)
    with zipfile.ZipFile(os.path.join(directory, name), "w") as file:
        if editable:
            file.writestr("__editable__.lib.pth", os.getcwd() + "\\n")
        else:
            file.writestr("lib.py", f"work_tree = {work_tree!r}\\n")
        file.writestr("lib-1.data/scripts/old-tool", "#!python\\nprint(1)\\n")
        if os.path.exists("all"):
            file.writestr("lib-1.data/data/share/lib/x", "x")
            file.writestr("lib-1.data/data/lib64/lib/x", "x")
            file.writestr("lib-1.data/data/pyvenv.cfg", "x")
            file.writestr("lib-1.data/headers/lib.h", "x")
            file.writestr("lib-1.data/platlib/below.py", "x")
        info = "lib-1.dist-info/"
        file.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: lib\\nVersion: 1\\n")
        file.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        file.writestr(info + "entry_points.txt", "[console_scripts]\\nlib = lib:main\\n")
        file.writestr(info + "RECORD", "")
    return name
def build_wheel(directory, config_settings=None, metadata_directory=None):
    return _wheel(directory, False)
def build_editable(directory, config_settings=None, metadata_directory=None):
    return _wheel(directory, True)
"""
PYPROJECT = """[project]
name = "lib"
version = "1"
dependencies = ["six"]
[project.scripts]
lib = "lib:main"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@pytest.fixture
def lib(tree: Tree) -> Path:
    tree.write("lib/pyproject.toml", PYPROJECT)
    path: Path = tree.write("lib/backend.py", BACKEND).parent
    return path


def directory(path: Path, **fields: Any) -> Choice:  # noqa: ANN401 - any field
    return Choice(
        **{"name": "lib", "version": "1", "kind": Source.DIRECTORY, "path": path, **fields}
    )


async def test_directory(lib: Path, interpreter: Interpreter, tmp_path: Path) -> None:
    wheel = await build_wheel(directory(lib), None, interpreter, tmp_path / "out")
    assert wheel == tmp_path / "out/lib-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        assert "lib.py" in file.namelist()


async def test_failure_shows_the_end_of_its_own_output(
    lib: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    (lib / "broken").write_text("")
    with pytest.raises(PkgviewError, match="cannot build lib 1") as caught:
        await build_wheel(directory(lib), None, interpreter, tmp_path / "out")
    assert "line 99" in caught.value.what
    assert "line 1\n" not in caught.value.what
    assert len(caught.value.what.splitlines()) < 40
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fields", [{"version": "2"}, {"name": "other"}])
async def test_another_distribution_than_was_asked_for(
    lib: Path, interpreter: Interpreter, tmp_path: Path, fields: dict[str, str]
) -> None:
    with pytest.raises(PkgviewError, match="made lib-1-py3-none-any"):
        await build_wheel(directory(lib, **fields), None, interpreter, tmp_path / "out")


async def test_directory_that_is_not_there(interpreter: Interpreter, tmp_path: Path) -> None:
    with pytest.raises(PkgviewError, match="no such directory"):
        await build_wheel(directory(tmp_path / "no"), None, interpreter, tmp_path / "out")


def archived(lib: Path, into: Path, ending: str) -> Path:
    """`lib` below two directories, in a file with no telling name."""
    stored = into / "by-its-hash"
    if ending == "zip":
        with zipfile.ZipFile(stored, "w") as file:
            for path in lib.iterdir():
                file.write(path, f"top/deep/{path.name}")
    else:
        with tarfile.open(stored, "w:gz") as tar:
            tar.add(lib, "top/deep")
    return stored


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
async def test_archive_with_a_subdirectory(
    lib: Path, interpreter: Interpreter, tmp_path: Path, ending: str
) -> None:
    name, stored = f"all.{ending}", archived(lib, tmp_path, ending)
    choice = Choice(
        name="lib", version="1", kind=Source.ARCHIVE, filename=name, subdirectory="deep"
    )
    (tmp_path / ".git").mkdir()
    wheel = await build_wheel(choice, stored, interpreter, tmp_path / "out", within=tmp_path)
    with zipfile.ZipFile(wheel) as file:
        assert f"'{tmp_path}/pkgview-build-" in file.read("lib.py").decode()
    missing = Choice(
        name="lib", version="1", kind=Source.ARCHIVE, filename=name, subdirectory="nope"
    )
    with pytest.raises(PkgviewError, match="no directory nope"):
        await build_wheel(missing, stored, interpreter, tmp_path / "out")


class TestGit:
    @pytest.fixture
    def commits(self, lib: Path) -> list[str]:
        """The repository's commits, old to new; the newest is broken, the oldest on no branch."""

        def git(*arguments: str) -> str:
            identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            command = ["git", *identity, *arguments]
            done = subprocess.run(command, cwd=lib, check=True, capture_output=True, text=True)
            return done.stdout.strip()

        git("init", "-q")
        git("add", "-A")
        git("commit", "-qm", "good")
        good = git("rev-parse", "HEAD")
        (lib / "broken").write_text("")
        git("add", "-A")
        git("commit", "-qm", "broken")
        return [good, git("rev-parse", "HEAD")]

    def choice(self, commit: str, **fields: Any) -> Choice:  # noqa: ANN401 - any field
        return Choice(name="lib", version="1", kind=Source.VCS, commit=commit, **fields)

    async def test_exactly_that_commit(
        self, lib: Path, commits: list[str], interpreter: Interpreter, tmp_path: Path
    ) -> None:
        for place in ({"url": f"git+{lib.as_uri()}"}, {"url": lib.as_uri()}, {"path": lib}):
            old = self.choice(commits[0], **place)
            assert (await build_wheel(old, None, interpreter, tmp_path / "out")).is_file()
        with pytest.raises(PkgviewError, match="line 99"):
            await build_wheel(
                self.choice(commits[1], path=lib), None, interpreter, tmp_path / "out"
            )

    async def test_commit_that_is_not_there(
        self, lib: Path, commits: list[str], interpreter: Interpreter, tmp_path: Path
    ) -> None:
        assert commits
        missing = self.choice("0" * 40, path=lib)
        with pytest.raises(PkgviewError, match="cannot fetch lib at 0000"):
            await build_wheel(missing, None, interpreter, tmp_path / "out")

    async def test_address_that_would_run_a_command(
        self, interpreter: Interpreter, tmp_path: Path
    ) -> None:
        for url in (f"ext::touch {tmp_path}/ran", f"--upload-pack=touch {tmp_path}/ran"):
            with pytest.raises(PkgviewError, match="cannot fetch"):
                await build_wheel(
                    self.choice("0" * 40, url=url), None, interpreter, tmp_path / "out"
                )
        assert not (tmp_path / "ran").exists()

    async def test_offline_and_far_away(self, interpreter: Interpreter, tmp_path: Path) -> None:
        far = self.choice("0" * 40, url="https://ada:secret@git.example/x")
        with pytest.raises(PkgviewError, match="needs the network") as caught:
            await build_wheel(far, None, interpreter, tmp_path / "out", offline=True)
        assert "secret" not in str(caught.value)


async def test_uv_keeps_nothing_of_an_editable_build(
    lib: Path, interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "uv-cache"
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))
    await build_editable(lib, interpreter, tmp_path / "into")
    assert not list(cache.glob("archive-v*/*"))
    assert not list(cache.rglob("*.whl"))


def check_record(purelib: Path) -> list[str]:
    (record,) = purelib.glob("*.dist-info/RECORD")
    names = []
    for line in record.read_text().splitlines():
        name, digest, size = line.rsplit(",", 2)
        names.append(name)
        if digest:
            data = (purelib / name).read_bytes()
            assert len(data) == int(size)
            assert digest.startswith("sha256=")
    on_disk = {str(p.relative_to(purelib)) for p in purelib.rglob("*") if p.is_file()}
    assert set(names) == on_disk
    return names


async def test_editable(lib: Path, interpreter: Interpreter, tmp_path: Path) -> None:
    into = await build_editable(lib, interpreter, tmp_path / "layer")
    assert {path.name for path in into.iterdir()} == {"purelib", "scripts"}
    names = check_record(into / "purelib")
    assert {Path(name).name for name in names} >= {"entry_points.txt", "METADATA", "INSTALLER"}
    assert not {"uv_cache.json", "uv_build.json", ".lock"} & {Path(name).name for name in names}
    assert (into / "purelib/__editable__.lib.pth").read_text() == f"{lib}\n"
    assert [path.name for path in (into / "scripts").iterdir()] == ["old-tool"]
    assert (into / "scripts/old-tool").read_text() == "#!python\nprint(1)\n"


async def test_editable_with_files_of_every_scheme(
    lib: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    (lib / "all").write_text("")
    into = await build_editable(lib, interpreter, tmp_path / "layer")
    check_record(into / "purelib")
    files = {str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()}
    assert {path for path in files if "dist-info" not in path} == {
        *("purelib/__editable__.lib.pth", "purelib/below.py", "scripts/old-tool"),
        *("headers/lib/lib.h", "data/share/lib/x", "data/lib/lib/x", "data/pyvenv.cfg"),
    }
    headers = interpreter.python.schemes.headers
    _, members, odd = editable_members(into, name="lib", headers=headers)
    assert odd == ("'pyvenv.cfg' is left out, where the environment has its own",)
    made = {member.path.decode(): member for member in members}
    assert "data/pyvenv.cfg" not in made
    record = made["purelib/lib-1.dist-info/RECORD"].open
    assert record is not None
    with record() as file:
        lines = {line.rsplit(",", 2)[0] for line in file.read().decode().splitlines()}
    assert lines > {
        *("below.py", f"../../../{headers}/lib/lib.h", "../../../share/lib/x"),
        *("../../../lib/lib/x", "../../../bin/old-tool", "../../../bin/lib"),
    }


async def test_editable_that_does_not_build(
    lib: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    (lib / "broken").write_text("")
    with pytest.raises(PkgviewError, match="line 99"):
        await build_editable(lib, interpreter, tmp_path / "layer")
    assert not (tmp_path / "layer").exists()


def test_editable_key_follows_the_build_files(lib: Path, interpreter: Interpreter) -> None:
    keys = {editable_key(lib, interpreter)}
    (lib / "lib.py").write_text("x = 2\n")
    keys.add(editable_key(lib, interpreter))
    assert len(keys) == 1
    (lib / "setup.cfg").write_text("[x]\n")
    keys.add(editable_key(lib, interpreter))
    (lib / "setup.cfg").rename(lib / "setup.py")
    keys.add(editable_key(lib, interpreter))
    assert len(keys) == 3


def test_static_editable_runs_nothing(tree: Tree, lib: Path, tmp_path: Path) -> None:
    (lib / "broken").write_text("")
    into = static_editable(tree.project("lib"), tmp_path / "layer")
    purelib = into / "purelib"
    check_record(purelib)
    assert (purelib / "__editable__.lib.pth").read_text() == f"{lib}\n"
    info = purelib / "lib-1.dist-info"
    assert "Requires-Dist: six\n" in (info / "METADATA").read_text()
    assert (info / "entry_points.txt").read_text() == "[console_scripts]\nlib = lib:main\n"
    (lib / "src").mkdir()
    other = static_editable(tree.project("lib"), tmp_path / "other")
    assert (other / "purelib/__editable__.lib.pth").read_text() == f"{lib}/src\n"


@pytest.mark.network
async def test_sdist_of_the_real_index(
    tree: Tree, interpreter: Interpreter, state: Path, tmp_path: Path
) -> None:
    import httpx2  # noqa: PLC0415 - this test alone downloads

    tree.write("requirements.txt", "docopt==0.6.2\n")
    (choice,) = select(await lock(tree.project(), interpreter, state=state), interpreter)
    assert choice.url is not None
    async with httpx2.AsyncClient() as client:
        data = (await client.get(choice.url)).raise_for_status().content
    assert hashlib.sha256(data).hexdigest() == dict(choice.hashes)["sha256"]
    stored = tmp_path / "by-its-hash"
    stored.write_bytes(data)
    wheel = await build_wheel(choice, stored, interpreter, tmp_path / "out")
    assert wheel.name.startswith("docopt-0.6.2-")
