from __future__ import annotations

import hashlib
import io
import threading
import time
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from unionfs.archive.framecache import FrameCache
from unionfs.archive.frames import (
    COMPRESSED_LIMIT,
    FOOTER_SIZE,
    FrameWriter,
    SeekTable,
    decompress,
    skippable,
    unwrap,
)
from unionfs.archive.layer import LayerError
from unionfs.archive.table import FRAME_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def written(parts: list[bytes | None]) -> tuple[FrameWriter, io.BytesIO]:
    """A writer fed with parts; None cuts."""
    out = io.BytesIO()
    with FrameWriter(out) as writer:
        for part in parts:
            if part is None:
                writer.cut()
            else:
                writer.write(part)
        writer.finish()
    return writer, out


def test_decompress_wants_size_and_digest() -> None:
    data = b"abc" * 1000
    frame = zstandard.ZstdCompressor().compress(data)
    assert decompress(frame, 3000, digest(data)) == data
    with pytest.raises(LayerError, match="size"):
        decompress(frame, 2999, digest(data))
    with pytest.raises(LayerError, match="digest"):
        decompress(frame, 3000, digest(b""))
    with pytest.raises(LayerError):
        decompress(frame + b"more", 3000, digest(data))
    with pytest.raises(LayerError):
        decompress(b"", 3000, digest(data))


def test_a_frame_that_claims_to_be_huge_allocates_nothing() -> None:
    # Magic, a descriptor that says "single segment, 8 bytes of size", 2**60 bytes, and nothing.
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (2**60).to_bytes(8, "little") + b"\x01\x00\x00"
    assert zstandard.frame_content_size(bomb) == 2**60
    with pytest.raises(LayerError, match="size"):
        decompress(bomb, 100, digest(b""))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.none()
        | st.integers(0, 3 * FRAME_SIZE).map(lambda n: bytes([n % 251]) * n)
        | st.sampled_from([FRAME_SIZE, FRAME_SIZE - 1, FRAME_SIZE + 1]).map(bytes),
        max_size=6,
    )
)
def test_the_writer_cuts_the_stream_and_loses_nothing(parts: list[bytes | None]) -> None:
    writer, out = written(parts)
    stream = b"".join(part for part in parts if part)
    table = writer.finish()
    assert table.stream_size == len(stream) == writer.position
    assert sum(size for size, _ in writer.sizes) == out.tell()
    bounds = [*table.starts, len(stream)]
    offset = 0
    for frame, (compressed, size) in enumerate(writer.sizes):
        content = stream[bounds[frame] : bounds[frame + 1]]
        assert 0 < size == len(content) <= FRAME_SIZE
        assert table.digests[frame] == digest(content)
        data = out.getvalue()[offset : offset + compressed]
        assert decompress(data, size, digest(content)) == content
        offset += compressed
    cuts, position = set(), 0
    for part in parts:
        position += len(part or b"")
        if part is None and 0 < position < len(stream):
            cuts.add(position)
    assert cuts <= set(table.starts)


def test_incompressible_frames_stay_below_the_limit() -> None:
    writer, _ = written([hashlib.shake_128().digest(FRAME_SIZE)])
    assert FRAME_SIZE < writer.sizes[0][0] <= COMPRESSED_LIMIT


def test_a_failing_output_stops_the_writer() -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with FrameWriter(Full()) as writer, pytest.raises(OSError, match="No space"):
        writer.write(bytes(1000 * FRAME_SIZE))


def test_the_seek_table_follows_the_seekable_format() -> None:
    table = SeekTable.encode([(10, 100), (20, 200), (30, 0)])
    # zstd_seekable_compression_format.md 0.1.0, byte by byte.
    assert table[:4] == bytes.fromhex("5e2a4d18")
    assert int.from_bytes(table[4:8], "little") == len(table) - 8 == 3 * 8 + 9
    assert table[-9:] == (3).to_bytes(4, "little") + b"\0" + bytes.fromhex("b1ea928f")
    assert SeekTable.size(table[-FOOTER_SIZE:]) == len(table)
    read = SeekTable.decode(table, 60 + len(table))
    assert read.frame_count == 2
    assert [read.place(0), read.place(1)] == [(0, 10), (10, 20)]
    assert (read.offsets[-1], read.end) == (30, 60)
    with pytest.raises(LayerError, match="match its size"):
        SeekTable.decode(table, 61 + len(table))


@pytest.mark.parametrize("size", [0, COMPRESSED_LIMIT + 1])
def test_an_impossible_place_is_not_believed(size: int) -> None:
    table = SeekTable.encode([(size, 100), (30, 0)])
    with pytest.raises(LayerError):
        SeekTable.decode(table, size + 30 + len(table)).place(0)


@pytest.mark.parametrize("footer", [b"", b"short", bytes(9), SeekTable.encode([])[-9:]])
def test_no_seek_table(footer: bytes) -> None:
    with pytest.raises(LayerError):
        SeekTable.size(footer)


def test_skippable_frames() -> None:
    frame = skippable(0x184D2A50, b"payload")
    assert unwrap(0x184D2A50, frame) == b"payload"
    for bad in (b"", frame[:-1], frame + b"x", frame[:7]):
        with pytest.raises(LayerError):
            unwrap(0x184D2A50, bad)
    with pytest.raises(LayerError):
        unwrap(0x184D2A51, frame)


def loader(content: bytes, calls: list[int]) -> Callable[[], bytes]:
    def load() -> bytes:
        calls.append(1)
        return content

    return load


def test_the_cache_drops_what_was_not_used_longest() -> None:
    cache = FrameCache(300)
    calls: list[int] = []
    for number in (0, 1, 2):
        cache.get((b"a", number), loader(bytes(100), calls))
    assert cache.get((b"a", 0), loader(b"", calls)) == bytes(100)
    cache.get((b"a", 3), loader(bytes(100), calls))
    assert cache.peek((b"a", 1)) is None
    assert [cache.peek((b"a", number)) for number in (0, 2, 3)] == [bytes(100)] * 3
    assert (cache.size, cache.hits, cache.misses, len(calls)) == (300, 4, 4, 4)
    cache.get((b"b", 0), loader(bytes(301), calls))
    assert cache.peek((b"b", 0)) is None
    assert cache.size == 300


def test_the_cache_drops_what_nobody_has_asked_for_in_a_while() -> None:
    cache = FrameCache(400)
    calls: list[int] = []
    assert cache.forget_unused() == 0
    for number in (0, 1, 2):
        cache.get((b"a", number), loader(bytes(100), calls))
    assert cache.forget_unused() == 0
    assert cache.peek((b"a", 1)) is not None
    cache.get((b"a", 3), loader(bytes(100), calls))
    assert cache.forget_unused() == 200
    assert [cache.peek((b"a", number)) is None for number in range(4)] == [True, False, True, False]
    cache.get((b"a", 4), loader(bytes(300), calls))  # and it still drops what is beyond its room
    assert (cache.size, cache.peek((b"a", 1))) == (400, None)
    assert (cache.forget_unused(), cache.forget_unused()) == (0, 400)
    assert (cache.size, cache.forget_unused()) == (0, 0)


def test_a_failed_load_is_not_kept_and_does_not_stick() -> None:
    cache = FrameCache()

    def fail() -> bytes:
        raise LayerError("flipped")

    for _ in range(2):
        with pytest.raises(LayerError, match="flipped"):
            cache.get((b"a", 0), fail)
    assert cache.get((b"a", 0), lambda: b"fine") == b"fine"


def test_readers_of_one_frame_load_it_once() -> None:
    cache = FrameCache(0)  # even where nothing is kept, those who wait share
    calls: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def load() -> bytes:
        calls.append(1)
        begun.set()
        go.wait(10)
        return b"content"

    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.get((b"a", 0), load))) for _ in range(8)
    ]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    # Where nothing is kept, one that comes too late would load for itself: give them time.
    threads[1].join(0.3)
    go.set()
    for thread in threads:
        thread.join(10)
    assert found == [b"content"] * 8
    assert len(calls) == 1
    assert (cache.hits, cache.misses) == (7, 1)


def test_who_waited_for_a_failure_tries_again() -> None:
    cache = FrameCache()
    begun, go = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def fail() -> bytes:
        begun.set()
        go.wait(10)
        raise LayerError("damaged")

    def first() -> None:
        try:
            cache.get((b"a", 0), fail)
        except LayerError as error:
            failures.append(error)

    one = threading.Thread(target=first)
    one.start()
    assert begun.wait(10)
    found: list[bytes] = []
    two = threading.Thread(target=lambda: found.append(cache.get((b"a", 0), lambda: b"mended")))
    two.start()
    two.join(0.1)
    go.set()
    one.join(10)
    two.join(10)
    assert len(failures) == 1
    assert found == [b"mended"]


def test_what_cannot_be_loaded_ahead_is_the_readers_to_find_out() -> None:
    def fail() -> bytes:
        raise LayerError("is damaged")

    cache = FrameCache()
    cache.ahead((b"a", 0), fail)
    cache.ahead((b"a", 1), lambda: b"one")
    deadline = time.monotonic() + 30
    while cache.peek((b"a", 1)) is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert cache.peek((b"a", 1)) == b"one"
    assert cache.peek((b"a", 0)) is None
    with pytest.raises(LayerError):
        cache.get((b"a", 0), fail)


def test_who_has_others_to_serve_waits_only_for_what_is_almost_done() -> None:
    go, begun = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        go.wait(30)
        return b"slow"

    cache = FrameCache()
    cache.ahead((b"a", 0), slow)
    begun.wait(30)
    assert cache.get_at_once((b"a", 0), lambda: b"other") is None
    go.set()
    assert cache.get((b"a", 0), lambda: b"other") == b"slow"
