"""The members of a .deb: an ar archive of three, in their order (deb(5)).

    !<arch>                    and a line's end
    name 16, time 12, owner 6, group 6, mode 8, size 10, "`" and a line's end: a member's header
    content                    and a line's end where the size is odd

    debian-binary              "2." and a number
    control.tar, .gz .xz .zst
    data.tar, .gz .xz .zst

Members whose names begin with "_" may stand behind the first: dpkg passes over them, and so do we.
dpkg also passes over whatever follows; here nothing may. No extended names exist in a .deb.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from unionfs.formats.tar.fault import UnsoundTarballError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"!<arch>\n"
_HEADER = 60
_NAME = re.compile(rb"([A-Za-z0-9._-]{1,15}|[A-Za-z0-9._-]{16})/? *")
_NUMBER = re.compile(rb"[0-9]+ *")
_MODE = re.compile(rb"[0-7]* *")
_VERSION = re.compile(rb"2\.[0-9]{1,3}\n")
_TAR = re.compile(r"(control|data)\.tar(\.gz|\.xz|\.zst)?")
_OTHER_TAR = re.compile(r"(control|data)\.tar\..*")
_MEMBER_LIMIT = 64


class Part(NamedTuple):
    """`size` bytes from `start` of the file; `packed` is "", "gz", "xz" or "zst"."""

    packed: str
    start: int
    size: int


def parts(file: BinaryIO) -> tuple[Part, Part]:
    """The control and the data part; `UnsoundTarballError` for what is no .deb."""
    found = [(name, part) for name, part in _members(file) if not name.startswith("_")]
    if not found or found[0][0] != "debian-binary":
        raise UnsoundTarballError("its first member is not debian-binary")
    version = found[0][1]
    if version.size > len("2.000\n") or not _VERSION.fullmatch(_read(file, *version[1:])):
        raise UnsoundTarballError("it is of a format other than 2")
    kinds: list[str] = []
    for name, _ in found[1:]:
        match = _TAR.fullmatch(name)
        if match is None:
            raise UnsoundTarballError(
                f"{name} is compressed in a way that is not read here"
                if _OTHER_TAR.fullmatch(name)
                else f"it has a member {name!r}"
            )
        kinds.append(match[1])
    if kinds != ["control", "data"]:
        raise UnsoundTarballError(
            f"it has {' and '.join(kinds) or 'nothing'} where control and data have to be"
        )
    return found[1][1], found[2][1]


def _members(file: BinaryIO) -> Iterator[tuple[str, Part]]:
    """All members in their order; the file has to end with the last."""
    end = os.fstat(file.fileno()).st_size
    if _read(file, 0, len(MAGIC)) != MAGIC:
        raise UnsoundTarballError("it is no ar archive")
    at, count = len(MAGIC), 0
    while at < end:
        name, size = _header(_read(file, at, _HEADER), at)
        start = at + _HEADER
        at = start + size + size % 2
        if start + size > end:
            raise UnsoundTarballError(f"it ends within {name}")
        # dpkg takes a last member without its padding, and so do its builders' readers.
        if size % 2 and start + size < end and _read(file, start + size, 1) != b"\n":
            raise UnsoundTarballError(f"{name} is not padded as it has to be")
        count += 1
        if count > _MEMBER_LIMIT:
            raise UnsoundTarballError(f"it has more than {_MEMBER_LIMIT} members")
        yield name, Part(name.rpartition(".tar")[2].removeprefix("."), start, size)


def _header(header: bytes, at: int) -> tuple[str, int]:
    if len(header) < _HEADER:
        raise UnsoundTarballError("it ends within a member's header")
    if header[58:] != b"`\n":
        raise UnsoundTarballError(f"at byte {at} is no member's header")
    name = _NAME.fullmatch(header[:16])
    if name is None:
        raise UnsoundTarballError(f"the member at byte {at} has no plain name")
    numbers = (header[16:28], header[28:34], header[34:40], header[48:58])
    if not all(map(_NUMBER.fullmatch, numbers)) or not _MODE.fullmatch(header[40:48]):
        raise UnsoundTarballError(f"the member at byte {at} has a number that is none")
    return name[1].decode(), int(header[48:58])


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, start)
