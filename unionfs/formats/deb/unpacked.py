"""A part of a .deb, unpacked: one stream of gzip, xz or zstd, or none, and nothing behind it.

Whatever the bytes say, at most some 64 MiB of what is unpacked are held at a time, and what xz and
zstd want for their windows is bounded, too: dpkg's own settings need 9 and 128 MiB at most.
"""

from __future__ import annotations

import lzma
import os
from typing import TYPE_CHECKING, BinaryIO, Final

import zstandard

from unionfs.formats.tar.fault import UnsoundTarballError
from unionfs.formats.tar.unpacked import CHUNK, GZIP, RATIO_FLOOR, Unpacking, gunzip

if TYPE_CHECKING:
    from collections.abc import Callable

    from unionfs.formats.deb.ar import Part
    from unionfs.formats.tar.unpacked import Unpacked

SIZE_LIMIT: Final = 8 * 2**30
"""Most bytes unpacked. The largest packages of Debian have about 4 GiB."""

CONTROL_LIMIT: Final = 32 * 2**20
"""Most bytes of the control part, unpacked."""

RATIO_LIMIT: Final = 400
"""More than `RATIO_FLOOR` bytes unpacked may not be more than so many times as many as are packed.
Packages reach 3 to 30, some of documentation or tables 100; xz and zstd can do thousands."""

_WINDOW = 128 * 2**20
_MEMORY = 192 * 2**20

_PIECE = 2048
"""What zstd gets at a time: it cannot be told how much to give back, and 4 bytes can be 128 KiB."""


def unpacked(file: BinaryIO, part: Part, most: int = SIZE_LIMIT) -> Unpacked:
    """The tar stream of a part; `UnsoundTarballError` for what is not sound, or too large."""
    limit = min(most, max(RATIO_FLOOR, RATIO_LIMIT * part.size))
    with Unpacking(limit) as unpacking:
        reading = _Reading(file, part)
        rest = _UNPACKERS[part.packed](reading.chunk, unpacking.take)
        if rest or reading.chunk():
            raise UnsoundTarballError(f"it has data behind its {part.packed} stream")
        return unpacking.result()


class _Reading:
    """A part's bytes as they are in the file."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file = file
        self._at = part.start
        self._end = part.start + part.size

    def chunk(self) -> bytes:
        """The next of them; b"" at the end."""
        found = os.pread(self._file.fileno(), min(CHUNK, self._end - self._at), self._at)
        if not found and self._at < self._end:
            raise UnsoundTarballError("it became shorter while it was read")
        self._at += len(found)
        return found


def _plain(more: Callable[[], bytes], take: Callable[[bytes], None]) -> bytes:
    while chunk := more():
        take(chunk)
    return b""


def _gz(more: Callable[[], bytes], take: Callable[[bytes], None]) -> bytes:
    chunk = more()
    if not chunk.startswith(GZIP):
        raise UnsoundTarballError("its gz stream is none")
    return gunzip(chunk, more, take)


def _xz(more: Callable[[], bytes], take: Callable[[bytes], None]) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    while True:
        chunk = more() if unpacker.needs_input else b""
        if unpacker.needs_input and not chunk:
            raise UnsoundTarballError("its xz stream ends early")
        try:
            take(unpacker.decompress(chunk, CHUNK))
        except lzma.LZMAError as error:
            raise UnsoundTarballError(f"its xz stream is damaged, or too large: {error}") from error
        if unpacker.eof:
            return unpacker.unused_data


def _zst(more: Callable[[], bytes], take: Callable[[bytes], None]) -> bytes:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    while chunk := more():
        for at in range(0, len(chunk), _PIECE):
            try:
                take(unpacker.decompress(chunk[at : at + _PIECE]))
            except zstandard.ZstdError as error:
                raise UnsoundTarballError(
                    f"its zst stream is damaged, or its window too large: {error}"
                ) from error
            if unpacker.eof:
                return unpacker.unused_data or chunk[at + _PIECE :]
    raise UnsoundTarballError("its zst stream ends early")


_UNPACKERS: Final = {"": _plain, "gz": _gz, "xz": _xz, "zst": _zst}
