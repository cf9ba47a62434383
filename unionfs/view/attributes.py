"""What the kernel is told of a node, and for how long it may believe it."""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from unionfs.archive.layer import Kind

if TYPE_CHECKING:
    from unionfs.view.nodeid import NodeId
    from unionfs.view.tree import Found

FOREVER = 1e9
"""Seconds (thirty years) that the kernel keeps what never changes."""

BRIEFLY = 1.0
"""Seconds that the kernel keeps names which other commands add or move."""


class FileSystemError(Exception):
    """The errno with which a request is answered."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number


class Attributes(NamedTuple):
    """What the kernel is told of a node: `mode` with its type, size in bytes, `keep` in seconds.

    `time`, nanoseconds since the Epoch, is when it became what it is, to `atime`, `mtime` and
    `ctime` alike. `keep` is how long the kernel may keep the *name* under which the node was
    found; the attributes themselves never change, but for those of links that move.
    """

    node: NodeId
    mode: int
    size: int
    time: int
    keep: float = FOREVER


@dataclass(frozen=True, slots=True)
class Absent:
    """A name that is not there, and how long the kernel may go on believing so."""

    keep: float


def of(found: Found) -> Attributes:
    """Of an archive's or a view's entry."""
    node, time, entry = found
    match entry.kind:
        case Kind.DIRECTORY:
            return directory(node, time)
        case Kind.SYMLINK:
            return link(node, entry.size, time)
        case _:
            mode = stat.S_IFREG | (0o755 if entry.executable else 0o644)
            return Attributes(node, mode, entry.size, time)


def directory(node: NodeId, time: int) -> Attributes:
    """Of a directory."""
    return Attributes(node, stat.S_IFDIR | 0o755, 0, time)


def link(node: NodeId, size: int, time: int, keep: float = FOREVER) -> Attributes:
    """Of a link, whose target takes `size` bytes."""
    return Attributes(node, stat.S_IFLNK | 0o777, size, time, keep)
