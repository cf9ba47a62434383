"""The table of contents of an archive (`unionfs.archive.table`), read where it lies.

Opening one costs the same for 10 and for 100,000 members. Therefore its structure is checked where
it is used. A hostile table (its digest is right: the one who wrote it also named it) can make any
method raise `LayerError`, and nothing else: every number is range-checked before it is used, a
child must name its parent, and a child comes after its parent, so no walk is endless or visits an
entry twice. `check` looks at everything at once.

This module does no I/O.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, NoReturn, cast

from resolver.errors import PkgviewError
from unionfs.archive.layer import DIRECTORY, ROOT, Entry, EntryNo, Kind, LayerError
from unionfs.archive.meta import NAME_LIMIT, Meta
from unionfs.archive.table import (
    ATTRIBUTES,
    DIGEST_SIZE,
    ENTRY,
    ENTRY_LIMIT,
    EXECUTABLE,
    FORMAT,
    FRAME_SIZE,
    HEADER,
    MAGIC,
    META_LIMIT,
    NO_DIGEST,
    PATH_LIMIT,
    TARGET_LIMIT,
    FrameTable,
    Row,
    digest_of_contents,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unionfs.archive.layer import Child

_KINDS = tuple(Kind)
_NO_NAMES = frozenset({b".", b".."})


class Contents:
    """Reads a table whose SHA-256 is known. `label` is the archive's name, for messages.

    The methods that `unionfs.archive.layer.Layer` also has do what it says.
    """

    __slots__ = (
        "_data",
        "_digests_at",
        "_frame_starts",
        "_label",
        "_names_at",
        "_names_size",
        "content_size",
        "digest_of_all",
        "entry_count",
        "frame_count",
        "meta",
        "size",
        "stream_size",
    )

    entry_count: int
    frame_count: int
    stream_size: int
    content_size: int
    size: int
    """Bytes of the table itself."""
    _names_size: int

    def __init__(self, data: bytes, label: str, digest: bytes) -> None:
        """`LayerError` unless the digest fits and the sections have the sizes the header says."""
        self._data = data
        self._label = label
        self.digest_of_all = digest
        if digest_of_contents(data) != digest:
            self._fail("does not have the digest in the archive's name")
        if len(data) < HEADER.size:
            self._fail("is cut short")
        (
            magic,
            format_number,
            frame_size,
            self.entry_count,
            self.frame_count,
            meta_size,
            zero,
            self._names_size,
            self.stream_size,
            self.content_size,
        ) = HEADER.unpack_from(data)
        if magic != MAGIC or zero:
            self._fail("is no table of contents")
        if format_number != FORMAT or frame_size != FRAME_SIZE:
            self._fail(f"has format {format_number}, this pkgview reads {FORMAT}")
        starts_at = HEADER.size + self.entry_count * ENTRY.size
        self._digests_at = starts_at + 8 * self.frame_count
        self._names_at = self._digests_at + DIGEST_SIZE * self.frame_count
        meta_at = self._names_at + self._names_size
        if not 1 <= self.entry_count <= ENTRY_LIMIT or meta_size > META_LIMIT:
            self._fail("passes a limit")
        if meta_at + meta_size != len(data):
            self._fail("does not have the size that its header says")
        self._frame_starts = _numbers(data[starts_at : self._digests_at])
        self.size = len(data)
        self.meta = self._parse_meta(data[meta_at:])
        _, length, kind, _, _, _, parent = ATTRIBUTES.unpack_from(data, HEADER.size)
        if kind != Kind.DIRECTORY or length or parent:
            self._fail("does not begin with a root directory")

    def _parse_meta(self, data: bytes) -> Meta:
        try:
            fields = json.loads(data)
            if not all(isinstance(value, str) for value in fields.values()):
                self._fail("has metadata that is no text")
            return Meta(**fields)
        except (ValueError, TypeError, AttributeError, RecursionError, PkgviewError) as error:
            self._fail(f"has unreadable metadata ({error})")

    def _fail(self, what: str) -> NoReturn:
        raise LayerError(f"{self._label}: its table of contents {what}")

    def _attributes(self, number: int) -> tuple[int, int, int, int, int, int, int]:
        """(name place, name length, kind, flags, place, extent, parent), each unchecked."""
        if not 0 <= number < self.entry_count:
            raise IndexError(f"{self._label} has no entry {number}")
        row = ATTRIBUTES.unpack_from(self._data, HEADER.size + number * ENTRY.size)
        return cast("tuple[int, int, int, int, int, int, int]", row)

    def _text(self, place: int, length: int) -> bytes:
        if place + length > self._names_size:
            self._fail("points outside of its names")
        start = self._names_at + place
        return self._data[start : start + length]

    def _child_range(self, directory: int) -> tuple[int, int] | None:
        """(first child, number after the last) of a directory; None if it is none."""
        _, _, kind, _, first, count, _ = self._attributes(directory)
        if kind != Kind.DIRECTORY:
            return None
        if first <= directory or first + count > self.entry_count:
            self._fail(f"gives directory {directory} impossible children")
        return first, first + count

    # -- what a layer answers ----------------------------------------------------------------

    def entry(self, number: EntryNo) -> Entry:
        """Attributes; `IndexError` where there is no such entry."""
        _, _, kind, flags, _, extent, _ = self._attributes(number)
        return self._entry(number, kind, flags, extent)

    def _entry(self, number: int, kind: int, flags: int, extent: int) -> Entry:
        if not kind:
            return DIRECTORY
        if kind >= len(_KINDS):
            self._fail(f"gives entry {number} an unknown kind")
        return Entry(_KINDS[kind], extent, bool(flags & EXECUTABLE))

    def lookup(self, directory: EntryNo, name: bytes) -> EntryNo | None:
        """The child of that name, found by bisection; None where there is none."""
        span = self._child_range(directory)
        if span is None:
            return None
        low, high = span
        unpack, data, text = ATTRIBUTES.unpack_from, self._data, self._text
        while low < high:
            middle = (low + high) // 2
            place, length, _, _, _, _, parent = unpack(data, HEADER.size + middle * ENTRY.size)
            candidate = text(place, length)
            if candidate < name:
                low = middle + 1
            elif candidate == name:
                if parent != directory:
                    self._fail(f"gives entry {middle} to two directories")
                return EntryNo(middle)
            else:
                high = middle
        return None

    def children(self, directory: EntryNo) -> Sequence[Child]:
        """All children, sorted by name; () for what is no directory."""
        span = self._child_range(directory)
        if span is None:
            return ()
        first, end = span
        start = HEADER.size
        rows = self._data[start + first * ENTRY.size : start + end * ENTRY.size]
        found: list[Child] = []
        previous = b""
        number = EntryNo(first)
        text, entry = self._text, self._entry
        for place, length, kind, flags, _, extent, parent in ATTRIBUTES.iter_unpack(rows):
            name = text(place, length)
            if name <= previous or parent != directory or not _is_name(name):
                self._fail(f"has a wrong name or parent in entry {number}")
            found.append((name, number, entry(number, kind, flags, extent)))
            previous = name
            number = EntryNo(number + 1)
        return found

    def parent(self, directory: EntryNo) -> EntryNo:
        """The directory that a directory lies in; the root's is itself."""
        parent = self._attributes(directory)[-1]
        if parent >= directory != ROOT:
            self._fail(f"gives entry {directory} an impossible parent")
        return EntryNo(parent)

    def target(self, number: EntryNo) -> bytes:
        """What a symbolic link points to; `LayerError` for what is no link."""
        _, _, kind, _, place, extent, _ = self._attributes(number)
        if kind != Kind.SYMLINK:
            raise LayerError(f"{self._label}: entry {number} is no symbolic link")
        target = self._text(place, extent)
        if not 1 <= extent <= TARGET_LIMIT or b"\0" in target:
            self._fail(f"gives link {number} an impossible target")
        return target

    def digest(self, number: EntryNo) -> bytes:
        """SHA-256 of a file's content or a link's target; `LayerError` for a directory."""
        _, _, kind, _, _, _, _ = self._attributes(number)
        if kind == Kind.DIRECTORY:
            raise LayerError(f"{self._label}: entry {number} is a directory and has no digest")
        end = HEADER.size + (number + 1) * ENTRY.size
        return self._data[end - DIGEST_SIZE : end]

    # -- what an archive needs besides ---------------------------------------------------------

    def path_of(self, number: EntryNo) -> bytes:
        """The path from the root, without a slash in front; b"" for the root."""
        parts: list[bytes] = []
        length = 0
        current: int = number
        while current:
            place, size, _, _, _, _, parent = self._attributes(current)
            length += size + 1
            # Strictly descending numbers end; the limit ends a table that descends one by one.
            if parent >= current or length > PATH_LIMIT + 1:
                self._fail(f"gives entry {current} an impossible parent")
            parts.append(self._text(place, size))
            current = parent
        if not parts:
            self._attributes(number)
        return b"/".join(reversed(parts))

    def walk(self) -> Iterator[tuple[bytes, EntryNo]]:
        """(path, number) of every entry but the root, a directory before what lies in it.

        This is the order of the members in the tar stream.
        """
        pending: list[tuple[bytes, EntryNo]] = [(b"", ROOT)]
        while pending:
            following: list[tuple[bytes, EntryNo]] = []
            for prefix, directory in pending:
                for name, number, entry in self.children(directory):
                    path = prefix + name
                    if len(path) > PATH_LIMIT:
                        self._fail(f"has a path of more than {PATH_LIMIT} bytes")
                    yield path, number
                    if entry.kind is Kind.DIRECTORY:
                        following.append((path + b"/", number))
            pending = following

    def find(self, path: bytes) -> EntryNo | None:
        """The entry at a path from the root (b"" is the root itself); None where there is none."""
        number: EntryNo | None = ROOT
        for name in path.split(b"/") if path else ():
            if number is None:
                break
            number = self.lookup(number, name)
        return number

    def content_span(self, number: EntryNo) -> tuple[int, int]:
        """(offset in the tar stream, size) of a file; `LayerError` for what is no file."""
        _, _, kind, _, place, extent, _ = self._attributes(number)
        if kind != Kind.FILE:
            raise LayerError(f"{self._label}: entry {number} is no file")
        if place + extent > self.stream_size:
            self._fail(f"puts entry {number} outside of the stream")
        return place, extent

    def frame_at(self, offset: int) -> tuple[int, int, int]:
        """The frame that holds this byte of the tar stream, and its `frame_span`."""
        frame = bisect_right(self._frame_starts, offset) - 1
        start, end = self.frame_span(frame)
        if not start <= offset < end:
            self._fail(f"has no frame for byte {offset} of the stream")
        return frame, start, end

    def frame_span(self, frame: int) -> tuple[int, int]:
        """Where a frame's content begins and ends in the tar stream."""
        if not 0 <= frame < self.frame_count:
            self._fail(f"has no frame {frame}")
        start = self._frame_starts[frame]
        after = frame + 1
        end = self._frame_starts[after] if after < self.frame_count else self.stream_size
        if not 0 < end - start <= FRAME_SIZE:
            self._fail(f"gives frame {frame} an impossible size")
        return start, end

    def frame_digest(self, frame: int) -> bytes:
        """SHA-256 of a frame's uncompressed bytes."""
        start = self._digests_at + DIGEST_SIZE * frame
        return self._data[start : start + DIGEST_SIZE]

    def check(self) -> None:
        """Look at everything: `LayerError` unless `encode` would write these very bytes."""
        rows = [self._row(ROOT, b"")]
        after = 1
        for path, number in self.walk():
            if number != len(rows):
                self._fail(f"does not list entry {number} breadth first")
            rows.append(self._row(number, path.rpartition(b"/")[2]))
        for row in rows:
            if row.kind is Kind.DIRECTORY:
                if row.place != after:
                    self._fail("has children that are no neighbours")
                after += row.extent
        starts = [self.frame_span(frame)[0] for frame in range(self.frame_count)]
        digests = [self.frame_digest(frame) for frame in range(self.frame_count)]
        if starts[:1] != [0]:
            self._fail("has no first frame")
        frames = FrameTable(starts=starts, digests=digests, stream_size=self.stream_size)
        try:
            written = encode(rows, frames, self.meta)
        except (struct.error, PkgviewError) as error:
            # Sizes whose sum has no room in the header; metadata longer in its canonical form.
            self._fail(f"cannot have been written by pkgview ({error})")
        if len(rows) != self.entry_count or written != self._data:
            self._fail("is not as pkgview writes it")

    def _row(self, number: EntryNo, name: bytes) -> Row:
        entry = self.entry(number)
        _, _, _, _, place, extent, parent = self._attributes(number)
        directory = entry.kind is Kind.DIRECTORY
        return Row(
            name=name,
            kind=entry.kind,
            parent=parent,
            executable=entry.executable,
            place=place,
            extent=extent,
            digest=NO_DIGEST if directory else self.digest(number),
            target=self.target(number) if entry.kind is Kind.SYMLINK else b"",
        )


def _is_name(name: bytes) -> bool:
    return (
        0 < len(name) <= NAME_LIMIT
        and b"/" not in name
        and b"\0" not in name
        and name not in _NO_NAMES
    )


def _numbers(data: bytes) -> array[int]:
    """64-bit little-endian numbers."""
    numbers = array("Q", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
