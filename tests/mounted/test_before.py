"""A mount that the version before began, and that this one goes on with.

The kernel remembers what that version told it: node ids that it packed in another way, each file's
time, which files are one inode. All of that must go on meaning the same until it is unmounted.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon.logfile import log_path
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mounted.conftest import Index, Site

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("supervised")]

REPOSITORY = Path(__file__).parents[2]
BEFORE = "07a6a51"
"""The last commit whose node ids took 63 bits, and whose files were all of 1980."""

RUN = "import sys; from unionfs.cli import main; main()"

READ = """
import hashlib, json, os, sys
root, wanted = sys.argv[1], json.loads(sys.argv[2])
os.chdir(os.path.join(root, "lib"))
rounds = 0
print("reading", flush=True)
while not os.path.exists(sys.argv[3]) or rounds < 2:
    for path, (node, digest) in wanted.items():
        number = os.open(os.path.join(root, path), os.O_RDONLY)
        assert os.fstat(number).st_ino == node, path
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        content = b"".join(iter(lambda: os.read(number, 65536), b""))
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(number)
        assert hashlib.sha256(content).hexdigest() == digest, path
    for directory, _, names in os.walk(root):
        assert os.getcwd().endswith("/lib")
    os.listdir(os.path.join(root, ".."))
    rounds += 1
print(rounds)
"""


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the version before."""
    root = tmp_path_factory.mktemp("before")
    archive = root / "tree.tar"
    made = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", "--output", archive, BEFORE, "unionfs", "resolver"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"there is no commit {BEFORE} in this clone: {made.stderr.strip()}")
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    return root


def lock(index: Index, site: Site, name: str, **versions: str) -> Path:
    """A project with exactly these distributions."""
    project = site.project(name)
    lines = [f"{one} @ {path.as_uri()}" for one, version in versions.items()
             for path in index.directory.glob(f"{one}-{version}-*.whl")]  # fmt: skip
    (project / "requirements.txt").write_text("\n".join(lines) + "\n")
    return project


@pytest.fixture
def wheels(index: Index) -> Index:
    """Two versions of one distribution, and another that has some of the same bytes."""
    same = {f"one/m{n}.py": b"same = %d\n" % n * 99 for n in range(20)}
    for version in ("1", "2"):
        own = {"one/__init__.py": b"", "one/v.py": b"version = %s\n" % version.encode()}
        index.wheel("one", version, {**same, **own})
    index.wheel("two", "1", {
        "two/__init__.py": b"", "two/a.py": b"same = 3\n" * 99, "ns/two.py": b"x = 2\n",
    })  # fmt: skip
    index.wheel("three", "1", {"ns/three.py": b"x = 3\n", "ns/deep/er/x.py": b"same = 4\n" * 99})
    return index


class Earlier:
    """The version before, as a command."""

    def __init__(self, tree: Path, site: Site) -> None:
        self.site = site
        self.environ = {"PYTHONPATH": os.fspath(tree), "PKGVIEW_COMPILE": "1"}

    def run(self, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        return self.site.run(
            sys.executable, "-P", "-c", RUN, *arguments, cwd=cwd, environ=self.environ
        )

    def up(self, directory: Path) -> Path:
        """The view, once its bytecode is there."""
        self.run("up", "--python", self.site.python, "--json", cwd=directory)
        deadline = time.monotonic() + 60
        while not list((directory / ".venv").resolve().rglob("__pycache__")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
            self.run("up", "--python", self.site.python, "--json", cwd=directory)
        return (directory / ".venv").resolve()


def upgrade(site: Site, tmp_path: Path) -> dict[str, Any]:
    """This version takes the mount over, however the daemon's environment leads to the former."""
    command = tmp_path / "python"
    command.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} "$@"\n')
    command.chmod(0o755)
    endpoint = endpoint_of(site.places, mounts.canonical(site.places.mount))
    client.ask(endpoint, "upgrade", executable=os.fspath(command))
    deadline = time.monotonic() + 60
    while True:
        status = dict(client.ask(endpoint, "status", seconds=30))
        if status["upgrades"]:
            return status
        assert time.monotonic() < deadline
        time.sleep(0.05)


def seen(root: Path) -> Iterator[tuple[str, tuple[int, int, int, bytes]]]:
    """Path below, inode, mode, time (nanoseconds) and content of all that lies there."""
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory, name)
            found = path.lstat()
            content = b"" if path.is_symlink() or path.is_dir() else path.read_bytes()
            told = (found.st_ino, found.st_mode, found.st_mtime_ns, content)
            yield os.fspath(path.relative_to(root)), told


def test_a_live_mount_of_the_version_before_goes_on(
    former: Path, shop: Site, wheels: Index, tmp_path: Path
) -> None:
    import hashlib  # noqa: PLC0415 - beside its only use

    earlier = Earlier(former, shop)
    project = lock(wheels, shop, "project", one="1", two="1", three="1")
    view = earlier.up(project)
    before = dict(seen(view))
    assert {told[2] for told in before.values()} == {315_532_800 * 10**9}
    assert min(told[0] for told in before.values()) > 1 << 53
    site = next(view.glob("lib/python3*/site-packages"))
    assert (site / "two/a.py").stat().st_ino == (site / "one/m3.py").stat().st_ino
    wanted = {
        path: (told[0], hashlib.sha256(told[3]).hexdigest())
        for path, told in before.items()
        if told[3]
    }
    over = tmp_path / "over"
    command: list[str | Path] = [sys.executable, "-S", "-c", READ, view, json.dumps(wanted), over]
    pipe = subprocess.PIPE
    readers = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
        # A command of this version brings the registry up to date; the former goes on.
        newer = lock(wheels, shop, "newer", one="2", two="1")
        shop.up(newer)
        later = (newer / ".venv").resolve()
        at_former = dict(seen(later))
        assert upgrade(shop, tmp_path)["begun_before"]
        assert dict(seen(view)) == before
        # Once more, from this version to itself.
        said = shop.pkgview("upgrade", cwd=shop.home)
        assert "Until it is unmounted its files keep the inodes and times" in said.stderr
        assert dict(seen(view)) == before
        assert dict(seen(later)) == at_former
        # And what came after the upgrade is there as well, in the same way.
        third = lock(wheels, shop, "third", one="2", three="1")
        shop.up(third)
        after = dict(seen((third / ".venv").resolve()))
        assert {told[2] for told in after.values()} == {315_532_800 * 10**9}
        assert after[f"{site.relative_to(view)}/one/v.py"][3] == b"version = 2\n"
    finally:
        over.touch()
        ended = [reader.communicate(timeout=120) for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * len(readers), ended


def test_what_the_version_before_shared_outlives_the_archive_it_is_named_by(
    former: Path, shop: Site, wheels: Index, tmp_path: Path
) -> None:
    earlier = Earlier(former, shop)
    earlier.up(lock(wheels, shop, "project", one="1"))
    view = earlier.up(lock(wheels, shop, "other", two="1"))
    (alias,) = view.glob("lib/python3*/site-packages/two/a.py")
    with alias.open("rb") as held:
        assert os.fstat(held.fileno()).st_ino >> 60
        upgrade(shop, tmp_path)
        for archive in (shop.places.store / "archives").glob("one-1-*"):
            archive.unlink()
        server = client.ask(endpoint_of(shop.places, shop.places.mount), "status")["server"]
        os.kill(server, signal.SIGKILL)  # the next one has nothing open
        os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert held.read() == b"same = 3\n" * 99
    assert not re.search(r"one-1-.*No such file", log_path(shop.places).read_text())


def test_once_it_is_mounted_anew_all_is_of_this_version(
    former: Path, shop: Site, wheels: Index, tmp_path: Path
) -> None:
    earlier = Earlier(former, shop)
    project = lock(wheels, shop, "project", one="1", two="1", three="1")
    view = earlier.up(project)
    before = dict(seen(view))
    upgrade(shop, tmp_path)
    shop.pkgview("umount", cwd=shop.home)
    shop.pkgview("mount", cwd=shop.home)
    after = dict(seen(view))
    assert {path: (told[1], told[3]) for path, told in after.items()} == {
        path: (told[1], told[3]) for path, told in before.items()
    }
    assert len({told[0] for told in after.values()}) == len(after)
    assert max(told[0] for told in after.values()) < 1 << 53
    now = time.time_ns()
    assert all(now - 3600 * 10**9 < told[2] <= now for told in after.values())
