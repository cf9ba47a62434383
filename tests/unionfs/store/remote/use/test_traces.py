"""Traces as they are kept, and when one is whole."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.archive.framecache import FrameCache
from unionfs.store.remote.use import traces

if TYPE_CHECKING:
    from resolver.places import Places

NAME = f"a-1.{'ab' * 32}.tar.zst"


@given(st.sets(st.integers(0, 5000)))
def test_what_is_written_is_read(frames: set[int]) -> None:
    assert traces.from_bytes(traces.to_bytes(NAME, frames), NAME) == sorted(frames)


@pytest.mark.parametrize(
    "said",
    [b"", b"[]", b"{}", b"\xff", b"null", b'{"pkgview":1,"type":"trace","archive":1,"frames":""}'],
)
def test_what_is_none(said: bytes) -> None:
    with pytest.raises(traces.TraceError):
        traces.from_bytes(said, NAME)


@pytest.mark.parametrize("frames", ["x", "1-", "-1", "0-9999999", "1,,x", "99999999"])
def test_frames_that_cannot_be(frames: str) -> None:
    said = traces.to_bytes(NAME, [7]).replace(b'"7"', f'"{frames}"'.encode())
    with pytest.raises(traces.TraceError):
        traces.from_bytes(said, NAME)


def test_it_is_recorded_until_it_is_quiet(isolated_places: Places) -> None:
    cache = FrameCache()
    recorder = traces.Recorder(isolated_places, cache)
    one, other = bytes(32), bytes([1]) * 32
    cache.get((one, 3), lambda: b"x")
    cache.get((one, 3), lambda: b"x")
    assert cache.loaded == [(one, 3)]
    recorder.take(cache.taken(), 100.0)
    assert cache.taken() == []
    recorder.take([(one, 4), (other, 1)], 104.0)
    assert recorder.quiet(108.0) == []
    recorder.take([(other, 2)], 108.0)
    assert recorder.quiet(109.0) == []  # the program may come back to that one
    assert recorder.quiet(113.0) == [one, other]
    recorder.take([(other, 3)], 159.0)
    assert recorder.quiet(159.5) == []
    assert recorder.quiet(160.0) == [one]
    recorder.take([(other, 4)], 163.0)
    assert recorder.quiet(164.5) == [one, other]


def test_what_is_loaded_ahead_is_recorded_once_somebody_wants_it() -> None:
    cache, key, other = FrameCache(), (bytes(32), 1), (bytes(32), 2)
    cache.loaded = []
    begun, go_on = threading.Event(), threading.Event()

    def load() -> bytes:
        begun.set()
        assert go_on.wait(10)
        return b"x"

    cache.ahead(key, load)
    cache.ahead(other, lambda: b"x")
    assert begun.wait(10)
    assert cache.get_at_once(key, lambda: b"") is None  # wanted while it is on its way
    go_on.set()
    assert cache.get(key, lambda: b"") == b"x"
    while cache.size < 2:  # the other one is loaded, and nobody has wanted it
        time.sleep(0.001)
    assert cache.taken() == [key]
    assert cache.peek(other) == cache.peek(other) == b"x"
    assert cache.taken() == [other]


def test_the_first_trace_stays(isolated_places: Places) -> None:
    isolated_places.state.mkdir(parents=True)
    assert traces.load(isolated_places, NAME) == []
    traces.keep(isolated_places, NAME, [1, 2, 9])
    traces.keep(isolated_places, NAME, [5])
    assert traces.load(isolated_places, NAME) == [1, 2, 9]
