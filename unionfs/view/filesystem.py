"""The file system as a function of node ids: what every transport serves, defined here only.

A transport asks with the numbers the kernel gave it and gets attributes, names, links and bytes,
or a `FileSystemError` with the errno to answer. Nothing is remembered from one request to the
next, so it does not matter which process answered the last one. The directory is small enough
to show whole:

    current -> views/<id>                  differs by caller: asked again on every path walk
    bin lib lib64 include share site-packages pyvenv.cfg -> current/…
    views/<id>/                            immutable: kept by the kernel for ever
    projects/<name>-<hash> -> ../views/<id>
    packages/<name>-<version>-<hash>/      one archive each, immutable

Per-caller decisions are made in `current` and nowhere else; the caller is no argument of
anything but its `readlink`.

Concurrency: every method but `current` returns without waiting and must be called from one
thread; only reading may touch the disk for long, so it is split: `cached` answers from memory or
not at all, what `readers` gives may be called in any thread.
"""

from __future__ import annotations

import errno
import logging
import stat
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.archive.layer import ROOT, Entry, EntryNo, Kind, LayerError
from unionfs.view import nodeid
from unionfs.view.nodeid import (
    ArchiveNo,
    Fixed,
    LayerNo,
    MergedNo,
    NodeId,
    NodeKind,
    ProjectNo,
    ViewNo,
)
from unionfs.view.union import MERGED, Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from unionfs.archive.reader import Archive
    from unionfs.view.catalog import Catalog
    from unionfs.view.tree import Member, View

logger = logging.getLogger(__name__)

NAME_LIMIT = 255
"""Bytes of the longest name; the kernel lets 1024 through."""

FOREVER = 1e9
"""Seconds (thirty years) that the kernel keeps what never changes."""

BRIEFLY = 1.0
"""Seconds that the kernel keeps names which other commands add or move."""

TIMESTAMP = 315_532_800
"""Modification time of everything, seconds: 1980-01-01, as in every archive."""

LISTINGS_KEPT = 32
"""Directory listings kept while the kernel pages through them."""

_TO_CURRENT: dict[int, bytes] = {
    Fixed.BIN: b"bin",
    Fixed.LIB: b"lib",
    Fixed.LIB64: b"lib64",
    Fixed.INCLUDE: b"include",
    Fixed.SHARE: b"share",
    Fixed.PYVENV_CFG: b"pyvenv.cfg",
    Fixed.SITE_PACKAGES: b"site-packages",
}

_ROOT_NAMES = {
    b"current": Fixed.CURRENT,
    b"views": Fixed.VIEWS,
    b"projects": Fixed.PROJECTS,
    b"packages": Fixed.PACKAGES,
    **{name: Fixed(node) for node, name in _TO_CURRENT.items()},
}

_VIEW_ID_SIZE = 32
_GROWING = frozenset(map(nodeid.fixed, (Fixed.VIEWS, Fixed.PROJECTS, Fixed.PACKAGES)))
_DIRECTORIES = (Fixed.ROOT, Fixed.VIEWS, Fixed.PROJECTS, Fixed.PACKAGES)


class FileSystemError(Exception):
    """The errno with which a request is answered."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number


class Attributes(NamedTuple):
    """What the kernel is told of a node: size in bytes, `mode` with its type, `keep` in seconds.

    `keep` is how long the kernel may keep the *name* under which the node was found; the
    attributes themselves never change, but for those of links that move.
    """

    node: NodeId
    mode: int
    size: int
    keep: float = FOREVER


@dataclass(frozen=True, slots=True)
class Absent:
    """A name that is not there, and how long the kernel may go on believing so."""

    keep: float


class Filesystem:
    """Answers for one mount. `current` decides which view a thread's process is bound to."""

    def __init__(
        self, catalog: Catalog, current: Callable[[int], Awaitable[ViewId]], *, uid: int, gid: int
    ) -> None:
        self.catalog = catalog
        self.uid = uid
        self.gid = gid
        self._current = current
        self._listings: OrderedDict[NodeId, Sequence[tuple[bytes, Attributes]]] = OrderedDict()

    # What may be asked

    def lookup(self, parent: NodeId, name: bytes) -> Attributes | Absent:
        """The node of that name in a directory."""
        if len(name) > NAME_LIMIT:
            raise FileSystemError(errno.ENAMETOOLONG)
        with _as_errno:
            match nodeid.kind(parent):
                case NodeKind.MERGED | NodeKind.OWNED:
                    view, place = self._in_view(parent)
                    child = view.union.lookup(place, name)
                    return Absent(FOREVER) if child is None else _in_union(view, child)
                case NodeKind.ARCHIVE:
                    member, directory = self._in_archive(parent)
                    entry = member.archive.lookup(directory, name)
                    return Absent(FOREVER) if entry is None else _in_package(member, entry)
                case NodeKind.FIXED:
                    return self._lookup_fixed(parent, name)
                case _:
                    self._must_be_directory(parent)
                    raise FileSystemError(errno.ENOENT)

    def getattr(self, node: NodeId) -> Attributes:
        """The attributes of a node."""
        with _as_errno:
            match nodeid.kind(node):
                case NodeKind.MERGED | NodeKind.OWNED:
                    self._in_view(node)
                    return _directory(node)
                case NodeKind.ARCHIVE:
                    archive, entry = self._first_holder(node)
                    return _attributes(node, archive.entry(entry))
                case NodeKind.PROJECT:
                    return _link(node, len(self._project_target(node)), BRIEFLY)
                case NodeKind.FIXED:
                    return self._fixed(node)
                case _:
                    raise FileSystemError(errno.ENOENT)

    def listdir(self, node: NodeId) -> Sequence[tuple[bytes, Attributes]]:
        """Every name in a directory, in an order that does not change between two calls.

        A listing's pages come from one list while it is kept, so a directory that grows
        meanwhile (`views`) shows no name twice.
        """
        found = self._listings.get(node)
        if found is None:
            found = self._listings[node] = self.listing(node)
            while len(self._listings) > LISTINGS_KEPT:
                self._listings.popitem(last=False)
        return found

    def listing(self, node: NodeId) -> Sequence[tuple[bytes, Attributes]]:
        """Every name in a directory as it is now."""
        with _as_errno:
            return self._listing(node)

    def opendir(self, node: NodeId) -> None:
        """Begin a listing: one that may have grown is read anew."""
        self._must_be_directory(node)
        if self.grows(node):
            self._listings.pop(node, None)

    def grows(self, node: NodeId) -> bool:
        """Whether a directory's listing may be another one tomorrow."""
        return node in _GROWING

    def open(self, node: NodeId) -> None:
        """Refuse what cannot be read: ELOOP and EISDIR as on any file system."""
        mode = self.getattr(node).mode
        if stat.S_ISDIR(mode):
            raise FileSystemError(errno.EISDIR)
        if stat.S_ISLNK(mode):
            raise FileSystemError(errno.ELOOP)

    def is_magic(self, node: NodeId) -> bool:
        """Whether the node is the one link whose target depends on the caller."""
        return node == nodeid.fixed(Fixed.CURRENT)

    async def current(self, tid: int) -> bytes:
        """The target of `current` for a thread's process."""
        with _as_errno:
            return b"views/" + (await self._current(tid)).encode()

    def readlink(self, node: NodeId) -> bytes:
        """The target of any other link."""
        with _as_errno:
            match nodeid.kind(node):
                case NodeKind.ARCHIVE:
                    archive, entry = self._first_holder(node)
                    if archive.entry(entry).kind is Kind.SYMLINK:
                        return archive.target(entry)
                case NodeKind.PROJECT:
                    return self._project_target(node)
                case NodeKind.FIXED if node in _TO_CURRENT:
                    return b"current/" + _TO_CURRENT[node]
                case _:
                    self.getattr(node)
            raise FileSystemError(errno.EINVAL)

    def cached(self, node: NodeId, offset: int, size: int) -> bytes | None:
        """Up to `size` bytes of a file if nobody has to be waited for; None: ask `readers`."""
        with _as_errno:
            archive, entry = self._first_holder(node)
            try:
                return archive.cached(entry, offset, size)
            except LayerError:
                # Asked only now: every READ comes by here, and all but none are of files.
                _must_be_file(archive, entry)
                raise

    def readers(self, node: NodeId) -> Iterator[Callable[[int, int], bytes]]:
        """Functions of offset and size which read a file, and may be called in any thread.

        Each reads from another archive that has the same bytes; the next one is worth asking for
        only where one has failed. After the last the answer is EIO.
        """
        for archive, entry in self._holders(node):
            with _as_errno:
                _must_be_file(archive, entry)
            yield partial(_read, archive, entry)

    # Views and archives

    def _in_view(self, node: NodeId) -> tuple[View, Place]:
        """The directory that a MERGED or OWNED node names."""
        if nodeid.kind(node) is NodeKind.MERGED:
            number, merged = nodeid.merged_parts(node)
            place = Place(MERGED, merged)
        else:
            number, layer, entry = nodeid.owned_parts(node)
            place = Place(LayerNo(layer), entry)
        view = self.catalog.view_numbered(number)
        if view is None or view.union.entry(place).kind is not Kind.DIRECTORY:
            raise FileSystemError(errno.ENOENT)
        return view, place

    def _in_archive(self, node: NodeId) -> tuple[Member, EntryNo]:
        """The directory that an ARCHIVE node names."""
        number, entry = nodeid.archive_parts(node)
        member = self.catalog.member(number)
        if member is None:
            raise FileSystemError(errno.ENOENT)
        if member.archive.entry(entry).kind is not Kind.DIRECTORY:
            raise FileSystemError(errno.ENOTDIR)
        return member, entry

    def _holders(self, node: NodeId) -> Iterator[tuple[Archive, EntryNo]]:
        """The archives that have what an ARCHIVE node names; at least one."""
        if nodeid.kind(node) is not NodeKind.ARCHIVE:
            self.getattr(node)
            raise FileSystemError(errno.EINVAL)
        number = 0
        with _as_errno:
            for number, found in enumerate(self.catalog.holders(node), 1):  # noqa: B007 - counted
                yield found
        if not number:
            raise FileSystemError(errno.ENOENT)

    def _first_holder(self, node: NodeId) -> tuple[Archive, EntryNo]:
        return self.catalog.holder_at_hand(node) or next(self._holders(node))

    def _listing(self, node: NodeId) -> Sequence[tuple[bytes, Attributes]]:
        match nodeid.kind(node):
            case NodeKind.MERGED | NodeKind.OWNED:
                view, place = self._in_view(node)
                return [
                    (name, _attributes(node, entry)) for name, node, entry in view.listing(place)
                ]
            case NodeKind.ARCHIVE:
                member, directory = self._in_archive(node)
                return [
                    (name, _in_package(member, entry))
                    for name, entry, _ in member.archive.children(directory)
                ]
            case _:
                self._must_be_directory(node)
                return list(self._list_fixed(Fixed(node)))

    # The mount's own directories

    def _lookup_fixed(self, parent: NodeId, name: bytes) -> Attributes | Absent:
        self._must_be_directory(parent)
        text = name.decode("utf-8", "replace")
        match Fixed(parent):
            case Fixed.ROOT:
                node = _ROOT_NAMES.get(name)
                return Absent(FOREVER) if node is None else self._fixed(nodeid.fixed(node))
            case Fixed.VIEWS:
                view = self.catalog.view_number(ViewId(text))
                return Absent(0) if view is None else _view(view)
            case Fixed.PROJECTS:
                project = self.catalog.project_number(text)
                return Absent(0) if project is None else _project(project)
            case _:
                archive = self.catalog.package(name)
                return Absent(0) if archive is None else _package(archive)

    def _list_fixed(self, node: Fixed) -> Iterator[tuple[bytes, Attributes]]:
        """In an order in which what is new comes last: a page goes on where the last one ended.

        Nothing that is listed is opened, so one that is damaged hides none of its neighbours.
        """
        match node:
            case Fixed.ROOT:
                for name, child in _ROOT_NAMES.items():
                    yield name, self._fixed(nodeid.fixed(child))
            case Fixed.VIEWS:
                for view, view_id in self.catalog.views():
                    yield view_id.encode(), _view(view)
            case Fixed.PROJECTS:
                for project, key in self.catalog.projects():
                    yield key.encode(), _project(project)
            case _:
                for short, archive in self.catalog.packages():
                    yield short, _package(archive)

    def _fixed(self, node: NodeId) -> Attributes:
        try:
            fixed = Fixed(node)
        except ValueError:
            raise FileSystemError(errno.ENOENT) from None
        if fixed in _DIRECTORIES:
            return _directory(node)
        if fixed is Fixed.CURRENT:
            return _link(node, len("views/") + _VIEW_ID_SIZE, FOREVER)
        return _link(node, len("current/") + len(_TO_CURRENT[fixed]), FOREVER)

    def _project_target(self, node: NodeId) -> bytes:
        view = self.catalog.project_view(nodeid.project_part(node))
        if view is None:
            raise FileSystemError(errno.ENOENT)
        return b"../views/" + view.encode()

    def _must_be_directory(self, node: NodeId) -> None:
        if not stat.S_ISDIR(self.getattr(node).mode):
            raise FileSystemError(errno.ENOTDIR)


def _in_union(view: View, place: Place) -> Attributes:
    return _attributes(*view.found(place))


def _in_package(member: Member, entry: EntryNo) -> Attributes:
    """An archive's entry as `packages/` shows it."""
    found = member.archive.entry(entry)
    if found.kind is Kind.DIRECTORY:
        return _directory(nodeid.in_archive(member.number, entry))
    return _attributes(member.node(entry), found)


def _view(number: ViewNo) -> Attributes:
    return _directory(nodeid.merged(number, MergedNo(0)))


def _project(number: ProjectNo) -> Attributes:
    return _link(nodeid.project(number), len("../views/") + _VIEW_ID_SIZE, BRIEFLY)


def _package(number: ArchiveNo) -> Attributes:
    return _directory(nodeid.in_archive(number, ROOT))


def _attributes(node: NodeId, entry: Entry) -> Attributes:
    match entry.kind:
        case Kind.DIRECTORY:
            return _directory(node)
        case Kind.SYMLINK:
            return _link(node, entry.size, FOREVER)
        case _:
            return Attributes(
                node, stat.S_IFREG | (0o755 if entry.executable else 0o644), entry.size
            )


def _directory(node: NodeId) -> Attributes:
    return Attributes(node, stat.S_IFDIR | 0o755, 0)


def _link(node: NodeId, size: int, keep: float) -> Attributes:
    return Attributes(node, stat.S_IFLNK | 0o777, size, keep)


def _must_be_file(archive: Archive, entry: EntryNo) -> None:
    kind = archive.entry(entry).kind
    if kind is not Kind.FILE:
        raise FileSystemError(errno.EISDIR if kind is Kind.DIRECTORY else errno.EINVAL)


def _read(archive: Archive, entry: EntryNo, offset: int, size: int) -> bytes:
    with _as_errno:
        return archive.read(entry, offset, size)


class _AsErrno:
    """Damage is EIO and a line in the log that names it; a number we never gave is ENOENT.

    A class, since every request goes through here: a generator takes five times as long.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (LayerError, PkgviewError, OSError)):
            logger.error("%s", error)
            raise FileSystemError(errno.EIO) from error
        if isinstance(error, IndexError):
            raise FileSystemError(errno.ENOENT) from error


_as_errno = _AsErrno()
