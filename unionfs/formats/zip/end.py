"""The end of a Zip file: where its central directory is, if there is only one answer.

Readers search for the end record from behind, some of them from the front; trailing bytes, a second
record, or a comment that could be one make them differ. So the end record has to be the last 22
bytes, or to be followed by its comment, which has no "PK" in it, as every record begins; what it
points to has to end where it begins, and Zip64 records (4.3.14, 4.3.15) may lie between only if
they say the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from unionfs.formats.zip.fault import UnsoundZipError, read_exactly

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\5\6"
_COMMENT_LIMIT = 2**16 - 1
RECORDS_BEGIN = b"PK"
"""What every record of a Zip file begins with: a comment with that could hide one."""

_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_MAGIC = b"PK\6\7"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_MAGIC = b"PK\6\6"
_END64_LENGTH = _END64.size - 12
"""What the record's own length field counts: neither its signature nor itself."""

_FULL16 = 0xFFFF
_FULL32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryPlace:
    """The central directory: number of records, place and size in bytes."""

    entries: int
    offset: int
    size: int


def find_directory(descriptor: int, file_size: int) -> DirectoryPlace:
    """The one central directory of a file of that size; raises `UnsoundZipError`."""
    at = file_size - _END.size
    if at < 0:
        raise UnsoundZipError("it is no Zip file: it is shorter than an end record")
    record = read_exactly(descriptor, _END.size, at, "its end record")
    if not record.startswith(_END_MAGIC) or record.rfind(_END_MAGIC) or record[-2:] != b"\0\0":
        record, at = _commented(descriptor, file_size)
    _, disk, first, here, entries, size, offset, _ = _END.unpack(record)
    if disk or first or here != entries:
        raise UnsoundZipError("its end record is that of one part of several")
    short = DirectoryPlace(entries=entries, offset=offset, size=size)
    place, tail = _long_form(descriptor, short, at)
    gap = tail - place.offset - place.size
    if gap < 0:
        raise UnsoundZipError("its central directory would reach beyond its end record")
    if gap:
        window = min(gap, _END.size + _COMMENT_LIMIT)
        before = read_exactly(descriptor, window, tail - window, "its end record")
        raise UnsoundZipError(
            "it has several end records"
            if _END_MAGIC in before
            else f"{gap} bytes before its end record belong to nothing: it has prepended data, "
            "or its central directory is not where the end record says"
        )
    return place


def _commented(descriptor: int, file_size: int) -> tuple[bytes, int]:
    """The end record and its place, where a comment follows it that can be nothing else."""
    window = min(file_size, _END.size + _COMMENT_LIMIT)
    tail = read_exactly(descriptor, window, file_size - window, "its end record")
    at = tail.rfind(_END_MAGIC)
    record, comment = tail[at : at + _END.size], tail[at + _END.size :]
    if at < 0 or len(record) < _END.size:
        raise UnsoundZipError("it is no Zip file: it does not end with an end record")
    if int.from_bytes(record[-2:], "little") == len(comment) and RECORDS_BEGIN not in comment:
        return record, file_size - window + at
    first = tail.find(_END_MAGIC)
    if first < at:
        raise UnsoundZipError("it has several end records")
    if int.from_bytes(record[-2:], "little") == len(comment):
        raise UnsoundZipError(
            f"its end record has a comment of {len(comment)} bytes, which can hide another one"
        )
    raise UnsoundZipError(f"there are {len(comment)} bytes of trailing data behind its end record")


def _long_form(descriptor: int, short: DirectoryPlace, at: int) -> tuple[DirectoryPlace, int]:
    """The place as Zip64 records complete it, and where the directory has to end.

    `at` is the end record's own place; there a directory without Zip64 records ends.
    """
    full = short.entries == _FULL16 or _FULL32 in {short.size, short.offset}
    before = at - _LOCATOR.size
    locator = read_exactly(descriptor, _LOCATOR.size, before, "a locator") if before >= 0 else b""
    if not locator.startswith(_LOCATOR_MAGIC):
        if full:
            raise UnsoundZipError("its end record refers to a Zip64 end record that is not there")
        return short, at
    _, disk, position, disks = _LOCATOR.unpack(locator)
    if disk or disks != 1 or position != before - _END64.size:
        raise UnsoundZipError("its Zip64 locator does not point to the record before it")
    record = read_exactly(descriptor, _END64.size, position, "its Zip64 end record")
    magic, length, _, _, disk, first, here, entries, size, offset = _END64.unpack(record)
    if magic != _END64_MAGIC or length != _END64_LENGTH:
        raise UnsoundZipError("its Zip64 locator points to something else")
    agree = (
        not (disk or first)
        and here == entries
        and short.entries in {entries, _FULL16}
        and short.size in {size, _FULL32}
        and short.offset in {offset, _FULL32}
    )
    if not agree:
        raise UnsoundZipError("its Zip64 end record and its end record disagree")
    return DirectoryPlace(entries=entries, offset=offset, size=size), position
