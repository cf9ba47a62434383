"""Tarballs as npm publishes them, and as nobody should: every field of a header can be chosen."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BLOCK = 512
END = bytes(2 * BLOCK)


class Part(NamedTuple):
    """One entry; `fields` are those of `header`."""

    path: str | bytes
    content: bytes = b""
    fields: dict[str, Any] = {}  # noqa: RUF012 - never written to

    def to_bytes(self) -> bytes:
        return header(self.path, len(self.content), **self.fields) + padded(self.content)


def part(path: str | bytes, content: bytes = b"", **fields: Any) -> Part:  # noqa: ANN401 - bytes, int
    return Part(path, content, fields)


def header(  # noqa: PLR0913 - the fields of a header
    path: str | bytes,
    size: int | bytes,
    *,
    mode: int | bytes = 0o644,
    kind: bytes = b"0",
    target: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    uid: bytes = b"0000000\0",
    checksum: bytes | None = None,
) -> bytes:
    """A header of 512 bytes; numbers as octal digits, bytes as they are."""
    name = path.encode() if isinstance(path, str) else path
    assert len(name) <= 100
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % mode if isinstance(mode, int) else mode,
            uid,
            b"0000000\0",
            b"%011o\0" % size if isinstance(size, int) else size,
            b"%011o\0" % 499162500,
            b" " * 8,
            kind,
            target.ljust(100, b"\0"),
            magic,
            bytes(80),
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    assert len(block) == BLOCK
    checksum = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + checksum + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def record(key: str, value: str | bytes) -> bytes:
    """A pax record, with its length."""
    value = value.encode() if isinstance(value, str) else value
    rest = b" " + key.encode() + b"=" + value + b"\n"
    size = len(rest)
    while size != len(rest) + len(str(size)):
        size = len(rest) + len(str(size))
    return str(size).encode() + rest


def pax(*records: bytes, kind: bytes = b"x") -> Part:
    """An extended header, for the entry that follows."""
    return part("PaxHeader/x", b"".join(records), kind=kind)


def manifest(name: str = "demo", version: str = "1.0.0", **more: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps({"name": name, "version": version, **more}).encode()


def stream(parts: Iterable[Part | bytes], end: bytes = END) -> bytes:
    """A tar stream; bytes between the parts are taken as they are."""
    return b"".join(one if isinstance(one, bytes) else one.to_bytes() for one in parts) + end


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def write(path: Path, *parts: Part | bytes, end: bytes = END, **more: Any) -> Path:  # noqa: ANN401 - JSON
    """A tarball of a package.json and these parts."""
    first = part("package/package.json", manifest(**more))
    path.write_bytes(packed(stream((first, *parts), end)))
    return path
