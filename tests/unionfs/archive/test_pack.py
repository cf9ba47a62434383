from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, BinaryIO

import pytest
import zstandard

from resolver.errors import PkgviewError
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import Entry, Kind, LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member, members_of_directory, pack
from unionfs.archive.reader import Archive
from unionfs.archive.table import FRAME_SIZE
from unionfs.archive.tar import BLOCK, MTIME, tar_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

META = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0")
LONG = b"/".join([b"directory_with_a_long_name"] * 12)
needs_zstd = pytest.mark.skipif(
    not (shutil.which("zstd") and shutil.which("tar")), reason="needs the zstd and tar programs"
)


def opener(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def file(path: bytes, data: bytes = b"", *, executable: bool = False) -> Member:
    return Member(path=path, executable=executable, size=len(data), open=opener(data))


def link(path: bytes, target: bytes) -> Member:
    return Member(path=path, kind=Kind.SYMLINK, target=target)


def directory(path: bytes) -> Member:
    return Member(path=path, kind=Kind.DIRECTORY)


def packed(members: list[Member], meta: Meta = META) -> tuple[str, bytes]:
    out = io.BytesIO()
    name = pack(members, meta, out)
    return name, out.getvalue()


def stream_of(data: bytes) -> bytes:
    """The tar stream, as any zstd reader sees it."""
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read()


def everything() -> list[Member]:
    big = hashlib.shake_128().digest(3 * FRAME_SIZE + 1000)
    return [
        file(b"purelib/demo/__init__.py", b"x = 1\n"),
        file(b"purelib/demo/big.so", big, executable=True),
        file(b"purelib/demo/exact.bin", big[:FRAME_SIZE]),
        file(b"purelib/demo/nearly.bin", big[: FRAME_SIZE - 100]),
        file(b"purelib/demo/empty"),
        file("purelib/größe.py".encode(), b"umlaut"),
        file(b"purelib/\xff\xfe-latin", b"bytes"),
        file(LONG + b"/file", b"deep"),
        file(b"purelib/" + b"n" * 255, b"long name"),
        directory(b"data/empty directory"),
        directory(LONG + b"/dir"),
        link(b"scripts/python", b"/usr/bin/python3"),
        link(b"scripts/long", b"t" * 300),
        link(b"scripts/umlaut", "ü".encode()),
        file(b"scripts/-rf", b"not an option"),
    ]


def test_order_of_the_input_does_not_matter() -> None:
    name, data = packed(everything())
    for seed in range(5):
        members = everything()
        random.Random(seed).shuffle(members)  # noqa: S311 - any order will do
        assert packed(members) == (name, data)


def test_directories_need_not_be_given() -> None:
    given = [directory(b"a"), directory(b"a/b"), file(b"a/b/c", b"1")]
    assert packed(given) == packed([file(b"a/b/c", b"1")])


def test_the_name_depends_on_every_part_of_the_content() -> None:
    base = packed([file(b"a", b"1")])[0]
    assert base.startswith("demo-1.0.")
    others = [
        [file(b"a", b"2")],
        [file(b"b", b"1")],
        [file(b"a", b"1", executable=True)],
        [link(b"a", b"1")],
        [file(b"a", b"1"), directory(b"b")],
    ]
    names = [base, *(packed(members)[0] for members in others)]
    other = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0", origin="x")
    names.append(packed([file(b"a", b"1")], other)[0])
    assert len(set(names)) == len(names)


def test_the_name_does_not_depend_on_the_compressor(monkeypatch: pytest.MonkeyPatch) -> None:
    name, data = packed(everything())
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    monkeypatch.setattr("unionfs.archive.frames._compressor", lambda _: compressor)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    other_name, other_data = packed(everything())
    assert other_name == name
    assert other_data != data


def test_frames_are_cut_where_reads_begin(tmp_path: Path) -> None:
    name, data = packed(everything())
    (tmp_path / name).write_bytes(data)
    archive = Archive.open(tmp_path / name, FrameCache())
    contents = archive.contents
    for path, number in archive.walk():
        entry = archive.entry(number)
        if entry.kind is not Kind.FILE or not entry.size:
            continue
        start, size = contents.content_span(number)
        _, frame_start, _ = contents.frame_at(start)
        if size >= FRAME_SIZE - BLOCK:
            assert start == frame_start, path
            for offset in range(0, size, FRAME_SIZE):
                last = min(offset + FRAME_SIZE, size) - 1
                assert contents.frame_at(start + offset) == contents.frame_at(start + last)
        else:
            assert contents.frame_at(start) == contents.frame_at(start + size - 1), path
    for frame in range(contents.frame_count):
        assert contents.frame_span(frame)[0] % BLOCK == 0


def test_python_reads_the_stream() -> None:
    stream = io.BytesIO(stream_of(packed(everything())[1]))
    found = {}
    with tarfile.open(fileobj=stream, encoding="utf-8", errors="surrogateescape") as tar:
        for item in tar:
            assert (item.uid, item.gid, item.uname, item.gname) == (0, 0, "", "")
            assert item.mtime == MTIME
            extracted = tar.extractfile(item) if item.isreg() else None
            content = extracted.read() if extracted else os.fsencode(item.linkname)
            found[os.fsencode(item.name)] = (item.type, item.mode, content)
    for member in everything():
        kind, mode, content = found[member.path]
        if member.kind is Kind.FILE:
            assert member.open
            assert (kind, content) == (tarfile.REGTYPE, member.open().read())
            assert mode == (0o755 if member.executable else 0o644)
        elif member.kind is Kind.SYMLINK:
            assert (kind, mode, content) == (tarfile.SYMTYPE, 0o777, member.target)
        else:
            assert (kind, mode) == (tarfile.DIRTYPE, 0o755)


def quiet(stderr: bytes) -> bool:
    """GNU tar says that it does not know POSIX.1-2008's word for a name that is no UTF-8."""
    return all(b"'hdrcharset'" in line for line in stderr.splitlines())


@needs_zstd
def test_tar_lists_and_extracts_it(tmp_path: Path) -> None:
    name, data = packed(everything())
    archive = tmp_path / name
    archive.write_bytes(data)
    listing = subprocess.run(["tar", "--zstd", "-tvf", archive], check=True, capture_output=True)
    assert quiet(listing.stderr)
    assert b"-rwxr-xr-x 0/0 " in listing.stdout
    top = tmp_path / "out"
    top.mkdir()
    done = subprocess.run(
        ["tar", "--zstd", "-xf", archive, "-C", top], check=True, capture_output=True
    )
    assert quiet(done.stderr)
    tree = {os.fsencode(member.path): member for member in members_of_directory(top)}
    for member in everything():
        again = tree[member.path]
        assert (again.kind, again.target, again.size) == (member.kind, member.target, member.size)
        if member.open and again.open:
            with again.open() as extracted:
                assert extracted.read() == member.open().read()
            assert again.executable == member.executable
    subprocess.run(["zstd", "-tq", archive], check=True)


def test_packing_an_extracted_tree_gives_the_same_archive(tmp_path: Path) -> None:
    name, data = packed(everything())
    stream = io.BytesIO(stream_of(data))
    with tarfile.open(fileobj=stream, encoding="utf-8", errors="surrogateescape") as tar:
        tar.extractall(tmp_path / "out", filter="fully_trusted")  # noqa: S202 - our own
    members = list(members_of_directory(tmp_path / "out"))
    assert packed(members) == (name, data)


def test_an_archive_of_nothing() -> None:
    name, data = packed([])
    assert stream_of(data) == bytes(1024)
    assert name.endswith(".tar.zst")


def test_sizes_of_8_gib_and_more_get_a_pax_header() -> None:
    for size in (8**11 - 1, 8**11, 2**40):
        header = tar_header(b"huge", Entry(Kind.FILE, size, executable=False))
        with tarfile.open(fileobj=io.BytesIO(header)) as tar:
            found = tar.next()
        assert found is not None
        assert (found.name, found.size) == ("huge", size)
        assert len(header) == (BLOCK if size < 8**11 else 3 * BLOCK)


@pytest.mark.parametrize("length", [99, 100, 101, 155, 156, 254, 255, 256, 257, 900])
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.DIRECTORY])
def test_paths_of_every_length(length: int, kind: Kind) -> None:
    for step in (3, 50, 99, 100, 101, 255):
        path = bytearray(b"p" * length)
        path[step::step] = b"/" * len(path[step::step])
        if path.endswith(b"/"):
            path[-1:] = b"p"
        header = tar_header(bytes(path), Entry(kind, 0, executable=False))
        with tarfile.open(fileobj=io.BytesIO(header + bytes(1024))) as tar:
            assert [item.name.encode() for item in tar] == [bytes(path)]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([file(b"")], "plain relative"),
        ([file(b"/etc/passwd")], "plain relative"),
        ([file(b"a/../b")], "plain relative"),
        ([file(b"./a")], "plain relative"),
        ([file(b"a//b")], "plain relative"),
        ([file(b"a/")], "plain relative"),
        ([file(b"a\0b")], "plain relative"),
        ([file(b"n" * 256)], "255 bytes"),
        ([file(b"d/" * 2048 + b"f")], "4095"),
        ([file(b"a"), file(b"a")], "'a' is there twice"),
        ([directory(b"a"), link(b"a", b"b")], "twice"),
        ([file(b"a"), file(b"a/b")], "'a/b' lies under 'a', which is no directory"),
        ([file(b"a/b/c/d"), link(b"a/b", b"c")], "'a/b/c/d' lies under 'a/b'"),
        ([link(b"a", b"")], "impossible target"),
        ([link(b"a", b"x\0y")], "impossible target"),
        ([link(b"a", b"x" * 4096)], "impossible target"),
        ([Member(path=b"a")], "without content"),
        ([Member(path=b"a", size=-1, open=opener(b""))], "without content"),
    ],
)
def test_what_cannot_be_packed(members: list[Member], message: str) -> None:
    out = io.BytesIO()
    with pytest.raises(PkgviewError) as caught:
        pack(members, META, out)
    assert message in caught.value.what
    assert "demo-1.0" in caught.value.what
    assert out.getvalue() == b""


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(PkgviewError) as caught:
        packed([file(b"/%d" % number) for number in range(15)])
    assert "'/0'" in caught.value.what
    assert caught.value.what.endswith("and 5 more")


@pytest.mark.parametrize("announced", [0, 4, 6, 300_000])
def test_the_announced_size_must_be_right(announced: int) -> None:
    member = Member(path=b"a", size=announced, open=opener(b"12345"))
    with pytest.raises(PkgviewError, match="announced"):
        packed([member])


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone").write_bytes(b"1")
    members = list(members_of_directory(tmp_path))
    (tmp_path / "gone").unlink()
    with pytest.raises(PkgviewError, match="cannot read 'gone': No such file"):
        packed(members)


def test_streams_are_closed() -> None:
    opened: list[io.BytesIO] = []

    def opening() -> BinaryIO:
        opened.append(io.BytesIO(b"1"))
        return opened[-1]

    packed([Member(path=b"a", size=1, open=opening)])
    assert [stream.closed for stream in opened] == [True]


def test_memory_stays_bounded() -> None:
    import tracemalloc  # noqa: PLC0415 - the only use

    class Zeros(io.RawIOBase):
        def __init__(self) -> None:
            self.left = 64 * 1024 * 1024

        def read(self, size: int = -1) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    member = Member(path=b"a", size=64 * 1024 * 1024, open=Zeros)  # type: ignore[arg-type]
    out = io.BytesIO()
    tracemalloc.start()
    pack([member], META, out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_a_device_cannot_be_packed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PkgviewError, match="pipe"):
        list(members_of_directory(tmp_path))


def test_short_reads_are_no_fault() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 7))

    data = bytes(range(256)) * 10
    slow = Member(path=b"a", size=len(data), open=lambda: Slow(data))
    assert packed([slow]) == packed([file(b"a", data)])


def test_writing_errors_pass_through_as_they_are() -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        pack(everything(), META, Full())


def test_layer_errors_are_no_pkgview_errors() -> None:
    # `pack` raises what its user caused; `LayerError` is for readers.
    assert not issubclass(LayerError, PkgviewError)
