"""Views that were exported: what an installer makes, used where there is no pkgview."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from tests.mounted.conftest import a_shop, an_index
from tests.mounted.test_containers import LIMITS, make_rootfs
from tests.mounted.test_environment_equal import (
    Sides,
    has_other_lines,
    only_in_view,
    only_uvs,
    other_activation,
    other_maker,
    row,
    says_pkgview,
    tree,
)
from tests.unionfs.store.remote import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mounted.conftest import Index, Large, Site

pytestmark = pytest.mark.fuse

MODULE = (
    b"import sys\nVALUE = 'first'\ndef main(): print(VALUE, *sys.argv[1:])\ndef fail(): 1 / 0\n"
)
DOCUMENTED = b'#!python\n"""What it does."""\nfrom __future__ import annotations\nprint(__doc__)\n'


def stocked(index: Index) -> None:
    index.wheel(
        "alpha", files={"alpha/__init__.py": MODULE, "shared/a.py": b""},
        scripts=["say-alpha = alpha:main"],
    )  # fmt: skip
    files = {
        "shared/b.py": b"", "beta.py": b"import alpha\n",
        "beta-1.0.data/scripts/documented": DOCUMENTED,
        "beta-1.0.data/data/share/beta/x.txt": b"x",
    }  # fmt: skip
    index.wheel("beta", files=files)


@pytest.fixture
def project(shop: Site, index: Index) -> Path:
    stocked(index)
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\nbeta\n")
    shop.up(directory)
    return directory


def exported(site: Site, *options: str | Path, cwd: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(site.pkgview("export", *options, "--json", cwd=cwd).stdout)
    return said


def run(*command: str | Path, code: int = 0, **environ: str) -> str:
    """A program with nothing of pkgview's in its environment: what it prints."""
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/",
        env={"PATH": "/usr/bin:/bin", **environ},
    )  # fmt: skip
    assert ended.returncode == code, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout + ended.stderr


@contextmanager
def without_pkgview(site: Site) -> Iterator[None]:
    """Neither a mount, nor a store, nor any of its state."""
    site.pkgview("umount", cwd=site.home)
    hidden = site.home.with_name("hidden")
    hidden.mkdir()
    own = [site.home / ".local", site.home / ".cache", site.home / ".pkgview"]
    for path in own:
        if path.exists():
            path.rename(hidden / path.name)
    try:
        yield
    finally:
        for path in hidden.iterdir():
            path.rename(site.home / path.name)


def test_an_environment_that_needs_no_pkgview(shop: Site, project: Path, tmp_path: Path) -> None:
    at = tmp_path / "venv"
    said = exported(shop, "--venv", at, cwd=project)
    assert (said["form"], said["to"], said["elsewhere"]) == ("venv", str(at), [])
    by_view = run(project / ".venv/bin/say-alpha", "x")
    names = {path.name for path in at.rglob("*")}
    assert not {name for name in names if "pkgview" in name} - {".pkgview-export"}
    assert "EXTERNALLY-MANAGED" not in names
    (packages,) = at.glob("lib/python3.*/site-packages")
    with without_pkgview(shop):
        assert run(at / "bin/say-alpha", "x") == by_view == "first x\n"
        assert run(at / "bin/documented") == "What it does.\n"
        first = (at / "bin/say-alpha").read_text().splitlines()[0]
        assert first == f"#!{at}/bin/python"
        ask = "import beta, sys, alpha; print(sys.prefix, alpha.__file__, alpha.__cached__)"
        prefix, file, cached = run(at / "bin/python", "-c", ask).split()
        assert (prefix, file) == (str(at), str(packages / "alpha/__init__.py"))
        assert Path(cached).is_file()
        # It is taken, whatever the times are, and names the file that is here.
        os.utime(packages / "alpha/__init__.py", (1, 1))
        loaded = run(at / "bin/python", "-v", "-c", "import alpha")
        assert f"code object from '{cached}'" in loaded
        wrong = run(at / "bin/python", "-c", "import alpha; alpha.fail()", code=1)
        assert f'File "{packages}/alpha/__init__.py", line 4' in wrong
        # Nor is what does not fit any more.
        (packages / "alpha/__init__.py").write_bytes(MODULE.replace(b"'first'", b"'other'"))
        assert run(at / "bin/say-alpha") == "other\n"
        activate = f". {at}/bin/activate && command -v python && echo $VIRTUAL_ENV"
        assert run("sh", "-c", activate).split() == [f"{at}/bin/python", str(at)]
    # A first line cannot name this one.
    blank = tmp_path / "with a blank"
    exported(shop, "--venv", blank, cwd=project)
    record_is_true(blank)
    for name, says in (("say-alpha", "first\n"), ("documented", "What it does.\n")):
        assert (blank / "bin" / name).read_bytes().startswith(b"#!/bin/sh\n")
        assert run(blank / "bin" / name) == says
    uv = shop.uv("pip", "freeze", "-p", at, cwd=shop.home).stdout
    assert uv.split() == ["alpha==1.0", "beta==1.0"]
    shop.uv("pip", "uninstall", "-p", at, "beta", cwd=shop.home)
    assert not (packages / "beta.py").exists()
    assert not (at / "bin/documented").exists()


def record_is_true(root: Path) -> None:
    for record in root.glob("lib/python3.*/site-packages/*.dist-info/RECORD"):
        with record.open(newline="") as file:
            for path, digest, size in csv.reader(file):
                content = (record.parent.parent / path).read_bytes()
                if digest:
                    assert row(path, content) == [path, digest, size]


def test_all_forms_are_one_tree(shop: Site, project: Path, tmp_path: Path) -> None:
    at = tmp_path / "venv"
    exported(shop, "--venv", at, cwd=project)
    record_is_true(at)
    expected = tree(at)
    there = ("--at", at, "--interpreter", shop.python)
    for name in ("env.tar", "env.tar.zst"):
        said = exported(shop, "--tar", tmp_path / name, *there, cwd=project)
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert said["digest"] == digest
        unpacked = tmp_path / f"{name}-unpacked"
        unpacked.mkdir()
        run("tar", "-C", unpacked, "-xf", tmp_path / name)
        assert tree(unpacked) == expected
    run("zstd", "-q", "-t", tmp_path / "env.tar.zst")
    exported(shop, "--oci", tmp_path / "image.tar", *there, cwd=project)
    manifest, unpacked = of_image(tmp_path / "image.tar", tmp_path / "image")
    inside = unpacked / str(at).lstrip("/")
    del expected[".pkgview-export"]
    assert tree(inside) == expected
    assert len(manifest["layers"]) == 3  # its own, alpha, beta


def of_image(archive: Path, into: Path) -> tuple[dict[str, Any], Path]:
    """An OCI archive's manifest, and its own root."""
    root = into / "root"
    root.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    index = json.loads((into / "index.json").read_text())
    blobs = into / "blobs"
    manifest = json.loads(blob(blobs, index["manifests"][0]["digest"]).read_text())
    for layer in manifest["layers"]:
        with (
            blob(blobs, layer["digest"]).open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as plain,
            tarfile.open(fileobj=plain, mode="r|") as tar,
        ):
            tar.extractall(root, filter="fully_trusted")  # noqa: S202 - our own
    return manifest, root


def blob(blobs: Path, digest: str) -> Path:
    path = blobs / digest.replace(":", "/")
    assert f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == digest
    return path


def test_the_same_bytes_from_two_homes(tmp_path: Path) -> None:
    digests = []
    for home in ("one", "another/place"):
        (tmp_path / home).mkdir(parents=True)
        with (
            an_index(tmp_path / home / "index") as index,
            a_shop(tmp_path / home / "home", index) as shop,
        ):
            stocked(index)
            project = shop.project("project" + home[:1])
            (project / "requirements.txt").write_text("alpha\nbeta\n")
            shop.up(project)
            found = []
            for number, epoch in enumerate(("", "", "1700000000")):
                for form in ("--tar", "--oci"):
                    to = shop.home / f"{number}{form}.tar"
                    ended = shop.pkgview(
                        "export", form, to, "--json", cwd=project,
                        environ={"SOURCE_DATE_EPOCH": epoch},
                    )  # fmt: skip
                    found.append(json.loads(ended.stdout)["digest"])
            assert found[:2] == found[2:4]
            assert not set(found[:2]) & set(found[4:])
            with tarfile.open(shop.home / "2--tar.tar") as tar:
                assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(1700000000, 0, 0, "")}
            digests.append(found)
    assert digests[0] == digests[1]


def test_nothing_that_is_there_is_lost(shop: Site, project: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("it")
    for form, at in (("--venv", mine), ("--tar", mine / "thesis"), ("--venv", project / ".venv")):
        for force in ((), ("--force",)):
            ended = shop.pkgview("export", form, at, *force, cwd=project, code=1)
            assert "Traceback" not in ended.stderr
    assert (mine / "thesis").read_text() == "it"
    assert [path.name for path in mine.iterdir()] == ["thesis"]

    for form, at in (("--venv", tmp_path / "venv"), ("--tar", tmp_path / "t.tar.zst"),
                     ("--oci", tmp_path / "i.tar"), ("--flat", tmp_path / "flat")):  # fmt: skip
        shop.pkgview("export", form, at, cwd=project)
        before = at.stat().st_ino
        assert "--force" in shop.pkgview("export", form, at, cwd=project, code=1).stderr
        assert at.stat().st_ino == before
        shop.pkgview("export", form, at, "--force", cwd=project)
        assert at.stat().st_ino != before
    assert not list(tmp_path.glob(".pkgview-export-*"))
    assert run(tmp_path / "venv/bin/say-alpha") == "first\n"
    say = "import alpha, importlib.metadata as m; print(alpha.VALUE, m.version('beta'))"
    flat = tmp_path / "flat"
    assert run(shop.python, "-c", say, PYTHONPATH=str(flat)) == "first 1.0\n"
    assert not (flat / "bin").exists()
    assert not [path for path in flat.rglob("*") if path.is_symlink()]
    for wrong in (("--venv", "a", "--tar", "b"), (), ("--tar", "a", "--base", "b"),
                  ("--venv", "a", "--at", "/b"), ("--oci", "oci://localhost/a")):  # fmt: skip
        shop.pkgview("export", *wrong, cwd=project, code=2)


def test_a_disk_that_is_full_leaves_nothing(shop: Site, project: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=24k", "none", small)
    try:
        for form, name in (("--venv", "venv"), ("--tar", "e.tar"), ("--oci", "i.tar")):
            ended = shop.pkgview("export", form, small / name, cwd=project, code=1)
            assert "No space left" in ended.stderr
            assert "Make room" in ended.stderr
            assert list(small.iterdir()) == []
    finally:
        run("umount", small)


def test_one_that_was_killed_leaves_nothing_for_the_next(
    shop: Site, project: Path, tmp_path: Path
) -> None:
    shop.pkgview("up", "--compile", cwd=project)
    code = (
        "import os, signal, sys\n"
        "from unionfs import cli\n"
        "from unionfs.exporting import placing\n"
        "placing._sync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"sys.argv = ['pkgview', 'export', '--venv', {str(tmp_path / 'venv')!r}]\n"
        "cli.main()\n"
    )
    shop.run(sys.executable, "-c", code, cwd=project, code=-9)
    assert not (tmp_path / "venv").exists()
    assert len(list(tmp_path.glob(".pkgview-export-*"))) == 1
    shop.pkgview("export", "--venv", tmp_path / "venv", cwd=project)
    assert list(tmp_path.glob(".pkgview-export-*")) == []


def test_what_is_edited_stays_where_it_is(shop: Site, tmp_path: Path) -> None:
    directory = shop.project("own")
    (directory / "requirements.txt").write_text("-e ./mine\n")
    (directory / "mine").mkdir()
    (directory / "mine/mine.py").write_text("print('mine')\n")
    (directory / "mine/pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1.0"\ndescription = "It"\n'
        '[build-system]\nrequires = []\nbackend-path = ["."]\nbuild-backend = "back"\n'
    )
    (directory / "mine/back.py").write_text(BACK)
    shop.up(directory)
    ended = shop.pkgview("export", "--venv", tmp_path / "venv", cwd=directory)
    assert f"mine is editable: it stays in {(directory / 'mine').as_uri()}." in ended.stderr
    assert run(tmp_path / "venv/bin/python", "-c", "import mine") == "mine\n"
    assert not list((tmp_path / "venv").rglob("uv_cache.json"))


BACK = """
import os, zipfile
def build_editable(directory, config_settings=None, metadata_directory=None):
    files = {
        "mine.pth": os.getcwd() + "\\n",
        "mine-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n",
        "mine-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n"
        "Tag: py3-none-any\\n",
    }
    files["mine-1.0.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in files)
    name = "mine-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as file:
        for inside, text in files.items():
            file.writestr(inside, text)
    return name
build_wheel = build_editable
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path podman finds short enough."""
    with tempfile.TemporaryDirectory(prefix="podman-") as found:
        yield Path(found)


def test_an_image_that_runs(
    shop: Site, project: Path, needs: Callable[..., None], short: Path, tmp_path: Path
) -> None:
    needs("podman", "runc", "skopeo", "docker-registry")
    if os.geteuid() != 0:
        pytest.skip("only root's containers run without a network of their own everywhere")
    podman = [
        "podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--storage-driver", "vfs",
        "--root", str(short / "images"), "--runroot", str(short / "run"),
    ]  # fmt: skip
    make_rootfs(short / "rootfs")  # the programs are the host's
    base = short / "base.tar"
    run("tar", "-C", short / "rootfs", "-cf", short / "plain.tar", ".")
    run(*podman, "import", short / "plain.tar", "base")
    run(*podman, "save", "--format", "oci-archive", "-o", base, "base")
    python = ("--interpreter", shop.python)
    archive = tmp_path / "image.tar"
    exported(shop, "--oci", archive, "--base", base, *python, cwd=project)
    shown = json.loads(run("skopeo", "inspect", "--config", f"oci-archive:{archive}"))
    assert "VIRTUAL_ENV=/opt/venv" in shown["config"]["Env"]
    run("skopeo", "copy", f"oci-archive:{archive}", f"dir:{short}/copied")

    def in_container(image: str) -> None:
        prefix = sys.base_prefix
        host = ("-v", "/usr:/usr:ro", "-v", f"{prefix}:{prefix}:ro", *LIMITS)
        assert run(*podman, "run", "--rm", *host, image, "say-alpha", "x") == "first x\n"
        say = "import sys, beta, alpha; print(sys.prefix, alpha.__file__)"
        said = run(*podman, "run", "--rm", *host, image, "python", "-c", say)
        assert said.startswith("/opt/venv /opt/venv/lib/python3.")

    in_container(run(*podman, "pull", "-q", f"oci-archive:{archive}").strip())
    # A Dockerfile, as docs/export.md has it.
    exported(shop, "--tar", short / "env.tar", *python, cwd=project)
    (short / "Dockerfile").write_text(
        "FROM localhost/base\nADD env.tar /opt/venv/\nENV PATH=/opt/venv/bin:/usr/bin:/bin\n"
    )
    context = ("--isolation", "chroot", "-f", short / "Dockerfile", short)
    in_container(run(*podman, "build", "-q", *context).strip())
    with servers.registry(tmp_path) as host:
        at = f"{host}/team/app:1"
        said = exported(shop, "--oci", f"oci://{at}", "--base", base, *python, cwd=project)
        run(*podman, "pull", "-q", "--tls-verify=false", at)
        in_container(at)
        # The same upon one that a registry has, and there is nothing to send.
        under = f"{host}/base/python:3"
        run("skopeo", "copy", "--dest-tls-verify=false", f"oci-archive:{base}", f"docker://{under}")
        again = exported(
            shop, "--oci", f"oci://{host}/team/other:1", "--base", f"oci://{under}", *python,
            cwd=project,
        )  # fmt: skip
        other = tmp_path / "other.tar"
        exported(shop, "--oci", other, "--base", f"oci://{under}", *python, cwd=project)
        digest = json.loads(run("skopeo", "inspect", f"oci-archive:{other}"))["Digest"]
        assert f"sha256:{again['digest']}" == digest
        assert len(said["digest"]) == 64
    shutil.rmtree(short / "images", ignore_errors=True)


def path_of_its_own(sides: Sides, path: str) -> None:
    """A script's first line names the environment that it is in, and all else is equal."""
    mine, uvs = sides.both(path)
    assert mine.splitlines()[0] == b"#!" + os.fsencode(sides.view / "bin/python")
    assert mine.replace(os.fsencode(sides.view), os.fsencode(sides.uvs), 1) == uvs


DIFFERENCES: dict[str, Callable[[Sides, str], None]] = {
    "site-packages/*.dist-info/INSTALLER": says_pkgview,
    "pyvenv.cfg": other_maker,
    "bin/activate": other_activation,
    "bin/activate.csh": other_activation,
    "bin/activate.fish": other_activation,
    "bin/activate.nu": only_uvs,
    "bin/activate.ps1": only_uvs,
    "bin/activate.xsh": only_uvs,
    "bin/activate_this.py": only_uvs,
    "bin/*.bat": only_uvs,
    "bin/*": path_of_its_own,
    "site-packages/*.dist-info/RECORD": has_other_lines,
    "bin/pipX.Y": only_uvs,
    ".gitignore": only_uvs,
    ".lock": only_uvs,
    "CACHEDIR.TAG": only_uvs,
    ".pkgview-export": only_in_view,
}


@pytest.mark.network
@pytest.mark.slow
def test_it_is_what_uv_makes(large: Large, by_uv: Path) -> None:
    """As `test_environment_equal` has it of the view: less differs here."""
    at = large.home / "exported"
    large.pkgview("export", "--venv", at, "--no-bytecode", cwd=large.directory)
    sides = Sides(view=at, uvs=by_uv, ours=tree(at), theirs=tree(by_uv))
    version = large.packages(at).parent.name.removeprefix("python")
    met = set()
    for path in sides.paths():
        short = path.removeprefix(f"lib/python{version}/") if "/site-packages/" in path else path
        short = short.replace(f"pip{version}", "pipX.Y")
        fitting = [one for one in DIFFERENCES if fnmatchcase(short, one)]
        assert fitting, f"{path}: {sides.ours.get(path)}, {sides.theirs.get(path)}"
        difference = max(fitting, key=len)
        DIFFERENCES[difference](sides, path)
        met.add(difference)
    assert met == DIFFERENCES.keys()
    record_is_true(at)
    with_bytecode = large.home / "exported-with-bytecode"
    large.pkgview("export", "--venv", with_bytecode, cwd=large.directory)
    more = tree(with_bytecode).keys() - sides.ours.keys()
    assert {Path(path).name == "__pycache__" or path.endswith(".pyc") for path in more} == {True}
    assert len(more) > 3000
    say = "import numpy, pandas, sqlalchemy; print(numpy.__version__)"
    assert run(with_bytecode / "bin/python", "-c", say) == "2.4.6\n"
    # Python takes it: nothing is written anew.
    compiled = list(with_bytecode.rglob("*.pyc"))
    for each in compiled:
        os.utime(each, (1, 1))
    run(with_bytecode / "bin/python", "-c", say)
    assert {each.stat().st_mtime for each in compiled} == {1}
