"""Mounts for tests: in a home of their own, and never left behind.

Run as a program, this file is a daemon that serves a stand-in instead of packages: one directory
with one file, so that the daemon's life can be tested apart from what it serves.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from unionfs import control, daemon, launch, mounts, service
from unionfs.rendezvous import Rendezvous

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from resolver.places import Places

CONTENT = b"what the stand-in serves\n" * 20_000


async def _serve(
    mountpoint: Path,
    *,
    options: set[str],
    ready: Callable[[], None],
    requests: Counter[str],
) -> None:
    import pyfuse3  # noqa: PLC0415 - the tests' own process does without

    class OneFile(pyfuse3.Operations):
        """`/file`, whose bytes the kernel may not keep: each read comes here."""

        @staticmethod
        def _attributes(inode: int) -> pyfuse3.EntryAttributes:
            found = pyfuse3.EntryAttributes()
            found.st_ino = pyfuse3.InodeT(inode)
            directory = inode == pyfuse3.ROOT_INODE
            found.st_mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
            found.st_uid, found.st_gid = os.getuid(), os.getgid()
            found.st_size = 0 if directory else len(CONTENT)
            return found

        async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
            del ctx
            requests["GETATTR"] += 1
            return self._attributes(inode)

        async def lookup(
            self, parent_inode: int, name: bytes, ctx: object = None
        ) -> pyfuse3.EntryAttributes:
            del parent_inode, ctx
            requests["LOOKUP"] += 1
            if name != b"file":
                raise pyfuse3.FUSEError(errno.ENOENT)
            return self._attributes(2)

        async def open(self, inode: int, flags: int, ctx: object = None) -> pyfuse3.FileInfo:
            del flags, ctx
            return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), direct_io=True)

        async def read(self, fh: int, off: int, size: int) -> bytes:
            del fh
            return CONTENT[off : off + size]

    pyfuse3.init(OneFile(), os.fspath(mountpoint), options)
    try:
        ready()
        await pyfuse3.main()
    finally:
        pyfuse3.close(unmount=True)


def _assemble(places: Places) -> service.Service:
    fault = os.environ.get("STAND_IN_FAULT", "")
    if fault == "refuses":
        raise PkgviewError("the stand-in refuses", remedy="Ask for another.")
    if fault == "vanishes":
        os._exit(3)

    async def fail(
        mountpoint: Path, *, options: set[str], ready: Callable[[], None], requests: Counter[str]
    ) -> None:
        del mountpoint, options, ready, requests
        raise RuntimeError("the stand-in fails")

    async def explode(_: control.Request) -> None:
        raise ZeroDivisionError

    async def chatter(request: control.Request) -> None:
        for _ in range(request.arguments["lines"]):
            logging.getLogger("stand-in").info("%s", "x" * 1000)

    async def surroundings(_: control.Request) -> dict[str, Any]:
        os.umask(mask := os.umask(0))
        return {"umask": mask, "path": sys.path, "environ": dict(os.environ)}

    return service.Service(
        serve=fail if fault == "fails" else _serve,
        transport="stand-in",
        gauges=lambda: {"store": os.fspath(places.store)},
        operations={"explode": explode, "chatter": chatter, "surroundings": surroundings},
    )


if __name__ == "__main__":
    sys.exit(daemon.main(assemble=_assemble))


import pytest  # noqa: E402 - the daemon above does without


def tidy(root: Path) -> None:
    """Unmount all below `root` and end every daemon whose lock lies there; then all is checked."""
    for mount in mounts.table():
        if mount.path.is_relative_to(root):
            mounts.unmount(mount.path, lazy=True)
    deadline = time.monotonic() + 10
    for lock in root.rglob("*.lock"):
        meeting = Rendezvous(directory=lock.parent, name=lock.stem)
        while meeting.held():
            if pid := meeting.pid():
                os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"a daemon outlives its test: {lock}"
            time.sleep(0.02)
    assert not [mount for mount in mounts.table() if mount.path.is_relative_to(root)]


@pytest.fixture(scope="session")
def fuse() -> None:
    """What every mount needs; where it is missing CI fails, and a person is told."""
    try:
        mounts.preflight()
    except PkgviewError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def places(fuse: None, isolated_places: Places, tmp_path: Path) -> Iterator[Places]:  # noqa: ARG001 - its refusal counts
    """A home of its own, in the environment too; nothing mounted or running is left behind."""
    try:
        yield isolated_places
    finally:
        tidy(tmp_path)


@pytest.fixture
def mounted(places: Places) -> Places:
    """pkgview itself, mounted at `places.mount`."""
    launch.ensure_mounted(places)
    return places


@pytest.fixture
def ordinary(fuse: None) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - its refusal counts
    """How `subprocess` runs a program as nobody, in a home of nobody's, with FUSE for all."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if shutil.which("fusermount3") is None:
        pytest.skip("there is no fusermount3")
    device = Path("/dev/fuse")
    before = device.stat().st_mode & 0o777
    home = Path(tempfile.mkdtemp(prefix="pkgview-"))
    os.chown(home, 65534, 65534)
    path = os.pathsep.join(
        [os.fspath(Path(__file__).parents[2]), *(p for p in sys.path if "site-" in p)]
    )
    options = {
        "user": 65534, "group": 65534, "extra_groups": [], "cwd": "/",
        "env": {
            "HOME": os.fspath(home), "PATH": os.environ["PATH"], "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    }  # fmt: skip
    device.chmod(0o666)
    try:
        yield options
    finally:
        device.chmod(before)
        tidy(home)
        shutil.rmtree(home)
