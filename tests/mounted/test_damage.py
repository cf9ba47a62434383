"""What was damaged, lost or replaced behind our back: never wrong bytes, and a way out is said.

EIO and a line in the log that names the thing, for whoever reads it; everything else goes on.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.daemon.logfile import log_path

if TYPE_CHECKING:
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

# What does not compress, so that every bit of the archive counts.
NOISE = random.Random(20251123).randbytes(640_000)  # noqa: S311 - repeatable


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Two projects, each with a distribution of its own, and one that both list."""

    site: Site
    index: Index

    @property
    def mount(self) -> Path:
        return self.site.places.mount

    def project(self, name: str) -> Path:
        return self.site.home / name

    def up(self, name: str, *requirements: str) -> dict[str, Any]:
        directory = self.project(name)
        directory.mkdir(exist_ok=True)
        if requirements:
            (directory / "requirements.txt").write_text("\n".join(requirements))
        return self.site.up(directory)

    def packages(self, name: str) -> Path:
        """A project's site-packages, through its `.venv`."""
        return self.project(name) / ".venv/site-packages"

    def archive(self, name: str) -> Path:
        """The file of a distribution's archive."""
        (found,) = (self.site.places.store / "archives").glob(f"{name}-*.tar.zst")
        return found

    def log(self) -> str:
        return log_path(self.site.places).read_text()

    def python(self, name: str, program: str) -> subprocess.CompletedProcess[str]:
        """A program in a project, by the mount's own interpreter."""
        python = self.mount / "bin/python"
        return self.site.run(python, "-c", program, cwd=self.project(name), code=None)

    def imports(self, name: str, module: str) -> bool:
        ended = self.python(name, f"import {module}; print({module}.version)")
        return (ended.stdout, ended.stderr) == ("1.0\n", "")

    def verify(self, *options: str, code: int) -> dict[str, str]:
        """`pkgview store verify`: what is wrong with each damaged archive."""
        said = self.site.pkgview(
            "store", "verify", "--json", *options, cwd=self.site.home, code=code
        )
        return {found["archive"]: found["damage"] for found in json.loads(said.stdout)["damaged"]}


@pytest.fixture
def world(shop: Site, index: Index) -> World:
    for name in ("alpha", "beta", "both"):
        index.wheel(
            name,
            files={
                f"{name}/__init__.py": b"version = '1.0'\n",
                f"{name}/data.bin": NOISE + name.encode(),
                f"{name}/same.txt": b"the same in all of them\n",
            },
        )
    made = World(site=shop, index=index)
    made.up("one", "alpha", "both")
    made.up("two", "beta", "both")
    # `up` has looked into the views; what is broken here is to be found by a daemon that has not.
    for command in ("umount", "mount"):
        shop.pkgview(command, cwd=shop.home)
    return made


def flip(path: Path, place: int) -> None:
    """Change one bit in place, as a disk does: the file stays the same file."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))


def fault(path: Path) -> str | None:
    """The errno with which reading a file fails; None if it can be read."""
    try:
        path.read_bytes()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


# Archives


def test_a_flipped_bit_is_an_error_and_never_another_byte(world: World) -> None:
    archive = world.archive("alpha")
    flip(archive, archive.stat().st_size // 2)
    path = world.packages("one") / "alpha/data.bin"
    expected = NOISE + b"alpha"
    good = bad = 0
    with path.open("rb", buffering=0) as file:
        for offset in range(0, len(expected), 4096):
            try:
                data = os.pread(file.fileno(), 4096, offset)
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017 - or the bytes are right
                bad += 1
            else:
                assert data == expected[offset : offset + len(data)]
                good += 1
    # One frame of five or so is bad.
    assert bad
    assert good > bad
    assert archive.name in world.log()
    # The others are as they were: of this archive, of this view, of the other project.
    assert fault(world.packages("one") / "alpha/__init__.py") is None
    assert (world.packages("one") / "both/data.bin").read_bytes() == NOISE + b"both"
    assert (world.packages("two") / "beta/data.bin").read_bytes() == NOISE + b"beta"
    assert "Traceback" not in world.log()
    # `up` looks whether all archives are there, not into them: that would cost what it saves.
    again = world.up("one")
    assert (again["changed"], again["fetched"]) == (False, 0)
    assert list(world.verify(code=1)) == [archive.name]
    said = world.site.pkgview("store", "verify", cwd=world.site.home, code=1)
    assert archive.name in said.stderr
    assert "--repair" in said.stderr
    # The way out that is said there, with the mount left as it is.
    assert list(world.verify("--repair", code=0)) == [archive.name]
    assert world.up("one")["fetched"] == 0
    assert path.read_bytes() == expected
    assert world.verify(code=0) == {}


def test_the_next_version_stands_in(world: World) -> None:
    # `same.txt` is in both; the kernel knows it by the archive that came first.
    files = {"alpha/data.bin": NOISE, "alpha/same.txt": b"the same in all of them\n"}
    world.index.wheel("alpha", "2.0", files)
    world.up("three", "alpha==2.0")
    for command in ("umount", "mount"):
        world.site.pkgview(command, cwd=world.site.home)
    paths = [world.packages(name) / "alpha/same.txt" for name in ("one", "three")]
    assert len({path.stat().st_ino for path in paths}) == 1
    world.site.pkgview("umount", cwd=world.site.home)
    world.archive("alpha-1.0").unlink()
    world.site.pkgview("mount", cwd=world.site.home)
    logged = world.log()
    assert paths[1].read_bytes() == b"the same in all of them\n"
    assert fault(world.packages("three") / "alpha/data.bin") is None
    # Collected is not damaged: nobody is told.
    assert world.log() == logged


def test_a_table_of_contents_that_is_damaged(world: World) -> None:
    archive = world.archive("alpha")
    flip(archive, -1)
    # The link's view is not there to be shown, so the program is told, and goes on without it.
    ended = world.python("one", "print('on')")
    assert ended.stdout == "on\n"
    assert archive.name in ended.stderr
    assert "pkgview up" in ended.stderr
    assert world.imports("two", "beta")
    # By its own name it is an error; its neighbours are listed and readable.
    view = Path(os.readlink(world.project("one") / ".venv"))
    assert fault(view / "pyvenv.cfg") == "EIO"
    assert archive.name in world.log()
    for directory, count in (("views", 3), ("projects", 2), ("packages", 4)):
        assert len(os.listdir(world.mount / directory)) >= count
        assert view.name in os.listdir(view.parent)
    shown = {path.name.split("-")[0]: path for path in (world.mount / "packages").iterdir()}
    assert (shown["beta"] / "purelib/beta/same.txt").read_bytes()
    with pytest.raises(OSError, match="Input/output error"):
        os.listdir(shown["alpha"])
    # Mended under the live mount: nothing of the failure is remembered.
    world.verify("--repair", code=0)
    world.up("one")
    assert fault(view / "pyvenv.cfg") is None
    assert os.listdir(shown["alpha"]) == ["purelib"]
    assert world.imports("one", "alpha")


def test_an_archive_that_is_gone_is_fetched_again(world: World) -> None:
    first = world.packages("one") / "alpha/__init__.py"
    assert fault(first) is None
    archive = world.archive("alpha")
    archive.unlink()
    assert fault(world.packages("one") / "alpha/data.bin") == "EIO"
    assert archive.name in world.log()
    assert fault(first) is None  # the kernel has its pages
    assert world.imports("two", "both")
    assert archive.name not in world.verify(code=0)
    mended = world.up("one")
    assert (mended["fetched"], mended["changed"]) == (1, False)
    assert (world.packages("one") / "alpha/data.bin").read_bytes() == NOISE + b"alpha"
    assert world.imports("one", "alpha")


def test_a_store_that_is_gone_is_fetched_again(world: World) -> None:
    shutil.rmtree(world.site.places.store)
    assert fault(world.packages("one") / "alpha/data.bin") == "EIO"
    assert world.up("one")["fetched"] == 2
    assert world.up("two")["fetched"] == 1
    for name, module in (("one", "alpha"), ("one", "both"), ("two", "beta")):
        assert world.imports(name, module)
        assert fault(world.packages(name) / module / "data.bin") is None
    assert os.listdir(world.mount / "packages")


def test_an_archive_in_place_of_another_is_refused(world: World) -> None:
    alpha, beta = world.archive("alpha"), world.archive("beta")
    alpha.unlink()
    shutil.copyfile(beta, alpha)
    assert fault(world.packages("one") / "alpha/data.bin") == "EIO"
    assert alpha.name in world.verify(code=1)
    assert fault(world.packages("two") / "beta/data.bin") is None


def test_no_file_in_place_of_an_archive_harms(world: World) -> None:
    archive = world.archive("alpha")
    for replace in (
        lambda: os.mkfifo(archive),
        archive.mkdir,
        lambda: archive.symlink_to("/dev/zero"),
        lambda: archive.symlink_to(archive),
        lambda: archive.write_bytes(b""),
    ):
        if archive.is_dir() and not archive.is_symlink():
            archive.rmdir()
        else:
            archive.unlink(missing_ok=True)
        replace()
        assert fault(world.packages("one") / "alpha/data.bin") == "EIO"
        assert fault(world.packages("two") / "beta/__init__.py") is None


# Manifests and records


def test_a_damaged_manifest_is_written_anew(world: World) -> None:
    view = os.readlink(world.project("one") / ".venv").rpartition("/")[2]
    path = world.site.places.state / "manifests" / f"{view}.json"
    whole = path.read_bytes()
    for broken in (whole[:-2], whole.replace(b"alpha", b"gamma"), b"\0" * len(whole)):
        path.write_bytes(broken)
        if broken == whole[:-2]:  # not yet opened by the daemon
            ended = world.python("one", "print('on')")
            assert ended.stdout == "on\n"
            assert f"manifest {view} is damaged" in ended.stderr
            assert f"manifest {view} is damaged" in world.log()
        again = world.up("one")
        assert (again["view"], again["fetched"]) == (view, 0)
        assert path.read_bytes() == whole
        assert world.imports("one", "alpha")


def test_a_manifest_that_is_gone_is_written_anew(world: World) -> None:
    view = os.readlink(world.project("one") / ".venv").rpartition("/")[2]
    path = world.site.places.state / "manifests" / f"{view}.json"
    path.unlink()
    # As one that was collected: it is not there, until it is made again.
    assert fault(Path(os.readlink(world.project("one") / ".venv")) / "pyvenv.cfg") == "ENOENT"
    assert world.imports("two", "beta")
    assert world.up("one")["view"] == view
    assert world.imports("one", "alpha")


def test_a_damaged_project_record_is_as_none(world: World) -> None:
    for record in (world.site.places.state / "projects").iterdir():
        record.write_bytes(b'{"root": "/", "views": [{"view": 7}]}')
    assert os.listdir(world.mount / "projects") == []
    assert world.python("one", "print('on')").stdout == "on\n"
    world.up("one")
    assert len(os.listdir(world.mount / "projects")) == 1
    assert world.imports("one", "alpha")


# The registry


def test_a_registry_that_is_gone_is_begun_again_under_a_live_mount(world: World) -> None:
    assert world.imports("one", "alpha")
    (world.site.places.state / "registry.sqlite3").unlink()
    # What was shown is shown; what was not cannot be found, and that is said.
    assert fault(world.packages("one") / "alpha/data.bin") is None
    ended = world.python("two", "print('on')")
    assert ended.stdout == "on\n"
    assert "pkgview up" in ended.stderr
    for name, module in (("one", "alpha"), ("two", "beta")):
        world.up(name)
        assert world.imports(name, module)
        assert (world.packages(name) / module / "data.bin").read_bytes() == NOISE + module.encode()
    world.index.wheel("gamma")
    world.up("three", "gamma")
    assert world.imports("three", "gamma")


def test_a_damaged_registry_is_named(world: World) -> None:
    assert world.imports("one", "alpha")
    path = world.site.places.state / "registry.sqlite3"
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert fault(world.packages("one") / "alpha/data.bin") is None
    with pytest.raises(OSError, match="Input/output error"):
        os.listdir(world.mount / "views")
    assert f"cannot use the registry {path}" in world.log()
    said = world.site.pkgview("up", cwd=world.project("one"), code=1)
    assert f"cannot use the registry {path}" in said.stderr
    assert "remove that file" in said.stderr
    assert "Traceback" not in said.stderr + world.log()
    # And what it says helps.
    world.site.pkgview("umount", cwd=world.site.home)
    path.unlink()
    world.up("one")
    assert world.imports("one", "alpha")


def test_after_a_new_mount_the_old_numbers_mean_what_they_meant(world: World) -> None:
    path = world.packages("one") / "alpha/data.bin"
    before = path.stat().st_ino
    world.site.pkgview("umount", cwd=world.site.home)
    world.site.pkgview("mount", cwd=world.site.home)
    assert path.stat().st_ino == before


# What cannot be read at all


def test_an_unreadable_store_is_named(ordinary: dict[str, Any]) -> None:
    home = Path(ordinary["env"]["HOME"])
    # Root's own interpreter often lies where nobody may look; root may read everything.
    python = f"/usr/bin/python3.{sys.version_info.minor}"

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, **ordinary)

    def pkgview(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(python, "-P", "-c", "from unionfs.cli import main; main()", *arguments)

    if not Path(python).exists() or run(python, "-c", "import pyfuse3").returncode:
        pytest.skip("no interpreter with pkgview's dependencies that nobody may run")
    project = home / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("")
    for path in (project, project / "requirements.txt"):
        os.chown(path, 65534, 65534)
    first = pkgview("up", os.fspath(project))
    assert first.returncode == 0, first.stderr
    archives = home / ".local/share/pkgview/store/archives"
    archives.chmod(0)
    for command in (["store"], ["store", "verify"], ["up", os.fspath(project)]):
        said = pkgview(*command)
        assert said.returncode == 1, said
        assert os.fspath(archives) in said.stderr
        assert "Permission denied" in said.stderr
        assert "Traceback" not in said.stderr
    listing = run("ls", home / ".pkgview/packages")
    assert "Input/output error" in listing.stderr
    assert os.fspath(archives) in (home / ".local/state/pkgview/daemon.log").read_text()
    archives.chmod(0o755)
    assert run("ls", home / ".pkgview/packages").returncode == 0
    assert pkgview("up", os.fspath(project)).returncode == 0
    assert pkgview("umount").returncode == 0
