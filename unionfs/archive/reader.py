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
- No waiting for a network: of a *partial* archive, whose file has holes (`unionfs.archive.marks`),
  only frames that are marked as being here are read. `absent` says which ones a read lacks, and who
  asks has them fetched.

Any thread may call any method: nothing changes after `open` but the file that is read and its
seek table, which are replaced as one object, what is known of its readers, which is advice, and,
once, that a partial one is whole.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from unionfs.archive import advice
from unionfs.archive.contents import Contents
from unionfs.archive.frames import decompress
from unionfs.archive.layer import AbsentError, Entry, EntryNo, LayerError
from unionfs.archive.marks import Marks
from unionfs.archive.meta import Meta, archive_name, digest_of_name
from unionfs.archive.order import Order, Run
from unionfs.archive.table import FRAME_SIZE
from unionfs.archive.tail import read_at, read_tables
from unionfs.archive.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from unionfs.archive.advice import Advise
    from unionfs.archive.framecache import FrameCache
    from unionfs.archive.frames import SeekTable
    from unionfs.archive.layer import Child
    from unionfs.archive.tail import Tables

    _Pieces = Sequence[tuple[int, int, int]]

AT_ONCE: Final = 2
"""Frames that a thread with others to serve decompresses itself: 0.3 ms each, of which handing it
to another thread and back takes a third. A READ of the usual size touches two."""

FOLLOWING: Final = 2
"""Frames that are decompressed ahead, in another thread, of one who reads the files in order."""


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
        "_marks",
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
        tables: Tables,
        contents: Contents,
        frames: FrameCache,
        others: Callable[[], Iterable[Path]],
        marks: Marks | None,
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
        self._marks = marks
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
        marks: Path | None = None,
    ) -> Self:
        """Read and verify the table of contents; `LayerError` if anything is not as it must be.

        One open, two or three reads, one SHA-256 over the table; nothing is parsed. `name` is for
        a file that does not have its name yet. `others` says where else the same archive may lie;
        it is asked when a frame here is damaged. `marks` is the file that says which frames of a
        partial archive are here.
        """
        name = path.name if name is None else name
        digest = digest_of_name(name)
        if digest is None:
            raise LayerError(f"{name} is no archive's name")
        tables = read_tables(os.fspath(path), name)
        contents = Contents(tables.contents, name, digest)
        if name != archive_name(contents.meta.stem, digest):
            raise LayerError(f"{name} is not the name that its own table of contents gives")
        if tables.seek.frame_count != contents.frame_count:
            raise LayerError(f"{name} has a seek table for other frames than its contents")
        known = None if marks is None else Marks(str(marks), contents.frame_count, digest)
        return cls(name, path.absolute(), tables, contents, frames, others, known)

    def __repr__(self) -> str:
        return f"<Archive {self.name}>"

    @property
    def path(self) -> str:
        """The file that it is read from, absolute."""
        return self._file[0]

    def is_there(self) -> bool:
        """Whether there is a file where it is read from; it may have been collected."""
        return os.path.exists(self.path)  # noqa: PTH110 - of each layer that is opened

    @property
    def whole(self) -> bool:
        """Whether all of it is here, as far as is known: partial archives become whole."""
        return self._marks is None

    @property
    def seek(self) -> SeekTable:
        """Where its frames lie in the file."""
        return self._file[1]

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

    # -- a partial archive ---------------------------------------------------------------------

    def needed(self, number: EntryNo, offset: int, size: int) -> list[int]:
        """The frames that such a read needs; `LayerError` for what is no file."""
        return [frame for frame, _, _ in self._pieces(number, offset, size)]

    def here(self) -> list[int]:
        """The frames that are here."""
        return list(range(self.contents.frame_count)) if self._marks is None else self._marks.here()

    def absent(self, number: EntryNo, offset: int, size: int) -> list[int]:
        """Those of them that are not here. Memory only, unless there are some at first sight."""
        if self._marks is None:
            return []
        return self.absent_of(self.needed(number, offset, size))

    def absent_of(self, frames: Iterable[int]) -> list[int]:
        """Those of these frames that are not here; whoever fetches them may just have done so."""
        marks = self._marks
        lacking = [] if marks is None else [one for one in frames if marks.lack(one)]
        if lacking and marks is not None:
            try:
                marks.look()
            except LayerError:
                if os.path.lexists(marks.path):
                    raise
                # It became an ordinary one, which `load` finds, or it was removed, which `load`
                # finds out.
                self._marks = None
                return []
            lacking = [one for one in lacking if marks.lack(one)]
        return lacking

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
            last, marks = pieces[-1][0], self._marks
            for frame in range(last + 1, min(last + 1 + FOLLOWING, self.contents.frame_count)):
                if marks is not None and marks.lack(frame):
                    break
                self._frames.ahead((self._digest, frame), partial(self.load, frame, going_on))

    def load(self, frame: int, advise: Advise | None = None) -> bytes:
        """Read, decompress and verify one frame, past the cache."""
        if self._marks is not None and self.absent_of([frame]):
            raise AbsentError(f"{self.name}: frame {frame} has not been fetched yet")
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
        if self._marks is not None and self._marks.lack(frame):
            return None
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
        seek = read_tables(path, self.name).seek
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
                compressed = read_at(descriptor, offset, size)
            finally:
                os.close(descriptor)
            return decompress(compressed, end - start, self.contents.frame_digest(frame))
        except LayerError as error:
            raise LayerError(f"{self.name}: frame {frame} {error}") from error
        except OSError as error:
            raise LayerError(f"{self.name}: frame {frame}: {error.strerror}") from error
