from __future__ import annotations

import hashlib
import io
import os
import random
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

import pytest
import zstandard

from scripts.bench.pagecache import pages, read_from_disk, resident
from tests.pagecache import forget, spans
from unionfs.archive import advice
from unionfs.archive.framecache import FrameCache
from unionfs.archive.frames import CONTENTS_MAGIC, SeekTable, skippable
from unionfs.archive.layer import ROOT, EntryNo, Kind, Layer, LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member, pack
from unionfs.archive.reader import FOLLOWING, Archive
from unionfs.archive.table import FRAME_SIZE, digest_of_contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

META = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0", origin="sha256:00")


def opener(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def file(path: bytes, data: bytes = b"", *, executable: bool = False) -> Member:
    return Member(path=path, executable=executable, size=len(data), open=opener(data))


def built(directory: Path, members: list[Member]) -> Path:
    out = io.BytesIO()
    path = directory / pack(members, META, out)
    path.write_bytes(out.getvalue())
    return path


BIG = hashlib.shake_128(b"big").digest(2 * FRAME_SIZE + 77)
SMALL = {b"purelib/a.py": b"a = 1\n", b"purelib/b.py": b"b = 2\n", b"purelib/empty": b""}


def members() -> list[Member]:
    return [
        *(file(path, data) for path, data in SMALL.items()),
        file(b"platlib/big.so", BIG, executable=True),
        Member(path=b"scripts/link", kind=Kind.SYMLINK, target=b"../purelib/a.py"),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return built(tmp_path, members())


@pytest.fixture
def archive(path: Path) -> Archive:
    return Archive.open(path, FrameCache())


def at(archive: Archive, path: bytes) -> EntryNo:
    number = archive.find(path)
    assert number is not None
    return number


def test_it_is_a_layer(archive: Archive) -> None:
    layer: Layer = archive
    assert [child[:2] for child in layer.children(ROOT)] == [
        (b"platlib", 1), (b"purelib", 2), (b"scripts", 3),
    ]  # fmt: skip
    assert layer.lookup(ROOT, b"purelib") == 2
    number = at(archive, b"platlib/big.so")
    entry = layer.entry(number)
    assert (entry.kind, entry.size, entry.executable) == (Kind.FILE, len(BIG), True)
    assert layer.digest(number) == hashlib.sha256(BIG).digest()
    assert layer.target(at(archive, b"scripts/link")) == b"../purelib/a.py"
    assert archive.path_of(number) == b"platlib/big.so"


def test_it_knows_itself(archive: Archive, path: Path) -> None:
    assert archive.name == path.name == f"demo-1.0.{archive.digest_hex}.tar.zst"
    assert archive.meta == META
    assert archive.size == path.stat().st_size
    assert len(archive) == 9
    assert archive.contents.content_size == len(BIG) + sum(map(len, SMALL.values()))
    assert archive.name in repr(archive)
    archive.verify()


def test_reads_like_a_file(archive: Archive) -> None:
    number = at(archive, b"platlib/big.so")
    edges = [0, 1, 511, 4096, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, len(BIG) - 1, len(BIG)]
    for offset in (*edges, len(BIG) + 1, 2**40):
        for size in (0, 1, 4096, FRAME_SIZE, 2 * FRAME_SIZE, 2**30):
            assert archive.read(number, offset, size) == BIG[offset : offset + size]
    for name, data in SMALL.items():
        assert archive.read(at(archive, name), 0, 2**30) == data
        assert archive.read(at(archive, name), 2, 2) == data[2:4]


def test_an_aligned_read_of_a_frame_copies_nothing(archive: Archive) -> None:
    number = at(archive, b"platlib/big.so")
    assert archive.read(number, 0, FRAME_SIZE) is archive.read(number, 0, FRAME_SIZE)


def test_only_files_can_be_read(archive: Archive) -> None:
    for number in (ROOT, at(archive, b"scripts/link")):
        with pytest.raises(LayerError, match="no file"):
            archive.read(number, 0, 1)
    with pytest.raises(IndexError):
        archive.read(EntryNo(99), 0, 1)
    for offset, size in ((-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="cannot read"):
            archive.read(at(archive, b"purelib/a.py"), offset, size)


def test_cached_answers_without_any_io(archive: Archive, path: Path) -> None:
    a, b = at(archive, b"purelib/a.py"), at(archive, b"purelib/b.py")
    big = at(archive, b"platlib/big.so")
    away = path.rename(path.with_name("away"))
    assert archive.cached(a, 0, 10) is None
    away.rename(path)
    assert archive.read(a, 0, 10) == SMALL[b"purelib/a.py"]
    archive.read(big, 0, 10)
    path.unlink()
    assert archive.cached(b, 0, 10) == SMALL[b"purelib/b.py"]
    assert archive.cached(big, 5, 10) == BIG[5:15]
    assert archive.cached(big, FRAME_SIZE - 5, 10) is None
    assert archive.cached(at(archive, b"purelib/empty"), 0, 10) == b""
    assert archive.cached(big, len(BIG), 10) == b""


def test_cached_reads_what_the_system_has_in_memory(path: Path) -> None:
    frames = FrameCache()
    archive = Archive.open(path, frames)
    big = at(archive, b"platlib/big.so")
    archive.read(big, 0, len(BIG))  # if it was not there, it is now
    archive = Archive.open(path, FrameCache())
    with path.open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(10)], 0, os.RWF_NOWAIT)
        except OSError as error:
            pytest.skip(f"this file system always waits: {error.strerror}")
    assert archive.cached(big, FRAME_SIZE - 5, 10) == BIG[FRAME_SIZE - 5 : FRAME_SIZE + 5]
    # A long read is left to others, and so is finding out what is wrong.
    assert Archive.open(path, FrameCache()).cached(big, 0, 3 * FRAME_SIZE) is None
    damaged = bytearray(path.read_bytes())
    for place in range(0, len(damaged) // 2, 100):
        damaged[place] ^= 1
    path.write_bytes(damaged)
    archive = Archive.open(path, FrameCache())
    assert archive.cached(big, 0, 10) is None
    with pytest.raises(LayerError, match="frame"):
        archive.read(big, 0, 10)


def test_no_descriptor_is_kept(path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    archive = Archive.open(path, FrameCache())
    archive.read(at(archive, b"platlib/big.so"), 0, 2**30)
    archive.verify()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_missing_archive_is_named(archive: Archive, path: Path) -> None:
    path.unlink()
    with pytest.raises(LayerError, match=r"demo-1\.0.*frame \d+.*|demo-1\.0.*No such file"):
        archive.read(at(archive, b"purelib/a.py"), 0, 1)
    with pytest.raises(LayerError, match=r"demo-1\.0.*No such file"):
        Archive.open(path, FrameCache())


def test_what_is_no_file_is_refused(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LayerError, match="regular"):
        Archive.open(path, FrameCache())
    path.unlink()
    path.mkdir()
    with pytest.raises(LayerError, match="regular"):
        Archive.open(path, FrameCache())


def test_another_name_is_refused(path: Path) -> None:
    for name in (
        path.name.replace("demo-1.0", "other-2.0"),
        path.name[:-20] + "0" * 12 + ".tar.zst",
        "demo.tar.zst",
    ):
        other = path.rename(path.with_name(name))
        with pytest.raises(LayerError):
            Archive.open(other, FrameCache())
        path = other


def everything(path: Path, cache: FrameCache) -> dict[bytes, tuple[object, ...]]:
    archive = Archive.open(path, cache)
    tree: dict[bytes, tuple[object, ...]] = {}
    for name, number in archive.walk():
        entry = archive.entry(number)
        content = archive.read(number, 0, entry.size) if entry.kind is Kind.FILE else b""
        target = archive.target(number) if entry.kind is Kind.SYMLINK else b""
        tree[name] = (entry, content, target)
    return tree


@pytest.fixture
def little(tmp_path: Path) -> Path:
    return built(
        tmp_path,
        [
            file(b"purelib/a.py", b"print('a')\n"),
            file(b"purelib/b.py", b"b" * 500, executable=True),
            Member(path=b"scripts/l", kind=Kind.SYMLINK, target=b"x"),
        ],
    )


def test_every_flipped_byte_is_an_error_or_harmless(little: Path) -> None:
    whole = little.read_bytes()
    expected = everything(little, FrameCache())
    messages = []
    for place in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            little.write_bytes(damaged)
            try:
                assert everything(little, FrameCache()) == expected
            except LayerError as error:
                messages.append(str(error))
    # Harmless: the uncompressed sizes in the seek table, which nobody here reads (8 bytes), and
    # a few bits of a zstd frame that say nothing.
    assert all(message.startswith("demo-1.0") for message in messages)
    assert len(messages) >= 3 * (len(whole) - 16)


def test_every_flipped_byte_of_the_frames_fails_verify(little: Path) -> None:
    whole = little.read_bytes()
    end = whole.index(CONTENTS_MAGIC.to_bytes(4, "little"))
    for place in range(end):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        little.write_bytes(damaged)
        try:
            Archive.open(little, FrameCache()).verify()
        except LayerError:
            continue
        # Some bits of a zstd frame say nothing (a reserved or unused bit, another coding of the
        # same bytes): then what comes out is still what was promised.
        assert everything(little, FrameCache())


def test_every_cut_is_an_error(little: Path) -> None:
    whole = little.read_bytes()
    for length in range(len(whole)):
        little.write_bytes(whole[:length])
        with pytest.raises(LayerError, match=r"demo-1\.0"):
            Archive.open(little, FrameCache())
    for more in (b"\0", whole):
        little.write_bytes(whole + more)
        with pytest.raises(LayerError):
            everything(little, FrameCache())


def test_a_file_cut_while_it_is_open(archive: Archive, path: Path) -> None:
    os.truncate(path, 1000)
    with pytest.raises(LayerError, match=r"demo-1\.0"):
        archive.read(at(archive, b"platlib/big.so"), FRAME_SIZE, 10)


def rebuilt(path: Path, change: Callable[[bytearray], bytes]) -> Path:
    """An archive whose tar stream was changed by who also wrote fitting digests everywhere."""
    source = Archive.open(path, FrameCache())
    contents = source.contents
    frames = [source.load(frame) for frame in range(contents.frame_count)]
    frames[0] = change(bytearray(frames[0]))
    table = bytearray(contents._data)
    at_digest = contents._digests_at
    table[at_digest : at_digest + 32] = hashlib.sha256(frames[0]).digest()
    compressed = [zstandard.ZstdCompressor().compress(frame) for frame in frames]
    wrapped = skippable(CONTENTS_MAGIC, bytes(table))
    seek = SeekTable.encode([*((len(c), 0) for c in compressed), (len(wrapped), 0)])
    stem = path.name.split(".")[0] + ".0"
    other = path.with_name(f"{stem}.{digest_of_contents(bytes(table)).hex()}.tar.zst")
    other.write_bytes(b"".join([*compressed, wrapped, seek]))
    return other


@pytest.mark.parametrize("place", [0, 100, 345, 1030])
def test_verify_finds_a_stream_that_tells_tar_something_else(path: Path, place: int) -> None:
    def change(frame: bytearray) -> bytes:
        frame[place] ^= 1
        return bytes(frame)

    other = rebuilt(path, change)
    archive = Archive.open(other, FrameCache())
    with pytest.raises(LayerError, match="tar stream"):
        archive.verify()
    Archive.open(rebuilt(path, bytes), FrameCache()).verify()


def test_verify_finds_content_without_its_digest(path: Path) -> None:
    def change(frame: bytearray) -> bytes:
        return bytes(frame).replace(b"a = 1\n", b"a = 2\n")

    small = built(path.parent, [file(b"purelib/a.py", b"a = 1\n")])
    archive = Archive.open(rebuilt(small, change), FrameCache())
    with pytest.raises(LayerError, match=r"purelib/a\.py"):
        archive.verify()


def test_packed_again_by_another_zstd_while_open(archive: Archive, path: Path) -> None:
    frames = [archive.load(frame) for frame in range(archive.contents.frame_count)]
    compressed = [zstandard.ZstdCompressor(level=19).compress(b) for b in frames]
    wrapped = skippable(CONTENTS_MAGIC, archive.contents._data)
    sizes = [(len(c), len(f)) for c, f in zip(compressed, frames, strict=True)]
    again = b"".join([*compressed, wrapped, SeekTable.encode([*sizes, (len(wrapped), 0)])])
    assert again != path.read_bytes()
    path.write_bytes(again)
    for name, data in SMALL.items():
        assert archive.read(at(archive, name), 0, 100) == data
    assert archive.read(at(archive, b"platlib/big.so"), 0, 2**30) == BIG


def test_many_threads_read_the_right_bytes(path: Path) -> None:
    cache = FrameCache(2 * FRAME_SIZE)
    archive = Archive.open(path, cache)
    number = at(archive, b"platlib/big.so")
    wrong: list[object] = []

    def reader(seed: int) -> None:
        chooser = random.Random(seed)  # noqa: S311 - reproducible offsets
        for _ in range(60):
            offset, size = chooser.randrange(len(BIG)), chooser.randrange(FRAME_SIZE)
            if archive.read(number, offset, size) != BIG[offset : offset + size]:
                wrong.append((offset, size))

    threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.size <= 2 * FRAME_SIZE
    assert cache.hits > cache.misses


def test_archives_share_one_cache_and_not_their_frames(tmp_path: Path) -> None:
    cache = FrameCache()
    one = Archive.open(built(tmp_path, [file(b"a", b"one")]), cache)
    two = Archive.open(built(tmp_path, [file(b"a", b"two")]), cache)
    assert (one.read(EntryNo(1), 0, 9), two.read(EntryNo(1), 0, 9)) == (b"one", b"two")
    assert (one.cached(EntryNo(1), 0, 9), two.cached(EntryNo(1), 0, 9)) == (b"one", b"two")
    assert cache.misses == 2


def test_who_reads_in_order_finds_the_next_frames_decompressed(tmp_path: Path) -> None:
    whole = hashlib.shake_128(b"whole").digest(6 * FRAME_SIZE)
    cache = FrameCache()
    archive = Archive.open(built(tmp_path, [file(b"purelib/whole", whole)]), cache)
    number = at(archive, b"purelib/whole")
    frames = [archive.contents.frame_at(archive.contents.content_span(number)[0])[0]]
    frames += range(frames[0] + 1, frames[0] + 6)

    def piece(place: int) -> bytes:
        return archive.read(number, place * FRAME_SIZE, FRAME_SIZE)

    def kept() -> list[int]:
        key = bytes.fromhex(archive.digest_hex)
        return [place for place, frame in enumerate(frames) if cache.peek((key, frame))]

    piece(4)
    piece(1)
    assert kept() == [1, 4]
    assert piece(2) == whole[2 * FRAME_SIZE : 3 * FRAME_SIZE]
    deadline = time.monotonic() + 30
    while kept() != [1, 2, 3, 4] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert kept() == [1, 2, 3, 4]
    assert piece(3) == whole[3 * FRAME_SIZE : 4 * FRAME_SIZE]


# What is loaded, fetched from the disk, and kept by the system


HUGE = advice.LARGE + 3 * advice.BEHIND
"""Bytes of a large file, which take as many in the archive."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large file, and small ones of together some megabytes."""
    dice = random.Random(7)  # noqa: S311 - the same each time
    small = [file(b"purelib/few/%03d.py" % n, dice.randbytes(30_000)) for n in range(150)]
    large = file(b"platlib/huge.so", dice.randbytes(HUGE))
    return built(tmp_path_factory.mktemp("packed"), [large, *small])


def opened_cold(path: Path) -> tuple[Archive, FrameCache]:
    frames = FrameCache()
    archive = Archive.open(path, frames)
    forget(path)
    return archive, frames


def test_reading_here_and_there_loads_what_it_touches_and_no_more(packed: Path) -> None:
    archive, frames = opened_cold(packed)
    number = at(archive, b"platlib/huge.so")
    start, _ = archive.contents.content_span(number)
    # As the read-ahead around a page fault: two frames each.
    offsets = [FRAME_SIZE * place + 12 * 4096 for place in range(0, HUGE // FRAME_SIZE - 1, 7)]
    random.Random(3).shuffle(offsets)  # noqa: S311 - the same each time
    touched = set()
    for offset in offsets:
        archive.read(number, offset, FRAME_SIZE)
        for place in (offset, offset + FRAME_SIZE - 1):
            touched.add(archive.contents.frame_at(start + place)[0])
    time.sleep(0.01)
    assert frames.misses == len(touched) == 2 * len(offsets)
    _, seek = archive._file
    assert pages(packed) == spans(seek.place(frame) for frame in touched)


def test_a_small_file_brings_its_neighbours_along(packed: Path) -> None:
    archive, frames = opened_cold(packed)
    number = at(archive, b"purelib/few/000.py")
    archive.read(number, 0, 30_000)
    assert frames.misses == 1
    _, seek = archive._file
    frame, *_ = archive.contents.frame_at(archive.contents.content_span(number)[0])
    deadline = time.monotonic() + 30
    while not pages(packed) > spans([seek.place(frame)]):  # nobody waits for them
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("size", [FRAME_SIZE, 8 * FRAME_SIZE, 5 * 4096])
def test_a_large_file_read_in_order_is_fetched_once_and_not_kept(packed: Path, size: int) -> None:
    archive, frames = opened_cold(packed)
    number = at(archive, b"platlib/huge.so")
    before = read_from_disk([os.getpid()])
    for offset in range(0, HUGE, size):
        archive.read(number, offset, size)
    fetched = read_from_disk([os.getpid()]) - before
    assert frames.misses <= HUGE // FRAME_SIZE + 1 + FOLLOWING
    assert fetched <= HUGE + advice.AHEAD + FRAME_SIZE
    assert resident(packed) <= 2 * advice.BEHIND + advice.AHEAD + 4 * FRAME_SIZE
    for child, *_ in archive.children(at(archive, b"purelib/few")):  # the rest is as it was
        assert len(archive.read(at(archive, b"purelib/few/" + child), 0, 2**30)) == 30_000


def test_what_belongs_to_somebody_else_is_kept(packed: Path) -> None:
    archive, _ = opened_cold(packed)
    archive.owner += 1
    number = at(archive, b"platlib/huge.so")
    for offset in range(0, HUGE, FRAME_SIZE):
        archive.read(number, offset, FRAME_SIZE)
    assert resident(packed) >= HUGE


# Each frame in turn, each page in turn


MANY = {
    b"platlib/noise.so": hashlib.shake_128(b"noise").digest(7 * FRAME_SIZE + 501),
    b"purelib/text.py": b"".join(b"line %d of many\n" % number for number in range(9 * 4096)),
    **{b"purelib/few/%02d.py" % n: b"number = %d\n" % n * (1 + n) for n in range(40)},
    b"purelib/empty": b"",
}
STEP = FRAME_SIZE // 2


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # What is loaded ahead could still be of the file as it was before.
    monkeypatch.setattr(FrameCache, "ahead", lambda *_: None)
    return built(tmp_path, [file(path, data) for path, data in MANY.items()])


def lost(archive: Archive) -> set[int]:
    """Read all files: each piece is right or an error. The frames that there was one about."""
    found: set[int] = set()
    for name, data in MANY.items():
        number = at(archive, name)
        for offset in range(0, len(data), STEP):
            expected = data[offset : offset + STEP]
            assert archive.cached(number, offset, STEP) in {None, expected}
            try:
                assert archive.read(number, offset, STEP) == expected
            except LayerError as error:
                found.add(int(str(error).removeprefix(f"{archive.name}: frame ").split()[0]))
    return found


def test_a_flipped_bit_in_every_frame_in_turn(large: Path) -> None:
    whole = large.read_bytes()
    opened = Archive.open(large, FrameCache(0))
    _, seek = opened._file
    assert seek.frame_count > 12
    dice = random.Random(5)  # noqa: S311 - the same each time
    told = 0
    for frame in range(seek.frame_count):
        offset, size = seek.place(frame)
        for place in (offset, offset + dice.randrange(size), offset + size - 1):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << dice.randrange(8)
            large.write_bytes(damaged)
            archive = Archive.open(large, FrameCache(0)) if place == offset else opened
            assert lost(archive) <= {frame}
            try:
                archive.verify()
            except LayerError as error:
                told += 1
                assert f"{large.name}: frame {frame} " in str(error)  # noqa: PT017 - see below
            else:  # some bits of a zstd frame say nothing
                assert lost(archive) == set()
    assert told > 2 * seek.frame_count
    large.write_bytes(whole)
    assert lost(opened) == set()


def test_cut_at_every_page_in_turn(large: Path) -> None:
    whole = large.read_bytes()
    opened = Archive.open(large, FrameCache(0))
    _, seek = opened._file
    large.write_bytes(b"")
    needed = lost(opened)
    assert len(needed) > 12
    for length in range(0, len(whole), 4096):
        large.write_bytes(whole[:length])
        with pytest.raises(LayerError, match=large.name):
            Archive.open(large, FrameCache(0))
        assert lost(opened) == {frame for frame in needed if sum(seek.place(frame)) > length}
    large.write_bytes(whole)
    assert lost(opened) == set()
