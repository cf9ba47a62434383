"""A layer: one tree of directories, files and symbolic links, read by entry number.

Everything a union is made of (archives, zip files, plain directories) is read through this one
small interface. Entry 0 is the root directory. Names and link targets are bytes, as the kernel
has them; a name is never empty, "." or "..", and holds neither "/" nor NUL.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, NewType, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

EntryNo = NewType("EntryNo", int)
"""The place of a member in its layer, from 0."""

ROOT = EntryNo(0)


class Kind(enum.IntEnum):
    """What an entry is."""

    DIRECTORY = 0
    FILE = 1
    SYMLINK = 2


class Entry(NamedTuple):
    """What `stat` needs of a member: size in bytes (a link's: of its target; a directory's: 0)."""

    kind: Kind
    size: int
    executable: bool


DIRECTORY = Entry(Kind.DIRECTORY, 0, executable=False)
"""What there is to say of every directory."""

Child = tuple[bytes, EntryNo, Entry]
"""A name in a directory, its number and its attributes."""


class LayerError(Exception):
    """A layer's bytes are not what its name promises, or cannot be had: EIO to the reader."""


class AbsentError(LayerError):
    """Frames of a partial archive are wanted that have not come yet."""


class Layer(Protocol):
    """Reads one tree. Every method may raise `LayerError`; none of them blocks for the network.

    Only `read` touches the disk: all else is answered from memory.
    """

    def entry(self, number: EntryNo) -> Entry:
        """Attributes; `IndexError` where there is no such entry."""
        ...

    def lookup(self, directory: EntryNo, name: bytes) -> EntryNo | None:
        """The child of that name; None where there is none or `directory` is none."""
        ...

    def children(self, directory: EntryNo) -> Sequence[Child]:
        """All children, sorted by name; () for what is no directory."""
        ...

    def parent(self, directory: EntryNo) -> EntryNo:
        """The directory that a directory lies in; the root's is itself."""
        ...

    def target(self, number: EntryNo) -> bytes:
        """What a symbolic link points to."""
        ...

    def digest(self, number: EntryNo) -> bytes:
        """SHA-256 of a file's content (of a link's target), 32 bytes."""
        ...

    def read(self, number: EntryNo, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a file from `offset`; fewer only at its end."""
        ...
