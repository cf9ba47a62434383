"""The tar stream of an archive: the blocks around each member's content, always the same bytes.

It holds what ustar (POSIX.1-1988) can say, and a pax header (POSIX.1-2001) before a member only
where it cannot: a long or non-ASCII path or link target, 8 GiB and more. All that could differ
between two machines is constant: owner 0, no names, modes 0644 and 0755, times 1980-01-01 (the
earliest that a zip file, hence a wheel, can express).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from unionfs.archive.layer import Kind

if TYPE_CHECKING:
    from unionfs.archive.layer import Entry

MTIME: Final = 315_532_800
"""1980-01-01T00:00:00Z, the modification time of every member."""

BLOCK: Final = 512
END_OF_STREAM: Final = bytes(2 * BLOCK)
_USTAR_NAME = 100
_USTAR_PREFIX = 155
_USTAR_SIZE = 8**11
_TYPES = {Kind.FILE: b"0", Kind.SYMLINK: b"2", Kind.DIRECTORY: b"5"}
_PAX_TYPE = b"x"


def tar_header(path: bytes, entry: Entry, target: bytes = b"", mtime: int = MTIME) -> bytes:
    """All blocks that precede a member's content in the tar stream.

    An archive's have all one time; `mtime`, in seconds, is for what is exported.
    """
    name = path + b"/" if entry.kind is Kind.DIRECTORY else path
    mode = {Kind.DIRECTORY: 0o755, Kind.SYMLINK: 0o777}.get(
        entry.kind, 0o755 if entry.executable else 0o644
    )
    size = entry.size if entry.kind is Kind.FILE else 0
    records: list[tuple[bytes, bytes]] = []
    prefix, short = _split(name)
    if short is None:
        records.append((b"path", name))
        prefix, short = b"", _ascii(name)
    link = target
    if len(target) > _USTAR_NAME or not target.isascii():
        records.append((b"linkpath", target))
        link = _ascii(target)
    if size >= _USTAR_SIZE:
        records.append((b"size", b"%d" % size))
        size = 0
    header = _header(
        name=short,
        type_flag=_TYPES[entry.kind],
        mode=mode,
        size=size,
        link=link,
        prefix=prefix,
        mtime=mtime,
    )
    return _pax(records) + header if records else header


def padding(size: int) -> bytes:
    """The zeros after a content of that size."""
    return bytes(-size % BLOCK)


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """(prefix, name) as ustar can hold them; name is None where it cannot."""
    if not name.isascii():
        return b"", None
    if len(name) <= _USTAR_NAME:
        return b"", name
    # The slash between prefix and name is implied; a directory's last one belongs to its name.
    cut = name.rfind(b"/", 0, min(_USTAR_PREFIX + 1, len(name) - 1))
    rest = name[cut + 1 :]
    if cut <= 0 or len(rest) > _USTAR_NAME:
        return b"", None
    return name[:cut], rest


def _ascii(name: bytes) -> bytes:
    """What readers that ignore pax headers see."""
    return name.decode("ascii", "replace").replace("\ufffd", "?").encode()[-_USTAR_NAME:]


def _header(  # noqa: PLR0913 - the fields of the block
    *,
    name: bytes,
    type_flag: bytes,
    mode: int = 0o644,
    size: int = 0,
    link: bytes = b"",
    prefix: bytes = b"",
    mtime: int = MTIME,
) -> bytes:
    """One ustar header block (POSIX pax(1), "ustar Interchange Format")."""
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % 0,
            b"%07o\0" % 0,
            b"%011o\0" % size,
            b"%011o\0" % mtime,
            b" " * 8,  # counts as spaces in its own checksum
            type_flag,
            link.ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0" % 0,
            b"%07o\0" % 0,
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _pax(records: list[tuple[bytes, bytes]]) -> bytes:
    """An extended header: `<length> <keyword>=<value>` lines, the length counting itself."""
    if not all(_is_utf8(value) for _, value in records):
        # Values are UTF-8 unless this says otherwise (POSIX.1-2008).
        records = [(b"hdrcharset", b"BINARY"), *records]
    body = b"".join(_record(keyword, value) for keyword, value in records)
    header = _header(name=b"@PaxHeader", type_flag=_PAX_TYPE, size=len(body))
    return header + body + padding(len(body))


def _record(keyword: bytes, value: bytes) -> bytes:
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
