"""The central directory of a Zip file: one record a member (APPNOTE 4.3.12)."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from unionfs.archive.layer import Kind
from unionfs.formats.zip import naming
from unionfs.formats.zip.end import RECORDS_BEGIN
from unionfs.formats.zip.fault import Faults, UnsoundZipError, read_exactly
from unionfs.formats.zip.stream import DEFLATED, STORED

if TYPE_CHECKING:
    from unionfs.formats.zip.end import DirectoryPlace

MEMBER_LIMIT: Final = 2**18
"""Most members. The largest wheels have some ten thousands."""

DIRECTORY_LIMIT: Final = 128 * 2**20
"""Most bytes of the central directory: it is held in memory."""

FLAG_DESCRIPTOR: Final = 0x0008
"""General purpose bit 3 (4.4.4): sizes and CRC-32 follow the data."""

FULL32: Final = 0xFFFFFFFF
"""A 32-bit field that says: look into the Zip64 field."""

_CENTRAL = struct.Struct("<4sBB5H3L5H2L")
_MAGIC = b"PK\1\2"
_EXTRA = struct.Struct("<2H")

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_UTF8 = 0x0800
_UNDERSTOOD = 0x0006 | FLAG_DESCRIPTOR | _UTF8
"""General purpose bits that may be set; 1 and 2 say only how hard deflate tried."""

_EXTRA_ZIP64 = 0x0001
_EXTRA_SECOND_NAME = 0x7075
"""Extra fields (4.5.3, 4.6.9): the long sizes, and another name for the same member."""

_VERSION = 63
"""The newest version of the format (4.4.3, in tenths). `zipfile` reads nothing that needs another;
like it, this looks at the lower byte alone, since writers put a host into the upper one."""

_UNIX_HOSTS = frozenset({3, 19})
"""Hosts (4.4.2) whose external attributes hold st_mode in their upper half: Unix and macOS."""

_DOS_DIRECTORY = 0x10
_EMPTY_DEFLATED = 2
"""Bytes of a deflate stream of nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record, its Zip64 values put in place. `path` keeps the "/" at a directory's end."""

    raw_path: bytes
    path: str
    host: int
    needed: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    attributes: int
    offset: int

    @property
    def kind(self) -> Kind:
        """A directory's name ends with "/"; there is no third kind."""
        return Kind.DIRECTORY if self.raw_path.endswith(b"/") else Kind.FILE

    @property
    def mode(self) -> int:
        """What would be st_mode, whether or not the host that wrote it had one."""
        return self.attributes >> 16

    @property
    def executable(self) -> bool:
        """Whether a Unix made it a file that anybody may execute."""
        return self.kind is Kind.FILE and self.host in _UNIX_HOSTS and bool(self.mode & 0o111)


def read_records(descriptor: int, place: DirectoryPlace, faults: Faults) -> list[Record]:
    """All records, in their order; raises `UnsoundZipError` where one cannot be made out."""
    if place.entries > MEMBER_LIMIT or place.size > DIRECTORY_LIMIT:
        raise UnsoundZipError(
            f"it has {place.entries} members and {place.size} bytes of directory; "
            f"at most {MEMBER_LIMIT} and {DIRECTORY_LIMIT} are read"
        )
    raw = read_exactly(descriptor, place.size, place.offset, "its central directory")
    records: list[Record] = []
    at = 0
    while at < len(raw):
        end = at + _CENTRAL.size
        if raw[at : at + 4] != _MAGIC or end > len(raw):
            raise UnsoundZipError(f"record {len(records)} of its central directory is damaged")
        fields = _CENTRAL.unpack_from(raw, at)
        name, extra, comment = fields[11:14]
        at = end + name + extra + comment
        if at > len(raw):
            raise UnsoundZipError(f"record {len(records)} of its central directory is cut off")
        records.append(
            _record(fields, raw[end : end + name], raw[end + name : at - comment], faults)
        )
        if RECORDS_BEGIN in raw[at - comment : at]:
            faults.add(f"{records[-1].path!r} has a comment that can hide records")
    if len(records) != place.entries:
        raise UnsoundZipError(
            f"its end record announces {place.entries} members, "
            f"its central directory has {len(records)}"
        )
    return records


def _record(fields: tuple[int, ...], raw_path: bytes, extra: bytes, faults: Faults) -> Record:
    _, _, host, needed, flags, method, _, _, crc, packed, size, _, _, _, disk = fields[:15]
    attributes, offset = fields[16:]
    path, wrong = naming.decode(raw_path, utf8=bool(flags & _UTF8))
    if wrong:
        faults.add(f"the name {path!r} {wrong}")
    size, packed, offset = long_sizes(path, extra, (size, packed, offset), faults)
    if disk:
        faults.add(f"{path!r} lies in another part of a Zip file that spans several")
    return Record(
        raw_path=raw_path,
        path=path,
        host=host,
        needed=needed & 0xFF,
        flags=flags,
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        attributes=attributes,
        offset=offset,
    )


def long_sizes(path: str, extra: bytes, short: tuple[int, ...], faults: Faults) -> tuple[int, ...]:
    """`short` with the fields that are all ones replaced by their Zip64 values (4.5.3)."""
    values: tuple[int, ...] | None = None
    at = 0
    while at < len(extra):
        if at + _EXTRA.size > len(extra):
            faults.add(f"{path!r} has a damaged extra field")
            break
        tag, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if at + length > len(extra):
            faults.add(f"{path!r} has a damaged extra field")
            break
        if tag == _EXTRA_SECOND_NAME:
            faults.add(f"{path!r} has a second name in an extra field")
        if tag == _EXTRA_ZIP64:
            if values is not None or length % 8:
                faults.add(f"{path!r} has a damaged Zip64 field")
                break
            values = struct.unpack_from(f"<{length // 8}Q", extra, at)
        at += length
    if values is None and FULL32 not in short:
        return short
    completed = _complete(short, values or ())
    if completed is None:
        faults.add(f"{path!r} has a Zip64 field that its header does not ask for or denies")
    return completed or short


def check_record(record: Record, faults: Faults) -> None:
    """What is wrong with a member by itself, as far as the directory tells."""
    path = record.path
    if record.flags & _ENCRYPTED:
        faults.add(f"{path!r} is encrypted")
    elif record.flags & ~_UNDERSTOOD:
        faults.add(f"{path!r} has flags that are not understood: {record.flags:#06x}")
    if record.needed > _VERSION:
        faults.add(f"{path!r} needs version {record.needed / 10} of the format; there is none")
    if record.method not in {STORED, DEFLATED}:
        faults.add(
            f"{path!r} has the unsupported compression method {record.method}; "
            "wheels are stored (0) or deflated (8)"
        )
    if record.method == STORED and record.packed != record.size:
        faults.add(f"{path!r} is stored, yet its two sizes differ")
    if record.kind is Kind.DIRECTORY and (
        record.size or record.crc or record.packed > _EMPTY_DEFLATED
    ):
        faults.add(f"{path!r} is a directory with content")
    file_type = stat.S_IFMT(record.mode)
    allowed = stat.S_IFDIR if record.kind is Kind.DIRECTORY else stat.S_IFREG
    if stat.S_ISLNK(file_type):
        faults.add(f"{path!r} is a symbolic link")
    elif file_type not in {0, allowed}:
        faults.add(f"{path!r} has the file type {file_type:#o}, which its name denies")
    elif record.kind is Kind.FILE and record.attributes & _DOS_DIRECTORY:
        faults.add(f"{path!r} is marked as a directory, which its name denies")


def _complete(short: tuple[int, ...], values: tuple[int, ...]) -> tuple[int, ...] | None:
    """The header's values with those of its Zip64 field; None where the two do not fit.

    The field has the values that are all ones in the header (4.5.3), or, as some writers have it,
    both sizes in any case: then they have to be the header's.
    """
    asked = [number for number, value in enumerate(short) if value == FULL32]
    if len(values) == len(asked):
        numbers = asked
    elif len(values) == 2:  # noqa: PLR2004 - both sizes: the size, and the packed size
        numbers = [0, 1]
    else:
        return None
    completed = list(short)
    for number, value in zip(numbers, values, strict=True):
        if short[number] not in {value, FULL32}:
            return None
        completed[number] = value
    return None if set(asked) - set(numbers) else tuple(completed)
