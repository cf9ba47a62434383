"""The entries of a tar stream, if all readers find the same ones in it.

    entry      a header of 512 bytes, then the content, padded with zeros to whole blocks
    x, X       pax records for the entry that follows: path, size and others
    g          pax records for all that follow; only such as change nothing are taken
    L, K       the path, the link's target, of the entry that follows (GNU)
    end        zeros, or the end of the stream

Readers of tar files differ where a header is odd: what one takes for a size another takes for
nothing, and from there on they read different files out of the same bytes. Therefore whatever
npm's reader (node-tar) and Python's `tarfile` do not read alike is a fault, and names what is odd.
Only owners, times and device numbers, which mean nothing here, may be what they like.

Formats: POSIX.1-2017 pax "ustar interchange format" and "pax extended header"; GNU tar, "Basic Tar
Format".

Why not `tarfile`: it takes what it cannot read for the end of the file, unknown types for files and
the last of two readings without a word; and it takes 1.7 times as long, unpacking included.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.formats.tar.fault import UnsoundTarballError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unionfs.formats.tar.unpacked import Unpacked

BLOCK: Final = 512

EXTENSION_LIMIT: Final = 1024 * 1024
"""Most bytes of pax records, or of a long path: npm's reader passes over longer ones."""

FILE: Final = "file"
DIRECTORY: Final = "directory"
LINK: Final = "link"
HARD_LINK: Final = "hard link"

_HEADER = struct.Struct("<100s8s8s8s12s12s8sc100s8s80x155s12x")
_OCTAL = re.compile(rb" *([0-7]*) *(?:\0.*)?", re.DOTALL)
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]+)=")
_SIZE = re.compile(rb"[0-9]{1,19}")
_INNER = re.compile(rb"(path|size)=")
_ZEROS = bytes(BLOCK)
_USTAR = b"ustar\x0000"
_GNU = b"ustar  \0"
_BASE256, _NEGATIVE = 0x80, 0xFF
_SAFE = 2**53 - 1
_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148))
_DEVICES = ((329, 337), (337, 345))
_TIMES = ((476, 488), (488, 500))
_FIRST = tuple(start for start, _ in _NUMBERS + _DEVICES + _TIMES)

_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"5": DIRECTORY, b"1": HARD_LINK, b"2": LINK}
_REFUSED = {
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"D": "a directory's listing",
    b"M": "the rest of a file of another volume",
    b"N": "a long path of a form that is no longer written",
    b"S": "a sparse file",
    b"V": "a volume's label",
}


class Entry(NamedTuple):
    """One entry: `kind` is `FILE`, `DIRECTORY`, `LINK` or `HARD_LINK`; `path` as it is written.

    `mode` is its permissions, of a file; its content is `size` bytes from `start` in the stream.
    `target` is where a link leads, as it is written.
    """

    kind: str
    path: bytes
    mode: int
    start: int
    size: int
    target: bytes = b""


def entries(data: Unpacked) -> Iterator[Entry]:
    """All entries, in their order; raises `UnsoundTarballError` at the first that is not sound."""
    at, end = 0, len(data)
    extensions: dict[bytes, bytes] = {}
    while at < end:
        header = data[at : at + BLOCK]
        if header == _ZEROS or not header.strip(b"\0"):
            break
        if len(header) < BLOCK:
            raise UnsoundTarballError("it ends within a header")
        fields = _HEADER.unpack(header)
        kind, size = fields[7], _size(fields, header, at)
        start, at = at + BLOCK, at + BLOCK + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind in b"xXgLK":
            if at > end:
                raise UnsoundTarballError("it ends within an extended header")
            if fields[0][0] == 0 or (kind not in b"xg" and fields[8].strip(b"\0")):
                raise UnsoundTarballError(f"the extended header at byte {start - BLOCK} is odd")
            _extend(extensions, kind, data, start, size)
            continue
        entry = _entry(fields, extensions, start, size)
        if at > end:
            raise UnsoundTarballError(f"it ends within {shown(entry.path)}")
        extensions = {}
        yield entry
    if extensions:
        raise UnsoundTarballError("it ends behind an extended header")
    _check_end(data, at)


def shown(path: bytes) -> str:
    """A path for a message."""
    return repr(path.decode("utf-8", "replace"))


def _check_end(data: Unpacked, at: int) -> None:
    """Nothing but zeros may follow: some readers go on behind a block of zeros, others do not."""
    while at < len(data):
        if data[at : at + 2**20].strip(b"\0"):
            raise UnsoundTarballError("it has data behind the zeros that end it")
        at += 2**20


def _size(fields: tuple[bytes, ...], header: bytes, at: int) -> int:
    """The size in a header whose checksum and numbers are right."""
    size, checksum = fields[4], fields[6]
    if sum(header) - sum(checksum) + 8 * 0x20 != _number(checksum, "checksum", at):
        raise UnsoundTarballError(f"the header at byte {at} has a wrong checksum")
    for first in _FIRST:
        if header[first] & _BASE256:
            _check_binary(header, at)
            break
    return _number(size, "size", at)


def _check_binary(header: bytes, at: int) -> None:
    """Of the numbers that mean nothing here, those that npm's reader stumbles over."""
    ustar = header[257:265] == _USTAR
    places = _NUMBERS + ustar * _DEVICES + (ustar and not header[475]) * _TIMES
    for start, end in places:
        sign, rest = header[start], header[start + 1 : end]
        if sign & _BASE256:
            value = int.from_bytes(rest, "big") - (sign == _NEGATIVE) * (1 << 8 * len(rest))
            if sign not in {_BASE256, _NEGATIVE} or abs(value) > _SAFE:
                raise UnsoundTarballError(f"the header at byte {at} has a number of no known form")


def _number(field: bytes, what: str, at: int) -> int:
    """A number: octal digits between white space, or binary (GNU)."""
    if field[0] == _BASE256:
        return int.from_bytes(field[1:], "big")
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise UnsoundTarballError(f"the header at byte {at} has a {what} that is no number")
    return int(match[1] or b"0", 8)


def _text(field: bytes) -> bytes:
    """What is before the first NUL."""
    text, _, rest = field.partition(b"\0")
    if b"\n" in rest:
        raise UnsoundTarballError(f"the path {shown(text)} is followed by a second line")
    return text


def _entry(
    fields: tuple[bytes, ...], extensions: dict[bytes, bytes], start: int, size: int
) -> Entry:
    """What a header says, with the extended ones before it; `size` is its own."""
    name, mode, _, _, _, _, _, kind, target, magic, prefix = fields
    path = extensions.get(b"path")
    if path is None:
        path = _path(name, magic, prefix)
    if not path:
        raise UnsoundTarballError(f"the entry at byte {start - BLOCK} has no path")
    if b"size" in extensions and int(extensions[b"size"]) != size:
        raise UnsoundTarballError(f"{shown(path)} has two sizes")
    what = _KINDS.get(kind)
    if what is None:
        wrong = _REFUSED.get(kind, f"of the unknown type {shown(kind)}")
        raise UnsoundTarballError(f"{shown(path)} is {wrong}")
    if what is FILE and kind != b"7" and path.endswith(b"/"):
        what = DIRECTORY
    leads = _target(what, path, target, extensions)
    if what is not FILE:
        if size:
            raise UnsoundTarballError(f"{shown(path)} is a {what} with content")
        return Entry(what, path, 0, start, 0, leads)
    return Entry(FILE, path, _number(mode, "mode", start - BLOCK), start, size)


def _target(what: str, path: bytes, target: bytes, extensions: dict[bytes, bytes]) -> bytes:
    """Where a link leads; b"" for what is none."""
    if what in {LINK, HARD_LINK}:
        if not (leads := _text(target)):
            raise UnsoundTarballError(f"{shown(path)} is a link to nowhere")
        return extensions.get(b"linkpath", leads)
    if target.strip(b"\0") or b"linkpath" in extensions:
        raise UnsoundTarballError(f"{shown(path)} has a link's target and is no link")
    return b""


def _path(name: bytes, magic: bytes, prefix: bytes) -> bytes:
    """The path that is written in a header itself."""
    path, before = _text(name), _text(prefix)
    if not path:
        return b""
    if before and magic == _USTAR:
        return before + b"/" + path
    if before and magic != _GNU:
        raise UnsoundTarballError(f"{shown(path)} has a prefix in a format that has none")
    return path


# -- extended headers ------------------------------------------------------------------------------


def _extend(
    extensions: dict[bytes, bytes], kind: bytes, data: Unpacked, start: int, size: int
) -> None:
    """Add what an extended header says of the entry that follows."""
    if size > EXTENSION_LIMIT:
        raise UnsoundTarballError(f"the extended header at byte {start - BLOCK} is too long")
    content = data[start : start + size]
    if kind in b"LK":
        # Some read on where the path ends without a NUL.
        text = _text(data[start : start + size + -size % BLOCK])
        if len(text) > size:
            raise UnsoundTarballError(f"{shown(content)} goes on in what pads it")
        found = {b"path" if kind == b"L" else b"linkpath": text}
    else:
        found = _records(content)
    if not _SIZE.fullmatch(found.get(b"size", b"0")):
        raise UnsoundTarballError(f"the size {shown(found[b'size'])} is no number")
    if kind == b"g":
        if found:
            raise UnsoundTarballError("it has a path or size for all files")
        return
    if not found.keys().isdisjoint(extensions):
        raise UnsoundTarballError(f"{shown(found.get(b'path', b''))} is said of an entry twice")
    extensions.update(found)


_MEANT = frozenset({b"path", b"linkpath", b"size"})


def _records(content: bytes) -> dict[bytes, bytes]:
    """Those pax records that mean anything.

    npm's reader takes each line for a record, and passes over what is not UTF-8; others go by the
    length that a record begins with.
    """
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        match = _RECORD.match(content, at)
        end = at + int(match[1]) if match else at
        if match is None or end > len(content) or content[match.end() - 1 : end][-1:] != b"\n":
            raise UnsoundTarballError("an extended header cannot be read")
        key, value = match[2], content[match.end() : end - 1]
        if key.startswith(b"GNU.sparse."):
            raise UnsoundTarballError("it has a sparse file")
        if b"\n" in value and (key in _MEANT or _INNER.search(value)):
            raise UnsoundTarballError("an extended header has two readings")
        if key in _MEANT:
            if not value or b"\0" in value or key in found or not _is_utf8(value):
                raise UnsoundTarballError(f"an extended header has no one {key.decode()}")
            found[key] = value
        at = end
    return found


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
