"""The portable transport: pyfuse3's loop. Node ids in, attributes and bytes out.

pyfuse3 hides the node id from `read` and `readdir`, so the file handle is the node id: still no
open-file state. Every handler ends in an answer: an exception that leaves one would end the mount
for everybody.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, InodeT, RequestContext

from unionfs.kernel import quiet
from unionfs.view.attributes import FOREVER, Absent, Attributes, FileSystemError
from unionfs.view.filesystem import BLOCK_SIZE, BLOCKS, FILES, NAME_LIMIT, offsets, place_at
from unionfs.view.nodeid import NodeId

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from pyfuse3 import FileNameT, FlagT, ReaddirToken, StatvfsData

    from unionfs.view.filesystem import Filesystem

logger = logging.getLogger(__name__)

READERS = 4
"""Threads that read and decompress; more only compete for the interpreter and the disk."""

_Handler = TypeVar("_Handler", bound="Callable[..., Coroutine[Any, Any, Any]]")


def _answered(handler: _Handler) -> _Handler:
    """Count the request, and let nothing but `FUSEError` out of its handler."""
    opcode = handler.__name__.upper()

    @functools.wraps(handler)
    async def answer(self: Transport, *arguments: object) -> object:
        self.requests[opcode] += 1
        try:
            return await handler(self, *arguments)
        except FileSystemError as error:
            raise pyfuse3.FUSEError(error.errno) from None
        except pyfuse3.FUSEError:
            raise
        except Exception:
            logger.exception("%s failed", opcode)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return cast("_Handler", answer)


class Transport(pyfuse3.Operations):
    """Adapts a `Filesystem` to pyfuse3; `requests` counts by opcode."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, filesystem: Filesystem, requests: Counter[str]) -> None:
        super().__init__()
        self.filesystem = filesystem
        self.requests = requests
        self._readers = trio.CapacityLimiter(READERS)

    @_answered
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Find a name; an absent one is answered so that the kernel may remember it."""
        del ctx
        found = self.filesystem.lookup(_node(parent_inode), name)
        if isinstance(found, Attributes):
            return self._entry(found)
        return _absent(found)

    @_answered
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Attributes of a node."""
        del ctx
        return self._entry(self.filesystem.getattr(_node(inode)))

    @_answered
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        """A link's target; the one place where the caller matters."""
        node = _node(inode)
        if self.filesystem.is_magic(node):
            return await self.filesystem.followed(node, ctx.pid)
        return self.filesystem.readlink(node)

    @_answered
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        """Any number of readers, no writer; the kernel keeps the pages."""
        del ctx
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise FileSystemError(errno.EROFS)
        self.filesystem.open(_node(inode))
        return FileInfo(fh=FileHandleT(inode), keep_cache=True)

    @_answered
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Bytes: inline where they are in memory, in a thread where they must be fetched."""
        node = NodeId(fh)
        data = self.filesystem.cached(node, off, size)
        if data is not None:
            return data
        return await self.filesystem.load(node, off, size, self._in_thread)

    async def _in_thread(self, read: Callable[[], bytes]) -> bytes:
        return await trio.to_thread.run_sync(read, limiter=self._readers)

    @_answered
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Begin a listing."""
        del ctx
        self.filesystem.opendir(_node(inode))
        return inode

    @_answered
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """Names with their attributes (READDIRPLUS) from `start_id` until the kernel is full."""
        names: Sequence[tuple[bytes, Attributes]] = self.filesystem.listdir(NodeId(fh))
        start = place_at(start_id)
        following = islice(offsets(), start, None)
        for (name, attributes), after in zip(islice(names, start, None), following, strict=False):
            if not pyfuse3.readdir_reply(token, name, self._entry(attributes), after):
                break

    @_answered
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """A file system without free space."""
        del ctx
        found = pyfuse3.StatvfsData()
        found.f_bsize = found.f_frsize = BLOCK_SIZE
        found.f_blocks = BLOCKS
        found.f_bfree = found.f_bavail = 0
        found.f_files = FILES
        found.f_ffree = found.f_favail = 0
        found.f_namemax = NAME_LIMIT
        return found

    @_answered
    async def release(self, fh: FileHandleT) -> None:
        """No open-file state, so nothing to release."""

    @_answered
    async def releasedir(self, fh: FileHandleT) -> None:
        """No open-file state, so nothing to release."""

    @_answered
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """No inode table, so nothing to forget."""

    def _entry(self, found: Attributes) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = found.node
        entry.generation = 0
        entry.entry_timeout = found.keep
        entry.attr_timeout = found.keep
        entry.st_mode = found.mode
        entry.st_nlink = 1
        entry.st_uid = self.filesystem.uid
        entry.st_gid = self.filesystem.gid
        entry.st_rdev = 0
        entry.st_size = found.size
        entry.st_blksize = 131072
        entry.st_blocks = (found.size + 511) // 512
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = found.time
        return entry


def _node(inode: InodeT) -> NodeId:
    return NodeId(inode)


def _absent(found: Absent) -> EntryAttributes:
    """A name that the kernel may remember as absent: an entry with node id 0."""
    if not found.keep:
        raise FileSystemError(errno.ENOENT)
    entry = EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = found.keep
    entry.attr_timeout = FOREVER
    return entry


async def serve(
    filesystem: Filesystem,
    mountpoint: Path,
    *,
    options: set[str],
    ready: Callable[[], None],
    requests: Counter[str],
) -> None:
    """Mount, answer until unmounted or cancelled, unmount.

    `RuntimeError` from pyfuse3 where the kernel or fusermount3 refuses to mount.
    """
    pyfuse3.init(Transport(filesystem, requests), os.fspath(mountpoint), options)
    try:
        ready()
        async with trio.open_nursery() as alongside:
            alongside.start_soon(quiet.tend, filesystem.catalog.store.frames)
            await pyfuse3.main()
            alongside.cancel_scope.cancel()
    finally:
        pyfuse3.close(unmount=True)
