"""The content of one Zip member, checked while it is read."""

from __future__ import annotations

import io
import os
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STORED: Final = 0
DEFLATED: Final = 8
"""The compression methods (APPNOTE 4.4.5) that wheels use, and `zlib` everywhere has."""

CHUNK: Final = 64 * 1024


class ContentError(Exception):
    """A member's content is not what was announced; the message is a clause: "ends early"."""


class MemberStream(io.RawIOBase):
    """A binary stream of exactly `size` bytes.

    Everything is checked before the last byte is handed out: the size, the CRC-32, that the
    deflate stream ends with the member. So whoever has read all `size` bytes has read the right
    ones, whether or not they look for the end. Raises `ContentError`, here and at each later read.

    It reads with `pread` from a descriptor that it does not own. Subclasses see each block in
    `_block` and may check more in `_end`.
    """

    def __init__(  # noqa: PLR0913 - the fields of a member, by keyword
        self, descriptor: int, *, start: int, packed: int, size: int, crc: int, deflated: bool
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._next = start
        self._packed_left = packed
        self._left = size
        self._announced = crc
        self._crc = 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if deflated else None
        self._pending = b""
        self._ended = False

    def readable(self) -> bool:
        """True: it can be read, and not seeked."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with at least one byte, except at the end."""
        view = memoryview(buffer).cast("B")
        block = self.take(len(view))
        view[: len(block)] = block
        return len(block)

    def read(self, size: int = -1, /) -> bytes:
        """As of any raw stream, but without a copy of what was asked for."""
        return self.readall() if size < 0 else self.take(size)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end; all that is read comes by here."""
        wanted = min(size, self._left)
        block = self._produce(wanted) if wanted else b""
        if len(block) > wanted or (wanted and not block):
            raise ContentError("is shorter than announced")
        self._crc = zlib.crc32(block, self._crc)
        self._block(block)
        if len(block) == self._left and not self._ended:
            self._left = 0
            self._finish()
            self._ended = True
        else:
            self._left -= len(block)
        return block

    def _produce(self, wanted: int) -> bytes:
        """`wanted` bytes, fewer where the data ends early."""
        if self._inflate is None:
            return self._fetch(wanted)
        blocks: list[bytes] = []
        exhausted = False
        while wanted and not (exhausted or self._inflate.eof):
            if not self._pending:
                self._pending = self._fetch(CHUNK)
            exhausted = not self._pending
            try:
                blocks.append(self._inflate.decompress(self._pending, wanted))
            except zlib.error as error:
                raise ContentError("has a damaged deflate stream") from error
            self._pending = self._inflate.unconsumed_tail
            wanted -= len(blocks[-1])
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _fetch(self, size: int) -> bytes:
        """The next packed bytes; b"" behind the last."""
        size = min(size, self._packed_left)
        block = os.pread(self._descriptor, size, self._next) if size else b""
        self._next += len(block)
        self._packed_left -= len(block)
        return block

    def _finish(self) -> None:
        if self._inflate is not None:
            while not self._inflate.eof:
                # What is left may be the mark of the end, and must not be content.
                before = self._packed_left, len(self._pending)
                if self._produce(1):
                    raise ContentError("is longer than announced")
                if (self._packed_left, len(self._pending)) == before:
                    break
            if not self._inflate.eof:
                raise ContentError("has a deflate stream without an end")
            if self._inflate.unused_data or self._pending:
                raise ContentError("has data behind its deflate stream")
        if self._packed_left:
            raise ContentError("has data behind its content")
        if self._crc != self._announced:
            raise ContentError("has another CRC-32 than announced")
        self._end()

    def _block(self, block: bytes) -> None:
        """What was just read, in order."""

    def _end(self) -> None:
        """All was read: raise `ContentError` if it is not what it should be."""
