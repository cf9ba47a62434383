"""An archive's beginning: its tables and the frames that its trace names, as one small file.

Whoever begins an archive needs these and, if the trace is right, nothing else: one request brings
them, and they take half the bytes. In the archive each frame is compressed by itself, and quickly;
here all are one zstd frame (RFC 8878), whose content is, all numbers little-endian,

    magic       8 bytes, `PKGVBEGN`
    format      4 bytes, 1
    frames      4 bytes, their number
    size        8 bytes, of the archive's file
    tables      8 bytes, how many of them are its tables: contents and seek table
    numbers     4 bytes for each frame, rising
    tables      the end of the archive's file
    frames      the content of each, one after the other

It proves nothing: tables are compared with the archive's name, frames with the tables. A frame is
compressed again as it was for the archive (`Filling.fill`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

import zstandard

from unionfs.archive.frames import compressed
from unionfs.archive.layer import LayerError
from unionfs.store.partial import LARGEST_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unionfs.archive.reader import Archive

MAGIC: Final = b"PKGVBEGN"
FORMAT: Final = 1
_HEADER: Final = struct.Struct("<8sIIQQ")

LEVEL: Final = 18
WINDOW_LOG: Final = 25
"""Of zstd, for what is made once and fetched often: 3 MB of content a second, and a tenth less than
by a level that takes a seventh of that. The window is memory of whoever reads it."""

MOST_FRAMES: Final = 1 << 10
"""128 MiB of content, for which the first program has to wait; what a trace has beyond it is
fetched while it runs."""

LARGEST: Final = 1 << 27
"""Bytes of such a file."""


def written(archive: Archive, frames: Sequence[int]) -> bytes:
    """The beginning of an archive, with these frames; `LayerError` for one that is damaged.

    Without those that our zstd did not pack, which nobody could write. b"" where none is left.
    """
    numbers = [
        frame
        for frame in sorted(set(frames))[:MOST_FRAMES]
        if compressed(archive.load(frame), archive.seek.place(frame)[1]) is not None
    ]
    if not numbers:
        return b""
    tables_at = archive.seek.offsets[-1]
    with open(archive.path, "rb") as file:  # noqa: PTH123 - as the archive has it
        file.seek(tables_at)
        tables = file.read()
    header = _HEADER.pack(MAGIC, FORMAT, len(numbers), archive.size, len(tables))
    parts = [header, struct.pack(f"<{len(numbers)}I", *numbers), tables]
    size = sum(map(len, parts))
    for frame in numbers:
        start, end = archive.contents.frame_span(frame)
        size += end - start
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, source_size=size, window_log=min(WINDOW_LOG, max(10, size.bit_length()))
    )
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=size)
    made = [packing.compress(part) for part in parts]
    made += [packing.compress(archive.load(frame)) for frame in numbers]
    return b"".join((*made, packing.flush()))


class _Source(Protocol):
    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; b"" at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is known before the frames: their numbers, the file's size, its tables; and the rest."""

    numbers: Sequence[int]
    size: int
    tables: bytes
    rest: _Source

    def frames(self, archive: Archive) -> Iterator[tuple[int, bytes]]:
        """Each frame with its content, of which nothing is proved; `archive` is it, opened."""
        for number in self.numbers:
            start, end = archive.contents.frame_span(number)
            yield number, _exactly(self.rest, end - start)


def read(data: _Source, name: str) -> Beginning:
    """What `written` wrote for the archive of that name; `LayerError` for all else."""
    reader = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG).stream_reader(
        cast("BinaryIO", data)
    )
    try:
        magic, number, count, size, length = _HEADER.unpack(_exactly(reader, _HEADER.size))
        if (magic, number) != (MAGIC, FORMAT) or count > MOST_FRAMES or length > LARGEST_TABLES:
            raise LayerError("is none that is known here")  # noqa: TRY301 - with its name
        numbers = struct.unpack(f"<{count}I", _exactly(reader, 4 * count))
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise LayerError("has frames in no order")  # noqa: TRY301 - the same
        return Beginning(numbers, size, _exactly(reader, length), reader)
    except LayerError as error:
        raise LayerError(f"the beginning of {name} {error}") from error


class Incoming:
    """What comes of a file, for a thread that reads it: `put` never waits, `read` does."""

    def __init__(self) -> None:
        self._parts: SimpleQueue[bytes] = SimpleQueue()
        self._rest = b""

    def put(self, part: bytes) -> None:
        """More has come; b"": no more comes."""
        self._parts.put(part)

    def read(self, size: int) -> bytes:
        """Up to so many bytes; b"" at the end."""
        part = self._rest or self._parts.get()
        if not part:
            self._parts.put(b"")  # it stays the end
        self._rest = part[size:]
        return part[:size]


def _exactly(reader: _Source, size: int) -> bytes:
    parts = []
    while size:
        try:
            part = reader.read(min(size, 1 << 20))
        except zstandard.ZstdError as error:
            raise LayerError(f"cannot be decompressed ({error})") from error
        if not part:
            raise LayerError("is cut short")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
