"""A tar stream's bytes, unpacked as a whole within bounds.

Nearly all packages unpack to less than a megabyte. What is larger than `MEMORY_LIMIT` goes to a
temporary file without a name, which is then mapped.
"""

from __future__ import annotations

import mmap
import tempfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from resolver.errors import PkgviewError
from unionfs.formats.tar.fault import UnsoundTarballError

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK: Final = 1024 * 1024

MEMORY_LIMIT: Final = 32 * 2**20
"""Most bytes of a tarball that are held in memory, unpacked."""

RATIO_FLOOR: Final = 64 * 2**20
"""More bytes than that may not be more than a certain multiple of what the file has."""

GZIP: Final = b"\x1f\x8b"
_EITHER = zlib.MAX_WBITS | 16

Unpacked = bytes | mmap.mmap


class Unpacking:
    """What is unpacked so far: at most `limit` bytes, few of them in memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._spilled: BinaryIO | None = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spilled is not None:
            self._spilled.close()

    def take(self, block: bytes) -> None:
        """The next bytes; `UnsoundTarballError` where there are too many."""
        self._count += len(block)
        if self._count > self._limit:
            raise UnsoundTarballError(
                f"it would have more than {self._limit} bytes unpacked: that is taken for a "
                "decompression bomb"
            )
        if block:
            self._parts.append(block)
        if self._count > MEMORY_LIMIT:
            self._spill()

    def result(self) -> Unpacked:
        """All of it."""
        if self._spilled is None:
            return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._spill()
        return mmap.mmap(self._spilled.fileno(), 0, access=mmap.ACCESS_READ)

    def _spill(self) -> None:
        try:
            if self._spilled is None:
                self._spilled = tempfile.TemporaryFile()  # noqa: SIM115 - `__exit__` closes it
            self._spilled.writelines(self._parts)
            self._spilled.flush()
        except OSError as error:
            raise PkgviewError(
                f"a package cannot be unpacked in {tempfile.gettempdir()}: {error.strerror}",
                remedy="Make room there, or set TMPDIR to a directory that has some.",
            ) from error
        self._parts = []


def gunzip(chunk: bytes, more: Callable[[], bytes], take: Callable[[bytes], None]) -> bytes:
    """Unpack one member of a gzip file, from `chunk` on; returns what was read behind it.

    `more` gives further bytes, b"" at the end; `take` gets what is unpacked, a `CHUNK` at a time.
    """
    inflate = zlib.decompressobj(_EITHER)
    while True:
        try:
            block = inflate.decompress(chunk, CHUNK)
        except zlib.error as error:
            raise UnsoundTarballError("its gzip stream is damaged") from error
        take(block)
        if inflate.eof:
            return inflate.unused_data or more()
        chunk = inflate.unconsumed_tail or more()
        if not chunk and not block:
            raise UnsoundTarballError("its gzip stream ends early")


def close(data: Unpacked) -> None:
    """Give up what was unpacked."""
    if not isinstance(data, bytes):
        data.close()
