from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import trio

import resolver.python.lock
from resolver.errors import PkgviewError
from resolver.python.index import uv_environment
from resolver.python.lock import lock, write_lock
from resolver.python.project import find_project, project_of_script
from resolver.python.selection import select
from resolver.python.uv.run import run_uv, uv_binary

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.interpreter import Interpreter
    from resolver.python.lockfile import Lock

    Tree = Any
    Simple = Any

HEAD = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.9"\n'


def versions(found: Lock, interpreter: Interpreter) -> dict[str, str | None]:
    return {choice.name: choice.version for choice in select(found, interpreter)}


async def locked(
    tree: Tree,
    interpreter: Interpreter,
    state: Path,
    **options: Any,  # noqa: ANN401
) -> dict[str, str | None]:
    found = await lock(tree.project(), interpreter, state=state, **options)
    return versions(found, interpreter)


async def test_pyproject_with_extras_and_groups(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    for name in ("base", "extra", "test-tool", "doc-tool"):
        index.wheel(name, "1")
    tree.write(
        "pyproject.toml",
        HEAD + 'dependencies = ["base"]\n[project.optional-dependencies]\nx = ["extra"]\n'
        '[dependency-groups]\ndev = [{include-group = "docs"}, "test-tool"]\ndocs = ["doc-tool"]\n'
        "[tool.uv]\ndefault-groups = []\n",
    )
    assert await locked(tree, interpreter, state) == {"base": "1"}
    assert await locked(tree, interpreter, state, extras=["X"]) == {"base": "1", "extra": "1"}
    with_dev = await locked(tree, interpreter, state, groups=["dev"])
    assert with_dev.keys() == {"base", "test-tool", "doc-tool"}
    for options in ({"extras": ["nope"]}, {"groups": ["nope"]}):
        with pytest.raises(PkgviewError, match="nope") as caught:
            await locked(tree, interpreter, state, **options)
        assert "pyproject.toml defines" in caught.value.remedy


async def test_a_later_release_of_python_is_what_the_project_asks_for(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    """Not the first of its version, for which there may be nothing."""
    late = f">={interpreter.version[0]}.{interpreter.version[1]}.1"
    index.wheel("base", "1", f"none ; python_version < '0'\nRequires-Python: {late}")
    tree.write(
        "pyproject.toml",
        f'[project]\nname = "app"\nversion = "1"\nrequires-python = "{late}"\n'
        'dependencies = ["base"]\n',
    )
    assert await locked(tree, interpreter, state) == {"base": "1"}


@pytest.mark.parametrize("named", ["wheel", "find-links", "sdist"])
async def test_uv_keeps_no_copy_of_a_local_file(  # noqa: PLR0913, PLR0917 - fixtures
    tree: Tree,
    index: Simple,
    interpreter: Interpreter,
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
) -> None:
    """What a user's own uv had there before stays."""
    cache = tmp_path / "uv-cache"
    monkeypatch.setenv("UV_CACHE_DIR", str(cache))

    def kept() -> set[str]:
        return {path.name for path in cache.rglob("*.py") if "interpreter" not in str(path)}

    for name in ("before", "base"):
        index.wheel(name, "1")
    files = tmp_path / "files"
    files.mkdir()
    for name in ("before", "base"):
        (wheel,) = index.root.glob(f"{name}/*.whl")
        wheel.rename(files / wheel.name)
    before = files / "before-1-py3-none-any.whl"
    target = ("--target", str(tmp_path / "t"))
    await trio.run_process([uv_binary(), "pip", "install", "-q", *target, str(before)])
    assert kept() == {"before.py"}
    if named == "sdist":
        packed = files / "base-1.tar.gz"
        texts = {"PKG-INFO": "Metadata-Version: 2.2\nName: base\nVersion: 1\n", "base.py": "",
                 "pyproject.toml": '[project]\nname = "base"\nversion = "1"\n'}  # fmt: skip
        with tarfile.open(packed, "w:gz") as tar:
            for path, text in texts.items():
                member = tarfile.TarInfo(f"base-1/{path}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        line = f"base @ {packed.as_uri()}"
    elif named == "wheel":
        line = f"base @ {(files / 'base-1-py3-none-any.whl').as_uri()}"
    else:
        line = f"--find-links {files}\nbase"
    tree.write("requirements.txt", f"{line}\nbefore @ {before.as_uri()}\n")
    found = await locked(tree, interpreter, state)
    assert found == {"base": "1", "before": "1"}
    assert kept() == {"before.py"}


async def test_valid_lock_is_not_made_again(
    tree: Tree,
    index: Simple,
    interpreter: Interpreter,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index.wheel("base", "1")
    path = tree.write("requirements.txt", "base\n")
    await locked(tree, interpreter, state)
    monkeypatch.setattr(resolver.python.lock, "run_uv", None)
    assert await locked(tree, interpreter, state, frozen=True) == {"base": "1"}
    before = tree.root.rename(tree.root.with_name("before"))
    shutil.copytree(before, tree.root)
    with pytest.raises(PkgviewError, match="outdated"):  # another directory, to which no yes was
        await locked(tree, interpreter, state, frozen=True)
    shutil.rmtree(tree.root)
    before.rename(tree.root)
    assert await locked(tree, interpreter, state, frozen=True) == {"base": "1"}
    path.write_text("base>=1\n")
    with pytest.raises(PkgviewError, match="outdated") as caught:
        await locked(tree, interpreter, state, frozen=True)
    assert "pkgview up" in caught.value.remedy
    with pytest.raises(PkgviewError, match="missing"):
        await locked(tree, interpreter, state, frozen=True, extras=["x"])


async def test_edit_changes_no_more_than_it_has_to_and_upgrade_does(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    index.wheel("base", "1")
    index.wheel("other", "1")
    path = tree.write("requirements.txt", "base\n")
    assert await locked(tree, interpreter, state) == {"base": "1"}
    index.wheel("base", "2")
    path.write_text("base\nother\n")
    assert await locked(tree, interpreter, state) == {"base": "1", "other": "1"}
    assert await locked(tree, interpreter, state, upgrade=True) == {"base": "2", "other": "1"}
    assert await locked(tree, interpreter, state) == {"base": "2", "other": "1"}


async def test_another_option_moves_no_version_and_an_upgrade_counts_for_all(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    for name in ("base", "plot", "docs"):
        index.wheel(name, "1")
    tree.write("more/.git/HEAD", "ref: refs/heads/main\n")
    (tree.root / "more/.git").rename(tree.root / ".git")
    path = tree.write("pyproject.toml", HEAD + 'dependencies = ["base==1"]\n')
    assert await locked(tree, interpreter, state) == {"base": "1"}
    for name in ("base", "plot"):
        index.wheel(name, "2")
    more = (
        HEAD + 'dependencies = ["base"]\n[project.optional-dependencies]\nx = ["plot<2"]\n'
        '[dependency-groups]\ndocs = ["docs"]\n'
    )
    path.write_text(more)
    found = await lock(tree.project(), interpreter, state=state, extras=["x"])
    assert versions(found, interpreter) == {"base": "1", "plot": "1"}
    assert not found.said
    assert await locked(tree, interpreter, state, groups=["docs"]) == {"base": "1", "docs": "1"}
    # Of a name that the last lock does not have, the version of an earlier one.
    path.write_text(more.replace("plot<2", "plot"))
    assert (await locked(tree, interpreter, state, groups=["docs"]))["base"] == "1"
    both = {"extras": ["x"], "groups": ["docs"]}
    assert await locked(tree, interpreter, state, **both) == {"base": "1", "plot": "1", "docs": "1"}
    await locked(tree, interpreter, state)
    upgraded = await locked(tree, interpreter, state, groups=["docs"], upgrade=True)
    assert upgraded == {"base": "2", "docs": "1"}
    assert await locked(tree, interpreter, state) == {"base": "2"}
    assert await locked(tree, interpreter, state, **both) == {"base": "2", "plot": "1", "docs": "1"}

    # Another branch, which was not begun from that one, has nothing of it.
    tree.write(".git/HEAD", "ref: refs/heads/other\n")
    path.write_text(more.replace("plot<2", "plot>=1"))
    found = await lock(tree.project(), interpreter, state=state, extras=["x"])
    assert versions(found, interpreter) == {"base": "2", "plot": "2"}
    assert found.said == "Resolved anew: no versions are kept of the branch other."


async def test_damaged_lock_in_the_state_is_made_again(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    index.wheel("base", "1")
    tree.write("requirements.txt", "base\n")
    found = await lock(tree.project(), interpreter, state=state)
    for damage in (b"\xff", b"", b"x = 1\n", b"[["):
        found.path.write_bytes(damage)
        found.path.with_suffix(".json").unlink()
        assert await locked(tree, interpreter, state) == {"base": "1"}
    assert {path.suffix for path in found.path.parent.iterdir()} == {".toml", ".json"}
    assert len(list(found.path.parent.iterdir())) == 2


async def test_failed_resolution_leaves_the_old_lock_and_no_litter(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    index.wheel("base", "1")
    path = tree.write("requirements.txt", "base\n")
    found = await lock(tree.project(), interpreter, state=state)
    before = found.path.read_bytes()
    path.write_text("base==99\n")
    with pytest.raises(PkgviewError, match="no version of base==99") as caught:
        await lock(tree.project(), interpreter, state=state)
    assert "version that exists" in caught.value.remedy
    assert found.path.read_bytes() == before
    assert len(list(found.path.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("requirements", "what", "remedy"),
    [
        ("app\nbase==1\n", "require base>=2", "Loosen"),
        ("nonesuch\n", "nonesuch was not found", "name is written"),
        ("base=1\n", "Couldn't parse", "Mend"),
    ],
)
async def test_what_cannot_be_resolved(  # noqa: PLR0913, PLR0917 - fixtures and a table
    tree: Tree,
    index: Simple,
    interpreter: Interpreter,
    state: Path,
    requirements: str,
    what: str,
    remedy: str,
) -> None:
    index.wheel("base", "1")
    index.wheel("base", "2")
    index.wheel("app", "1", "base>=2")
    tree.write("requirements.txt", requirements)
    with pytest.raises(PkgviewError) as caught:
        await locked(tree, interpreter, state)
    assert what in caught.value.what
    assert str(tree.root) in caught.value.what
    assert remedy in caught.value.remedy


async def test_locks_made_at_once_are_one(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    index.wheel("base", "1")
    tree.write("requirements.txt", "base\n")
    runs = 0
    real = run_uv

    async def counting(*arguments: Any, **options: Any) -> object:  # noqa: ANN401
        nonlocal runs
        runs += 1
        return await real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolver.python.lock, "run_uv", counting)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(lambda: lock(tree.project(), interpreter, state=state))
    assert runs == 1


async def test_constraints_and_cyclic_includes(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    for version in ("1", "2"):
        index.wheel("base", version)
    index.wheel("other", "1")
    tree.write("requirements.txt", "-r more.txt\n-c limits.txt\nbase\n")
    tree.write("more.txt", "-r requirements.txt\nother\n")
    tree.write("limits.txt", "base<2\n")
    assert await locked(tree, interpreter, state) == {"base": "1", "other": "1"}


async def test_script(tree: Tree, index: Simple, interpreter: Interpreter, state: Path) -> None:
    index.wheel("base", "1")
    script = tree.write("x.py", "# /// script\n# dependencies = ['base']\n# ///\n")
    project = project_of_script(script)
    assert project is not None
    found = await lock(project, interpreter, state=state)
    assert versions(found, interpreter) == {"base": "1"}
    with pytest.raises(PkgviewError, match="is a script"):
        await write_lock(project, interpreter)


async def test_pinned_files_only(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    good = index.wheel("base", "1")
    index.wheel("base", "1", tag="py2.py3-none-any")
    index.wheel("needed", "1")
    path = tree.write("requirements.txt", f"base==1 --hash=sha256:{good}\n")
    found = await lock(tree.project(), interpreter, state=state)
    (choice,) = select(found, interpreter)
    assert choice.hashes == (("sha256", good),)
    path.write_text(f"base==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(PkgviewError, match="no file of base 1 has a hash of sha256:000"):
        await locked(tree, interpreter, state)
    path.write_text(f"base==1 --hash=sha256:{good}\nneeded==1\n")
    with pytest.raises(PkgviewError, match="needed 1 has no --hash") as caught:
        await locked(tree, interpreter, state)
    assert "--generate-hashes" in caught.value.remedy


async def test_paths_in_the_state_lead_back_to_the_project(
    tree: Tree, index: Simple, interpreter: Interpreter, tmp_path: Path
) -> None:
    assert index
    tree.write("requirements.txt", "-e ./lib\n")
    tree.write("lib/pyproject.toml", '[project]\nname = "lib"\nversion = "1"\n')
    real = tmp_path / "deep/er/state"
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    found = await lock(tree.project(), interpreter, state=tmp_path / "link")
    (choice,) = select(found, interpreter)
    assert (choice.path, choice.editable) == (tree.root / "lib", True)


async def test_branch_keeps_its_own_versions(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    """A new branch goes on with those of the one it was begun from; another's never count."""

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *arguments], cwd=tree.root, check=True, capture_output=True)

    def commit(*requirements: str) -> None:
        tree.write("requirements.txt", "".join(f"{one}\n" for one in requirements))
        git("add", ".")
        git("commit", "-m", "x")

    for version in ("1", "2"):
        index.wheel("base", version)
    index.wheel("more", "1")
    git("init", "-q", "-b", "main")
    commit("base")
    git("switch", "-c", "pinned")
    commit("base==1")
    assert await locked(tree, interpreter, state) == {"base": "1"}
    git("switch", "main")
    found = await lock(tree.project(), interpreter, state=state)
    assert versions(found, interpreter) == {"base": "2"}
    assert found.said == "Resolved anew: no versions are kept of the branch main."
    index.wheel("base", "3")
    git("switch", "-c", "feature")
    tree.write("requirements.txt", "base\nmore\n")
    found = await lock(tree.project(), interpreter, state=state)
    assert (versions(found, interpreter), found.said) == ({"base": "2", "more": "1"}, "")
    git("checkout", "-f", "pinned")
    assert await locked(tree, interpreter, state, frozen=True) == {"base": "1"}


class TestOwnLock:
    async def test_written_then_honoured(
        self, tree: Tree, index: Simple, interpreter: Interpreter, state: Path
    ) -> None:
        for version in ("1", "2"):
            index.wheel("base", version)
        tree.write("pyproject.toml", HEAD + 'dependencies = ["base<2"]\n')
        path = await write_lock(tree.project(), interpreter)
        assert path == tree.root / "pylock.toml"
        assert 'requires-python = ">=3.9"' in path.read_text()
        tree.write("pyproject.toml", HEAD + 'dependencies = ["base"]\n')
        assert await locked(tree, interpreter, state) == {"base": "1"}
        await write_lock(tree.project(), interpreter)
        assert await locked(tree, interpreter, state) == {"base": "1"}
        await write_lock(tree.project(), interpreter, upgrade=True)
        assert await locked(tree, interpreter, state) == {"base": "2"}
        assert sorted(os.listdir(tree.root)) == ["pylock.toml", "pyproject.toml"]

    async def test_alone_it_cannot_be_written_anew(
        self, tree: Tree, interpreter: Interpreter
    ) -> None:
        tree.write("pylock.toml", 'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n')
        with pytest.raises(PkgviewError, match="nothing that it could be made from"):
            await write_lock(tree.project(), interpreter)

    async def test_its_own_extras_and_groups(
        self, tree: Tree, interpreter: Interpreter, state: Path
    ) -> None:
        entry = (
            '[[packages]]\nname = "{0}"\nversion = "1"\nmarker = "{1}"\n'
            'archive = {{ path = "{0}-1-py3-none-any.whl", hashes = {{ sha256 = "00" }} }}\n'
        )
        tree.write(
            "pylock.toml",
            'lock-version = "1.0"\ncreated-by = "x"\nextras = ["x"]\n'
            'dependency-groups = ["dev", "docs"]\ndefault-groups = ["dev"]\n'
            + entry.format("one", "'x' in extras")
            + entry.format("two", "'dev' in dependency_groups")
            + entry.format("three", "'docs' in dependency_groups"),
        )
        assert (await locked(tree, interpreter, state)).keys() == {"two"}
        more = await locked(tree, interpreter, state, extras=["x"], groups=["docs"])
        assert more.keys() == {"one", "two", "three"}
        with pytest.raises(PkgviewError, match=r"no 'y' among its extras \(x\)"):
            await locked(tree, interpreter, state, extras=["y"])


async def test_uv_lock_is_exported_with_its_groups(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    for name in ("base", "extra", "test-tool"):
        index.wheel(name, "1")
    tree.write(
        "pyproject.toml",
        HEAD + 'dependencies = ["base"]\n[project.optional-dependencies]\nx = ["extra"]\n'
        '[dependency-groups]\ndev = ["test-tool"]\n[tool.uv]\npackage = true\n',
    )
    command = [uv_binary(), "lock", "--quiet", "--python", interpreter.executable]
    environ = {**os.environ, **uv_environment(tree.root)}
    await trio.run_process(command, cwd=tree.root, env=environ)
    index.wheel("base", "2")
    base = await locked(tree, interpreter, state, frozen=True, offline=True)
    assert base == {"base": "1", "shop": None, "test-tool": "1"}
    more = await locked(tree, interpreter, state, extras=["x"])
    assert more.keys() == {"base", "extra", "shop", "test-tool"}
    found = await lock(tree.project(), interpreter, state=state)
    own = [choice for choice in select(found, interpreter) if choice.name == "shop"]
    assert [(choice.path, choice.editable) for choice in own] == [(tree.root, True)]
    with pytest.raises(PkgviewError, match=r"which a pylock\.toml would hide"):
        await write_lock(tree.project(), interpreter)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
async def test_state_that_cannot_be_written(
    tree: Tree, index: Simple, interpreter: Interpreter, tmp_path: Path
) -> None:
    index.wheel("base", "1")
    tree.write("requirements.txt", "base\n")
    os.chmod(tmp_path, 0o500)  # noqa: PTH101 - no pathlib in a coroutine
    with pytest.raises(PkgviewError, match="cannot make"):
        await locked(tree, interpreter, tmp_path / "state")


async def test_state_that_is_a_file(
    tree: Tree, index: Simple, interpreter: Interpreter, tmp_path: Path
) -> None:
    index.wheel("base", "1")
    tree.write("requirements.txt", "base\n")
    (tmp_path / "state").write_text("")
    with pytest.raises(PkgviewError, match="cannot make") as caught:
        await locked(tree, interpreter, tmp_path / "state")
    assert "XDG_STATE_HOME" in caught.value.remedy


async def test_killed_while_locking_the_next_run_succeeds(
    tree: Tree, index: Simple, interpreter: Interpreter, state: Path
) -> None:
    index.wheel("base", "1")
    tree.write("requirements.txt", "base\n")
    code = (
        "import sys, os, trio, functools; from pathlib import Path;"
        "import resolver.python.lock as l; from resolver.python.project import find_project;"
        "from resolver.python.interpreter import inspect;"
        "root, state, exe = map(Path, sys.argv[1:]);"
        "l.write_atomically = lambda *a: os.kill(os.getpid(), 9);"
        "trio.run(functools.partial(l.lock, find_project(root), inspect(exe, state), state=state))"
    )
    command = [sys.executable, "-c", code, str(tree.root), str(state), interpreter.executable]
    done = await trio.run_process(command, check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == -9
    assert await locked(tree, interpreter, state) == {"base": "1"}
    (directory,) = (state / "locks").iterdir()
    assert len(list(directory.iterdir())) == 2


LIB = '[tool.uv.sources]\nlib = {path = "lib"}\n'
NEEDS_LIB = f'{HEAD}dependencies = ["lib"]\n'


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": f'{NEEDS_LIB}[tool.uv]\nno-binary-package = ["lib"]\n{LIB}'},
        {"pyproject.toml": f'{NEEDS_LIB}[tool.uv.pip]\nno-binary = ["lib"]\n{LIB}'},
        {"uv.toml": 'no-binary-package = ["lib"]\n', "requirements.txt": "./lib\n"},
        {"requirements.txt": "--no-binary lib\n./lib\n"},
        {"requirements.txt": "-r more.txt\n./lib\n", "more.txt": "--no-binary=lib\n"},
        {"s.py": "# /// script\n# dependencies = ['lib']\n# [tool.uv]\n# no-build = false\n"
         "# no-binary-package = ['lib']\n# [tool.uv.sources]\n# lib = {path = 'lib'}\n# ///\n"},
        {"requirements.txt": "./lib\n"},
        {"pyproject.toml": NEEDS_LIB + LIB},
        {"s.py": "# /// script\n# dependencies = ['lib']\n# [tool.uv.sources]\n"
         "# lib = {path = 'lib', editable = true}\n# ///\n"},
    ],
)  # fmt: skip
async def test_nothing_is_built_where_nothing_may_run(  # noqa: PLR0913, PLR0917 - fixtures
    tree: Tree,
    interpreter: Interpreter,
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
) -> None:
    """uv builds in spite of `--no-build` what is named for `no-binary`, wherever that stands."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    ran = tmp_path / "ran"
    tree.write("lib/setup.py", f"open({str(ran)!r}, 'w')\nraise SystemExit(1)\n")
    back_end = '[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n'
    tree.write("lib/pyproject.toml", back_end)
    paths = [tree.write(name, text) for name, text in files.items()]
    script = next((path for path in paths if path.suffix == ".py"), None)
    project = project_of_script(script) if script else find_project(tree.root)
    assert project is not None
    with pytest.raises(PkgviewError, match=r"lib|is disabled"):
        await lock(project, interpreter, state=state, no_build=True)
    assert not ran.exists()
    if not any("no-binary" in text for text in files.values()):
        monkeypatch.setenv("UV_NO_BUILD", "1")
        with pytest.raises(PkgviewError, match=r"lib|is disabled"):
            await lock(project, interpreter, state=state)
        assert not ran.exists()
        monkeypatch.delenv("UV_NO_BUILD")
    with pytest.raises(PkgviewError, match=r"lib|build backend"):
        await lock(project, interpreter, state=state)
    assert ran.exists()


async def test_what_is_set_elsewhere_outdates_the_lock(
    tree: Tree,
    index: Simple,
    interpreter: Interpreter,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for version in ("1", "2"):
        index.wheel("base", version)
    tree.write("requirements.txt", "base\n")
    assert await locked(tree, interpreter, state) == {"base": "2"}
    monkeypatch.setenv("UV_RESOLUTION", "lowest")
    assert await locked(tree, interpreter, state, no_build=True) == {"base": "2"}, "it only looks"
    assert await locked(tree, interpreter, state) == {"base": "2"}, "a version is kept that will do"
    assert await locked(tree, interpreter, state, upgrade=True) == {"base": "1"}
    limits = tree.write("limits.txt", "base<2\n")
    monkeypatch.setenv("UV_RESOLUTION", "highest")
    monkeypatch.setenv("UV_CONSTRAINT", str(limits))
    assert await locked(tree, interpreter, state, upgrade=True) == {"base": "1"}
    limits.write_text("base>1\n")
    assert await locked(tree, interpreter, state) == {"base": "2"}


@pytest.mark.network
class TestRealIndex:
    async def test_several_kinds_and_versions(
        self, tree: Tree, interpreter: Interpreter, state: Path
    ) -> None:
        tree.write("requirements.txt", "six==1.17.0\nzope.event==6.0\ndocopt==0.6.2\n")
        found = await lock(tree.project(), interpreter, state=state)
        choices = {choice.name: choice for choice in select(found, interpreter)}
        kinds = {name: str(choice.kind) for name, choice in choices.items()}
        assert kinds == {
            "docopt": "sdist",
            "setuptools": "wheel",  # zope.event 6.0 needs it
            "six": "wheel",
            "zope-event": "wheel",
        }
        assert all(choice.hashes and choice.size for choice in choices.values())
        again = await lock(tree.project(), interpreter, state=state, offline=True, frozen=True)
        assert again == found

    async def test_pip_indexes_that_lack_most_packages(
        self,
        tree: Tree,
        interpreter: Interpreter,
        state: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        local = tmp_path / "local"
        (local / "other").mkdir(parents=True)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{local.as_uri()} file:///not/there")
        monkeypatch.setenv("PIP_FIND_LINKS", "/not/there/either")
        tree.write("requirements.txt", "iniconfig==2.1.0\n")
        assert await locked(tree, interpreter, state) == {"iniconfig": "2.1.0"}

    async def test_no_build_where_metadata_would_need_one(
        self, tree: Tree, interpreter: Interpreter, state: Path
    ) -> None:
        tree.write("requirements.txt", "docopt==0.6.2\n")
        with pytest.raises(PkgviewError, match="docopt") as caught:
            await locked(tree, interpreter, state, no_build=True)
        assert "pkgview up" in caught.value.remedy

    async def test_offline_with_nothing_kept(
        self,
        tree: Tree,
        interpreter: Interpreter,
        state: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
        tree.write("requirements.txt", "attrs\n")
        with pytest.raises(PkgviewError, match="attrs") as caught:
            await locked(tree, interpreter, state, offline=True)
        assert "without --offline" in caught.value.remedy


async def test_no_network_names_it(
    tree: Tree,
    interpreter: Interpreter,
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    tree.write("requirements.txt", "attrs\n")
    with pytest.raises(PkgviewError, match=r"127\.0\.0\.1") as caught:
        await locked(tree, interpreter, state)
    assert "Check the network" in caught.value.remedy
    assert find_project(tree.root) is not None
