"""Partial archives: what is here of archives that a store beyond this machine has.

    <root>/partial/<name>           a sparse file of the archive's full size, 0600: its tables, and
                                    the frames that were fetched
    <root>/partial/<name>.frames    which frames are here (`unionfs.archive.marks`); locked by
                                    whoever writes to any of the three
    <root>/partial/<name>.from      where it comes from: JSON, `Origin`
    <root>/partial/.tmp-<random>    being begun

Any number of processes read, one writes (`unionfs.store.remote.lazy.filling`). The file itself is
made last and removed first: where it is, the other two are. Once its last frame is here the archive
is verified whole, becomes an ordinary one by a rename, and the other two go.

Only the user's own store has partial archives, and whoever asks for an archive asks for an ordinary
one first. Until it is whole nobody knows that its table tells the truth about its members' digests:
every frame is proved by the name, so its own bytes are right, but it shares no inode with another
archive (`unionfs.view.registry`).
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from resolver.atomic import sweep
from resolver.errors import PkgviewError
from unionfs.archive import marks
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import digest_of_name
from unionfs.archive.reader import Archive
from unionfs.store.directory import TEMPORARY_PREFIX
from unionfs.store.sources import PARTIAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from unionfs.archive.framecache import FrameCache

MARKS, ORIGIN = ".frames", ".from"
"""What the names of the two small files end with."""

LARGEST: Final = 1 << 40
"""Bytes of an archive's file. It is a sparse one, but nobody means more than a terabyte."""

LARGEST_TABLES: Final = 1 << 28
"""Bytes of an archive's tables, which are fetched at once: two million members."""

LARGEST_ORIGIN: Final = 1 << 16
MOST_SOURCES: Final = 16

PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A remote store that has the archive: its URL, and the address there in its own words."""

    store: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a partial archive comes from: a file of `size` bytes at each of `sources`."""

    size: int
    sources: tuple[Source, ...]

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Origin:
        """What `to_bytes` wrote; `LayerError` for anything else."""
        try:
            fields = json.loads(data)
            sources = tuple(Source(**one) for one in fields.pop("sources"))
            found = cls(**fields, sources=sources)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise LayerError(f"says nothing that could be understood ({error})") from error
        texts: list[Any] = [text for one in sources for text in (one.store, one.address)]
        if (
            type(found.size) is not int
            or not 0 < found.size <= LARGEST
            or not 0 < len(sources) <= MOST_SOURCES
            or not all(isinstance(text, str) for text in texts)
        ):
            raise LayerError("says what cannot be")
        return found


class Partials:
    """Those of the store at `root`. Any thread may call any method."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / PARTIAL

    def path(self, name: str) -> Path:
        """Where the file is, or would be; `PkgviewError` for what is no archive's name."""
        if digest_of_name(name) is None:
            raise PkgviewError(f"{name!r} is no archive's name")
        return self.directory / name

    def marks_path(self, name: str) -> Path:
        """The file that says which frames are here."""
        return self.path(name).with_name(name + MARKS)

    def origin_path(self, name: str) -> Path:
        """The file that says where it comes from."""
        return self.path(name).with_name(name + ORIGIN)

    def has(self, name: str) -> bool:
        """Whether there is one; False for what is no archive's name."""
        return digest_of_name(name) is not None and self.path(name).is_file()

    def names(self) -> list[str]:
        """All of them, sorted."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """The bytes that each takes on the disk."""
        found = {}
        with suppress(FileNotFoundError), os.scandir(self.directory) as listing:
            for item in listing:
                if digest_of_name(item.name) is not None and item.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # it became an ordinary one
                        found[item.name] = item.stat(follow_symlinks=False).st_blocks * 512
        return found

    def open(
        self, name: str, frames: FrameCache, others: Callable[[], Iterable[Path]] = tuple
    ) -> Archive:
        """It, as far as it is here; `LayerError` names what is damaged or another's.

        `others` says where it lies once it is whole.
        """
        return Archive.open(self.path(name), frames, others=others, marks=self.marks_path(name))

    def origin(self, name: str) -> Origin:
        """Where it comes from; `LayerError` where that is damaged."""
        path = self.origin_path(name)
        try:
            with path.open("rb") as file:
                return Origin.from_bytes(file.read(LARGEST_ORIGIN + 1))
        except LayerError as error:
            raise LayerError(f"{path} {error}") from error
        except OSError as error:
            raise LayerError(f"{path}: {error.strerror}") from error

    # -- writing ---------------------------------------------------------------------------------

    @contextmanager
    def locked(self, name: str, *, patience: float = 0.0) -> Iterator[int | None]:
        """Be the one who writes to it: a descriptor of the marks; None if another is for so long.

        `OSError` where there are no marks.
        """
        descriptor = self.lock(name, patience=patience)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def lock(self, name: str, *, patience: float = 0.0, make: bool = False) -> int | None:
        """The same; its closing gives it up. `make`: marks that are missing are made, empty."""
        path = self.marks_path(name)
        deadline = time.monotonic() + patience
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if make else 0)
        while True:
            descriptor = os.open(path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Who had it may have removed the file.
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            except BlockingIOError:
                pass
            except FileNotFoundError:
                if not make:
                    os.close(descriptor)
                    raise
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            if time.monotonic() >= deadline:
                return None
            time.sleep(PAUSE)

    @contextmanager
    def begun_alone(self, name: str) -> Iterator[bool]:
        """Be the one who fetches its beginning; False while another does. The directory is there.

        Not by the lock above: whoever writes a partial archive holds that one for a moment each.
        """
        path = self.path(name).with_name(f"{TEMPORARY_PREFIX}{name.rpartition('.tar')[0][-64:]}")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        alone = False
        try:
            with suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = os.path.samestat(os.fstat(descriptor), path.stat())
            yield alone
        finally:
            if alone:
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def remove(self, name: str) -> bool:
        """Remove it; False while somebody writes to it, or where that is not allowed."""
        try:
            with self.locked(name) as held:
                if held is None:
                    return False
                self._unlink(name)
        except FileNotFoundError:
            with suppress(OSError):
                self._unlink(name)
        except OSError:
            return False
        return True

    def _unlink(self, name: str) -> None:
        for path in (self.path(name), self.origin_path(name), self.marks_path(name)):
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what processes that died have left: what was begun, and what lost its archive."""
        sweep(self.directory, TEMPORARY_PREFIX)
        with suppress(FileNotFoundError):
            for file in os.listdir(self.directory):
                for suffix in (MARKS, ORIGIN):
                    name = file.removesuffix(suffix)
                    if name != file and digest_of_name(name) and not self.has(name):
                        self.remove(name)

    def wrong(self, name: str) -> list[int]:
        """The frames that are marked and not as the name says; they are not marked any more.

        `LayerError` where it cannot be opened at all. A frame that somebody just reads is read
        again once it was fetched again.
        """
        from unionfs.archive.framecache import FrameCache  # noqa: PLC0415

        archive = self.open(name, FrameCache(0))
        return [frame for frame in archive.here() if not self.is_right(archive, frame)]

    @staticmethod
    def is_right(archive: Archive, frame: int) -> bool:
        """Whether a frame that is marked is as the name says."""
        try:
            archive.load(frame)
        except LayerError:
            return False
        return True

    def unmark(self, name: str, frames: Iterable[int], *, patience: float = 10.0) -> bool:
        """Have frames fetched again; False if another process writes to it all the time."""
        with self.locked(name, patience=patience) as held:
            if held is not None:
                mark(held, frames, here=False)
            return held is not None


def mark(descriptor: int, frames: Iterable[int], *, here: bool) -> None:
    """Change the marks of frames in an open file of marks; for the one who has its lock."""
    changed: dict[int, int] = {}
    for frame in frames:
        place = marks.HEADER.size + (frame >> 3)
        if place not in changed:
            changed[place] = os.pread(descriptor, 1, place)[0]
        bit = 1 << (frame & 7)
        changed[place] = changed[place] | bit if here else changed[place] & ~bit
    for place, byte in changed.items():
        os.pwrite(descriptor, bytes([byte]), place)
