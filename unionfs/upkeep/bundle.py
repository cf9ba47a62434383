"""Archives on their way to another store: copied to a directory, or as one tar stream.

A bundle is an uncompressed tar in GNU format: `archives/NAME` as regular files, then
`imported/KEY` as links to `../archives/NAME`, both sorted, without times and owners, so equal
archives make equal bundles. It is read here header by header and no more is accepted than what is
written: whoever sends one may be anybody. Each archive is verified before it is in place, and what
sources became is recorded last, when the whole of the stream has been seen.

A source that is known already, and whose archive is there, stays as it is: nobody's bundle
changes what a wheel became here. What comes is recorded as imported: by the word of whom the user
imports from. Skeletons and bytecode do not travel, since nobody takes another's.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from resolver.errors import PkgviewError
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import digest_of_name
from unionfs.archive.reader import Archive
from unionfs.store import arrival
from unionfs.store.local import COPIED, Store
from unionfs.store.sources import FORMER, IMPORTED, LINK_PREFIX, is_made_here, is_source_key
from unionfs.upkeep.references import read_references

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from resolver.places import Places
    from unionfs.store.ordered import Stores

T = TypeVar("T")

LARGEST: Final = (8 << 30) - 1
"""Bytes of one archive: what the octal digits of a tar header can say."""

MOST_MEMBERS: Final = 200_000

_BLOCK = tarfile.BLOCKSIZE
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LONGEST = 512
"""Bytes of a name or link: more than a directory's and an archive's can have."""


class Progress(Protocol):
    """Told which archive is next, the first of them is number 1; `count` is 0 if not known."""

    def copying(self, name: str, number: int, count: int) -> None:
        """An archive is next."""
        ...


@dataclass(slots=True, kw_only=True)
class Moved:
    """How many archives came, with how many bytes, how many were there; sources recorded."""

    archives: int = 0
    size: int = 0
    kept: int = 0
    sources: int = 0

    def count(self, size: int, *, fresh: bool) -> None:
        """One archive more."""
        self.archives += fresh
        self.size += size * fresh
        self.kept += not fresh


def needed(places: Places, projects: Iterable[str]) -> set[str]:
    """The distributions of these projects' views. Roots, as they are recorded."""
    needs = read_references(places)
    found: set[str] = set()
    for root in projects:
        project = needs.projects.get(root)
        archives = needs.distributions_of(project) if project is not None else set()
        if not archives:
            raise PkgviewError(f"{root} has no view", remedy="Run `pkgview up` there first.")
        found |= archives
    return found


def carried(store: Store) -> list[str]:
    """All archives of a store but those that every store makes for itself."""
    sources = store.known_sources()
    others = {name for key, name in sources.items() if not is_made_here(key)}
    made = {name for key, name in sources.items() if is_made_here(key)} - others
    return [name for name in store.names() if name not in made]


def copy(stores: Stores, names: Collection[str], root: Path, progress: Progress) -> Moved:
    """Copy archives, and what became them, into the store at `root`; it need not exist."""
    if os.path.realpath(root) == os.path.realpath(stores.root):
        raise PkgviewError(f"{root} is your own store", remedy="Name another directory.")
    target, moved = Store(root), Moved()
    with _explained(f"cannot copy to {root}"), stores.held():
        root.mkdir(parents=True, exist_ok=True)  # for others, as the umask has it
        for number, name in enumerate(sorted(names), 1):
            progress.copying(name, number, len(names))
            fresh = _first(stores, name, target.take)
            moved.count(target.path(name).stat().st_size, fresh=fresh)
        moved.sources = _record(target, _sources(stores, names))
    return moved


def export(stores: Stores, names: Collection[str], out: BinaryIO, progress: Progress) -> Moved:
    """Write archives, and what became them, as one stream."""
    moved = Moved()
    with _explained("cannot write the bundle"), stores.held():
        for number, name in enumerate(sorted(names), 1):
            progress.copying(name, number, len(names))
            with open(_first(stores, name, _whole), "rb") as file:  # noqa: PTH123 - as the others here
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST:
                    raise PkgviewError(f"{name} is too large", remedy="Use `pkgview store copy`.")
                out.write(_header(f"archives/{name}", size=size))
                shutil.copyfileobj(_part(file, size, name), out, COPIED)
            out.write(bytes(-size % _BLOCK))
            moved.count(size, fresh=True)
        for key, name in sorted(_sources(stores, names).items()):
            out.write(_header(f"{IMPORTED}/{key}", link=LINK_PREFIX + name))
            moved.sources += 1
        out.write(bytes(2 * _BLOCK))
        out.flush()
    return moved


def import_(store: Store, file: BinaryIO, progress: Progress) -> Moved:
    """Take what a bundle brings; `PkgviewError` names what is not as `export` writes it.

    What came whole before that is in place then: an archive is what its name says, wherever from.
    """
    moved, sources = Moved(), dict[str, str]()
    with _explained("cannot import the bundle"), store.held():
        for number, member in enumerate(_members(file), 1):
            folder, _, name = member.name.partition("/")
            size, target = member.size, member.linkname.removeprefix(LINK_PREFIX)
            regular = member.type in {tarfile.REGTYPE, tarfile.AREGTYPE}
            if number > MOST_MEMBERS:
                raise _refused(member.name, "it is one of too many")
            if folder == "archives" and regular and digest_of_name(name) and 0 <= size <= LARGEST:
                progress.copying(name, moved.archives + moved.kept + 1, 0)
                part = _part(file, size, member.name)
                fresh = not store.keeps(name)
                if fresh:
                    store.receive(part, name)
                else:
                    arrival.mark_again(store.path(name))
                while part.read(COPIED):
                    pass
                _exactly(file, -size % _BLOCK)
                moved.count(size, fresh=fresh)
            elif (
                folder == IMPORTED and member.issym() and not size and is_source_key(name)
                and not is_made_here(name)
                and member.linkname == LINK_PREFIX + target and digest_of_name(target)
                and name not in sources
            ):  # fmt: skip
                sources[name] = target
            elif folder == FORMER:
                raise _refused(
                    member.name, "its pkgview did not know yet where it had it from: export it anew"
                )
            else:
                raise _refused(member.name, "`pkgview store export` does not write such a member")
        moved.sources = _record(store, sources)
    return moved


def _first(stores: Stores, name: str, use: Callable[[Path, str], T]) -> T:
    """What `use` makes of the archive in the first store that has it whole."""
    fault: LayerError | None = None
    for path in stores.paths(name):
        try:
            return use(path, name)
        except LayerError as error:
            fault = fault or error
    raise fault or LayerError(f"{name} is in no store")


def _whole(path: Path, name: str) -> Path:
    Archive.open(path, FrameCache(0), name=name).verify()
    return path


def _sources(stores: Stores, names: Collection[str]) -> dict[str, str]:
    """What became these archives, by the first store that knows."""
    found: dict[str, str] = {}
    for store in (stores.own, *stores.others):
        known = store.known_sources()
        found = {k: n for k, n in known.items() if n in names and not is_made_here(k)} | found
    return found


def _record(store: Store, sources: Mapping[str, str]) -> int:
    """Record those that are new and whose archive is there."""
    new = {k: name for k, name in sources.items() if not store.archive_of(k) and store.has(name)}
    for key, name in new.items():
        store.record_source(key, name, IMPORTED)
    return len(new)


def _header(name: str, *, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    if link:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, link, 0o777
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Headers up to the end mark; whoever gets one reads what follows it.

    Not by `tarfile.open`: it takes a stream that is cut off between two members for whole, and
    reads names and attributes of any size into memory.
    """
    long: dict[bytes, str] = {}
    while (block := _exactly(file, _BLOCK)) != bytes(_BLOCK):
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as error:
            raise PkgviewError(f"it is no bundle: {error}") from error
        if info.type in _LONG:
            if not 0 < info.size <= _LONGEST or info.type in long:
                raise _refused(info.name, "its name is too long")
            text = _exactly(file, info.size + -info.size % _BLOCK)[: info.size]
            long[info.type] = text.rstrip(b"\0").decode("utf-8", "surrogateescape")
            continue
        info.name = long.get(tarfile.GNUTYPE_LONGNAME, info.name)
        info.linkname = long.get(tarfile.GNUTYPE_LONGLINK, info.linkname)
        long.clear()
        yield info


class _Part(io.RawIOBase):
    """The next so many bytes of a stream; `PkgviewError` where it ends before."""

    def __init__(self, file: BinaryIO, size: int, what: str) -> None:
        self._file, self._left, self._what = file, size, what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what is passed
        data = self._file.read(min(len(buffer), self._left))
        if self._left and not data:
            raise PkgviewError(f"it ends within {self._what!r}")
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def _part(file: BinaryIO, size: int, what: str) -> BinaryIO:
    return io.BufferedReader(_Part(file, size, what), COPIED)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    if len(data) < size:
        raise PkgviewError("it is no bundle, or cut off: its end mark is missing")
    return data


def _refused(name: str, why: str) -> PkgviewError:
    return PkgviewError(f"the member {name[:_LONGEST]!r} is refused: {why}")


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except LayerError as error:
        raise PkgviewError(
            f"{what}: {error}",
            remedy="If that archive is your own store's: `pkgview store verify --repair`.",
        ) from error
    except BrokenPipeError:
        raise  # the reader has what it wanted
    except OSError as error:
        raise PkgviewError(
            f"{what}: {error.strerror or error}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error
