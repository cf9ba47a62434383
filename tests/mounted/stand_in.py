"""A daemon that serves a stand-in instead of packages: one directory with one file.

So the daemon's life can be tested apart from what it serves.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from unionfs.daemon import process, service
from unionfs.daemon.served_from import told

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

    from resolver.places import Places
    from unionfs.control.request import Request

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

    async def explode(_: Request) -> None:
        raise ZeroDivisionError

    async def chatter(request: Request) -> None:
        for _ in range(request.arguments["lines"]):
            logging.getLogger("stand-in").info("%s", "x" * 1000)

    async def surroundings(_: Request) -> dict[str, Any]:
        os.umask(mask := os.umask(0))
        return {"umask": mask, "path": sys.path, "environ": dict(os.environ)}

    return service.Service(
        serve=fail if fault == "fails" else _serve,
        transport="stand-in",
        places=told(places),
        gauges=lambda: {"store": os.fspath(places.store)},
        operations={"explode": explode, "chatter": chatter, "surroundings": surroundings},
    )


if __name__ == "__main__":
    sys.exit(process.main(assemble=_assemble))
