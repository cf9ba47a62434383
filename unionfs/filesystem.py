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
thread; only `read` may touch the disk for long, so it is split: `cached` answers from memory or
not at all, `read` may be called in any thread.
"""

from __future__ import annotations

import errno
import logging
import stat
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs import nodeid
from unionfs.layer import ROOT, Entry, EntryNo, Kind, LayerError
from unionfs.nodeid import ArchiveNo, Fixed, LayerNo, NodeId, NodeKind
from unionfs.union import MERGED, Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from unionfs.archive import Archive
    from unionfs.catalog import Catalog
    from unionfs.view import View

logger = logging.getLogger(__name__)

FOREVER = 1e9
"""Seconds (thirty years) that the kernel keeps what never changes."""

BRIEFLY = 1.0
"""Seconds that the kernel keeps names which other commands add or move."""

TIMESTAMP = 315_532_800
"""Modification time of everything, seconds: 1980-01-01, as in every archive."""

LISTINGS_KEPT = 32
"""Directory listings kept while the kernel pages through them."""

_TO_CURRENT = {
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
    **{name: node for node, name in _TO_CURRENT.items()},
}

_DIRECTORIES = (Fixed.ROOT, Fixed.VIEWS, Fixed.PROJECTS, Fixed.PACKAGES)


class FileSystemError(Exception):
    """The errno with which a request is answered."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number


@dataclass(frozen=True, slots=True)
class Attributes:
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
        with _as_errno():
            match nodeid.kind(parent):
                case NodeKind.MERGED | NodeKind.OWNED:
                    view, place = self._in_view(parent)
                    child = view.union.lookup(place, name)
                    if child is not None:
                        return _in_union(view, child)
                    self._must_be_directory(parent)
                    return Absent(FOREVER)
                case NodeKind.ARCHIVE:
                    number, archive, directory = self._in_archive(parent)
                    entry = archive.lookup(directory, name)
                    if entry is not None:
                        return self._member(number, entry)
                    self._must_be_directory(parent)
                    return Absent(FOREVER)
                case NodeKind.FIXED:
                    return self._lookup_fixed(parent, name)
                case _:
                    self._must_be_directory(parent)
                    raise FileSystemError(errno.ENOENT)

    def getattr(self, node: NodeId) -> Attributes:
        """The attributes of a node."""
        with _as_errno():
            match nodeid.kind(node):
                case NodeKind.MERGED | NodeKind.OWNED:
                    view, place = self._in_view(node)
                    return _attributes(node, view.union.entry(place))
                case NodeKind.ARCHIVE:
                    _, archive, entry = self._in_archive(node)
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
            with _as_errno():
                found = self._listing(node)
            self._listings[node] = found
            while len(self._listings) > LISTINGS_KEPT:
                self._listings.popitem(last=False)
        return found

    def opendir(self, node: NodeId) -> None:
        """Begin a listing: one that may have grown is read anew."""
        self._must_be_directory(node)
        if nodeid.kind(node) is NodeKind.FIXED:
            self._listings.pop(node, None)

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
        return b"views/" + (await self._current(tid)).encode()

    def readlink(self, node: NodeId) -> bytes:
        """The target of any other link."""
        with _as_errno():
            match nodeid.kind(node):
                case NodeKind.ARCHIVE:
                    _, archive, entry = self._in_archive(node)
                    if archive.entry(entry).kind is Kind.SYMLINK:
                        return archive.target(entry)
                case NodeKind.PROJECT:
                    return self._project_target(node)
                case NodeKind.FIXED if Fixed(node) in _TO_CURRENT:
                    return b"current/" + _TO_CURRENT[Fixed(node)]
                case _:
                    pass
            raise FileSystemError(errno.EINVAL)

    def cached(self, node: NodeId, offset: int, size: int) -> bytes | None:
        """Up to `size` bytes of a file if they are in memory, else None: then `read` them."""
        archive, entry = self._file(node)
        with _as_errno():
            return archive.cached(entry, offset, size)

    def reader(self, node: NodeId) -> Callable[[int, int], bytes]:
        """A function of offset and size which reads a file and may be called in any thread."""
        archive, entry = self._file(node)

        def read(offset: int, size: int) -> bytes:
            with _as_errno():
                return archive.read(entry, offset, size)

        return read

    # Views and archives

    def _in_view(self, node: NodeId) -> tuple[View, Place]:
        if nodeid.kind(node) is NodeKind.MERGED:
            number, merged = nodeid.merged_parts(node)
            place = Place(MERGED, merged)
        else:
            number, layer, entry = nodeid.owned_parts(node)
            place = Place(LayerNo(layer), entry)
        view = self.catalog.view_numbered(number)
        if view is None:
            raise FileSystemError(errno.ENOENT)
        return view, place

    def _in_archive(self, node: NodeId) -> tuple[ArchiveNo, Archive, EntryNo]:
        number, entry = nodeid.archive_parts(node)
        member = self.catalog.member(number)
        if member is None:
            raise FileSystemError(errno.ENOENT)
        return number, member.archive, entry

    def _file(self, node: NodeId) -> tuple[Archive, EntryNo]:
        if nodeid.kind(node) is not NodeKind.ARCHIVE:
            raise FileSystemError(errno.EISDIR)
        with _as_errno():
            _, archive, entry = self._in_archive(node)
            if archive.entry(entry).kind is not Kind.FILE:
                raise FileSystemError(errno.EISDIR)
        return archive, entry

    def _member(self, number: ArchiveNo, entry: EntryNo) -> Attributes:
        """An archive's entry as `packages/` shows it."""
        member = self.catalog.member(number)
        if member is None:
            raise FileSystemError(errno.ENOENT)
        found = member.archive.entry(entry)
        if found.kind is Kind.DIRECTORY:
            return _attributes(nodeid.in_archive(number, entry), found)
        return _attributes(member.node(entry), found)

    def _listing(self, node: NodeId) -> Sequence[tuple[bytes, Attributes]]:
        self._must_be_directory(node)
        match nodeid.kind(node):
            case NodeKind.MERGED | NodeKind.OWNED:
                view, place = self._in_view(node)
                return [
                    (name, _in_union(view, child)) for name, child in view.union.children(place)
                ]
            case NodeKind.ARCHIVE:
                number, archive, directory = self._in_archive(node)
                return [
                    (name, self._member(number, entry))
                    for name, entry in archive.children(directory)
                ]
            case _:
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
                view = self.catalog.view(ViewId(text))
                return Absent(0) if view is None else _directory(view.root)
            case Fixed.PROJECTS:
                number = self.catalog.project_number(text)
                return Absent(0) if number is None else self.getattr(nodeid.project(number))
            case _:
                archive = self.catalog.packages().get(name)
                return Absent(0) if archive is None else self._member(archive, ROOT)

    def _list_fixed(self, node: Fixed) -> Iterator[tuple[bytes, Attributes]]:
        match node:
            case Fixed.ROOT:
                for name, child in _ROOT_NAMES.items():
                    yield name, self._fixed(nodeid.fixed(child))
            case Fixed.VIEWS:
                for view in self.catalog.view_ids():
                    yield from self._if_whole(node, view.encode())
            case Fixed.PROJECTS:
                for key in self.catalog.project_keys():
                    yield from self._if_whole(node, key.encode())
            case _:
                for name in sorted(self.catalog.packages()):
                    yield from self._if_whole(node, name)

    def _if_whole(self, parent: Fixed, name: bytes) -> Iterator[tuple[bytes, Attributes]]:
        """Nothing for what is damaged: one bad archive must not hide its neighbours."""
        try:
            found = self._lookup_fixed(nodeid.fixed(parent), name)
        except (FileSystemError, LayerError, PkgviewError) as error:
            logger.warning("%s: left out of its listing: %s", name.decode(), error)
            return
        if isinstance(found, Attributes):
            yield name, found

    def _fixed(self, node: NodeId) -> Attributes:
        try:
            fixed = Fixed(node)
        except ValueError:
            raise FileSystemError(errno.ENOENT) from None
        if fixed in _DIRECTORIES:
            return _directory(node)
        if fixed is Fixed.CURRENT:
            return _link(node, len("views/") + 32, FOREVER)
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
    return _attributes(view.node(place), view.union.entry(place))


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


@contextmanager
def _as_errno() -> Iterator[None]:
    """Damage is EIO and a line in the log that names it; a number we never gave is ENOENT."""
    try:
        yield
    except (LayerError, PkgviewError) as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
        raise FileSystemError(errno.EIO) from error
    except IndexError as error:
        raise FileSystemError(errno.ENOENT) from error
