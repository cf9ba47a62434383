"""An archive, read: one layer whose every byte is verified before anyone sees it.

The chain: the file's name holds the digest of its table of contents, which is checked when the
archive is opened; the table holds the digest of every frame, which is checked whenever a frame is
decompressed. The seek table that finds the frames is checked by what it finds. So a flipped bit,
a cut or swapped file, a hostile archive is a `LayerError` that names archive and frame, never
wrong bytes.

What is absent, and why:

- No open descriptor. A process that serves thousands of archives would fill its descriptor
  table; an open of a warm file costs 3 microseconds, a frame's decompression fifty times that.
- No memory map. A page of a file that was cut short under a map is a SIGBUS, which ends the
  server; a short read is an error for one reader. The table of contents is read into memory.
- No writing: `unionfs.archive.pack` makes archives, `unionfs.store.local` puts them in place.

Any thread may call any method: nothing changes after `open` but the file that is read and its
seek table, which are replaced as one object, and what is known of its readers, which is advice.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from unionfs.archive import advice
from unionfs.archive.contents import Contents
from unionfs.archive.frames import CONTENTS_MAGIC, FOOTER_SIZE, SeekTable, decompress, unwrap
from unionfs.archive.layer import Entry, EntryNo, LayerError
from unionfs.archive.meta import Meta, archive_name, digest_of_name
from unionfs.archive.order import Order, Run
from unionfs.archive.table import FRAME_SIZE
from unionfs.archive.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from unionfs.archive.advice import Advise
    from unionfs.archive.framecache import FrameCache
    from unionfs.archive.layer import Child

    _Pieces = Sequence[tuple[int, int, int]]

AT_ONCE: Final = 2
"""Frames that a thread with others to serve decompresses itself: 0.3 ms each, of which handing it
to another thread and back takes a third. A READ of the usual size touches two."""

FOLLOWING: Final = 2
"""Frames that are decompressed ahead, in another thread, of one who reads the files in order."""

_TAIL: Final = 64 * 1024
"""Bytes read from the end in one go: of most archives, all that opening needs."""


class Archive:
    """A `unionfs.archive.layer.Layer` over one archive file; make one with `Archive.open`.

    `name` is its file name, `digest_hex` the 64 digits in it, `meta` says whose files these are,
    `size` is the file's size in bytes, `owner` the uid
    that it belongs to, `contents` the verified table of contents.
    """

    __slots__ = (
        "__weakref__",
        "_digest",
        "_file",
        "_frames",
        "_order",
        "_others",
        "contents",
        "digest_hex",
        "meta",
        "name",
        "owner",
        "size",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - `open` alone calls it
        self,
        name: str,
        path: Path,
        tables: _Tables,
        contents: Contents,
        frames: FrameCache,
        others: Callable[[], Iterable[Path]],
    ) -> None:
        self.name = name
        self.contents = contents
        self.meta: Meta = contents.meta
        self._digest = contents.digest_of_all
        self.digest_hex = self._digest.hex()
        # Both as one object: whichever thread replaces them, they belong to each other.
        self._file = (os.fspath(path), tables.seek)
        self._others = others
        self._frames = frames
        self._order = Order()
        self.size = tables.size
        self.owner = tables.owner

    @classmethod
    def open(
        cls,
        path: Path,
        frames: FrameCache,
        *,
        name: str | None = None,
        others: Callable[[], Iterable[Path]] = tuple,
    ) -> Self:
        """Read and verify the table of contents; `LayerError` if anything is not as it must be.

        One open, two or three reads, one SHA-256 over the table; nothing is parsed. `name` is for
        a file that does not have its name yet. `others` says where else the same archive may lie;
        it is asked when a frame here is damaged.
        """
        name = path.name if name is None else name
        digest = digest_of_name(name)
        if digest is None:
            raise LayerError(f"{name} is no archive's name")
        tables = _read_tables(os.fspath(path), name)
        contents = Contents(tables.contents, name, digest)
        if name != archive_name(contents.meta.stem, digest):
            raise LayerError(f"{name} is not the name that its own table of contents gives")
        if tables.seek.frame_count != contents.frame_count:
            raise LayerError(f"{name} has a seek table for other frames than its contents")
        return cls(name, path.absolute(), tables, contents, frames, others)

    def __repr__(self) -> str:
        return f"<Archive {self.name}>"

    @property
    def path(self) -> str:
        """The file that it is read from, absolute."""
        return self._file[0]

    def __len__(self) -> int:
        """The number of entries, the root included."""
        return self.contents.entry_count

    # -- the layer -----------------------------------------------------------------------------

    def entry(self, number: EntryNo) -> Entry:
        """Attributes; `IndexError` where there is no such entry."""
        return self.contents.entry(number)

    def lookup(self, directory: EntryNo, name: bytes) -> EntryNo | None:
        """The child of that name; None where there is none."""
        return self.contents.lookup(directory, name)

    def children(self, directory: EntryNo) -> Sequence[Child]:
        """All children, sorted by name."""
        return self.contents.children(directory)

    def parent(self, directory: EntryNo) -> EntryNo:
        """The directory that a directory lies in."""
        return self.contents.parent(directory)

    def target(self, number: EntryNo) -> bytes:
        """What a symbolic link points to."""
        return self.contents.target(number)

    def digest(self, number: EntryNo) -> bytes:
        """SHA-256 of a file's content or a link's target."""
        return self.contents.digest(number)

    def read(self, number: EntryNo, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a file from `offset`, verified; may decompress and read."""
        pieces = self._pieces(number, offset, size)
        if not pieces:
            return b""
        going_on = self._in_order(number, pieces)
        advise = self._advice(number, pieces) if going_on is None else going_on
        # A slice of all of a bytes object is that object: an aligned read copies nothing.
        parts = [self._frame(frame, advise)[start:end] for frame, start, end in pieces]
        self._load_ahead(pieces, going_on)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def cached(self, number: EntryNo, offset: int, size: int) -> bytes | None:
        """What `read` would answer if nobody has to be waited for, else None.

        From frames in memory; or from at most `AT_ONCE` others, where the system has their
        compressed bytes in its own cache.
        """
        pieces = self._pieces(number, offset, size)
        if not pieces:
            return b""
        few = len(pieces) <= AT_ONCE
        parts: list[bytes] = []
        for frame, start, end in pieces:
            key = (self._digest, frame)
            content = self._frames.peek(key)
            if content is None and few:
                content = self._frames.get_at_once(key, partial(self._at_hand, frame))
            if content is None:
                return None
            parts.append(content[start:end])
        self._load_ahead(pieces, self._in_order(number, pieces))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # -- beyond the layer ----------------------------------------------------------------------

    def path_of(self, number: EntryNo) -> bytes:
        """The path from the root; b"" for the root."""
        return self.contents.path_of(number)

    def walk(self) -> Iterator[tuple[bytes, EntryNo]]:
        """(path, number) of every entry but the root, a directory before what lies in it."""
        return self.contents.walk()

    def find(self, path: bytes) -> EntryNo | None:
        """The entry at a path from the root; None where there is none."""
        return self.contents.find(path)

    def verify(self) -> None:
        """Read and check every byte of the archive; `LayerError` names the first that is wrong.

        The frame cache is neither used nor filled.
        """
        in_order = partial(advice.going_on, Run(0, 0), None)
        verify(self.name, self.contents, partial(self.load, advise=in_order))

    # -- frames --------------------------------------------------------------------------------

    def _pieces(self, number: EntryNo, offset: int, size: int) -> list[tuple[int, int, int]]:
        """Which bytes of which frames a read needs: (frame, from, until), in order."""
        if offset < 0 or size < 0:
            raise ValueError(f"cannot read {size} bytes from {offset}")
        start, length = self.contents.content_span(number)
        position = start + min(offset, length)
        end = start + min(offset + size, length)
        pieces: list[tuple[int, int, int]] = []
        while position < end:
            frame, frame_start, frame_end = self.contents.frame_at(position)
            pieces.append((frame, position - frame_start, min(end, frame_end) - frame_start))
            position = frame_end
        return pieces

    def _frame(self, frame: int, advise: Advise) -> bytes:
        return self._frames.get((self._digest, frame), partial(self.load, frame, advise))

    def _advice(self, number: EntryNo, pieces: _Pieces) -> Advise:
        """What the system is told where these frames of a file are read, and nobody's order."""
        _, size = self.contents.content_span(number)
        return advice.asked_for(pieces[-1][0]) if size > FRAME_SIZE else advice.neighbours

    def _in_order(self, number: EntryNo, pieces: _Pieces) -> Advise | None:
        """The same for who reads in order; None for anybody else."""
        run = self._order.told(pieces[0][0], pieces[-1][0])
        if run is None:
            return None
        start, size = self.contents.content_span(number)
        dropped = size >= advice.LARGE and self.owner == os.geteuid()
        large = self.contents.frame_at(start)[0] if dropped else None
        return partial(advice.going_on, run, large)

    def _load_ahead(self, pieces: _Pieces, going_on: Advise | None) -> None:
        """Have the next frames decompressed for who reads in order."""
        if going_on is not None:
            last = pieces[-1][0]
            for frame in range(last + 1, min(last + 1 + FOLLOWING, self.contents.frame_count)):
                self._frames.ahead((self._digest, frame), partial(self.load, frame, going_on))

    def load(self, frame: int, advise: Advise | None = None) -> bytes:
        """Read, decompress and verify one frame, past the cache."""
        path, seek = self._file
        try:
            return self._load(path, frame, seek, advise)
        except LayerError:
            # The same contents may have been packed again with another zstd, after the file was
            # damaged or lost: same name, other places.
            for other in (path, *map(os.fspath, self._others())):
                with suppress(LayerError):
                    return self._load_again(other, frame)
            raise

    def _at_hand(self, frame: int) -> bytes | None:
        """A frame if that takes no waiting for the disk.

        None, too, if anything is wrong with it: `load` finds out what, and may mend it.
        """
        try:
            path, seek = self._file
            offset, size = seek.place(frame)
            compressed = bytearray(size)
            descriptor = advice.open_file(path)
            try:
                if os.preadv(descriptor, [compressed], offset, os.RWF_NOWAIT) != size:
                    return None
            finally:
                os.close(descriptor)
            start, end = self.contents.frame_span(frame)
            return decompress(compressed, end - start, self.contents.frame_digest(frame))
        except (LayerError, OSError):  # OSError: not there, or not known by this file system
            return None

    def _load_again(self, path: str, frame: int) -> bytes:
        """A frame of another file than the one that was open, which takes that one's place."""
        seek = _read_tables(path, self.name).seek
        if (path, seek) == self._file or seek.frame_count != self._file[1].frame_count:
            raise LayerError(f"{self.name} is no other there")
        data = self._load(path, frame, seek)
        self._file = (path, seek)
        return data

    def _load(self, path: str, frame: int, seek: SeekTable, advise: Advise | None = None) -> bytes:
        start, end = self.contents.frame_span(frame)
        try:
            offset, size = seek.place(frame)
            descriptor = advice.open_file(path)
            try:
                if advise is not None:
                    advise(descriptor, frame, seek)  # before the read, which may wait for the disk
                compressed = _read_at(descriptor, offset, size)
            finally:
                os.close(descriptor)
            return decompress(compressed, end - start, self.contents.frame_digest(frame))
        except LayerError as error:
            raise LayerError(f"{self.name}: frame {frame} {error}") from error
        except OSError as error:
            raise LayerError(f"{self.name}: frame {frame}: {error.strerror}") from error


class _Tables(NamedTuple):
    """What the end of an archive says, unverified, and the file's size and owner (a uid)."""

    contents: bytes
    seek: SeekTable
    size: int
    owner: int


def _read_tables(path: str, name: str) -> _Tables:
    try:
        # Not blocking: what lies there under an archive's name may be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise LayerError("is no regular file")
            size = status.st_size
            tail = _read_at(descriptor, max(0, size - _TAIL), min(size, _TAIL))

            def last(count: int, until: int) -> bytes:
                """`count` bytes that end at `until`."""
                start = until - count
                known = size - len(tail)
                if start < 0:
                    raise LayerError("is cut short")
                if start >= known:
                    return tail[start - known : until - known]
                return _read_at(descriptor, start, count)

            table_size = SeekTable.size(tail[-FOOTER_SIZE:])
            seek = SeekTable.decode(last(table_size, size), size)
            frame = last(seek.end - seek.offsets[-1], seek.end)
        finally:
            os.close(descriptor)
        return _Tables(unwrap(CONTENTS_MAGIC, frame), seek, size, status.st_uid)
    except LayerError as error:
        raise LayerError(f"{name} {error}") from error
    except OSError as error:
        raise LayerError(f"{name}: {error.strerror}") from error


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
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
