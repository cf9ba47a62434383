"""Frames: the pieces in which an archive is compressed, found, verified and kept.

An archive is a row of zstd frames (RFC 8878). Those that hold the tar stream are independent of
each other and hold at most `FRAME_SIZE` bytes each; a skippable frame with the table of contents
follows, and at the very end the seek table of the zstd project's *seekable format* 0.1.0
(contrib/seekable_format in its sources), itself a skippable frame. So the file is for `zstd` and
`tar` an ordinary compressed tar file, and for seekable readers a seekable one.

Nothing vouches for the seek table, and nothing has to: it says where compressed bytes lie, the
table of contents says what they must decompress to. A lie in it is an error, never wrong bytes.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from array import array
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, Final, Self

import zstandard

from unionfs.archive.layer import LayerError
from unionfs.archive.table import FRAME_SIZE, FrameTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

LEVEL: Final = 3
"""Of zstd: level 9 saves another tenth of the bytes and takes five times as long."""

ZSTD: Final = ".".join(map(str, zstandard.ZSTD_VERSION))
"""Its version: what it makes of a content may be other bytes with another one."""

LARGE_LEVEL: Final = 2
"""Of the content of large files: 1.3 times as fast for 1.5 % more bytes. (Level 1 is 1.5 times as
fast, for 7 %.)"""

LARGE: Final = 1 << 24
"""Bytes of a file that takes long enough for that to be felt."""

CONTENTS_MAGIC: Final = 0x184D2A50
"""RFC 8878 section 3.1.2: the first of the sixteen magic numbers of skippable frames."""

SKIPPABLE: Final = struct.Struct("<II")
"""The head of a skippable frame: magic number, bytes that follow."""

SKIPPABLE_LIMIT: Final = 2**32 - 1
_SEEK_MAGIC: Final = 0x184D2A5E
_SEEK_ENTRY: Final = struct.Struct("<II")
_SEEK_FOOTER: Final = struct.Struct("<IBI")
_SEEK_FOOTER_MAGIC: Final = 0x8F92EAB1
FOOTER_SIZE: Final = _SEEK_FOOTER.size

COMPRESSED_LIMIT: Final = FRAME_SIZE + FRAME_SIZE // 256 + 512
"""Most bytes a compressed frame can take (zstd.h, ZSTD_COMPRESSBOUND, is below this); a seek
table that claims more is not believed, so it cannot make a reader allocate."""

_local = threading.local()


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """The calling thread's own: costly to make, and not to be shared between threads."""
    known: dict[int, zstandard.ZstdCompressor] = vars(_local).setdefault("compressors", {})
    if level not in known:
        known[level] = zstandard.ZstdCompressor(
            level=level, write_checksum=False, write_content_size=True, write_dict_id=False
        )
    return known[level]


def compressed(content: bytes, size: int) -> bytes | None:
    """The frame of that content which takes `size` bytes; None where none of ours does.

    With one zstd it is always the same bytes.
    """
    frames = (_compressor(level).compress(content) for level in (LEVEL, LARGE_LEVEL))
    return next((frame for frame in frames if len(frame) == size), None)


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _local.decompressor
    return found


def decompress(data: bytes | bytearray, size: int, digest: bytes) -> bytes:
    """The content of one frame, which must have this size and SHA-256; else `LayerError`.

    The size that the frame claims is compared before anything is allocated for it.
    """
    try:
        if zstandard.frame_content_size(data) != size:
            raise LayerError("does not have the size that the contents list")
        content = _decompressor().decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise LayerError(f"cannot be decompressed ({error})") from error
    if hashlib.sha256(content).digest() != digest:
        raise LayerError("does not have the digest that the contents list")
    return content


def skippable(magic: int, payload: bytes) -> bytes:
    """A skippable frame."""
    return SKIPPABLE.pack(magic, len(payload)) + payload


def unwrap(magic: int, frame: bytes) -> bytes:
    """The payload of a skippable frame; `LayerError` unless it is one, whole, of that magic."""
    size = len(frame) - SKIPPABLE.size
    if size < 0 or SKIPPABLE.unpack_from(frame) != (magic, size):
        raise LayerError(f"has no frame of the kind {magic:#x} where its seek table says")
    return frame[SKIPPABLE.size :]


@dataclass(frozen=True, slots=True)
class SeekTable:
    """Where every frame of an archive lies in its file.

    `offsets` holds the beginning of every content frame and, last, of the contents' frame;
    `end` is where that one ends and the seek table itself begins.
    """

    offsets: array[int]
    end: int

    @staticmethod
    def encode(frames: Sequence[tuple[int, int]]) -> bytes:
        """The seek table's frame; `frames` are (compressed, uncompressed) sizes of all frames."""
        entries = b"".join(_SEEK_ENTRY.pack(*sizes) for sizes in frames)
        footer = _SEEK_FOOTER.pack(len(frames), 0, _SEEK_FOOTER_MAGIC)
        return skippable(_SEEK_MAGIC, entries + footer)

    @staticmethod
    def size(footer: bytes) -> int:
        """How many bytes the seek table takes whose last `FOOTER_SIZE` bytes these are."""
        if len(footer) != FOOTER_SIZE:
            raise LayerError("is cut short")
        count, descriptor, magic = _SEEK_FOOTER.unpack(footer)
        if magic != _SEEK_FOOTER_MAGIC or descriptor or not count:
            raise LayerError("does not end in a seek table: it is cut short or no archive")
        return SKIPPABLE.size + int(count) * _SEEK_ENTRY.size + _SEEK_FOOTER.size

    @classmethod
    def decode(cls, data: bytes, file_size: int) -> SeekTable:
        """Read what `encode` wrote, `data` being the last bytes of a file of that size."""
        entries = unwrap(_SEEK_MAGIC, data)[: -_SEEK_FOOTER.size]
        sizes = [compressed for compressed, _ in _SEEK_ENTRY.iter_unpack(entries)]
        offsets = array("Q", accumulate(sizes, initial=0))
        end = offsets.pop()
        if end + len(data) != file_size:
            raise LayerError("has a seek table that does not match its size")
        return cls(offsets, end)

    @property
    def frame_count(self) -> int:
        """The number of content frames."""
        return len(self.offsets) - 1

    def place(self, frame: int) -> tuple[int, int]:
        """(offset, compressed size) of a content frame."""
        start, end = self.offsets[frame], self.offsets[frame + 1]
        if not 0 < end - start <= COMPRESSED_LIMIT:
            raise LayerError("has an impossible place in the seek table")
        return start, end - start


class FrameWriter:
    """Cuts a stream into frames, compresses them and writes them, in order, to `out`.

    Digests and compression run in other threads (both let go of the interpreter's lock), a few
    frames ahead of what is written, so memory stays bounded whatever the stream's length. Which
    thread takes which frame changes nothing in the bytes: frames are independent. `level` is that
    of the frames which are cut next. Use as a context manager; one thread calls it.
    """

    def __init__(self, out: BinaryIO) -> None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - 5 ms; reading needs none

        self._out = out
        self._buffer = bytearray()
        self._starts: list[int] = []
        self._digests: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self.position = 0
        self.level = LEVEL
        threads = min(4, len(os.sched_getaffinity(0)))
        self._ahead = 2 * threads
        self._pending: deque[Future[tuple[bytes, int, bytes]]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pack")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def room(self) -> int:
        """How many bytes the frame under way can still take."""
        return FRAME_SIZE - len(self._buffer)

    def write(self, data: bytes) -> None:
        """Append to the stream, cutting wherever a frame is full."""
        self.position += len(data)
        while data:
            if not self._buffer and len(data) == FRAME_SIZE:
                self._submit(data)
                return
            room = self.room
            self._buffer += data[:room]
            data = data[room:]
            if len(self._buffer) == FRAME_SIZE:
                self.cut()

    def cut(self) -> None:
        """End the frame under way; what comes next begins a new one."""
        if self._buffer:
            content = bytes(self._buffer)
            self._buffer.clear()
            self._submit(content)

    def finish(self) -> FrameTable:
        """End the stream; every frame is in `out` afterwards."""
        self.cut()
        while self._pending:
            self._take()
        return FrameTable(starts=self._starts, digests=self._digests, stream_size=self.position)

    def _submit(self, content: bytes) -> None:
        if len(self._pending) >= self._ahead:
            self._take()
        self._pending.append(self._pool.submit(_compress, content, self.level))

    def _take(self) -> None:
        compressed, size, digest = self._pending.popleft().result()
        before = self._starts[-1] + self.sizes[-1][1] if self._starts else 0
        self._starts.append(before)
        self._digests.append(digest)
        self.sizes.append((len(compressed), size))
        self._out.write(compressed)


def _compress(content: bytes, level: int) -> tuple[bytes, int, bytes]:
    return _compressor(level).compress(content), len(content), hashlib.sha256(content).digest()
