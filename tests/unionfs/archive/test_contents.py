from __future__ import annotations

import hashlib
import struct
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from unionfs.archive.contents import Contents
from unionfs.archive.layer import ROOT, EntryNo, Kind, LayerError
from unionfs.archive.meta import NAME_LIMIT, Meta, archive_name, digest_of_name
from unionfs.archive.table import FRAME_SIZE, FrameTable, Row, digest_of_contents, encode

META = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0-py3-none-any")
SHA = hashlib.sha256


def rows() -> list[Row]:
    """/{a/{x.py, y}, b, c -> a/x.py}, x.py of 5 bytes and b of none."""
    return [
        Row(name=b"", kind=Kind.DIRECTORY, parent=0, place=1, extent=3),
        Row(name=b"a", kind=Kind.DIRECTORY, parent=0, place=4, extent=2),
        Row(
            name=b"b",
            kind=Kind.FILE,
            parent=0,
            executable=True,
            place=1024,
            digest=SHA(b"").digest(),
        ),
        Row(
            name=b"c", kind=Kind.SYMLINK, parent=0, target=b"a/x.py", digest=SHA(b"a/x.py").digest()
        ),
        Row(
            name=b"x.py",
            kind=Kind.FILE,
            parent=1,
            place=2048,
            extent=5,
            digest=SHA(b"12345").digest(),
        ),
        Row(name=b"y", kind=Kind.DIRECTORY, parent=1, place=6, extent=0),
    ]


FRAMES = FrameTable(starts=[0, 2048], digests=[b"1" * 32, b"2" * 32], stream_size=5120)


def parse(data: bytes) -> Contents:
    return Contents(data, "demo", digest_of_contents(data))


@pytest.fixture
def contents() -> Contents:
    return parse(encode(rows(), FRAMES, META))


def test_reads_what_it_wrote(contents: Contents) -> None:
    contents.check()
    assert contents.meta == META
    assert (contents.entry_count, contents.stream_size, contents.content_size) == (6, 5120, 5)
    assert list(contents.walk()) == [
        (b"a", 1),
        (b"b", 2),
        (b"c", 3),
        (b"a/x.py", 4),
        (b"a/y", 5),
    ]
    for path, number in contents.walk():
        assert contents.path_of(number) == path
        assert contents.find(path) == number
    assert contents.find(b"") == ROOT
    assert contents.path_of(ROOT) == b""
    assert contents.find(b"b/below") is None
    assert contents.find(b"a/nothing/below") is None
    assert contents.lookup(ROOT, b"bb") is None
    assert contents.lookup(EntryNo(2), b"x") is None
    assert not contents.children(EntryNo(5))
    assert not contents.children(EntryNo(2))
    assert contents.entry(EntryNo(2)).executable
    assert contents.entry(EntryNo(3)).size == 6
    assert contents.target(EntryNo(3)) == b"a/x.py"
    assert contents.digest(EntryNo(4)) == SHA(b"12345").digest()
    assert contents.content_span(EntryNo(4)) == (2048, 5)
    assert [contents.frame_at(offset)[0] for offset in (0, 2047, 2048, 5119)] == [0, 0, 1, 1]
    assert contents.frame_digest(1) == b"2" * 32


def test_no_such_entry_is_an_index_error(contents: Contents) -> None:
    for number in (EntryNo(-1), EntryNo(6), EntryNo(2**40)):
        for method in (
            contents.entry,
            contents.digest,
            contents.target,
            contents.children,
            contents.path_of,
            contents.content_span,
        ):
            with pytest.raises(IndexError):
                method(number)


def test_an_entry_of_another_kind_is_an_error(contents: Contents) -> None:
    with pytest.raises(LayerError, match="directory"):
        contents.digest(ROOT)
    with pytest.raises(LayerError, match="no symbolic link"):
        contents.target(ROOT)
    with pytest.raises(LayerError, match="no file"):
        contents.content_span(EntryNo(3))
    with pytest.raises(LayerError, match="no frame"):
        contents.frame_at(5120)


def test_a_name_is_stored_once() -> None:
    many = [Row(name=b"", kind=Kind.DIRECTORY, parent=0, place=1, extent=50)]
    many += [
        Row(name=b"%02d" % n, kind=Kind.DIRECTORY, parent=0, place=51 + n, extent=1)
        for n in range(50)
    ]
    many += [
        Row(name=b"__init__.py", kind=Kind.FILE, parent=1 + n, digest=SHA(b"").digest())
        for n in range(50)
    ]
    data = encode(many, FRAMES, META)
    assert data.count(b"__init__.py") == 1
    parse(data).check()


def touch_everything(contents: Contents) -> None:
    """Call every method with every number; only `LayerError` may come."""

    def attempt(call: object, *arguments: object) -> None:
        assert callable(call)
        with suppress(LayerError):
            call(*arguments)

    for number in range(min(contents.entry_count, 50)):
        for method in (
            contents.entry,
            contents.children,
            contents.target,
            contents.digest,
            contents.path_of,
            contents.content_span,
        ):
            attempt(method, EntryNo(number))
        for name in (b"a", b"x.py", b"", b"~"):
            attempt(contents.lookup, EntryNo(number), name)
    for frame in range(min(contents.frame_count, 50) + 1):
        attempt(contents.frame_span, frame)
    for offset in (0, 1, 2048, 2**62):
        attempt(contents.frame_at, offset)
    attempt(lambda: list(contents.walk()))
    attempt(contents.check)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_hostile_bytes_give_a_layer_error_and_nothing_else(data: st.DataObject) -> None:
    table = bytearray(encode(rows(), FRAMES, META))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(table) - 1))
        value = data.draw(st.sampled_from([0, 1, 2, 4, 127, 255]) | st.integers(0, 255))
        table[place] = value
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 8, 64]))
    hostile = bytes(table[: len(table) - cut])
    try:
        contents = parse(hostile)
    except LayerError:
        return
    touch_everything(contents)


def test_every_cut_is_noticed() -> None:
    table = encode(rows(), FRAMES, META)
    for length in range(len(table)):
        with pytest.raises(LayerError):
            parse(table[:length])
    with pytest.raises(LayerError):
        parse(table + b"\0")
    with pytest.raises(LayerError, match="digest"):
        Contents(table, "demo", bytes(32))


def change(number: int, **fields: object) -> Contents:
    """The table with other values in one row."""
    from dataclasses import replace  # noqa: PLC0415 - the only use

    changed = rows()
    changed[number] = replace(changed[number], **fields)  # type: ignore[arg-type]
    return parse(encode(changed, FRAMES, META))


@pytest.mark.parametrize(
    ("number", "fields"),
    [
        (1, {"name": b""}),
        (1, {"name": b".."}),
        (1, {"name": b"a/b"}),
        (1, {"name": b"a\0"}),
        (2, {"name": b"a"}),
        (3, {"name": b"B"}),
        (4, {"parent": 0}),
        (1, {"place": 1}),
        (1, {"place": 0}),
        (1, {"place": 2}),
        (1, {"extent": 3}),
        (1, {"extent": 2**63}),
        (5, {"place": 1, "extent": 5}),
        (0, {"extent": 2}),
        (3, {"target": b""}),
        (3, {"target": b"a\0b"}),
        (3, {"target": b"t" * 4096}),
        (4, {"executable": True, "parent": 3}),
    ],
)
def test_check_refuses(number: int, fields: dict[str, object]) -> None:
    contents = change(number, **fields)
    with pytest.raises(LayerError):
        contents.check()
    touch_everything(contents)


def test_a_directory_in_two_places_is_refused_by_who_meets_it() -> None:
    # Shared children would make a walk exponential.
    shared = rows()
    shared[5] = Row(name=b"y", kind=Kind.DIRECTORY, parent=0, place=6)
    contents = parse(encode(shared, FRAMES, META))
    with pytest.raises(LayerError, match="parent"):
        list(contents.walk())
    with pytest.raises(LayerError, match="two directories"):
        contents.lookup(EntryNo(1), b"y")


@pytest.mark.parametrize(
    "frames",
    [
        FrameTable(starts=[0, 0], digests=[b"1" * 32] * 2, stream_size=10),
        FrameTable(starts=[5, 2], digests=[b"1" * 32] * 2, stream_size=10),
        FrameTable(starts=[0], digests=[b"1" * 32], stream_size=FRAME_SIZE + 1),
        FrameTable(starts=[1], digests=[b"1" * 32], stream_size=10),
        FrameTable(starts=[], digests=[], stream_size=0),
    ],
)
def test_check_refuses_frames(frames: FrameTable) -> None:
    contents = parse(encode(rows(), frames, META))
    with pytest.raises(LayerError):
        contents.check()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"1", b"{}", b'{"kind":1}', b"[" * 60000, b"\xff", b'{"a":{"b":1}}']
)
def test_unreadable_metadata_is_a_layer_error(text: bytes) -> None:
    whole = encode(rows(), FRAMES, META)
    canonical = META.to_bytes()
    changed = bytearray(whole.removesuffix(canonical) + text)
    changed[24:28] = len(text).to_bytes(4, "little")
    with pytest.raises(LayerError):
        parse(bytes(changed))


def test_check_refuses_what_could_not_be_written() -> None:
    sizes = bytearray(encode(rows(), FRAMES, META))
    for number in (2, 4):  # together they have no room in the header
        struct.pack_into("<Q", sizes, 64 + 64 * number + 16, 2**63)
    canonical = META.to_bytes()
    text = canonical.replace(b'"origin":""', b'"origin":"%s"' % ("é" * 12_000).encode())
    long = bytearray(encode(rows(), FRAMES, META).removesuffix(canonical) + text)
    long[24:28] = len(text).to_bytes(4, "little")
    for data in (sizes, long):
        contents = parse(bytes(data))
        with pytest.raises(LayerError, match="cannot have been written"):
            contents.check()


def test_names_of_archives() -> None:
    digest = SHA(b"").digest()
    name = archive_name("numpy-2.3.5-cp311", digest)
    assert name == f"numpy-2.3.5-cp311.{digest.hex()}.tar.zst"
    assert digest_of_name(name) == digest
    longest = archive_name("x" * 500, digest)
    assert len(longest) == NAME_LIMIT
    assert digest_of_name(longest) == digest
    for bad in ("", "a", f".{digest.hex()}.tar.zst", f"../{name}", f"{name}\n", name.upper()):
        assert digest_of_name(bad) is None


@pytest.mark.parametrize("stem", ["", "a/b", ".hidden", "a b", "ä", "-x", "a\n"])
def test_a_stem_that_could_be_no_name_is_refused(stem: str) -> None:
    with pytest.raises(PkgviewError):
        Meta(kind="distribution", name="a", version="1", stem=stem)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(PkgviewError, match="cheese"):
        Meta(kind="cheese", name="a", version="1", stem="a")


def test_opening_costs_the_same_for_any_number_of_members() -> None:
    count = 20_000
    many = [Row(name=b"", kind=Kind.DIRECTORY, parent=0, place=1, extent=count)]
    many += [
        Row(
            name=b"module_%05d.py" % n,
            kind=Kind.FILE,
            parent=0,
            place=n,
            extent=1,
            digest=SHA(b"%d" % n).digest(),
        )
        for n in range(count)
    ]
    frames = FrameTable(starts=[0], digests=[bytes(32)], stream_size=count)
    data = encode(many, frames, META)
    digest = digest_of_contents(data)
    times = []
    for _ in range(7):
        start = time.process_time()
        Contents(data, "demo", digest)
        times.append(time.process_time() - start)
    # Measured: 0.9 ms, nearly all of it SHA-256. Reading every row would take over 10 ms.
    assert min(times) < 0.006
