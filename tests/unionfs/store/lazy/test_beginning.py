"""Beginnings of archives: written where they are, and believed in nothing where they are read."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import zstandard

from tests.unionfs.store.lazy.test_filling import FILES, FileTransport, packed
from unionfs.archive import frames
from unionfs.archive.framecache import FrameCache
from unionfs.archive.frames import ZSTD
from unionfs.archive.layer import LayerError
from unionfs.archive.reader import Archive
from unionfs.store.local import Store
from unionfs.store.partial import Partials
from unionfs.store.remote.lazy import beginning
from unionfs.store.remote.lazy.filling import begin, begin_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NUMBERS = [0, 2, 3, 9]


class Both:
    """An archive where it is whole, and a store that has nothing of it yet."""

    def __init__(self, directory: Path) -> None:
        self.name = packed(directory / "there", FILES)
        self.transport = FileTransport(directory / "there/archives")
        self.archive = Archive.open(directory / "there/archives" / self.name, FrameCache())
        self.here = Partials(directory / "here")

    async def begin(self, data: bytes) -> Sequence[int]:
        await self.transport.put_beginning(self.name, ZSTD, data)
        blob = await self.transport.find(self.name)
        start = await self.transport.beginning(self.name, ZSTD)
        assert blob is not None
        assert start is not None
        return await begin_with(self.here, self.transport, blob, start)

    def come(self) -> list[int]:
        return self.here.open(self.name, FrameCache(0)).here()


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


async def test_one_request_brings_tables_and_frames(both: Both) -> None:
    data = beginning.written(both.archive, NUMBERS)
    assert list(await both.begin(data)) == NUMBERS
    assert both.transport.asked == [(0, len(data))]
    assert both.come() == NUMBERS
    assert both.here.wrong(both.name) == []
    partial = both.here.open(both.name, FrameCache(0))
    assert [partial.load(one) == both.archive.load(one) for one in NUMBERS] == [True] * 4
    # It is there: nothing is fetched.
    assert list(await both.begin(beginning.written(both.archive, [0, 1]))) == []
    assert len(both.transport.asked) == 1
    assert both.come() == NUMBERS


async def test_who_comes_together_fetches_it_once(both: Both) -> None:
    data = beginning.written(both.archive, NUMBERS)
    found: list[list[int]] = []

    async def begin_one() -> None:
        found.append(list(await both.begin(data)))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(begin_one)
    assert sorted(found) == [[], [], [], [], NUMBERS]
    assert both.transport.asked == [(0, len(data))]
    both.here.tidy()
    assert {path.suffix for path in both.here.directory.iterdir()} == {".zst", ".frames", ".from"}


async def test_all_of_it_is_an_ordinary_archive(both: Both) -> None:
    count = both.archive.contents.frame_count
    await both.begin(beginning.written(both.archive, range(count)))
    path = Store(both.here.root).path(both.name)
    assert path.read_bytes() == (both.transport.directory / both.name).read_bytes()
    assert both.here.names() == []


async def test_by_another_zstd_its_tables_are_here(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = beginning.written(both.archive, NUMBERS)

    def other(_content: bytes, _size: int) -> None:
        return

    monkeypatch.setattr("unionfs.store.remote.lazy.filling.compressed", other)
    await both.begin(data)
    assert both.come() == []
    assert not both.here.open(both.name, FrameCache(0)).whole
    # What another one has packed is no beginning by this one.
    monkeypatch.setattr(beginning, "compressed", other)
    assert not beginning.written(both.archive, NUMBERS)


def unpacked(data: bytes) -> bytearray:
    return bytearray(zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 24))


def packed_again(content: bytearray) -> bytes:
    return zstandard.ZstdCompressor().compress(bytes(content))


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"x"), (8, b"\2"), (12, b"\xff\xff\xff\xff"), (16, b"\0"), (24, b"\xff" * 8),
     (24, b"\0"), (32, struct.pack("<I", 2)), (44, struct.pack("<I", 99))],
    ids=["magic", "format", "many", "size", "tables", "short", "order", "absent"],
)  # fmt: skip
async def test_what_is_none(both: Both, at: int, value: bytes) -> None:
    content = unpacked(beginning.written(both.archive, NUMBERS))
    content[at : at + len(value)] = value
    with pytest.raises(LayerError):
        await both.begin(packed_again(content))
    assert not both.here.has(both.name) or both.here.wrong(both.name) == []


async def test_of_what_is_wrong_nothing_counts(both: Both) -> None:
    content = unpacked(beginning.written(both.archive, NUMBERS))
    content[-1] ^= 1
    with pytest.raises(LayerError, match="frame 9 of its beginning"):
        await both.begin(packed_again(content))
    assert both.come() == NUMBERS[:-1]  # what came before; the rest is fetched as ever
    blob = await both.transport.find(both.name)
    assert blob is not None
    assert not await begin(both.here, both.transport, blob)


async def test_another_archives(both: Both, tmp_path: Path) -> None:
    name = packed(tmp_path / "other", {"large": FILES["large"], "one": b"1"})
    other = Archive.open(tmp_path / "other/archives" / name, FrameCache())
    with pytest.raises(LayerError):
        await both.begin(beginning.written(other, [0]))
    assert not both.here.has(both.name)


async def test_cut_or_changed_anywhere(both: Both) -> None:
    data = beginning.written(both.archive, NUMBERS)
    chance = random.Random(3)  # noqa: S311 - places, no secret
    for _ in range(60):
        at = chance.randrange(len(data))
        changed = bytes([data[at] ^ 1 << chance.randrange(8)])
        for wrong in (data[:at], data[:at] + changed + data[at + 1 :]):
            with suppress(LayerError):
                await both.begin(wrong or b"x")
            if both.here.has(both.name):
                assert both.here.wrong(both.name) == []
            both.here.remove(both.name)


def test_a_frame_is_made_again_by_its_size() -> None:
    content = " ".join(map(str, range(20_000))).encode()
    for level in (frames.LEVEL, frames.LARGE_LEVEL):
        frame = zstandard.ZstdCompressor(level=level, write_dict_id=False).compress(content)
        assert frames.compressed(content, len(frame)) == frame
    assert frames.compressed(content, len(content)) is None
