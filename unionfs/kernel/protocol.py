"""The kernel's requests, answered: bytes in, bytes out. No descriptor, no clock, no waiting.

Theory. `answer` takes one message as read(2) gave it and returns

* the parts of a reply, for one writev(2);
* None where the kernel wants none;
* or a `Link`, a `Read`: what cannot be answered from memory. Whoever drives this finds the answer
  in its own time and makes the reply with `done` or `failed`.

Everything the kernel need not ask again is answered so that it does not: ENOSYS to OPEN, OPENDIR,
FLUSH, ... ends them for the whole mount; names, absent names and attributes are kept by their
timeouts; a directory comes with the attributes of all it holds (READDIRPLUS), and its listing is
kept. `fh` is never looked at: the node id says it all, so there is nothing that an OPEN could have
left here.

A message comes from the kernel, so a malformed one is a bug somewhere; it is answered with EIO and
logged, and those after it are answered as if nothing had been.
"""

from __future__ import annotations

import errno
import logging
import struct
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.kernel import abi
from unionfs.kernel.abi import Opcode
from unionfs.view.attributes import Absent, FileSystemError
from unionfs.view.filesystem import BLOCK_SIZE, BLOCKS, FILES, NAME_LIMIT, offsets, place_at
from unionfs.view.kept import Kept

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from unionfs.kernel.gains import Gain
    from unionfs.view.attributes import Attributes
    from unionfs.view.filesystem import Filesystem
    from unionfs.view.nodeid import NodeId

logger = logging.getLogger(__name__)

LISTINGS_ROOM: Final = 8 << 20
"""Bytes of listings that are kept while the kernel pages through them, 200 a name, or one alone,
however large. After its last page the kernel keeps it."""

END_UNKEPT: Final = bytes(8)
"""The end of a listing that the kernel must not keep: the views, projects and packages, which
grow. It takes a reply without a byte as the end of a whole listing and keeps that (fs/fuse,
`fuse_readdir_cache_end`); fewer bytes than an entry has are an end, too, and nothing else."""

BLOCK: Final = 131_072
"""`st_blksize`: what programs read at a time; one frame of an archive."""

SECOND: Final = 1_000_000_000
"""Nanoseconds."""

_BODY = abi.IN_HEADER.size
_ATTR_OUT = struct.Struct(abi.ATTR_OUT_HEAD.format + abi.ATTR.format[1:])
_ENTRY_OUT = struct.Struct(abi.ENTRY_OUT_HEAD.format + abi.ATTR.format[1:])
_DIRENTPLUS = struct.Struct(_ENTRY_OUT.format + abi.DIRENT.format[1:])

Reply = list[bytes]


class Link(NamedTuple):
    """READLINK of a magic link by a thread."""

    unique: int
    node: NodeId
    tid: int


class Read(NamedTuple):
    """READ of what is not in memory."""

    unique: int
    node: NodeId
    offset: int
    size: int
    tid: int


class Interrupt(NamedTuple):
    """The caller of that request does not want to wait any longer. Not answered."""

    unique: int


Answer = Reply | Link | Read | Interrupt | None


class _Malformed(Exception):  # noqa: N818 - never leaves this module
    """A message that is not what its opcode says."""


class Protocol:
    """Answers for one mount; `requests` counts by opcode. `shared`: others answer beside us."""

    def __init__(
        self,
        filesystem: Filesystem,
        requests: Counter[str],
        *,
        opens: Gain,
        opendirs: Gain,
        shared: bool = False,
    ) -> None:
        self._filesystem = filesystem
        self._shared = shared
        self._requests = requests
        self._listings: Kept[tuple[NodeId, bool], _Listing] = Kept(LISTINGS_ROOM)
        self._owner = (filesystem.uid, filesystem.gid)
        handlers: dict[Opcode, Callable[[int, NodeId, memoryview], Answer]] = {
            Opcode.LOOKUP: self._lookup,
            Opcode.FORGET: _unanswered,
            Opcode.BATCH_FORGET: _unanswered,
            Opcode.GETATTR: self._getattr,
            Opcode.READLINK: self._readlink,
            Opcode.READ: self._read,
            Opcode.READDIR: self._readdir,
            Opcode.READDIRPLUS: self._readdirplus,
            Opcode.STATFS: _statfs,
            Opcode.INTERRUPT: _interrupt,
            Opcode.DESTROY: _nothing,
            Opcode.RELEASE: _nothing,
            Opcode.RELEASEDIR: _nothing,
            **dict.fromkeys(_WRITING, _read_only),
        }
        if not opens.on:
            handlers[Opcode.OPEN] = self._open
        if not opendirs.on:
            handlers[Opcode.OPENDIR] = self._opendir
        self._handlers = {
            int(opcode): (opcode.name, handlers.get(opcode, _unknown)) for opcode in Opcode
        }

    def answer(self, message: memoryview) -> Answer:
        """The answer to one message. Nothing is raised, whatever the message holds.

        A message that was longer than `message` is (its header says so) is answered from what
        there is.
        """
        try:
            size, opcode, unique, node, _, _, pid, _, _ = abi.IN_HEADER.unpack_from(message)
        except struct.error:
            logger.error("a message of %d bytes has no header", len(message))  # noqa: TRY400 - says it all
            return None
        name, handler = self._handlers.get(opcode) or (f"OPCODE_{opcode}", _unknown)
        self._requests[name] += 1
        try:
            if opcode == Opcode.READLINK and self._filesystem.is_magic(node):
                return Link(unique, node, pid)
            return handler(unique, node, message[: max(size, _BODY)])
        except FileSystemError as error:
            return failed(unique, error.errno)
        except (_Malformed, struct.error):
            logger.error("a %s of %d bytes is malformed", name, size)  # noqa: TRY400 - says it all
        except Exception:
            logger.exception("%s failed", name)
        return None if opcode in _UNANSWERED else failed(unique, errno.EIO)

    # One method an opcode

    def _lookup(self, unique: int, node: NodeId, message: memoryview) -> Reply:
        found = self._filesystem.lookup(node, _name(message))
        if not isinstance(found, Absent):
            return done(unique, _ENTRY_OUT.pack(*self._entry(found)))
        if not found.keep:
            raise FileSystemError(errno.ENOENT)
        # An entry with node id 0 is an absent name that the kernel may keep.
        return done(unique, _ENTRY_OUT.pack(0, 0, int(found.keep), *bytes(_ENTRY_FIELDS - 3)))

    def _getattr(self, unique: int, node: NodeId, message: memoryview) -> Reply:
        del message
        found = self._filesystem.getattr(node)
        return done(unique, _ATTR_OUT.pack(int(found.keep), 0, 0, *self._attr(found)))

    def _readlink(self, unique: int, node: NodeId, message: memoryview) -> Reply:
        del message
        return done(unique, self._filesystem.readlink(node))

    def _open(self, unique: int, node: NodeId, message: memoryview) -> Reply:
        del message
        self._filesystem.open(node)
        return done(unique, abi.OPEN_OUT.pack(0, abi.OpenFlag.KEEP_CACHE, 0))

    def _opendir(self, unique: int, node: NodeId, message: memoryview) -> Reply:
        del message
        self._filesystem.opendir(node)
        flags = abi.OpenFlag.KEEP_CACHE | abi.OpenFlag.CACHE_DIR
        return done(unique, abi.OPEN_OUT.pack(0, flags, 0))

    def _read(self, unique: int, node: NodeId, message: memoryview) -> Answer:
        _, offset, size = abi.READ_IN.unpack_from(message, _BODY)
        content = self._filesystem.cached(node, offset, size)
        if content is None:
            return Read(unique, node, offset, size, abi.IN_HEADER.unpack_from(message)[6])
        return done(unique, content)

    def _readdir(self, unique: int, node: NodeId, message: memoryview) -> Reply:
        return self._page(unique, node, message, plus=False)

    def _readdirplus(self, unique: int, node: NodeId, message: memoryview) -> Reply:
        return self._page(unique, node, message, plus=True)

    def _page(self, unique: int, node: NodeId, message: memoryview, *, plus: bool) -> Reply:
        _, offset, size = abi.READ_IN.unpack_from(message, _BODY)
        key = (node, plus)
        listing = self._listings.get(key)
        grows = self._filesystem.grows(node)
        if listing is None or (grows and (self._shared or not offset)):
            listing = _Listing(
                self._filesystem.listing(node), self._direntplus if plus else _dirent
            )
            self._listings.put(key, listing, listing.size)
        page = listing.page(offset, size)
        if not (page or grows):
            self._listings.drop(key)
        return done(unique, page or (END_UNKEPT if grows else b""))

    # Structures

    def _attr(self, found: Attributes) -> tuple[int, ...]:
        """The fields of fuse_attr."""
        size = found.size
        seconds, rest = divmod(found.time, SECOND)
        return (
            *(found.node, size, (size + 511) // 512),
            *(seconds, seconds, seconds, rest, rest, rest),
            *(found.mode, 1, *self._owner, 0, BLOCK, 0),
        )

    def _entry(self, found: Attributes) -> tuple[int, ...]:
        """The fields of fuse_entry_out."""
        keep = int(found.keep)
        return (found.node, 0, keep, keep, 0, 0, *self._attr(found))

    def _direntplus(self, name: bytes, found: Attributes, after: int) -> bytes:
        size = len(name)
        keep = int(found.keep)
        node, length, mode = found.node, found.size, found.mode
        seconds, rest = divmod(found.time, SECOND)
        uid, gid = self._owner
        # Every name in every directory goes through here: `_entry`, spelled out.
        return _DIRENTPLUS.pack(
            node, 0, keep, keep, 0, 0,
            node, length, (length + 511) // 512, seconds, seconds, seconds, rest, rest, rest,
            mode, 1, uid, gid, 0, BLOCK, 0,
            node, after, size, mode >> 12,
        ) + name + bytes(-size & 7)  # fmt: skip


_ENTRY_FIELDS = 22


class _Listing:
    """All of a directory as the kernel reads it, and where each entry ends."""

    __slots__ = ("_ends", "_payload", "size")

    def __init__(
        self,
        names: Sequence[tuple[bytes, Attributes]],
        encode: Callable[[bytes, Attributes, int], bytes],
    ) -> None:
        payload, ends = bytearray(), array("Q", (0,))
        for (name, found), after in zip(names, offsets(), strict=False):
            payload += encode(name, found, after)
            ends.append(len(payload))
        self._payload = payload
        self._ends = ends
        self.size = len(payload) + len(ends) * ends.itemsize

    def page(self, offset: int, size: int) -> bytes:
        """Whole entries of at most `size` bytes, from the one at `offset`; b"" at the end."""
        ends, first = self._ends, place_at(offset)
        if first >= len(ends) - 1:
            return b""
        start = ends[first]
        if len(self._payload) - start <= size:
            return bytes(self._payload[start:])
        last = bisect_right(ends, start + size, first) - 1
        if last == first:
            raise FileSystemError(errno.EINVAL)  # no room for one entry, getdents(2)
        return bytes(self._payload[start : ends[last]])


def _dirent(name: bytes, found: Attributes, after: int) -> bytes:
    size = len(name)
    return abi.DIRENT.pack(found.node, after, size, found.mode >> 12) + name + bytes(-size & 7)


def done(unique: int, payload: bytes) -> Reply:
    """A reply with an answer."""
    return [abi.OUT_HEADER.pack(_HEADER + len(payload), 0, unique), payload]


def failed(unique: int, number: int) -> Reply:
    """A reply with an errno."""
    return [abi.OUT_HEADER.pack(_HEADER, -number, unique)]


_HEADER = abi.OUT_HEADER.size


def _name(message: memoryview) -> bytes:
    body = bytes(message[_BODY:])
    name, end, rest = body.partition(b"\0")
    if len(name) > NAME_LIMIT:
        raise FileSystemError(errno.ENAMETOOLONG)
    if not name or not end or rest or b"/" in name:
        raise _Malformed
    return name


def _nothing(unique: int, node: NodeId, message: memoryview) -> Reply:
    """No open-file state, so nothing to release."""
    del node, message
    return done(unique, b"")


def _unanswered(unique: int, node: NodeId, message: memoryview) -> None:
    """No inode table, so nothing to forget."""
    del unique, node, message


def _interrupt(unique: int, node: NodeId, message: memoryview) -> Interrupt:
    del unique, node
    return Interrupt(*abi.INTERRUPT_IN.unpack_from(message, _BODY))


def _statfs(unique: int, node: NodeId, message: memoryview) -> Reply:
    """A file system without free space."""
    del node, message
    return done(
        unique,
        abi.STATFS_OUT.pack(BLOCKS, 0, 0, FILES, 0, BLOCK_SIZE, NAME_LIMIT, BLOCK_SIZE, 0),
    )


def _unknown(unique: int, node: NodeId, message: memoryview) -> Reply:
    """Not here; for most opcodes the kernel does not ask again, and does it by itself."""
    del node, message
    return failed(unique, errno.ENOSYS)


def _read_only(unique: int, node: NodeId, message: memoryview) -> Reply:
    """The kernel refuses it on a mount that is `ro`, before it comes here."""
    del node, message
    return failed(unique, errno.EROFS)


_UNANSWERED = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})

_WRITING = (
    Opcode.SETATTR, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.UNLINK, Opcode.RMDIR,
    Opcode.RENAME, Opcode.RENAME2, Opcode.LINK, Opcode.WRITE, Opcode.SETXATTR, Opcode.REMOVEXATTR,
    Opcode.CREATE, Opcode.TMPFILE, Opcode.FALLOCATE, Opcode.COPY_FILE_RANGE,
)  # fmt: skip
