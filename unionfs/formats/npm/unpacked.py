"""A tarball's bytes: read once, hashed, and unpacked as a whole within bounds.

Nearly all packages unpack to less than a megabyte, which is done in one call. What is larger than
`MEMORY_LIMIT` goes to a temporary file without a name, which is then mapped.
"""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

from resolver.errors import PkgviewError
from unionfs.formats.npm.fault import UnsoundTarballError

if TYPE_CHECKING:
    from pathlib import Path

    from unionfs.formats.npm.integrity import Integrity

CHUNK: Final = 1024 * 1024

MEMORY_LIMIT: Final = 32 * 2**20
"""Most bytes of a tarball that are held in memory, unpacked."""

SIZE_LIMIT: Final = 4 * 2**30
"""Most bytes unpacked. The largest packages have about 0.5 GiB."""

RATIO_LIMIT: Final = 200
RATIO_FLOOR: Final = 64 * 2**20
"""More than `RATIO_FLOOR` bytes unpacked may not be more than `RATIO_LIMIT` times as many as the
file has. Packages reach 3 to 10; deflate can do 1,032, and npm stops at 1,000."""

MEMBER_LIMIT: Final = 4096
"""Most gzip members, each of which costs time; bgzip makes one of 64 KiB."""

_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\3\4": "a Zip file",
}
_EITHER = zlib.MAX_WBITS | 16

Unpacked = bytes | mmap.mmap


def unpacked(path: Path, integrity: Integrity | None) -> Unpacked:
    """The tar stream in a file, gzipped or plain, if the file is the one that `integrity` means.

    Raises `UnsoundTarballError`, and `OSError` where the file cannot be had.
    """
    with open(path, "rb", opener=_opener) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnsoundTarballError("it is no regular file")
        return _Reading(file, status.st_size, integrity).result()


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)


class _Reading:
    """One reading of one file."""

    def __init__(self, file: BinaryIO, size: int, integrity: Integrity | None) -> None:
        self._file = file
        self._limit = min(SIZE_LIMIT, max(RATIO_FLOOR, RATIO_LIMIT * size))
        self._integrity = integrity
        self._hash = integrity.hasher() if integrity is not None else None
        self._parts: list[bytes] = []
        self._spilled: BinaryIO | None = None
        self._count = 0

    def result(self) -> Unpacked:
        """All of it, after the hash was found right."""
        try:
            self._read()
            if self._spilled is None:
                return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            return mmap.mmap(self._spilled.fileno(), 0, access=mmap.ACCESS_READ)
        finally:
            if self._spilled is not None:
                self._spilled.close()

    def _read(self) -> None:
        """Unpack to `_parts`; a fault of the hash is said before any other."""
        wrong: UnsoundTarballError | None = None
        try:
            self._unpack()
        except UnsoundTarballError as error:
            wrong = error
        while self._hash is not None and self._chunk():
            pass
        if self._hash is not None and self._integrity is not None:
            fault = self._integrity.fault(self._hash.digest())
            if fault is not None:
                raise UnsoundTarballError(fault)
        if wrong is not None:
            raise wrong

    def _chunk(self) -> bytes:
        chunk = self._file.read(CHUNK)
        if self._hash is not None:
            self._hash.update(chunk)
        return chunk

    def _unpack(self) -> None:
        chunk = self._chunk()
        for magic, name in _OTHERS.items():
            if chunk.startswith(magic):
                raise UnsoundTarballError(f"it is {name}, not a tar file or one that is gzipped")
        if not chunk.startswith(_GZIP):
            while chunk:
                self._take(chunk)
                chunk = self._chunk()
            return
        for _ in range(MEMBER_LIMIT):
            chunk = self._member(chunk)
            if not chunk:
                return
            if not chunk.startswith(_GZIP[: len(chunk)]):
                self._padding(chunk)
                return
        raise UnsoundTarballError(f"it has more than {MEMBER_LIMIT} gzip members")

    def _member(self, chunk: bytes) -> bytes:
        """One member of a gzip file, from `chunk` on; what was read behind it."""
        inflate = zlib.decompressobj(_EITHER)
        while True:
            try:
                block = inflate.decompress(chunk, CHUNK)
            except zlib.error as error:
                raise UnsoundTarballError("its gzip stream is damaged") from error
            self._take(block)
            if inflate.eof:
                return inflate.unused_data or self._chunk()
            chunk = inflate.unconsumed_tail or self._chunk()
            if not chunk and not block:
                raise UnsoundTarballError("its gzip stream ends early")

    def _padding(self, chunk: bytes) -> None:
        """Zeros may follow, as tapes have them."""
        while chunk:
            if chunk.strip(b"\0"):
                raise UnsoundTarballError("it has data behind its gzip stream")
            chunk = self._chunk()

    def _take(self, block: bytes) -> None:
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

    def _spill(self) -> None:
        try:
            if self._spilled is None:
                self._spilled = tempfile.TemporaryFile()  # noqa: SIM115 - `result` closes it
            self._spilled.writelines(self._parts)
            self._spilled.flush()
        except OSError as error:
            raise PkgviewError(
                f"a package cannot be unpacked in {tempfile.gettempdir()}: {error.strerror}",
                remedy="Make room there, or set TMPDIR to a directory that has some.",
            ) from error
        self._parts = []
