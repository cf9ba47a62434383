"""Zip files that are what they seem: one reading only, and every byte accounted for.

A Zip file says most things twice (in a member's local header and in the central directory), and
says where to begin in a record that is searched for from the end. Two readers can therefore see
two different archives in one file. Here a file is accepted only if there is one way to read it:

    local header, data[, data descriptor]    once a member, without gap or overlap, from byte 0
    central directory                        one record a member, equal to the local headers
    Zip64 end record and locator             only where they say the same as the end record
    end record                               22 bytes and its comment, the last of the file

This module checks structure, never content: a member's stream (`ZipFile.stream`) checks size and
CRC-32 while it is read. All faults that can be seen together are collected and raised once.

Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 (records), 4.4 (fields), 4.5 (extra fields).

Why not `zipfile`: it takes the first end record that it can make sense of, ignores what lies
before and between members, and compares of the two headers only the names.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from unionfs.formats.zip import naming
from unionfs.formats.zip.directory import (
    FLAG_DESCRIPTOR,
    FULL32,
    Record,
    check_record,
    long_sizes,
    read_records,
)
from unionfs.formats.zip.end import DirectoryPlace, find_directory
from unionfs.formats.zip.fault import Faults, UnsoundZipError, read_exactly
from unionfs.formats.zip.stream import DEFLATED, MemberStream

if TYPE_CHECKING:
    from pathlib import Path

    from unionfs.archive.layer import Kind

SIZE_LIMIT: Final = 8 * 2**30
"""Most bytes that all members together may have, unpacked. The largest wheels have about 4 GiB."""

RATIO_LIMIT: Final = 200
RATIO_FLOOR: Final = 256 * 2**20
"""Where the members have more than `RATIO_FLOOR` bytes together, they may not be more than
`RATIO_LIMIT` times as large as the file. Wheels reach 2 to 8; deflate can do 1,032."""

_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC = b"PK\3\4"
_DESCRIPTOR_MAGIC = b"PK\7\x08"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipMember:
    """One member: `path` without the "/" at a directory's end; sizes and places in bytes.

    `offset` is where its local header begins, `start` its data, `end` whatever follows it.
    """

    path: str
    kind: Kind
    executable: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    start: int
    end: int


class ZipFile:
    """An open Zip file whose structure was found sound.

    Threads may share it: everything is read with `pread`. Streams end with `close`.
    """

    def __init__(self, path: Path) -> None:
        """Open and check; raises `UnsoundZipError`, or `OSError` where the file cannot be had."""
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.members = _Reader(self.descriptor).members()
        except BaseException:
            self.close()
            raise

    def stream(self, member: ZipMember) -> MemberStream:
        """The content, checked against size and CRC-32 before its last byte is handed out."""
        return MemberStream(
            self.descriptor,
            start=member.start,
            packed=member.packed,
            size=member.size,
            crc=member.crc,
            deflated=member.method == DEFLATED,
        )

    def close(self) -> None:
        """Close the file; doing it again does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Reader:
    """One reading of one file; it collects faults, and raises them where it cannot go on."""

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsoundZipError("it is no regular file")
        self._descriptor = descriptor
        self._size = status.st_size
        self._faults = Faults()

    def members(self) -> tuple[ZipMember, ...]:
        """Every member, in the order of the central directory."""
        place = find_directory(self._descriptor, self._size)
        records = read_records(self._descriptor, place, self._faults)
        self._check_sizes(records)
        for record in records:
            check_record(record, self._faults)
        for clash in naming.collisions((r.path.removesuffix("/"), r.kind) for r in records):
            self._faults.add(clash)
        # Only what may be read at all is looked up in the file.
        self._faults.raise_any()
        members = self._locate(records, place)
        self._faults.raise_any()
        return members

    def _check_sizes(self, records: list[Record]) -> None:
        total = sum(record.size for record in records)
        if total > SIZE_LIMIT:
            self._faults.add(f"it would have {total} bytes unpacked; at most {SIZE_LIMIT} are read")
        elif total > max(RATIO_FLOOR, RATIO_LIMIT * self._size):
            self._faults.add(
                f"it would be {total // self._size} times as large unpacked; more than "
                f"{RATIO_LIMIT} times is taken for a decompression bomb"
            )

    def _locate(self, records: list[Record], place: DirectoryPlace) -> tuple[ZipMember, ...]:
        """Every member at its place, after every byte before the directory has found its owner."""
        order = sorted(range(len(records)), key=lambda number: records[number].offset)
        members: list[ZipMember | None] = [None] * len(records)
        limits = [*(records[number].offset for number in order), place.offset]
        at = 0
        for number, limit in zip(order, limits[1:], strict=True):
            record = records[number]
            if record.offset != at:
                self._faults.add(_misplaced(record, at))
            member = self._member(record, limit)
            if member is None:
                at = limit
                continue
            members[number] = member
            at = member.end
        if at != place.offset:
            end = f"{abs(place.offset - at)} bytes before the central directory"
            self._faults.add(
                f"{end} belong to no member" if at < place.offset else f"{end} overlap"
            )
        return tuple(member for member in members if member is not None)

    def _member(self, record: Record, limit: int) -> ZipMember | None:
        """Compare a record with its local header; None where that has a fault.

        `limit` is where the next member begins: what lies between is the data descriptor.
        """
        path = record.path
        header = read_exactly(
            self._descriptor, _LOCAL.size, record.offset, f"the local header of {path!r}"
        )
        if not header.startswith(_LOCAL_MAGIC):
            self._faults.add(f"{path!r} has no local header where the central directory says")
            return None
        _, _, flags, method, _, _, crc, packed, size, name, extra = _LOCAL.unpack(header)
        body = read_exactly(
            self._descriptor,
            name + extra,
            record.offset + _LOCAL.size,
            f"the local header of {path!r}",
        )
        before = len(self._faults)
        size, packed = long_sizes(path, body[name:], (size, packed), self._faults)
        streamed = bool(record.flags & FLAG_DESCRIPTOR)
        differing = [
            what
            for what, local, central, later in (
                ("name", body[:name], record.raw_path, None),
                ("flags", flags, record.flags, None),
                ("compression method", method, record.method, None),
                ("CRC-32", crc, record.crc, 0),
                ("packed size", packed, record.packed, 0),
                ("size", size, record.size, 0),
            )
            if local != central and not (streamed and later == local)
        ]
        if differing:
            self._faults.add(f"{path!r} has local and central headers that disagree: {differing}")
        if len(self._faults) > before:
            return None
        start = record.offset + _LOCAL.size + name + extra
        end = start + record.packed
        if end > limit:
            self._faults.add(f"{path!r} overlaps what follows it by {end - limit} bytes")
            return None
        if streamed:
            if not self._is_descriptor(record, end, limit - end):
                self._faults.add(f"{path!r} has a data descriptor that disagrees with its header")
                return None
            end = limit
        return ZipMember(
            path=path.removesuffix("/"),
            kind=record.kind,
            executable=record.executable,
            method=record.method,
            crc=record.crc,
            packed=record.packed,
            size=record.size,
            offset=record.offset,
            start=start,
            end=end,
        )

    def _is_descriptor(self, record: Record, at: int, length: int) -> bool:
        """Whether the `length` bytes at `at` are the member's data descriptor (4.3.9).

        Its signature is optional, and its sizes have 4 or 8 bytes: four forms of four lengths.
        """
        forms = {
            len(form): form
            for magic in (b"", _DESCRIPTOR_MAGIC)
            for sizes in ("<L2L", "<L2Q")
            if sizes == "<L2Q" or max(record.packed, record.size) <= FULL32
            for form in [magic + struct.pack(sizes, record.crc, record.packed, record.size)]
        }
        if length not in forms:
            return False
        return read_exactly(self._descriptor, length, at, "a data descriptor") == forms[length]


def _misplaced(record: Record, expected: int) -> str:
    """What to say of a member that does not begin where the one before it ends."""
    distance = record.offset - expected
    if distance < 0:
        return f"{record.path!r} overlaps the member before it by {-distance} bytes"
    if not expected:
        return f"there are {distance} bytes of prepended data before the first member"
    return f"{distance} bytes before {record.path!r} belong to no member"
