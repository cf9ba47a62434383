"""A file of a tar stream, as a stream of its own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from unionfs.formats.tar.unpacked import Unpacked

_HELD = 1024 * 1024


def stream(data: Unpacked, start: int, size: int) -> BinaryIO:
    """The `size` bytes from `start` on; a large file is not copied as a whole."""
    if size <= _HELD:
        return io.BytesIO(data[start : start + size])
    return cast("BinaryIO", _Part(data, start, size))


class _Part(io.RawIOBase):
    """A large file's bytes, which are not copied as a whole."""

    def __init__(self, data: Unpacked, start: int, size: int) -> None:
        super().__init__()
        self._data = data
        self._next = start
        self._end = start + size

    def readable(self) -> bool:
        """True: it can be read, and not seeked."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer, but for the end."""
        view = memoryview(buffer).cast("B")
        block = self._data[self._next : min(self._end, self._next + len(view))]
        view[: len(block)] = block
        self._next += len(block)
        return len(block)
