"""What a guided run feeds bytes to: each of these raises only where something of ours is wrong.

A fuzzer cannot guess a SHA-256. So an archive comes as what its author decides, and is sealed as
a hostile author would: digests are made to fit before anything is read.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import struct
import tempfile
from base64 import b64encode
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zstandard

from resolver.errors import PkgviewError
from tests.conftest import serving
from tests.fuzz import oracles
from tests.fuzz.oracles import ENTRY, HEADER
from unionfs.archive.contents import Contents
from unionfs.archive.frames import CONTENTS_MAGIC, SeekTable, skippable
from unionfs.archive.layer import Kind, LayerError
from unionfs.archive.meta import Meta, archive_name
from unionfs.archive.pack import Member, pack
from unionfs.archive.table import FRAME_SIZE, digest_of_contents
from unionfs.archive.tar import END_OF_STREAM, padding, tar_header
from unionfs.formats.deb.reader import open_deb
from unionfs.formats.tar.fault import PackageRefused
from unionfs.kernel.gains import Gain
from unionfs.kernel.protocol import Protocol
from unionfs.store.remote import sshsig
from unionfs.store.remote.sshkey import KeyFault
from unionfs.store.remote.statement import StatementError
from unionfs.store.remote.statement import read as read_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from unionfs.view.filesystem import Filesystem

CORPUS: Final = Path(__file__).parent / "corpus"
"""A folder a target, a file an input: those that reach what no smaller one does, and `found-…`,
which once were faults."""

META = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0")


@contextmanager
def held(data: bytes) -> Iterator[Path]:
    """A file of these bytes that no disk has."""
    descriptor = os.memfd_create("fuzzed")
    try:
        os.write(descriptor, data)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def zip_file(data: bytes) -> None:
    """A Zip file; the first byte says in what pieces its members are read."""
    with held(data[1:]) as path:
        oracles.zip_file(path, 1 + data[0] * data[0] if data else 1)


def npm(data: bytes) -> None:
    """A tar stream; a block with spaces where a header has its checksum gets the right one."""
    blocks = bytearray(data)
    for at in range(0, len(blocks) - 511, 512):
        if blocks[at + 148 : at + 156] == b" " * 8:
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    oracles.npm_stream(bytes(blocks))


def deb(data: bytes) -> None:
    """A .deb: refused, or it can be packed."""
    with held(data) as path, suppress(PackageRefused), open_deb(path, filename="x") as opened:
        pack(opened.members(), opened.meta, io.BytesIO())


def lock(data: bytes) -> None:
    """A package-lock.json: as it is, or of lines of a place and, after NULs, what is said of it."""
    oracles.npm_lock(data if data[:1] == b"{" else lock_of(data))


FLAGS: Final = {"L": "link", "O": "optional", "D": "dev", "I": "inBundle", "S": "hasInstallScript"}
TEXTS: Final = {"v": "version", "r": "resolved", "i": "integrity", "n": "name", "b": "bin"}
LISTS: Final = {"o": "os", "c": "cpu", "l": "libc"}
NEEDS: Final = {"d": "dependencies", "q": "optionalDependencies", "p": "peerDependencies"}
"""What a letter stands for with which a part of such a line begins."""


def lock_of(data: bytes) -> bytes:
    """JSON of such lines."""
    packages: dict[str, dict[str, object]] = {}
    for line in data.decode(errors="surrogateescape").split("\n"):
        place, *parts = line.split("\0")
        fields: dict[str, object] = {}
        for part in parts:
            letter, rest = part[:1], part[1:]
            name, _, value = rest.partition("=")
            if letter in FLAGS:
                fields[FLAGS[letter]] = True
            elif letter in TEXTS:
                fields[TEXTS[letter]] = {name: value} if letter == "b" and value else rest
            elif letter in LISTS:
                fields[LISTS[letter]] = rest.split(",")
            elif letter in NEEDS:
                needed = fields.setdefault(NEEDS[letter], {})
                assert isinstance(needed, dict)
                needed[name] = value
            elif letter == "e":
                fields["engines"] = {"node": rest}
        packages[place] = fields
    return json.dumps({"lockfileVersion": 3, "packages": packages}).encode()


def record(data: bytes) -> None:
    """RECORD."""
    oracles.record_text(data.decode(errors="replace"))


def contents(data: bytes) -> None:
    """A table of contents, read under the digest that it has."""
    oracles.table(data)


# -- archives ----------------------------------------------------------------------------------

WISHES: Final = struct.Struct("<BHI")
"""What `archive` wants: flags; where from the end of the file, and which 4 bytes, are patched."""
FRAMES_AS_SAID, MEMBERS_AS_SAID, STREAM_AS_SAID, PATCHED = 1, 2, 4, 8


def archive(data: bytes) -> None:
    """An archive: `WISHES`, a table of contents, the tar stream. What is wished for is sealed."""
    if len(data) < WISHES.size:
        return
    flags, place, value = WISHES.unpack_from(data)
    table, stream = divided(data[WISHES.size :])
    if not flags & STREAM_AS_SAID:
        stream = written(table, stream)
    frames = seal(table, stream, flags)
    block = skippable(CONTENTS_MAGIC, bytes(table))
    sizes = [(len(compressed), size) for compressed, size in frames]
    file = bytearray(b"".join(compressed for compressed, _ in frames))
    file += block + SeekTable.encode([*sizes, (len(block), 0)])
    if flags & PATCHED:
        struct.pack_into("<I", file, -4 - place % (len(file) - 3), value)
    with held(bytes(file)) as path:
        oracles.archive(path, archive_name(stem_of(table), digest_of_contents(bytes(table))))


def divided(data: bytes) -> tuple[bytearray, bytes]:
    """The table, as long as its header says, and what follows it."""
    if len(data) < HEADER.size:
        return bytearray(data), b""
    _, _, _, count, frames, meta, _, names, _, _ = HEADER.unpack_from(data)
    size = HEADER.size + ENTRY.size * count + 40 * frames + meta + names
    return bytearray(data[:size]), data[size:]


def written(table: bytearray, stream: bytes) -> bytes:
    """The stream that the table describes, its files' bytes taken from `stream`; it, if none is.

    The table is changed: files lie where they are then, and are as long.
    """
    made = bytearray()
    total = 0
    try:
        read = Contents(bytes(table), "fuzzed", digest_of_contents(bytes(table)))
        for path, number in read.walk():
            entry = read.entry(number)
            content = b""
            if entry.kind is Kind.FILE:
                start, size = read.content_span(number)
                content = stream[start : start + size]
                entry = entry._replace(size=len(content))
            target = read.target(number) if entry.kind is Kind.SYMLINK else b""
            made += tar_header(path, entry, target)
            if entry.kind is Kind.FILE:
                at = HEADER.size + number * ENTRY.size + 8
                struct.pack_into("<QQ", table, at, len(made), len(content))
            total += len(content)
            made += content + padding(len(content))
    except LayerError:
        return stream
    made += END_OF_STREAM
    struct.pack_into("<QQ", table, 40, len(made), total)
    return bytes(made)


def seal(table: bytearray, stream: bytes, flags: int) -> list[tuple[bytes, int]]:
    """Put the digests of members and frames into the table; (compressed, size) of every frame."""
    if len(table) < HEADER.size:
        return []
    _, _, _, count, frame_count, _, _, _, stream_size, _ = HEADER.unpack_from(table)
    starts_at = HEADER.size + ENTRY.size * count
    digests_at = starts_at + 8 * frame_count
    names_at = digests_at + 32 * frame_count
    if names_at > len(table):
        return []
    for number in range(0 if flags & MEMBERS_AS_SAID else count):
        at = HEADER.size + ENTRY.size * number
        _, _, kind, _, place, extent, _, _ = ENTRY.unpack_from(table, at)
        if kind != Kind.DIRECTORY:
            whole = stream if kind == Kind.FILE else table[names_at:]
            table[at + 32 : at + 64] = sha256(whole[place : place + extent]).digest()
    starts = struct.unpack_from(f"<{frame_count}Q", table, starts_at)
    frames = []
    for number, (start, end) in enumerate(zip(starts, (*starts[1:], stream_size), strict=False)):
        content = stream[start : min(end, start + FRAME_SIZE)]
        if not flags & FRAMES_AS_SAID:
            at = digests_at + 32 * number
            table[at : at + 32] = sha256(content).digest()
        frames.append((zstandard.compress(content), len(content)))
    return frames


def stem_of(table: bytearray) -> str:
    """What the archive would be called, if that can be made out."""
    try:
        stem = json.loads(table[table.rindex(b"{") :])["stem"]
        return str(stem)
    except (ValueError, KeyError, RecursionError):
        return META.stem


LINK, LARGE, DIRECTORY, EXECUTABLE = b"LSDX"
"""What the first letter of a line says, if it is one of these; a large file has its content 1000
times."""


def tar(data: bytes) -> None:
    """Members, to be packed: lines of a letter (or not), a path, NUL and a content or target."""
    members = [member(line) for line in data.split(b"\n") if line]
    packed, again = io.BytesIO(), io.BytesIO()
    try:
        name = pack(members, META, packed)
    except PkgviewError:
        return
    with held(packed.getvalue()) as path:
        verdict = oracles.archive(path, name)
    assert verdict.accepted, verdict
    found = {
        path: fields for path, *fields in oracles.extracted(oracles.stream_of(packed.getvalue()))
    }
    for wanted in members:
        content = wanted.open().read() if wanted.open else wanted.target
        mode = 0o755 if wanted.kind is Kind.DIRECTORY or wanted.executable else 0o644
        mode = 0o777 if wanted.kind is Kind.SYMLINK else mode
        assert found[wanted.path] == [wanted.kind, mode, content]
    assert pack(reversed(members), META, again) == name
    assert again.getvalue() == packed.getvalue()


def member(line: bytes) -> Member:
    """One line of what `tar` is given."""
    kind = line[0]
    path, _, content = line[kind in {LARGE, LINK, DIRECTORY, EXECUTABLE} :].partition(b"\0")
    if kind == LINK:
        return Member(path=path, kind=Kind.SYMLINK, target=content)
    if kind == DIRECTORY:
        return Member(path=path, kind=Kind.DIRECTORY)
    if kind == LARGE:
        content *= 1000
    return Member(
        path=path,
        executable=kind == EXECUTABLE,
        size=len(content),
        open=partial(io.BytesIO, content),
    )


# -- the kernel --------------------------------------------------------------------------------


@cache
def _served() -> Filesystem:
    """One for all messages: no protocol changes it."""
    stack = ExitStack()
    atexit.register(stack.close)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return stack.enter_context(serving(directory)).filesystem


def protocol(data: bytes) -> None:
    """Messages, each as long as the two bytes before it say, in one conversation."""
    filesystem = _served()
    gain = Gain(on=False, why="")
    talk = Protocol(filesystem, Counter(), opens=gain, opendirs=gain)
    while data:
        size = int.from_bytes(data[:2], "little")
        oracles.message(filesystem, talk, data[2 : 2 + size])
        data = data[2 + size :]


def statement(data: bytes) -> None:
    """What a remote store says."""
    try:
        found = read_statement(data)
    except StatementError:
        return
    assert found.to_bytes() == data


def signature(data: bytes) -> None:
    """A signature without its armour, of nothing."""
    armoured = f"{sshsig.BEGIN}\n{b64encode(data).decode()}\n{sshsig.END}"
    with suppress(KeyFault):
        sshsig.verify(b"", sshsig.read(armoured))


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "archive": archive,
    "contents": contents,
    "deb": deb,
    "lock": lock,
    "npm": npm,
    "protocol": protocol,
    "record": record,
    "signature": signature,
    "statement": statement,
    "tar": tar,
    "zip": zip_file,
}
