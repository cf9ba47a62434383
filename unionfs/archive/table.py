"""The table of contents of an archive, as bytes: every member and every frame, in one block.

An archive is named by the SHA-256 of this block, and the block holds the SHA-256 of every frame
and of every member; so the name says all that the archive contains, and nothing that the
compressor chose. Byte layout: docs/archive-format.md. All numbers are little-endian:

    header          64 bytes
    entries         64 bytes each, breadth first: the root is entry 0, the children of a
                    directory are neighbours, sorted by name, after their directory
    frame starts     8 bytes each: where the frame begins in the tar stream
    frame digests   32 bytes each: SHA-256 of the frame's uncompressed bytes
    names           every name and link target, each distinct one once, without separators
    meta            canonical JSON

`unionfs.archive.contents` reads it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from unionfs.archive.layer import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unionfs.archive.meta import Meta

MAGIC: Final = b"PKGVIEW\0"
FORMAT: Final = 1

FRAME_SIZE: Final = 128 * 1024
"""Most bytes of content in one frame: the kernel's usual read-ahead, so one frame answers one
READ."""

ENTRY_LIMIT: Final = 2**24
"""Most members of one archive: entry numbers have 24 bits in a node id."""

PATH_LIMIT: Final = 4095
TARGET_LIMIT: Final = 4095
META_LIMIT: Final = 64 * 1024
"""Bytes: PATH_MAX less its NUL (limits.h), and a bound on what is parsed as JSON."""

DIGEST_SIZE: Final = 32
NO_DIGEST: Final = bytes(DIGEST_SIZE)

HEADER: Final = struct.Struct("<8sIIIIIIQQQ8x")
ENTRY: Final = struct.Struct("<IHBBQQI4x32s")
ATTRIBUTES: Final = struct.Struct("<IHBBQQI36x")
"""The sections of fixed size; the last is an entry without its digest."""

EXECUTABLE: Final = 1
"""The only flag of an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry as it is written.

    `place` and `extent` are a file's offset in the tar stream and its size, or a directory's
    first child and the number of its children; a link has neither. `digest` is 32 bytes, of
    zeros for a directory.
    """

    name: bytes
    kind: Kind
    parent: int
    executable: bool = False
    place: int = 0
    extent: int = 0
    digest: bytes = NO_DIGEST
    target: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTable:
    """Where every frame begins in the tar stream, its digest, and how long the stream is."""

    starts: Sequence[int]
    digests: Sequence[bytes]
    stream_size: int


def encode(rows: Sequence[Row], frames: FrameTable, meta: Meta) -> bytes:
    """Write the table; equal arguments give equal bytes. `rows` are breadth first, root first."""
    names = bytearray()
    places: dict[bytes, int] = {}

    def blob(text: bytes) -> int:
        # Python trees repeat few names very often: `__init__.py`, `METADATA`, `LICENSE`.
        place = places.setdefault(text, len(names))
        if place == len(names):
            names.extend(text)
        return place

    entries = bytearray()
    content_size = 0
    for row in rows:
        name = blob(row.name)
        place, extent = row.place, row.extent
        if row.kind is Kind.SYMLINK:
            place, extent = blob(row.target), len(row.target)
        elif row.kind is Kind.FILE:
            content_size += extent
        flags = EXECUTABLE if row.executable else 0
        entries += ENTRY.pack(
            name, len(row.name), row.kind, flags, place, extent, row.parent, row.digest
        )
    meta_bytes = meta.to_bytes()
    if len(meta_bytes) > META_LIMIT:
        raise PkgviewError(f"the metadata of {meta.stem} takes more than {META_LIMIT} bytes")
    header = HEADER.pack(
        MAGIC,
        FORMAT,
        FRAME_SIZE,
        len(rows),
        len(frames.starts),
        len(meta_bytes),
        0,
        len(names),
        frames.stream_size,
        content_size,
    )
    starts = struct.pack(f"<{len(frames.starts)}Q", *frames.starts)
    return b"".join((header, entries, starts, *frames.digests, names, meta_bytes))


def digest_of_contents(data: bytes) -> bytes:
    """What an archive with these contents is named by."""
    return hashlib.sha256(data).digest()
