"""What must be true of whatever is read, and the second readers that know it.

Each of these raises `AssertionError`, or what nobody may raise, where a reader of ours is wrong;
else it says what became of the input. Tests of hypothesis and the targets of a guided run ask the
same ones.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import posixpath
import re
import struct
import tarfile
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zstandard

from resolver.errors import PkgviewError
from resolver.node import hidden, npmrc
from resolver.node import lock as npm_locks
from resolver.node.machine import Machine
from resolver.node.selection import select
from resolver.node.tree import Tree
from tests.fuzz import npmreader
from tests.unionfs.archive.test_contents import parse, touch_everything
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import EntryNo, Kind, LayerError
from unionfs.archive.reader import Archive
from unionfs.formats.node import layout
from unionfs.formats.npm.files import Files
from unionfs.formats.tar import entries as tar
from unionfs.formats.tar.fault import UnsoundTarballError
from unionfs.formats.wheel import record
from unionfs.formats.zip.check import ZipFile
from unionfs.formats.zip.fault import UnsoundZipError
from unionfs.formats.zip.stream import ContentError
from unionfs.kernel import abi
from unionfs.kernel.protocol import Interrupt, Link, Protocol, Read
from unionfs.view.attributes import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unionfs.archive.framecache import Key
    from unionfs.view.filesystem import Filesystem


class Verdict(NamedTuple):
    """What became of an input, how far it came (the larger, the further), and why no further."""

    said: str
    distance: int = 0
    why: object = ""

    @property
    def accepted(self) -> bool:
        return self.said == "accepted"


# -- wheels ------------------------------------------------------------------------------------


def zip_file(path: Path, step: int) -> Verdict:
    """Refused, or `zipfile` reads the very same; ours is read in pieces of `step` bytes."""
    try:
        ours = ZipFile(path)
    except UnsoundZipError as error:
        return _refused(error)
    wrong: ContentError | None = None
    with ours, zipfile.ZipFile(path) as theirs:
        listed = [member.path for member in ours.members]
        assert listed == [posixpath.normpath(name) for name in theirs.namelist()]
        assert [member.kind is Kind.DIRECTORY for member in ours.members] == [
            name.endswith("/") for name in theirs.namelist()
        ]
        for member, name in zip(ours.members, theirs.namelist(), strict=True):
            if member.kind is Kind.DIRECTORY:
                continue
            stream = ours.stream(member)
            try:
                content = b"".join(iter(lambda stream=stream: stream.read(step), b""))  # type: ignore[misc]
            except ContentError as error:
                wrong = error
                continue
            assert content == theirs.read(name)
            assert len(content) == member.size
    return Verdict("wrong content" if wrong else "accepted", len(listed), wrong or "")


def record_text(text: str) -> Verdict:
    """Refused, or the csv module reads the same from it."""
    try:
        ours = record.parse(text)
    except record.InvalidRecordError as error:
        return _refused(error)
    theirs = {
        fields[0].replace("\\", "/"): fields[1:]
        for fields in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
        # What is no member's path may be read in any way: no file answers to it.
        if fields and "".join(fields).isprintable() and "".join(fields).strip()
    }
    for path, (hash_, size) in theirs.items():
        row = ours[path]
        algorithm, equals, value = hash_.partition("=")
        assert (row.algorithm and f"{row.algorithm}={row.value}") == (
            f"{algorithm.lower()}{equals}{value}".rstrip("=")
        )
        assert ("" if row.size is None else row.size) == (size and int(size))
        assert not row.algorithm or row.algorithm in record.STRONG
        assert row.size is None or row.size >= 0
    plain = {path: row for path, row in ours.items() if path.isprintable() and path.strip()}
    assert plain.keys() <= theirs.keys()
    assert record.parse(record.to_bytes(plain.values()).decode()) == plain
    return Verdict("accepted", len(ours))


# -- npm packages ------------------------------------------------------------------------------


_MACHINE = Machine(os="linux", cpu="x64", libc="glibc", node="20.1.0")
_REGISTRY = npmrc.Settings(registries={"": "https://registry.invalid/"})


def npm_lock(data: bytes) -> Verdict:
    """A lock of npm's: refused, or all that comes of it lies in a node_modules of the view's."""
    try:
        found = npm_locks.read(Path("/project/package-lock.json"), data)
        kept = Tree(found).kept(_MACHINE, ())
        list(Tree(found).problems(peers=True))
        hidden.hidden_lock(found, kept)
        commands = list(hidden.bins(kept, found))
    except PkgviewError as error:
        return Verdict("refused", why=error.what)
    for place, entry in kept.items():
        path = layout.in_view(place)
        names = path.split("/")
        end = len(entry.name.split("/"))
        assert posixpath.normpath(path) == path
        assert not path.startswith("/")
        assert names[0] == layout.MODULES or path.startswith(f"{layout.OWN}/members/")
        assert names[-end - 1] == layout.MODULES
        assert "/".join(names[-end:]) == entry.name
        assert not {"", ".", "..", ".bin", ".cache"} & set(names)
        assert "\0" not in path
        os.fsencode(path).decode()
    for parent, command, place in commands:
        assert command not in {"", ".", ".."}
        assert not {"/", "\0"} & set(command)
        assert not parent or parent in found.entries
        source = kept[place]
        source = found.entries[source.resolved.removeprefix("./")] if source.link else source
        assert ".." not in source.bins[command].split("/")
        assert not source.bins[command].startswith("/")
    try:
        select(found, _MACHINE, (), _REGISTRY)
    except PkgviewError as error:
        return Verdict("not to be had", 1, error.what)
    return Verdict("accepted", len(kept))


def npm_stream(data: bytes) -> Verdict:
    """A tar stream: refused, or npm and `tarfile` find the very same files in it."""
    try:
        ours = list(tar.entries(data))
    except UnsoundTarballError as error:
        return _refused(error)
    files = [
        (one.path.decode("utf-8", "replace"), one.mode, data[one.start : one.start + one.size])
        for one in ours
        if one.kind is tar.FILE
    ]
    npm = npmreader.Reading(data)
    assert not npm.warned
    assert [tuple(one) for one in npm.files] == files
    if files and _is_plain(data):
        full = [(path.rstrip("/"), content) for path, _, content in files if content]
        assert full == _by_tarfile(data)
    try:
        placed = Files(ours)
    except UnsoundTarballError as error:
        return _refused(error)
    top = "/somewhere/below"
    for path, file in placed.items():
        assert posixpath.normpath(f"{top}/{path}") == f"{top}/{path}"
        assert max(len(name.encode()) for name in path.split("/")) <= 255
        assert any(content == data[file.start : file.start + file.size] for _, _, content in files)
    return Verdict("accepted", len(ours))


def _is_plain(data: bytes) -> bool:
    """Whether `tarfile` can read all numbers, also those that mean nothing here."""
    return not any(
        re.search(rb"[^0-7 \0]|[0-7] +[0-7]", data[at + start : at + end])
        for at in range(0, len(data), 512)
        for start, end in ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
    )


def _by_tarfile(data: bytes) -> list[tuple[str, bytes]]:
    """Path and content of the files that are not empty: these may be directories to some."""
    with tarfile.open(
        fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="replace"
    ) as theirs:
        found = [(one.name, theirs.extractfile(one)) for one in theirs if one.isreg() and one.size]
        return [(name, file.read()) for name, file in found if file is not None]


def _refused(
    error: UnsoundZipError | UnsoundTarballError | record.InvalidRecordError,
) -> Verdict:
    assert error.faults
    return Verdict("refused", why=error)


# -- archives ----------------------------------------------------------------------------------

ENTRY = struct.Struct("<IHBBQQI4x32s")
HEADER = struct.Struct("<8sIIIIIIQQQ8x")


def listed(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Path -> (kind, size), by docs/archive-format.md alone: each entry climbs to the root."""
    header = HEADER.unpack_from(data)
    count, frames = header[3], header[4]
    names_at = HEADER.size + count * ENTRY.size + frames * 40
    entries = [
        ENTRY.unpack_from(data, HEADER.size + number * ENTRY.size) for number in range(count)
    ]
    found = {}
    for number in range(1, count):
        path: list[bytes] = []
        above = number
        while above:
            place, length, *_, parent, _ = entries[above]
            path.insert(0, data[names_at + place : names_at + place + length])
            above = parent
        _, _, kind, _, _, extent, _, _ = entries[number]
        found[b"/".join(path)] = (kind, 0 if kind == Kind.DIRECTORY else extent)
    return found


def table(data: bytes) -> Verdict:
    """A table of contents: `LayerError`, or what a reader of the bare layout finds."""
    try:
        contents = parse(data)
    except LayerError as error:
        return Verdict("refused at once", why=error)
    touch_everything(contents)
    try:
        contents.check()
    except LayerError as error:
        return Verdict("refused by check", why=error)
    walked = list(contents.walk())
    assert {
        path: (contents.entry(number).kind, contents.entry(number).size) for path, number in walked
    } == listed(data)
    for path, number in walked:
        assert not {b"", b".", b".."} & set(path.split(b"/"))
        assert contents.find(path) == number
        assert contents.path_of(number) == path
    return Verdict("accepted", contents.entry_count)


class _AtOnce(FrameCache):
    """Keeps nothing, and loads ahead while its caller waits: each run of an input is the same."""

    def __init__(self) -> None:
        super().__init__(0)

    def ahead(self, key: Key, load: Callable[[], bytes]) -> None:
        del key
        with suppress(LayerError):
            load()


File = tuple[bytes, Kind, int, bytes]
"""Path, kind, permissions, content or a link's target ("" of a directory)."""


def archive(path: Path, name: str) -> Verdict:
    """A whole archive: `LayerError`, or what tar extracts from it is what it serves."""
    try:
        ours = Archive.open(path, _AtOnce(), name=name)
    except LayerError as error:
        return Verdict("refused at once", why=error)
    for number in map(EntryNo, range(min(len(ours), 50))):
        for offset, size in ((0, 2**20), (1, 700), (2**40, 1)):
            with suppress(LayerError):
                content = ours.read(number, offset, size)
                assert len(content) == max(0, min(size, ours.entry(number).size - offset))
    try:
        ours.verify()
    except LayerError as error:
        return Verdict("refused by verify", why=error)
    stream = stream_of(path.read_bytes())
    assert served(ours) == extracted(stream)
    for frame in range(ours.contents.frame_count):
        start, end = ours.contents.frame_span(frame)
        assert hashlib.sha256(stream[start:end]).digest() == ours.contents.frame_digest(frame)
    return Verdict("accepted", len(ours))


def stream_of(data: bytes) -> bytes:
    """The tar stream, as any zstd reader sees it."""
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read()


def extracted(stream: bytes) -> list[File]:
    """All that Python's tarfile would extract, in its order."""
    kinds = {
        tarfile.REGTYPE: Kind.FILE,
        tarfile.SYMTYPE: Kind.SYMLINK,
        tarfile.DIRTYPE: Kind.DIRECTORY,
    }
    found = []
    with tarfile.open(
        fileobj=io.BytesIO(stream), encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for item in tar:
            reader = tar.extractfile(item) if item.isreg() else None
            content = reader.read() if reader else os.fsencode(item.linkname)
            found.append((os.fsencode(item.name), kinds[item.type], item.mode, content))
    return found


def served(ours: Archive) -> list[File]:
    """All that an archive serves, read in pieces, each with its digest."""
    found = []
    for path, number in ours.walk():
        entry = ours.entry(number)
        mode, content = {Kind.DIRECTORY: 0o755, Kind.SYMLINK: 0o777}.get(entry.kind, 0o644), b""
        if entry.kind is Kind.FILE:
            mode |= 0o111 * entry.executable
            step = entry.size // 3 + 1
            content = b"".join(
                ours.read(number, offset, step) for offset in range(0, entry.size, step)
            )
        elif entry.kind is Kind.SYMLINK:
            content = ours.target(number)
        if entry.kind is not Kind.DIRECTORY:
            assert hashlib.sha256(content).digest() == ours.digest(number)
        found.append((path, entry.kind, mode, content))
    return found


# -- the kernel --------------------------------------------------------------------------------


class _NoTraceback(logging.Handler):
    """What the protocol catches and logs as a failure of its own is raised."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            raise record.exc_info[1]


@contextmanager
def _failing() -> Iterator[None]:
    logger, handler = logging.getLogger("unionfs.kernel.protocol"), _NoTraceback()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def message(filesystem: Filesystem, protocol: Protocol, data: bytes) -> Verdict:
    """One message in the kernel's place: what comes back is well formed and its own."""
    unique = None
    if len(data) >= abi.IN_HEADER.size:
        unique = abi.IN_HEADER.unpack_from(data)[2]
    with _failing():
        answer = protocol.answer(memoryview(data))
    match answer:
        case None | Interrupt():
            return Verdict("not answered")
        case Link():
            assert answer.unique == unique
            return Verdict("link", 1)
        case Read():
            assert answer.unique == unique
            with suppress(FileSystemError):
                for read in filesystem.readers(answer.node):
                    assert len(read(answer.offset, answer.size)) <= answer.size
            return Verdict("read", 1)
    whole = b"".join(answer)
    size, error, replied = abi.OUT_HEADER.unpack_from(whole)
    assert size == len(whole)
    assert replied == unique
    assert -4096 < error <= 0
    assert not error or size == abi.OUT_HEADER.size
    return Verdict("refused" if error else "accepted", 0 if error else 2)
