"""Packages as Debian publishes them, and as nobody should: each part can be chosen."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from tests.unionfs.formats.npm.tarballs import Part, part, stream

if TYPE_CHECKING:
    from pathlib import Path

CONTROL = b"Package: demo\nVersion: 1:1.0-1\nArchitecture: all\nDescription: one\n more\n"


def member(
    name: str | bytes, content: bytes, *, size: bytes | None = None, end: bytes = b"`\n"
) -> bytes:
    """A member of an ar archive, with its header and padding."""
    shown = name.encode() if isinstance(name, str) else name
    said = b"%d" % len(content) if size is None else size
    head = b"%-16s%-12s%-6s%-6s%-8s%-10s" % (shown, b"0", b"0", b"0", b"100644", said)
    return head + end + content + b"\n" * (len(content) % 2)


FIRST = member("debian-binary", b"2.0\n")


def control(content: bytes = CONTROL, *more: Part | bytes) -> bytes:
    return member("control.tar.gz", packed(part("./control", content), *more))


def packed(*parts: Part | bytes) -> bytes:
    return gzip.compress(stream(parts), 6, mtime=0)


def data(*parts: Part | bytes) -> bytes:
    return member("data.tar.gz", packed(*parts))


def archive(*members: bytes, magic: bytes = b"!<arch>\n") -> bytes:
    return magic + b"".join(members)


def deb(*parts: Part | bytes) -> bytes:
    """A package of these entries."""
    return archive(FIRST, control(), data(*parts))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
