"""The fetcher's work with remote stores that break off, lie, or are gone; in one process."""

from __future__ import annotations

import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.unionfs.store.lazy.test_filling import FILES, FileTransport, begun, packed
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import LayerError
from unionfs.store.local import Store
from unionfs.store.partial import Origin, Partials, Source
from unionfs.store.remote.lazy import pieces, works
from unionfs.store.remote.lazy.fetching import Fetching
from unionfs.store.remote.lazy.plan import Order
from unionfs.store.remote.transport import Blob, RemoteError, Transient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    Home = tuple["Faulty", str, Partials]


class Faulty(FileTransport):
    """Sends `part` bytes at a time; `fault` may change or break off what was asked for."""

    part = 10_000
    delay = 0.0

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.fault: Callable[[int, bytes], bytes] = lambda _, data: data
        self.error: Exception | None = None

    async def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        self.asked.append((start, end))
        await trio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        data = self.fault(start, (self.directory / blob.address).read_bytes()[start:end])
        for at in range(0, len(data), self.part):
            yield data[at : at + self.part]
            await trio.lowlevel.checkpoint()
        if len(data) < end - start:
            raise Transient("it broke off")


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A partial archive of which only the tables are here."""
    monkeypatch.setattr(works, "FIRST_PAUSE", 0.001)
    name = packed(tmp_path / "there", FILES)
    transport = Faulty(tmp_path / "there/archives")
    here = Partials(tmp_path / "here")
    await begun(here, transport, name)
    transport.asked.clear()
    return transport, name, here


@asynccontextmanager
async def fetching(here: Partials, *transports: FileTransport) -> AsyncIterator[Fetching]:
    """`file://there` is the first, `file://there/1` the next."""

    @asynccontextmanager
    async def transport_for(url: str) -> AsyncIterator[FileTransport]:
        await trio.lowlevel.checkpoint()
        yield transports[int(url.partition("there/")[2] or 0)]

    made = Fetching(here, transport_for)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


def is_whole(here: Partials, name: str) -> bool:
    return Store(here.root).keeps(name)


async def test_sixteen_who_wait_cost_one_fetch_of_each_frame(home: Home) -> None:
    transport, name, here = home
    transport.delay = 0.01
    archive = here.open(name, FrameCache())
    async with fetching(here, transport) as work, trio.open_nursery() as nursery:
        for number in range(16):
            for frame in range(number % 3, archive.contents.frame_count, 3):
                nursery.start_soon(work.wait, {name: [frame]}, Order.ASKED)
    spans = sorted(transport.asked)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert is_whole(here, name)


async def test_connections_that_break_off_at_every_place(home: Home) -> None:
    """Each request gets a little further than the one before: what came counts."""
    transport, name, here = home
    lengths = iter(range(0, 1 << 30, 7_001))
    transport.fault = lambda _, data: data[: next(lengths) % 300_000]
    async with fetching(here, transport) as work:
        with trio.fail_after(30):
            await work.wait({name: None}, Order.ASKED)
    assert is_whole(here, name)


async def test_wrong_bytes_at_every_frame_are_an_error_that_names_it(home: Home) -> None:
    transport, name, here = home
    archive = here.open(name, FrameCache())
    offsets = archive.seek.offsets
    for frame in range(archive.contents.frame_count):
        if not archive.absent_of([frame]):
            continue
        at = (offsets[frame] + offsets[frame + 1]) // 2

        def lie(start: int, data: bytes, at: int = at) -> bytes:
            place = at - start
            if not 0 <= place < len(data):
                return data
            return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

        transport.fault = lie
        async with fetching(here, transport) as work:
            with pytest.raises(LayerError, match=f"{name[:4]}.*frame {frame} .*file://there"):
                await work.wait({name: [frame]}, Order.ASKED)
            others = [one for one in range(len(offsets) - 1) if abs(one - frame) == 1]
            await work.wait({name: others}, Order.ASKED)  # they came, or come without it
        assert archive.absent_of([frame])
        here.unmark(name, range(len(offsets) - 1))
    transport.fault = lambda _, data: data
    async with fetching(here, transport) as work:
        await work.wait({name: None}, Order.ASKED)
    assert is_whole(here, name)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (True, None),
        (False, RemoteError("it has none")),
        (False, Transient("it is gone", wait=1000)),
    ],
)
async def test_the_next_store_is_asked(
    home: Home, tmp_path: Path, *, wrong: bool, error: Exception | None
) -> None:
    transport, name, here = home
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).write_bytes((transport.directory / name).read_bytes())
    other = Faulty(tmp_path / "other")
    size = (transport.directory / name).stat().st_size
    sources = tuple(Source(store=url, address=name) for url in ("file://there", "file://there/1"))
    here.origin_path(name).write_bytes(Origin(size=size, sources=sources).to_bytes())
    if wrong:
        transport.fault = lambda _, data: bytes(len(data))
    transport.error = error
    async with fetching(here, transport, other) as work:
        with trio.fail_after(10):
            await work.wait({name: [3]}, Order.ASKED)
    assert transport.asked
    assert other.asked


async def test_who_does_not_get_it_is_told_why_and_in_time(home: Home) -> None:
    transport, name, here = home
    async with fetching(here, transport) as work:
        transport.error = Transient("the server is busy")
        began = time.monotonic()
        with pytest.raises(LayerError, match=r"frame 3 .*file://there within 0 s: the server is b"):
            await work.wait({name: [3]}, Order.ASKED, within=0.4)
        with pytest.raises(LayerError, match="busy"):  # the kernel asks twice
            await work.wait({name: [3]}, Order.ASKED, within=30)
        assert time.monotonic() - began < 2
        transport.error = RemoteError("the store does not have it")
        with pytest.raises(LayerError, match="does not have it"):
            await work.wait({name: [9]}, Order.ASKED, within=30)
        transport.error = None
        await trio.sleep(pieces.REFUSED_SECONDS)
        await work.wait({name: [3, 9]}, Order.ASKED, within=30)


async def test_two_fetchers_share_an_archive(home: Home) -> None:
    """Of two environments, or two machines with one home: one writes, and each gets all."""
    transport, name, here = home
    transport.delay = 0.01
    count = here.open(name, FrameCache()).contents.frame_count
    async with fetching(here, transport) as one, fetching(here, transport) as other:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    work = (one, other)[number % 2]
                    nursery.start_soon(work.wait, {name: [number]}, Order.ASKED)
    assert is_whole(here, name)


async def test_a_full_disk_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    transport, name, here = home

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unionfs.store.remote.lazy.filling._write", full)
    async with fetching(here, transport) as work:
        with pytest.raises(LayerError, match="No space left"):
            await work.wait({name: [3]}, Order.ASKED, within=30)
        monkeypatch.undo()
        await work.wait({name: [3]}, Order.ASKED, within=30)
