"""Writing partial archives: begun from their tables, filled frame by frame, made whole.

What makes it safe to be killed anywhere: a frame is verified before it is written, and marked only
after fdatasync(2) of what was written. So a mark that is there is true, whoever died when; what was
written and not marked is written again. The last step is the one by which every archive comes into
a store: verified, synced, renamed.
"""

from __future__ import annotations

import os
from contextlib import aclosing, closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trio

from resolver.atomic import claim_file, write_atomically
from resolver.errors import PkgviewError
from resolver.failures import single_failure
from unionfs.archive import marks
from unionfs.archive.framecache import FrameCache
from unionfs.archive.frames import compressed, decompress
from unionfs.archive.layer import LayerError
from unionfs.archive.reader import Archive
from unionfs.archive.tail import TAIL, tables_begin
from unionfs.store import arrival
from unionfs.store.directory import TEMPORARY_PREFIX, explained, make, sync
from unionfs.store.local import Store
from unionfs.store.partial import LARGEST, LARGEST_TABLES, Origin, Source, mark
from unionfs.store.remote.lazy import beginning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from unionfs.store.partial import Partials
    from unionfs.store.remote.transport import Blob, Transport

LOCK_SECONDS = 60.0
"""How long one who begins an archive waits for another who does so, or fills it."""

BEGUN_PAUSE = 0.05
"""Seconds between looks whether it has begun it."""


async def begin(partials: Partials, transport: Transport, blob: Blob) -> bool:
    """Have a partial archive of what lies there, its tables fetched and verified; False: it was.

    One that is so small that its tables' request brings all of it becomes an ordinary one at once.
    A damaged one is begun anew. `LayerError` where the bytes there are not what the name says,
    `RemoteError`, `Transient` (worth another try), `PkgviewError` where it cannot be written.
    """
    if _is_begun(partials, blob.name):
        return False
    if not 0 < blob.size <= LARGEST:
        raise LayerError(f"{blob.name}: {transport.url} has a file of {blob.size} bytes there")
    begin_at = max(0, blob.size - TAIL)
    tail = await _read(transport, blob, begin_at, blob.size)
    while (earlier := _tables_begin(transport, blob, tail)) < begin_at:
        tail = await _read(transport, blob, earlier, begin_at) + tail
        begin_at = earlier
    origin = _origin(transport, blob)
    return await trio.to_thread.run_sync(_place, partials, blob.name, origin, begin_at, tail)


async def begin_with(
    partials: Partials,
    transport: Transport,
    blob: Blob,
    start: Blob,
    heard: Callable[[], None] = lambda: None,
) -> Sequence[int]:
    """The same by the archive's beginning, which lies at `start`: the frames that it names.

    They are here then, but those that another zstd would make of other bytes. None is named where
    another process had it begun, which is waited for. `heard` is called whenever something
    happens. Errors as above.
    """
    if not 0 < start.size <= beginning.LARGEST:
        raise LayerError(f"{blob.name}: {transport.url} has a beginning of {start.size} bytes")
    with explained(partials.directory):
        await trio.to_thread.run_sync(make, partials.directory, partials.root)
        until = trio.current_time() + LOCK_SECONDS
        while trio.current_time() < until:
            with partials.begun_alone(blob.name) as alone:
                if alone:
                    if Store(partials.root).has(blob.name) or _is_begun(partials, blob.name):
                        return ()
                    return await _received(partials, transport, blob, start, heard)
            heard()
            await trio.sleep(BEGUN_PAUSE)
    raise LayerError(f"{blob.name} has been begun by another process for too long")


async def _received(
    partials: Partials,
    transport: Transport,
    blob: Blob,
    start: Blob,
    heard: Callable[[], None],
) -> Sequence[int]:
    """Written down while it comes."""
    incoming, origin = beginning.Incoming(), _origin(transport, blob)
    frames: list[Sequence[int]] = []

    async def fill() -> None:
        frames.append(await trio.to_thread.run_sync(_begin_with, partials, blob, origin, incoming))

    with single_failure():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill)
            try:
                async with aclosing(transport.read(start, 0, start.size)) as parts:
                    async for part in parts:
                        heard()
                        incoming.put(part)
            finally:
                incoming.put(b"")
    return frames[0]


def _begin_with(
    partials: Partials, blob: Blob, origin: Origin, data: beginning.Incoming
) -> Sequence[int]:
    found = beginning.read(data, blob.name)
    begin_at = blob.size - len(found.tables)
    if found.size != blob.size or begin_at < 0:
        raise LayerError(f"the beginning of {blob.name} is of another file")
    _place(partials, blob.name, origin, begin_at, found.tables)
    filling = Filling.of(partials, blob.name) if found.numbers else None
    if filling is not None:  # else another process fills it
        with closing(filling), explained(partials.directory):
            here = filling.fill(found.frames(filling.archive))
            if here == filling.archive.contents.frame_count:
                filling.promote()
    return found.numbers


def _origin(transport: Transport, blob: Blob) -> Origin:
    return Origin(size=blob.size, sources=(Source(store=transport.url, address=blob.address),))


def _tables_begin(transport: Transport, blob: Blob, tail: bytes) -> int:
    try:
        begin_at = tables_begin(tail, blob.size)
    except LayerError as error:
        raise LayerError(f"{blob.name} of {transport.url} {error}") from error
    if blob.size - begin_at > LARGEST_TABLES:
        raise LayerError(f"{blob.name} of {transport.url} has tables too large to be fetched ahead")
    return begin_at


async def _read(transport: Transport, blob: Blob, start: int, end: int) -> bytes:
    async with aclosing(transport.read(blob, start, end)) as parts:
        return b"".join([part async for part in parts])


def _is_begun(partials: Partials, name: str) -> bool:
    try:
        partials.open(name, FrameCache(0))
        partials.origin(name)
    except LayerError:
        return False
    return True


def _place(partials: Partials, name: str, origin: Origin, begin_at: int, tail: bytes) -> bool:
    """Write down what was fetched; in a thread: it waits for the disk."""
    with explained(partials.directory):
        make(partials.directory, partials.root)
        temporary, descriptor = claim_file(partials.directory, TEMPORARY_PREFIX)
        lock = None
        try:
            os.ftruncate(descriptor, origin.size)
            _write(descriptor, tail, begin_at)
            archive = Archive.open(Path(temporary), FrameCache(0), name=name)
            here = _in_tail(archive, begin_at)
            os.fsync(descriptor)
            lock = partials.lock(name, patience=LOCK_SECONDS, make=True)
            if lock is None:
                raise PkgviewError(
                    f"{partials.path(name)} has been written to by another process for too long",
                    remedy="End that process, and run the command again.",
                )
            if _is_begun(partials, name):
                return False
            partials.path(name).unlink(missing_ok=True)
            empty = marks.encode(archive.contents.frame_count, archive.contents.digest_of_all)
            os.ftruncate(lock, 0)
            _write(lock, empty, 0)
            mark(lock, here, here=True)
            os.fsync(lock)
            write_atomically(partials.origin_path(name), origin.to_bytes())
            Path(temporary).replace(partials.path(name))
            sync(partials.directory)
            if len(here) == archive.contents.frame_count:
                promote(partials, name)
            return True
        finally:
            for number in (lock, descriptor):
                if number is not None:
                    os.close(number)
            with suppress(OSError):
                Path(temporary).unlink()


def _in_tail(archive: Archive, begin_at: int) -> list[int]:
    """The frames that came with the tables, whole and right."""
    found = []
    for frame in reversed(range(archive.contents.frame_count)):
        if archive.seek.offsets[frame] < begin_at:
            break
        try:
            archive.load(frame)
        except LayerError:
            continue  # it is fetched, and refused by name, once somebody wants it
        found.append(frame)
    return found


def _write(descriptor: int, data: bytes | memoryview, at: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, at)
        left, at = left[written:], at + written


def promote(partials: Partials, name: str) -> None:
    """Make an archive of one whose frames are all here; for the one who has its lock.

    `LayerError` if it is not what its table says; then it stays as it is: every frame is as its
    name says, and it never counts for more. `PkgviewError` where it cannot be moved.
    """
    path = partials.path(name)
    Archive.open(path, FrameCache(0)).verify()
    store = Store(partials.root)
    with explained(store.archives):
        make(store.archives, store.root)
        with path.open("rb+") as file:
            arrival.mark(file.fileno())
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())
        path.replace(store.path(name))
        sync(store.archives)
        partials.origin_path(name).unlink(missing_ok=True)
        partials.marks_path(name).unlink(missing_ok=True)
        sync(partials.directory)


class Filling:
    """A partial archive that this process writes to; a context. Each method from one thread.

    `archive` is it, for its tables; `origin` says where it comes from.
    """

    def __init__(self, partials: Partials, name: str, lock: int) -> None:
        self.name = name
        self._partials = partials
        self._lock = lock
        self.archive = partials.open(name, FrameCache(0))
        self.origin = partials.origin(name)
        if self.origin.size != self.archive.size:
            raise LayerError(f"{partials.origin_path(name)} is of another file")
        self._file = os.open(
            partials.path(name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        )

    @classmethod
    def of(cls, partials: Partials, name: str) -> Self | None:
        """Begin to write; None while another process does.

        `LayerError` where it is damaged, or there is none.
        """
        try:
            lock = partials.lock(name)
        except OSError as error:
            raise LayerError(f"{partials.marks_path(name)}: {error.strerror}") from error
        if lock is None:
            return None
        try:
            return cls(partials, name, lock)
        except OSError as error:
            os.close(lock)
            raise LayerError(f"{partials.path(name)}: {error.strerror}") from error
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Let others write."""
        os.close(self._file)
        os.close(self._lock)

    def put(self, frames: Sequence[tuple[int, bytes]]) -> dict[int, str]:
        """Write frames as they came, those that are right: what is wrong with the others."""
        contents, seek = self.archive.contents, self.archive.seek
        wrong = {}
        for frame, data in frames:
            start, end = contents.frame_span(frame)
            try:
                decompress(data, end - start, contents.frame_digest(frame))
            except LayerError as error:
                wrong[frame] = f"{self.name}: frame {frame} {error}"
            else:
                _write(self._file, data, seek.offsets[frame])
        return wrong

    def fill(self, frames: Iterable[tuple[int, bytes]]) -> int:
        """Write frames, whose content is given, and mark them: how many are here then.

        Each is compressed as it was for the archive. Where that takes another number of bytes (it
        was another zstd), the frame is left out. `LayerError` at the first that is wrong.
        """
        contents, seek = self.archive.contents, self.archive.seek
        here = set(self.archive.here())
        written = []
        try:
            for frame, content in frames:
                if sha256(content).digest() != contents.frame_digest(frame):
                    raise LayerError(f"{self.name}: frame {frame} of its beginning is another's")
                offset, size = seek.place(frame)
                if frame in here:
                    continue
                data = compressed(content, size)
                if data is not None:
                    _write(self._file, data, offset)
                    written.append(frame)
        finally:
            self.commit(written)  # also where the rest does not come
        return len(here) + len(written)

    def commit(self, frames: Iterable[int]) -> None:
        """Have what was written on the disk, and then marked."""
        os.fdatasync(self._file)
        mark(self._lock, frames, here=True)

    def recheck(self, frames: Iterable[int]) -> list[int]:
        """Those of frames that are marked and wrong; they are not marked any more."""
        frames = set(frames)
        marked = frames.difference(self.archive.absent_of(frames))
        wrong = [one for one in marked if not self._partials.is_right(self.archive, one)]
        mark(self._lock, wrong, here=False)
        return wrong

    def promote(self) -> None:
        """Make an archive of it, all frames being here; see `promote`."""
        promote(self._partials, self.name)
