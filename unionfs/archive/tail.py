"""The end of an archive's file: the seek table, and before it the table of contents.

Nothing here is verified but its form; `unionfs.archive.reader` compares the contents with the name.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.archive.frames import CONTENTS_MAGIC, FOOTER_SIZE, SeekTable, unwrap
from unionfs.archive.layer import LayerError

if TYPE_CHECKING:
    from collections.abc import Callable

TAIL: Final = 64 * 1024
"""Bytes read from the end in one go: of most archives, all that opening needs."""


class Tables(NamedTuple):
    """What the end of an archive says, unverified, and the file's size and owner (a uid)."""

    contents: bytes
    seek: SeekTable
    size: int
    owner: int


def read_tables(path: str, name: str) -> Tables:
    """What the file at a path says, which shall be an archive of that name; else `LayerError`."""
    try:
        # Not blocking: what lies there under an archive's name may be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise LayerError("is no regular file")
            size = status.st_size
            tail = read_at(descriptor, max(0, size - TAIL), min(size, TAIL))

            def last(count: int, until: int) -> bytes:
                """`count` bytes that end at `until`."""
                start = until - count
                known = size - len(tail)
                if start < 0:
                    raise LayerError("is cut short")
                if start >= known:
                    return tail[start - known : until - known]
                return read_at(descriptor, start, count)

            seek, frame = _parsed(tail, size, last)
        finally:
            os.close(descriptor)
        return Tables(unwrap(CONTENTS_MAGIC, frame), seek, size, status.st_uid)
    except LayerError as error:
        raise LayerError(f"{name} {error}") from error
    except OSError as error:
        raise LayerError(f"{name}: {error.strerror}") from error


def _parsed(tail: bytes, size: int, last: Callable[[int, int], bytes]) -> tuple[SeekTable, bytes]:
    """The seek table, and the frame of the contents."""
    seek = SeekTable.decode(last(SeekTable.size(tail[-FOOTER_SIZE:]), size), size)
    return seek, last(seek.end - seek.offsets[-1], seek.end)


def tables_begin(tail: bytes, size: int) -> int:
    """Where in a file of that size its tables begin, or how far back has to be read to know it.

    `tail` is the end of the file: the answer is final if it lies there. `LayerError` where it is no
    archive's.
    """
    known = size - len(tail)
    begin = size - SeekTable.size(tail[-FOOTER_SIZE:])
    if begin < 0:
        raise LayerError("is cut short")
    if begin < known:
        return begin
    return SeekTable.decode(tail[begin - known :], size).offsets[-1]


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Exactly `size` bytes; a read may give fewer than asked, most of all over a network."""
    parts = []
    while size:
        part = os.pread(descriptor, size, offset)
        if not part:
            raise LayerError("is cut short")
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
