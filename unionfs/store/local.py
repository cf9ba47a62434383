"""The store: a directory of archives, which holds whole archives or nothing.

    <root>/archives/<stem>.<digest>.tar.zst     read-only, named by content, never changed
    <root>/archives/damaged/                    archives that were found damaged
    <root>/archives/.tmp-<random>               being written; locked by whoever writes it
    <root>/derived/<key>                        link to the archive that a wheel or sdist became
    <root>/imported/<key>                       the same by the word of another store
    <root>/vouched/<key>                        the same by a word that is kept in `statements/`
    <root>/users/, <root>/before                what each state needs (`unionfs.store.claims`)

Writing is: temporary file beside its destination, fsync, rename, fsync of the directory. Two
processes that add the same archive write the same name, and either one's file may stay.

A temporary belongs to a writer for as long as that one holds its lock (`resolver.scratch`); the
next writer removes what the dead have left.
"""

from __future__ import annotations

import fcntl
import filecmp
import os
import shutil
import stat
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resolver.atomic import Held, claim_file
from resolver.errors import PkgviewError
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import digest_of_name
from unionfs.archive.pack import pack
from unionfs.archive.reader import Archive
from unionfs.store import arrival
from unionfs.store.directory import TEMPORARY_PREFIX, explained, make, sync
from unionfs.store.sources import DERIVED, Sources
from unionfs.store.vouched import VouchedSources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from _typeshed import SupportsRead

    from unionfs.archive.meta import Meta
    from unionfs.archive.pack import Member
    from unionfs.store.vouched import Word

COPIED: Final = 1 << 20
"""Bytes copied at a time."""

_READ_ONLY = 0o444


class Store:
    """Archives below `root`, which need not exist until something is added: then it is private.

    Any thread may call any method. `frames` is shared by all archives opened here.
    """

    def __init__(self, root: Path, frames: FrameCache | None = None) -> None:
        self.root = root
        self.frames = FrameCache() if frames is None else frames
        self.archives = root / "archives"
        self.derived = root / DERIVED
        self._links = Sources(root)
        self.vouched = VouchedSources(root)
        self._lock = threading.Lock()
        # Weak: an archive stays open while a view holds it, and no longer.
        self._open: weakref.WeakValueDictionary[str, Archive] = weakref.WeakValueDictionary()

    # -- archives --------------------------------------------------------------------------------

    def add(self, members: Iterable[Member], meta: Meta) -> str:
        """Pack the members into an archive and put it in place; return its name.

        An archive of that name that is there and whole is kept, a damaged one replaced.
        `PkgviewError` if it cannot be packed or written; then nothing is left behind.
        """
        with self._writing() as (out, temporary):
            name = pack(members, meta, out)
            self._place(out, temporary, name)
        return name

    def take(self, source: Path, name: str, most: int | None = None) -> bool:
        """Copy an archive from a file of anybody's, read whole first; False if it was here.

        `LayerError` if that file is not what its name says, or has more than `most` bytes. Its
        tables are looked at before anything is copied: of a file of nothing it would be all of it.
        """
        if self.keeps(name):
            arrival.mark_again(self.path(name))
            return False
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(source, flags)
        except OSError as error:
            raise LayerError(f"{name}: {error.strerror}") from error
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise LayerError(f"{name} is no regular file")
            if most is not None and status.st_size > most:
                raise LayerError(f"{name} has more than {most} bytes")
            Archive.open(Path(f"/proc/self/fd/{descriptor}"), FrameCache(0), name=name)
            self.receive(file, name)
        return True

    def receive(self, file: SupportsRead[bytes], name: str) -> None:
        """The same from a stream, up to its end."""
        with self._writing() as (out, temporary):
            shutil.copyfileobj(file, out, COPIED)
            out.flush()
            # The copy is verified, not what was copied: that is somebody else's to change.
            Archive.open(temporary, FrameCache(0), name=name).verify()
            self._place(out, temporary, name)

    def keeps(self, name: str) -> bool:
        """Whether it is here and whole: every byte is read."""
        return self.path(name).exists() and self._is_whole(self.path(name))

    def has(self, name: str) -> bool:
        """Whether an archive of that name is here; False for what is no archive's name."""
        return digest_of_name(name) is not None and any(path.is_file() for path in self.paths(name))

    def path(self, name: str) -> Path:
        """Where the archive of that name is, or would be."""
        if digest_of_name(name) is None:
            raise PkgviewError(f"{name!r} is no archive's name")
        return self.archives / name

    def paths(self, name: str) -> Iterator[Path]:
        """Where the archive of that name may lie, the best place first."""
        yield self.path(name)

    def open(self, name: str) -> Archive:
        """The archive, the same object for as long as anybody holds it and its file is there.

        A file that is gone may have come back as another one: elsewhere, or as a partial archive.
        `LayerError` if it is missing or damaged.
        """
        with self._lock:
            archive = self._open.get(name)
        if archive is not None and archive.is_there():
            return archive
        try:
            fresh = self._opened(name)
        except LayerError:
            if archive is None:
                raise
            return archive
        with self._lock:
            if self._open.get(name) is archive:
                self._open[name] = fresh
            return self._open.setdefault(name, fresh)

    def _opened(self, name: str) -> Archive:
        """The first that can be opened; what is wrong with the first, if none can."""
        fault: LayerError | None = None
        for path in self.paths(name):
            try:
                return Archive.open(path, self.frames, others=partial(self.paths, name))
            except LayerError as error:
                fault = fault or error
        raise fault or LayerError(f"{name} is in no store")

    def names(self) -> list[str]:
        """All archives, sorted; none where there is no store."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Every archive's size on disk in bytes."""
        with explained(self.archives):
            try:
                listing = os.scandir(self.archives)
            except FileNotFoundError:
                return {}
            with listing:
                return {
                    item.name: item.stat(follow_symlinks=False).st_size
                    for item in listing
                    if digest_of_name(item.name) is not None and item.is_file(follow_symlinks=False)
                }

    def verify(self, name: str) -> None:
        """Read every byte of an archive; `LayerError` says what is wrong with it."""
        path = next((path for path in self.paths(name) if path.is_file()), self.path(name))
        Archive.open(path, self.frames).verify()

    def set_aside(self, name: str) -> Path:
        """Move a damaged archive to `archives/damaged/`, so that it is fetched again.

        Its old place and the new one are on one file system: the bytes stay for whoever wants to
        know what happened to them.
        """
        damaged = self.archives / "damaged"
        with explained(damaged):
            damaged.mkdir(exist_ok=True)
            self.path(name).replace(damaged / name)
            sync(damaged)
            sync(self.archives)
        with self._lock:
            self._open.pop(name, None)
        return damaged / name

    def remove(self, name: str) -> bool:
        """Remove an archive; False where that is not allowed, as with another's in a shared store.

        Only for who is `alone` here, and knows that nothing needs it.
        """
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError:
            return False
        with self._lock:
            self._open.pop(name, None)
        return True

    # -- together with others --------------------------------------------------------------------

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts nothing is collected from this store.

        For the moment between finding that archives are there and writing down that they are
        needed. Where there is no store, or no lock, there is nothing to wait for.
        """
        with suppress(OSError):
            make(self.archives, self.root)
        with Held(self.archives):
            yield

    @contextmanager
    def alone(self, *, patience: float) -> Iterator[bool]:
        """Keep everybody from relying on what is here; False if somebody did all the time.

        `PkgviewError` where the file system has no locks: nobody could be kept from it.
        """
        with explained(self.archives):
            descriptor = os.open(self.archives, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        yield False
                        return
                    time.sleep(0.02)
                except OSError as error:
                    raise PkgviewError(
                        f"{self.archives} cannot be locked: {error.strerror}",
                        remedy="Collect on the machine that the file system is local to.",
                    ) from error
                else:
                    break
            yield True
        finally:
            os.close(descriptor)

    # -- sources ---------------------------------------------------------------------------------

    def record_source(self, key: str, archive: str, origin: str = DERIVED) -> None:
        """Remember that `key` ("sha256-<hex of a wheel>") became that archive, and who says so."""
        self.path(archive)
        self._links.record(key, archive, origin)

    def vouch(self, sources: Mapping[str, str], word: Word) -> None:
        """Remember these keys and their archives by somebody's word; what is known stays."""
        new = {key: name for key, name in sources.items() if self.archive_of(key) is None}
        for name in new.values():
            self.path(name)
        self.vouched.record(new, word)

    def archive_of(self, key: str) -> str | None:
        """The archive that `key` became; None if that is not known or it is not here any more."""
        return next(filter(self.has, self._links.archives_of(key)), None)

    def known_sources(self) -> dict[str, str]:
        """Every source that became an archive which is here, and that archive."""
        found = ((key, self.archive_of(key)) for key in self._links.known())
        return {key: name for key, name in found if name is not None}

    def sources_of(self, *prefixes: str) -> list[tuple[str, str]]:
        """The sources whose keys begin so, each with its archive, which may be gone."""
        keys = (key for key in self._links.known() if key.startswith(prefixes))
        return [(key, archive) for key in keys for archive in self._links.archives_of(key)]

    def forget_source(self, key: str) -> None:
        """Remove what says of a source which archive it became."""
        self._links.forget(key)

    def forget_sources(self) -> None:
        """Remove what says of a source that it became an archive which is not here any more."""
        self._links.forget_lost()
        self.vouched.forget_lost()

    def former_sources(self) -> int:
        """How many records of earlier versions there are: these are not believed."""
        return self._links.former()

    def drop_former_sources(self) -> None:
        """Remove these."""
        self._links.drop_former()

    # -- writing ---------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A new file that is gone afterwards, unless it was placed."""
        with explained(self.archives):
            make(self.archives, self.root)
            name, descriptor = claim_file(self.archives, TEMPORARY_PREFIX)
            temporary = Path(name)
            try:
                with open(descriptor, "wb") as out:  # noqa: PTH123 - a descriptor, not a path
                    yield out, temporary
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def _place(self, out: BinaryIO, temporary: Path, name: str) -> None:
        """Give a written archive its name, unless a whole one has it already.

        It is still locked: nobody takes it for abandoned before it has its name.
        """
        out.flush()
        arrival.mark(out.fileno())
        os.fchmod(out.fileno(), _READ_ONLY)
        os.fsync(out.fileno())
        path = self.path(name)
        if path.exists() and self._is_whole(path, temporary):
            arrival.mark_again(path)
            return
        temporary.replace(path)
        sync(self.archives)

    def _is_whole(self, path: Path, like: Path | None = None) -> bool:
        try:
            # Nearly always the very same bytes; only another zstd gives others.
            if like is None or not filecmp.cmp(path, like, shallow=False):
                Archive.open(path, FrameCache(0)).verify()
        except (OSError, LayerError):
            return False
        return True
