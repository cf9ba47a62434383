"""A tarball's bytes: read once, hashed, and unpacked as a whole within bounds.

Nearly all packages unpack to less than a megabyte, which is done in one call.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

from unionfs.formats.tar.fault import UnsoundTarballError
from unionfs.formats.tar.unpacked import CHUNK, GZIP, RATIO_FLOOR, Unpacking, gunzip

if TYPE_CHECKING:
    from pathlib import Path

    from unionfs.formats.npm.integrity import Integrity
    from unionfs.formats.tar.unpacked import Unpacked

SIZE_LIMIT: Final = 4 * 2**30
"""Most bytes unpacked. The largest packages have about 0.5 GiB."""

RATIO_LIMIT: Final = 200
"""More than `RATIO_FLOOR` bytes unpacked may not be more than `RATIO_LIMIT` times as many as the
file has. Packages reach 3 to 10; deflate can do 1,032, and npm stops at 1,000."""

MEMBER_LIMIT: Final = 4096
"""Most gzip members, each of which costs time; bgzip makes one of 64 KiB."""

_OTHERS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\3\4": "a Zip file",
}


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
        self._unpacking = Unpacking(min(SIZE_LIMIT, max(RATIO_FLOOR, RATIO_LIMIT * size)))
        self._integrity = integrity
        self._hash = integrity.hasher() if integrity is not None else None

    def result(self) -> Unpacked:
        """All of it, after the hash was found right."""
        with self._unpacking as unpacking:
            self._read()
            return unpacking.result()

    def _read(self) -> None:
        """Unpack; a fault of the hash is said before any other."""
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
        if not chunk.startswith(GZIP):
            while chunk:
                self._unpacking.take(chunk)
                chunk = self._chunk()
            return
        for _ in range(MEMBER_LIMIT):
            chunk = gunzip(chunk, self._chunk, self._unpacking.take)
            if not chunk:
                return
            if not chunk.startswith(GZIP[: len(chunk)]):
                self._padding(chunk)
                return
        raise UnsoundTarballError(f"it has more than {MEMBER_LIMIT} gzip members")

    def _padding(self, chunk: bytes) -> None:
        """Zeros may follow, as tapes have them."""
        while chunk:
            if chunk.strip(b"\0"):
                raise UnsoundTarballError("it has data behind its gzip stream")
            chunk = self._chunk()
