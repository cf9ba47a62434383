"""Which frames of a partial archive are here, as a small file beside it says.

    magic       8 bytes, `PKGVPART`
    format      4 bytes, 1
    frames      4 bytes, their number
    digest      32 bytes, the one in the archive's name
    bits        one for each frame, the lowest of each byte first

All numbers are little-endian. A bit is set after the frame's bytes were verified and are on the
disk (`unionfs.store.remote.lazy.filling`), and taken back only where they turned out wrong. So who
has seen one may rely on a copy: it is read anew where a frame is lacking, and that costs a fiftieth
of what a frame costs. Not mapped: a page of a file that was cut short under a map is a SIGBUS,
which ends the server, and over a network file system a map is looked at again by nobody.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from unionfs.archive.layer import LayerError

MAGIC: Final = b"PKGVPART"
FORMAT: Final = 1
HEADER: Final = struct.Struct("<8sII32s")


def encode(count: int, digest: bytes, bits: bytes = b"") -> bytes:
    """The file for so many frames; none of them is here unless `bits` say so."""
    return HEADER.pack(MAGIC, FORMAT, count, digest) + (bits or bytes(-(-count // 8)))


def decode(data: bytes, count: int, digest: bytes) -> bytes:
    """The bits; `LayerError` where the file is damaged or another archive's."""
    if len(data) != HEADER.size + -(-count // 8):
        raise LayerError("is not as long as its archive needs it")
    if HEADER.unpack_from(data) != (MAGIC, FORMAT, count, digest):
        raise LayerError("is none of this archive's")
    return data[HEADER.size :]


class Marks:
    """A copy of what the file at `path` says of an archive's `count` frames.

    Any thread may call any method: the copy is replaced as one object.
    """

    __slots__ = ("_bits", "_digest", "count", "path")

    def __init__(self, path: str, count: int, digest: bytes) -> None:
        """`LayerError` where there is no such file, or it is damaged or another's."""
        self.path = path
        self.count = count
        self._digest = digest
        self._bits = b""
        self.look()

    def look(self) -> None:
        """Read it again; `LayerError` as at the beginning."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                data = os.pread(descriptor, HEADER.size + self.count // 8 + 2, 0)
            finally:
                os.close(descriptor)
            self._bits = decode(data, self.count, self._digest)
        except LayerError as error:
            raise LayerError(f"{self.path} {error}") from error
        except OSError as error:
            raise LayerError(f"{self.path}: {error.strerror}") from error

    def lack(self, frame: int) -> bool:
        """Whether a frame was not here when the file was read."""
        return not self._bits[frame >> 3] >> (frame & 7) & 1

    def here(self) -> list[int]:
        """The frames that were."""
        return [frame for frame in range(self.count) if not self.lack(frame)]
