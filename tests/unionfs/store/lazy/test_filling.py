"""Partial archives: begun, filled and made whole, with a remote store that is a file here."""

from __future__ import annotations

import io
import os
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from unionfs.archive import marks
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import ROOT, AbsentError, LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.store.partial import LARGEST, Origin, Partials, Source
from unionfs.store.remote.lazy.filling import Filling, begin
from unionfs.store.remote.transport import Blob, name_of_beginning

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

    from unionfs.archive.reader import Archive
    from unionfs.store.remote.transport import Statement


class FileTransport:
    """Reads from files of a directory; `asked` has the ranges."""

    url = "file://there"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[tuple[int, int]] = []

    async def find(self, name: str) -> Blob | None:
        path = self.directory / name
        return Blob(name=name, size=path.stat().st_size, address=name) if path.exists() else None

    async def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        self.asked.append((start, end))
        yield (self.directory / blob.address).read_bytes()[start:end]

    async def beginning(self, name: str, by: str) -> Blob | None:
        return await self.find(name_of_beginning(name, by))

    async def derived(self, key: str) -> tuple[Statement, ...]:
        raise NotImplementedError

    async def view(self, reference: str) -> Statement | None:
        raise NotImplementedError

    async def put_archive(self, name: str, path: Path) -> bool:
        raise NotImplementedError

    async def put_beginning(self, name: str, by: str, data: bytes) -> None:
        (self.directory / name_of_beginning(name, by)).write_bytes(data)

    async def put_derived(self, key: str, statement: Statement) -> None:
        raise NotImplementedError

    async def put_view(
        self, references: Sequence[str], statement: Statement, archives: Sequence[Blob]
    ) -> None:
        raise NotImplementedError


def packed(directory: Path, files: Mapping[str, bytes]) -> str:
    members = [
        Member(path=path.encode(), size=len(content), open=partial(io.BytesIO, content))
        for path, content in files.items()
    ]
    return Store(directory).add(
        members, Meta(kind="distribution", name="a", version="1", stem="a-1")
    )


FILES = {
    "large": random.Random(1).randbytes(900_000),  # noqa: S311 - content, no secret
    **{f"many/{number:04}": b"%d" % number for number in range(3000)},
}


@pytest.fixture
def there(tmp_path: Path) -> tuple[FileTransport, str]:
    name = packed(tmp_path / "there", FILES)
    return FileTransport(tmp_path / "there/archives"), name


@pytest.fixture
def here(tmp_path: Path) -> Partials:
    return Partials(tmp_path / "here")


async def begun(here: Partials, transport: FileTransport, name: str) -> Archive:
    blob = await transport.find(name)
    assert blob is not None
    assert await begin(here, transport, blob)
    return here.open(name, FrameCache())


def frames_of(directory: Path, archive: Archive) -> list[tuple[int, bytes]]:
    content = (directory / archive.name).read_bytes()
    offsets = archive.seek.offsets
    return [
        (frame, content[offsets[frame] : offsets[frame + 1]])
        for frame in range(archive.contents.frame_count)
    ]


async def test_it_begins_with_its_tables_and_ends_as_an_ordinary_one(
    here: Partials, there: tuple[FileTransport, str]
) -> None:
    transport, name = there
    archive = await begun(here, transport, name)
    assert len(transport.asked) == 2  # 3,000 members: more than the first request has
    assert not archive.whole
    assert here.has(name)
    assert here.names() == [name]
    path = here.path(name)
    assert path.stat().st_mode & 0o777 == 0o600
    assert here.sizes()[name] < path.stat().st_size == archive.size
    large = archive.find(b"large")
    assert large is not None
    assert archive.absent(large, 0, 1) == [1]
    assert archive.cached(large, 0, 1) is None
    with pytest.raises(AbsentError, match="frame 1 has not been fetched"):
        archive.read(large, 0, 1)
    assert not await begin(here, transport, Blob(name=name, size=archive.size, address=name))
    frames = frames_of(transport.directory, archive)
    filling = Filling.of(here, name)
    assert filling is not None
    assert Filling.of(here, name) is None  # another writes
    assert not here.remove(name)
    assert filling.put(frames[:4]) == {}
    assert archive.absent(large, 0, 400_000) == [1, 2, 3, 4]  # written, and not marked
    filling.commit([0, 1, 2, 3])
    assert archive.absent(large, 0, 400_000) == [4]
    assert archive.read(large, 100, 300_000) == FILES["large"][100:300_100]
    wrong = frames[5][1][:-1] + b"x"
    assert set(filling.put([(4, frames[4][1]), (5, wrong)])) == {5}
    assert not filling.put(frames[4:])
    filling.commit(range(4, len(frames)))
    filling.promote()
    filling.close()
    assert os.listdir(here.directory) == []
    store = Store(here.root)
    assert store.names() == [name]
    store.verify(name)


async def test_who_has_it_open_goes_on_when_it_is_whole(
    here: Partials, there: tuple[FileTransport, str]
) -> None:
    transport, name = there
    await begun(here, transport, name)
    store = Store(here.root)
    archive = here.open(name, FrameCache(), lambda: store.paths(name))
    filling = Filling.of(here, name)
    assert filling is not None
    frames = frames_of(transport.directory, archive)
    filling.put(frames)
    filling.commit(range(len(frames)))
    filling.promote()
    filling.close()
    for path, content in FILES.items():
        entry = archive.find(path.encode())
        assert entry is not None
        assert archive.absent(entry, 0, 1 << 20) == []
        assert archive.read(entry, 0, 1 << 20) == content
    assert archive.whole


async def test_a_small_one_is_whole_at_once(here: Partials, tmp_path: Path) -> None:
    name = packed(tmp_path / "there", {"one": b"1"})
    transport = FileTransport(tmp_path / "there/archives")
    blob = await transport.find(name)
    assert blob is not None
    assert await begin(here, transport, blob)
    assert Store(here.root).names() == [name]
    assert here.names() == []


async def test_what_is_there_is_refused_by_name(
    here: Partials, there: tuple[FileTransport, str]
) -> None:
    transport, name = there
    path = transport.directory / name
    content = path.read_bytes()
    path.chmod(0o600)
    for changed in (
        content[:-1],
        content[:-9] + b"\xff" * 4 + content[-5:],  # four thousand million frames
        content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
        content[:-60_000] + b"x" + content[-59_999:],
        b"",
        b"x",
    ):
        path.write_bytes(changed)
        blob = await transport.find(name)
        assert blob is not None
        with pytest.raises(LayerError, match=name.partition(".")[0]):
            await begin(here, transport, blob)
        assert here.names() == []
    for size in (-1, 0, LARGEST + 1):
        with pytest.raises(LayerError, match="bytes there"):
            await begin(here, transport, Blob(name=name, size=size, address=name))
    path.write_bytes(content)
    await begun(here, transport, name)


async def test_what_is_damaged_here_is_refused_and_begun_anew(
    here: Partials, there: tuple[FileTransport, str]
) -> None:
    transport, name = there
    archive = await begun(here, transport, name)
    found = here.marks_path(name).read_bytes()
    for changed in (b"", found[:-1], found + b"x", b"x" + found[1:], marks.encode(3, bytes(32))):
        here.marks_path(name).write_bytes(changed)
        with pytest.raises(LayerError, match="frames"):
            here.open(name, FrameCache())
    await begun(here, transport, name)
    for changed in (b"", b"{}", b"[" * 100_000, b'{"size": 1, "sources": []}', b"\xff"):
        here.origin_path(name).write_bytes(changed)
        with pytest.raises(LayerError, match="from"):
            Filling.of(here, name)
    here.origin_path(name).write_bytes(
        Origin(size=1, sources=(Source(store="a", address="b"),)).to_bytes()
    )
    with pytest.raises(LayerError, match="another file"):
        Filling.of(here, name)
    here.origin_path(name).unlink()
    await begun(here, transport, name)
    with here.path(name).open("rb+") as file:
        file.seek(-archive.contents.size // 2, os.SEEK_END)
        file.write(b"damage")
    with pytest.raises(LayerError, match=name.partition(".")[0]):
        here.open(name, FrameCache())
    await begun(here, transport, name)
    # What lost its file is tidied up, and so is what was being begun.
    here.path(name).unlink()
    (here.directory / ".tmp-0").touch()
    here.tidy()
    assert os.listdir(here.directory) == []


async def test_frames_that_turn_out_wrong_are_not_marked_any_more(
    here: Partials, there: tuple[FileTransport, str]
) -> None:
    transport, name = there
    archive = await begun(here, transport, name)
    frames = frames_of(transport.directory, archive)
    filling = Filling.of(here, name)
    assert filling is not None
    filling.put(frames[:4])
    filling.commit(range(4))
    with here.path(name).open("rb+") as file:
        file.seek(archive.seek.offsets[2] + 20)
        file.write(b"damage")
    assert here.wrong(name) == [2]
    assert filling.recheck([1, 2, 7]) == [2]
    assert here.wrong(name) == []
    large = archive.find(b"large")
    assert large is not None
    filling.close()
    assert here.unmark(name, [1])
    fresh = here.open(name, FrameCache())
    assert fresh.absent(large, 0, 300_000) == [1, 2]
    assert archive.entry(ROOT) == fresh.entry(ROOT)
    assert here.remove(name)
    assert os.listdir(here.directory) == []
