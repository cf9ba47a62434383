"""Any tree that can be packed is read back as it was: by us, by Python, and by tar."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import ROOT, EntryNo, Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member, members_of_directory, pack
from unionfs.archive.reader import Archive
from unionfs.archive.table import FRAME_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

META = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0")

names = st.one_of(
    st.sampled_from([b"a", b"b", b"__init__.py", b"a.b", b"A", b"-", b" ", b"~", b"n" * 255]),
    st.text("aé\u4e2d-. _", min_size=1, max_size=90).map(str.encode),
    st.binary(min_size=1, max_size=8),
).filter(
    lambda name: (
        name not in {b".", b".."} and len(name) <= 255 and b"/" not in name and b"\0" not in name
    )
)
contents = st.one_of(
    st.binary(max_size=600),
    st.sampled_from(
        [511, 512, 513, FRAME_SIZE - 512, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1]
    ).flatmap(lambda size: st.integers(0, 255).map(lambda byte: bytes([byte]) * size)),
    st.integers(0, 3 * FRAME_SIZE).map(lambda size: (b"%d " % size) * (size // 7)),
)
targets = st.one_of(
    st.just(b"../a"),
    st.text("aé/.", min_size=1, max_size=200).map(str.encode),
    st.binary(min_size=1, max_size=20).filter(lambda target: b"\0" not in target),
)
Leaf = tuple[Kind, bytes, bool]
leaves = st.one_of(
    st.tuples(st.just(Kind.FILE), contents, st.booleans()),
    st.tuples(st.just(Kind.SYMLINK), targets, st.just(value=False)),
)
Tree = dict[bytes, "Tree | Leaf"]
trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(names, leaves, max_size=5),
    lambda below: st.dictionaries(names, below | leaves, max_size=5),
    max_leaves=25,
)


def flat(tree: Tree, prefix: bytes = b"") -> dict[bytes, Leaf]:
    """Path → leaf; a directory is (DIRECTORY, b"", False)."""
    found: dict[bytes, Leaf] = {}
    for name, value in tree.items():
        path = prefix + name
        if isinstance(value, dict):
            found[path] = (Kind.DIRECTORY, b"", False)
            found |= flat(value, path + b"/")
        else:
            found[path] = value
    return found


def opener(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def member(path: bytes, leaf: Leaf) -> Member:
    kind, data, executable = leaf
    if kind is Kind.FILE:
        return Member(path=path, executable=executable, size=len(data), open=opener(data))
    return Member(path=path, kind=kind, target=data)


def packed(members: list[Member]) -> tuple[str, bytes]:
    out = io.BytesIO()
    return pack(members, META, out), out.getvalue()


@settings(max_examples=150, deadline=None)
@given(trees, st.randoms(use_true_random=False), st.data())
def test_round_trip(tree: Tree, chooser: object, data: st.DataObject) -> None:
    expected = flat(tree)
    members = [member(path, leaf) for path, leaf in expected.items()]
    name, archive_bytes = packed(members)
    chooser.shuffle(members)  # type: ignore[attr-defined]
    assert packed(members) == (name, archive_bytes)

    with tempfile.TemporaryDirectory() as place:
        path = Path(place, name)
        path.write_bytes(archive_bytes)
        archive = Archive.open(path, FrameCache())
        archive.verify()
        assert {p: leaf_of(archive, number) for p, number in archive.walk()} == expected
        for p, number in archive.walk():
            assert archive.find(p) == number
            assert archive.path_of(number) == p
            check_reads(archive, number, expected[p], data)
        # Every name of every directory, as a dictionary would have it.
        top = {p for p in expected if b"/" not in p}
        assert [name for name, _, _ in archive.children(ROOT)] == sorted(top)

    with zstandard.ZstdDecompressor().stream_reader(archive_bytes, read_across_frames=True) as raw:
        stream = io.BytesIO(raw.read())
    with tarfile.open(fileobj=stream, encoding="utf-8", errors="surrogateescape") as tar:
        assert {os.fsencode(item.name): leaf_of_tar(tar, item) for item in tar} == expected


def leaf_of(archive: Archive, number: EntryNo) -> Leaf:
    entry = archive.entry(number)
    if entry.kind is Kind.FILE:
        return entry.kind, archive.read(number, 0, entry.size), entry.executable
    return entry.kind, archive.target(number) if entry.kind is Kind.SYMLINK else b"", False


def leaf_of_tar(tar: tarfile.TarFile, item: tarfile.TarInfo) -> Leaf:
    if item.isdir():
        return Kind.DIRECTORY, b"", False
    if item.issym():
        return Kind.SYMLINK, os.fsencode(item.linkname), False
    extracted = tar.extractfile(item)
    assert extracted
    return Kind.FILE, extracted.read(), item.mode == 0o755


def check_reads(archive: Archive, number: EntryNo, leaf: Leaf, data: st.DataObject) -> None:
    kind, content, _ = leaf
    if kind is Kind.DIRECTORY:
        return
    assert archive.digest(number) == hashlib.sha256(content).digest()
    if kind is Kind.FILE:
        offset = data.draw(st.integers(0, len(content) + 10))
        size = data.draw(st.integers(0, len(content) + 10))
        assert archive.read(number, offset, size) == content[offset : offset + size]
        assert archive.cached(number, offset, size) == content[offset : offset + size]


@pytest.mark.skipif(
    not (shutil.which("tar") and shutil.which("zstd")), reason="needs the tar and zstd programs"
)
@settings(max_examples=25, deadline=None)
@given(trees)
def test_what_tar_extracts_is_what_was_packed(tree: Tree) -> None:
    expected = flat(tree)
    name, archive_bytes = packed([member(path, leaf) for path, leaf in expected.items()])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, name)
        path.write_bytes(archive_bytes)
        top = Path(place, "out")
        top.mkdir()
        subprocess.run(["tar", "--zstd", "-xf", path, "-C", top], check=True, capture_output=True)
        found: dict[bytes, Leaf] = {}
        for extracted in members_of_directory(top):
            content = extracted.target
            if extracted.open:
                with extracted.open() as stream:
                    content = stream.read()
            found[extracted.path] = (extracted.kind, content, extracted.executable)
        assert found == expected
