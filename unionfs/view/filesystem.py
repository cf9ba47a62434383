"""The file system as a function of node ids: what every transport serves, defined here only.

A transport asks with the numbers the kernel gave it and gets attributes, names, links and bytes,
or a `FileSystemError` with the errno to answer. Nothing is remembered from one request to the
next, so it does not matter which process answered the last one. What the mount shows above views
and archives is in `unionfs.view.top`.

Per-caller decisions are made in `current` and nowhere else; the caller is no argument of
anything but its `readlink`. Links from archives to `Notes` lead where they always do, but the
file there may have to be brought up to date first, since nobody asks for it in here.

Concurrency: every method but `current` and `load` returns without waiting and must be called from
one thread; only reading may touch the disk for long, so it is split: `cached` answers from memory
or not at all, what `readers` gives may be called in any thread. `load` puts it together, and waits
for what of a partial archive has to be fetched first.
"""

from __future__ import annotations

import errno
import logging
import stat
from contextlib import suppress
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from unionfs.archive.layer import EntryNo, Kind, LayerError
from unionfs.view import attributes, nodeid
from unionfs.view.attributes import FOREVER, Absent, Attributes, FileSystemError
from unionfs.view.kept import Kept
from unionfs.view.nodeid import Fixed, MergedNo, NodeId, NodeKind
from unionfs.view.top import GROWING, TO_CURRENT, Top
from unionfs.view.tree import Found
from unionfs.view.union import MERGED, ROOT_PLACE, Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from resolver.manifest import ViewId
    from unionfs.archive.reader import Archive
    from unionfs.view.catalog import Catalog
    from unionfs.view.outside import Fetch, Notes
    from unionfs.view.tree import Member, View

    InThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]
    """Calls a function in another thread."""

logger = logging.getLogger(__name__)

_VIEWS, _PACKAGES = nodeid.fixed(Fixed.VIEWS), nodeid.fixed(Fixed.PACKAGES)

NAME_LIMIT = 255
"""Bytes of the longest name; the kernel lets 1024 through."""

BLOCKS, BLOCK_SIZE, FILES = 1, 4096, 1
"""What `statfs` tells of the file system's size: as of a read-only medium, all of it is used. How
large the archives are nobody needs to know, but programs divide by the totals."""

AFTER_DOTS: Final = (0x7FFF_FFFE, 0x7FFF_FFFF)
"""Offsets in a listing behind `.` and `..`, larger than any name's, which counts names alone: the
kernel may go on where a version that gave no dots has begun, and keeps what it gets so."""

LISTINGS_ROOM, LISTED_BYTES = 8 << 20, 300
"""Bytes of directory listings that are kept while the kernel pages through them, and of a name."""


def offsets() -> Iterator[int]:
    """The offset behind each entry of a listing, which is that of the next one."""
    return chain(AFTER_DOTS, count(1))


def place_at(offset: int) -> int:
    """The place in a listing of the entry with that offset."""
    if offset in AFTER_DOTS:
        return AFTER_DOTS.index(offset) + 1
    return offset and offset + len(AFTER_DOTS)


class Filesystem:
    """Answers for one mount. `current` decides which view a thread's process is bound to."""

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        catalog: Catalog,
        current: Callable[[int], Awaitable[ViewId]],
        *,
        uid: int,
        gid: int,
        notes: Notes | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.catalog = catalog
        self.uid = uid
        self.gid = gid
        self._packing = catalog.packing
        self._top = Top(catalog)
        self._current = current
        self._notes = notes
        self._fetch = fetch
        self._listings: Kept[NodeId, Sequence[tuple[bytes, Attributes]]] = Kept(LISTINGS_ROOM)

    # What may be asked

    def lookup(self, parent: NodeId, name: bytes) -> Attributes | Absent:
        """The node of that name in a directory."""
        if len(name) > NAME_LIMIT:
            raise FileSystemError(errno.ENAMETOOLONG)
        with _as_errno:
            match self._packing.kind(parent):
                case NodeKind.MERGED | NodeKind.OWNED:
                    view, place = self._in_view(parent)
                    child = view.union.lookup(place, name)
                    return Absent(FOREVER) if child is None else attributes.of(view.found(child))
                case NodeKind.ARCHIVE:
                    member, directory = self._in_archive(parent)
                    entry = member.archive.lookup(directory, name)
                    return Absent(FOREVER) if entry is None else self._in_package(member, entry)
                case NodeKind.FIXED:
                    return self._top.lookup(parent, name)
                case _:
                    self._must_be_directory(parent)
                    raise FileSystemError(errno.ENOENT)

    def getattr(self, node: NodeId) -> Attributes:
        """The attributes of a node."""
        with _as_errno:
            match self._packing.kind(node):
                case NodeKind.MERGED | NodeKind.OWNED:
                    return attributes.directory(node, self._in_view(node)[0].time)
                case NodeKind.ARCHIVE:
                    archive, entry = self._first_holder(node)
                    number, _ = self._packing.archive_parts(node)
                    time = self.catalog.archive_time(number)
                    return attributes.of(Found(node, time, archive.entry(entry)))
                case NodeKind.PROJECT:
                    self._top.project_target(node)
                    return self._top.project(self._packing.project_part(node))
                case NodeKind.FIXED:
                    return self._top.attributes(node)
                case _:
                    raise FileSystemError(errno.ENOENT)

    def listdir(self, node: NodeId) -> Sequence[tuple[bytes, Attributes]]:
        """What `listing` gives, in an order that does not change between two calls.

        A listing's pages come from one list while it is kept, so a directory that grows
        meanwhile (`views`) shows no name twice.
        """
        found = self._listings.get(node)
        if found is None:
            found = self.listing(node)
            self._listings.put(node, found, LISTED_BYTES * len(found))
        return found

    def listing(self, node: NodeId) -> Sequence[tuple[bytes, Attributes]]:
        """Every name in a directory as it is now, behind `.` and `..`."""
        with _as_errno:
            above, names = self._listing(node)
            return [(b".", self.getattr(node)), (b"..", self.getattr(above)), *names]

    def opendir(self, node: NodeId) -> None:
        """Begin a listing: one that may have grown is read anew."""
        self._must_be_directory(node)
        if self.grows(node):
            self._listings.drop(node)

    def grows(self, node: NodeId) -> bool:
        """Whether a directory's listing may be another one tomorrow."""
        return node in GROWING

    def open(self, node: NodeId) -> None:
        """Refuse what cannot be read: ELOOP and EISDIR as on any file system."""
        mode = self.getattr(node).mode
        if stat.S_ISDIR(mode):
            raise FileSystemError(errno.EISDIR)
        if stat.S_ISLNK(mode):
            raise FileSystemError(errno.ELOOP)

    def is_magic(self, node: NodeId) -> bool:
        """Whether something is done before it is said where the node leads: ask `followed`."""
        return node == nodeid.fixed(Fixed.CURRENT) or self._note(node) is not None

    async def followed(self, node: NodeId, tid: int) -> bytes:
        """The target of a magic link for a thread's process."""
        note = self._note(node)
        if note is None or self._notes is None:
            return await self.current(tid)
        await self._notes.refresh(note)
        return note

    def _note(self, node: NodeId) -> bytes | None:
        """Where a link leads that is one to a note."""
        if self._notes is None or self._packing.kind(node) is not NodeKind.ARCHIVE:
            return None
        target = self.readlink(node)
        return target if target.rpartition(b"/")[0] == self._notes.directory else None

    async def current(self, tid: int) -> bytes:
        """The target of `current` for a thread's process."""
        with _as_errno:
            return b"views/" + (await self._current(tid)).encode()

    def readlink(self, node: NodeId) -> bytes:
        """The target of any other link."""
        with _as_errno:
            match self._packing.kind(node):
                case NodeKind.ARCHIVE:
                    archive, entry = self._first_holder(node)
                    if archive.entry(entry).kind is Kind.SYMLINK:
                        return archive.target(entry)
                case NodeKind.PROJECT:
                    return self._top.project_target(node)
                case NodeKind.FIXED if node in TO_CURRENT:
                    return b"current/" + TO_CURRENT[node]
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

    async def load(
        self, node: NodeId, offset: int, size: int, in_thread: InThread, tid: int = 0
    ) -> bytes:
        """What `cached` did not have, for a thread (0: nobody knows which).

        EIO after the last archive that has these bytes, EINTR if the thread shall not wait.
        """
        again = False
        while await self._present(node, offset, size, tid, again=again):
            for read in self.readers(node):
                with suppress(FileSystemError):  # logged, where it was raised
                    return await in_thread(partial(read, offset, size))
            if again:
                break
            again = True
        raise FileSystemError(errno.EIO)

    def watches(self, tid: int) -> bool:
        """Whether `load` itself sees that a thread shall not wait any longer."""
        return self._fetch is not None and self._fetch.watches(tid)

    async def _present(
        self, node: NodeId, offset: int, size: int, tid: int, *, again: bool
    ) -> bool:
        """Have what a read lacks fetched, if there is somewhere an archive that lacks it.

        False if there is nothing more that could be done: `again`, and nothing was fetched anew.
        """
        at_hand = self.catalog.holder_at_hand(node)
        whole = at_hand is not None and at_hand[0].whole
        if self._fetch is None or (whole and not (again and self.catalog.lost(node))):
            return not again
        fault: LayerError | None = None
        for archive, entry in self._holders(node):
            with _as_errno:
                _must_be_file(archive, entry)
                lacking = archive.absent(entry, offset, size)
                if again and not archive.whole:
                    lacking = archive.needed(entry, offset, size)
            if not lacking:
                if not archive.whole:
                    self._fetch.was_here()
                return not again
            try:
                await self._fetch(archive, lacking, tid, again=again)
            except InterruptedError as error:
                raise FileSystemError(errno.EINTR) from error
            except LayerError as error:
                fault = error
            else:
                return True
        logger.error("%s", fault)
        return False

    # Views and archives

    def _in_view(self, node: NodeId) -> tuple[View, Place]:
        """The directory that a MERGED or OWNED node names."""
        packing = self._packing
        merged = packing.kind(node) is NodeKind.MERGED
        number, at = packing.merged_parts(node) if merged else packing.owned_parts(node)
        view = self.catalog.view_numbered(number)
        if view is None:
            raise FileSystemError(errno.ENOENT)
        place = Place(MERGED, MergedNo(at)) if merged else view.owned(at)
        if view.union.entry(place).kind is not Kind.DIRECTORY:
            raise FileSystemError(errno.ENOENT)
        return view, place

    def _in_archive(self, node: NodeId) -> tuple[Member, EntryNo]:
        """The directory that an ARCHIVE node names."""
        number, entry = self._packing.archive_parts(node)
        member = self.catalog.member(number)
        if member is None:
            raise FileSystemError(errno.ENOENT)
        if member.archive.entry(entry).kind is not Kind.DIRECTORY:
            raise FileSystemError(errno.ENOTDIR)
        return member, entry

    def _holders(self, node: NodeId) -> Iterator[tuple[Archive, EntryNo]]:
        """The archives that have what an ARCHIVE node names; at least one."""
        if self._packing.kind(node) is not NodeKind.ARCHIVE:
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

    def _listing(self, node: NodeId) -> tuple[NodeId, Iterator[tuple[bytes, Attributes]]]:
        """The directory above, and the names; the mount's root is above itself."""
        match self._packing.kind(node):
            case NodeKind.MERGED | NodeKind.OWNED:
                view, place = self._in_view(node)
                in_view = place != ROOT_PLACE
                above = view.found(view.union.parent(place)).node if in_view else _VIEWS
                return above, ((name, attributes.of(one)) for name, one in view.listing(place))
            case NodeKind.ARCHIVE:
                member, directory = self._in_archive(node)
                up = self._packing.in_archive(member.number, member.archive.parent(directory))
                children = member.archive.children(directory)
                return (
                    up if directory else _PACKAGES,
                    ((name, self._in_package(member, entry)) for name, entry, _ in children),
                )
            case _:
                self._must_be_directory(node)
                return nodeid.fixed(Fixed.ROOT), self._top.listing(Fixed(node))

    def _must_be_directory(self, node: NodeId) -> None:
        if not stat.S_ISDIR(self.getattr(node).mode):
            raise FileSystemError(errno.ENOTDIR)

    def _in_package(self, member: Member, entry: EntryNo) -> Attributes:
        """An archive's entry as `packages/` shows it."""
        found = member.archive.entry(entry)
        if found.kind is Kind.DIRECTORY:
            node = self._packing.in_archive(member.number, entry)
            return attributes.directory(node, self._packing.time(member.time))
        return attributes.of(Found(*member.known(entry), found))


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
