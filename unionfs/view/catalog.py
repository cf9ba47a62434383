"""The catalog: what this process knows of archives, views and projects, read when it is asked for.

Everything lies on disk (registry, manifests, store) where other processes add to it; nothing has
to be announced to a running daemon. Opened views and archives are kept as long as there is room,
and opened again when they are asked for; both never change. Their *numbers and times* are kept as
long as the mount lives (`unionfs.view.told`): they must go on meaning what they meant when the
kernel was told about them, even if somebody replaces the registry under a live mount. What is not
found, or damaged, is looked for again each time: it may have been mended. Only an archive that was
collected is not, as long as other archives have what is asked for. A view is there as long as its
manifest is, which goes first when it is collected, and its number leaves the registry; should it be
made again it has a new manifest and another number, and so may its archives.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import short_name
from unionfs.view.kept import Kept
from unionfs.view.manifests import manifest_path as manifest_path  # noqa: PLC0414 - others have it from here
from unionfs.view.manifests import read_manifest as read_manifest  # noqa: PLC0414 - the same
from unionfs.view.nodeid import PACKING, NodeKind
from unionfs.view.projects import Projects
from unionfs.view.told import Meaning, Sort, Telling, Told, what_is
from unionfs.view.tree import NAME_BYTES, Member, View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from resolver.manifest import Manifest
    from resolver.places import Places
    from unionfs.archive.layer import EntryNo
    from unionfs.archive.reader import Archive
    from unionfs.store.local import Store
    from unionfs.view.nodeid import ArchiveNo, NodeId, Packing, ViewNo
    from unionfs.view.registry import Registry
    from unionfs.view.sharing import Registered, Where

logger = logging.getLogger(__name__)

VIEW_ID = re.compile(r"[0-9a-f]{32}")


ROOM_FOR_VIEWS = 48 << 20
"""Bytes of opened views with their archives, as `View.size` counts: what several share counts
for each. A view of 114 distributions with 20,254 files has 2.5 MB, and takes 20 ms to open."""

ROOM_FOR_ARCHIVES = 16 << 20
"""The same of archives that are asked for by themselves: files by their node ids, `packages`."""


_Copies = dict["EntryNo", list[tuple["ArchiveNo", "EntryNo"]]]
_Which = tuple[int, int]
"""Which file a manifest is: its inode, and when that was changed last."""


class Catalog:
    """Reads registry, manifests and store. One thread only; small reads of local files.

    `packing` and `told` are the mount's. `opened` is told of each view that is looked into for the
    first time.

    `LayerError` where something is damaged or missing, `PkgviewError` where the registry or the
    store cannot be used at all.
    """

    def __init__(
        self,
        places: Places,
        store: Store,
        registry: Registry,
        packing: Packing = PACKING,
        told: Told | None = None,
    ) -> None:
        self.places = places
        self.store = store
        self.registry = registry
        self.packing = packing
        self._manifests = os.fspath(places.state / "manifests")
        self._members: Kept[ArchiveNo, Member] = Kept(ROOM_FOR_ARCHIVES)
        self._gone: Kept[ArchiveNo, _Copies] = Kept(ROOM_FOR_ARCHIVES)
        self._views: Kept[ViewNo, View] = Kept(ROOM_FOR_VIEWS)
        self._looked_into: set[ViewNo] = set()
        self._numbers: dict[ViewId, tuple[ViewNo, _Which]] = {}
        self.told = told or Told()
        self.projects = Projects(places, registry, self.told)
        self.opened: Callable[[ViewId, Manifest], None] = lambda *_: None

    @property
    def loaded_views(self) -> int:
        """How many views have been looked into since the start."""
        return len(self._looked_into)

    @property
    def kept(self) -> int:
        """Bytes of what is open, roughly."""
        return self._views.size + self._members.size

    def go_on(self) -> None:
        """Have the registry give no number that the kernel was told of already, if it can."""
        try:
            behind = self.registry.go_on_above(self.told.highest)
        except PkgviewError as error:
            logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
            return
        if behind:
            logger.warning(
                "the registry %s was replaced by an earlier one under a live mount: it goes on "
                "above the numbers that this mount knows",
                self.registry.path,
            )

    # Archives

    def member(self, number: ArchiveNo) -> Member | None:
        """A registered archive; None for a number that was never given."""
        found = self._members.get(number)
        if found is None:
            known = self._archive(number)
            return None if known is None else self._member(known)
        return found

    def _archive(self, number: ArchiveNo) -> Registered | None:
        known = self.registry.archive(number)
        if known is not None:
            self._tell_archives([known])
        return known

    def _tell_archives(self, archives: Collection[Registered]) -> None:
        """That the kernel is told of these, and of those by which their members are known."""
        others = {number for one in archives for number in one.shared.archives()}
        named = [(one.number, one.name, one.time) for one in archives]
        named += self.registry.archives(others) if others else []
        self.told.tell(
            Sort.ARCHIVES,
            [
                Telling(number, what_is(name), time, f"archive {name}")
                for number, name, time in named
            ],
        )

    def _member(self, known: Registered) -> Member:
        """One that the kernel may be told of."""
        found = self._members.get(known.number)
        if found is None:
            archive = self.store.open(known.archive)
            told = self.told.get(Sort.ARCHIVES, known.number)
            time = known.time if told is None else told.time
            found = Member(known.number, archive, time, known.shared, self.packing)
            self._members.put(known.number, found, found.size)
        return found

    def archive_time(self, number: ArchiveNo) -> int:
        """The time of all that an archive has; `IndexError` for a number that was never given."""
        told = self.told.get(Sort.ARCHIVES, number)
        if told is not None:
            return self.packing.time(told.time)
        known = self._archive(number)
        if known is None:
            raise IndexError(number)
        return self.packing.time(known.time)

    def holder_at_hand(self, node: NodeId) -> tuple[Archive, EntryNo] | None:
        """The archive that an ARCHIVE node is named by, or one in its stead, if it is open."""
        if self.packing.kind(node) is not NodeKind.ARCHIVE:
            return None
        number, entry = self.packing.archive_parts(node)
        member = self._members.get(number)
        if member is not None:
            return member.archive, entry
        for other, there in (self._gone.get(number) or {}).get(entry, ()):
            member = self._members.get(other)
            if member is not None:
                return member.archive, there
        return None

    def holders(self, node: NodeId) -> Iterator[tuple[Archive, EntryNo]]:
        """Every archive that has an ARCHIVE node's file or link, the one it is named by first.

        The others brought the same bytes later; they are looked for only if somebody wants more
        than the first, or that one is gone. One that is damaged is passed over and logged; where no
        other stands in for it, `LayerError` says what is wrong.
        """
        faults: list[tuple[ArchiveNo, LayerError]] = []
        for number, entry in self._candidates(*self.packing.archive_parts(node)):
            try:
                member = self.member(number)
            except LayerError as error:
                faults.append((number, error))
                continue
            if member is not None:
                for other, fault in faults:
                    if self._is_stored(other):
                        logger.error("%s", fault)
                faults.clear()
                yield member.archive, entry
        if faults:
            raise faults[0][1]

    def _candidates(self, number: ArchiveNo, entry: EntryNo) -> Iterator[tuple[ArchiveNo, EntryNo]]:
        """Where an entry may lie; one after the other is asked for until one will do."""
        if (gone := self._gone.get(number)) is not None:
            yield from gone.get(entry, ())
            self._gone.drop(number)  # it may be back, or in still another
        yield number, entry
        copies = self.registry.copies(number)
        if not self._is_stored(number):
            self._gone.put(number, copies, NAME_BYTES * len(copies))
        yield from copies.get(entry, ())

    def lost(self, node: NodeId) -> bool:
        """Let go of the open archive of a node if its file is gone; whether it was.

        It may be in another place by now, or have come back as a partial one.
        """
        number, _ = self.packing.archive_parts(node)
        member = self._members.get(number)
        if member is None or member.archive.is_there():
            return False
        self._members.drop(number)
        return True

    def _is_stored(self, number: ArchiveNo) -> bool:
        known = self.registry.archive(number)
        return known is not None and self.store.has(known.archive)

    def packages(self) -> list[tuple[bytes, ArchiveNo]]:
        """`<name>-<version>-<hash>` of every registered archive that is in the store."""
        there = set(self.store.names())
        found = []
        for number, name, time in self.registry.archives():
            short = short_name(name) if name in there else None
            if short is not None:
                found.append((short, number, name, time))
        given = {int(number): Meaning(what_is(name), time) for _, number, name, time in found}
        self.told.note(Sort.ARCHIVES, given)  # all at once: there may be many
        return [(short, number) for short, number, name, _ in found if self._means(number, name)]

    def _means(self, number: ArchiveNo, name: str) -> bool:
        told = self.told.get(Sort.ARCHIVES, number)
        return told is None or told.what == what_is(name)

    def package(self, short: bytes) -> ArchiveNo | None:
        """The archive of that short name; None where there is none."""
        digest = short.rpartition(b"-")[2].decode("ascii", "replace")
        for number, name, _ in self.registry.archives():
            if digest in name and short_name(name) == short and self.store.has(name):
                return None if self._archive(number) is None else number
        return None

    # Views

    def view_number(self, view: ViewId) -> ViewNo | None:
        """The number of the view of that id; None where there is none (yet).

        The view itself is not opened: that waits until somebody looks into it.
        """
        number, known_by = self._numbers.get(view, (None, None))
        if number is None and not VIEW_ID.fullmatch(view):
            return None
        which = self._which(view)
        if which is not None and which == known_by:
            return number
        # New, or collected, and perhaps made again: then it has another number.
        self._numbers.pop(view, None)
        number = None if which is None else self.registry.view_number(view)
        known = None if number is None else self.registry.view(number)
        if which is None or number is None or known is None:
            return None
        self._remember(number, *known)
        self._numbers[view] = number, which
        return number

    def _which(self, view: ViewId) -> _Which | None:
        """Which file a view's manifest is; None where there is none."""
        try:
            status = os.stat(f"{self._manifests}/{view}.json")  # noqa: PTH116 - with each look
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns

    def view_time(self, number: ViewNo) -> int:
        """The time of a view's directories; `IndexError` for a number that was never given."""
        known = self._view_told(number)
        if known is None:
            raise IndexError(number)
        return self.packing.time(known[1])

    def _view_told(self, number: ViewNo) -> tuple[ViewId, int] | None:
        """Id and time of a view that the kernel knows by that number from now on, or did before."""
        told = self.told.get(Sort.VIEWS, number)
        if told is not None:
            return ViewId(told.what.hex()), told.time
        known = self.registry.view(number)
        if known is not None:
            self._remember(number, *known)
        return known

    def view_numbered(self, number: ViewNo) -> View | None:
        """The view of that number, opened; None for a number that was never given."""
        found = self._views.get(number)
        if found is None:
            known = self._view_told(number)
            if known is None:
                return None
            view, time = known
            found = self._load(number, view, time)
            if found is None:
                return None
            self._views.put(number, found, found.size)
            if number not in self._looked_into:
                self._looked_into.add(number)
                self.opened(view, found.manifest)
        return found

    def view(self, view: ViewId) -> View | None:
        """The view of that id, opened; None where there is none (yet)."""
        number = self.view_number(view)
        return None if number is None else self.view_numbered(number)

    def views(self) -> list[tuple[ViewNo, ViewId]]:
        """All views that there are, in the order of their numbers."""
        # Looked at before the numbers are: they are of these manifests, or of later ones.
        names = (ViewId(name.removesuffix(".json")) for name in _listed(self._manifests))
        there = {view: self._which(view) for view in names}
        found = []
        for number, view, time in self.registry.views():
            which = there.get(view)
            if which is None:
                continue
            try:
                self._remember(number, view, time)
            except LayerError as error:
                logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
            else:
                self._numbers[view] = number, which
                found.append((number, view))
        return found

    def _remember(self, number: ViewNo, view: ViewId, time: int) -> None:
        if number > self.packing.most_views:
            raise LayerError(
                f"view {view} has number {number}, and this mount, which an earlier version began, "
                f"can name {self.packing.most_views}: unmount (`pkgview umount`) and mount again"
            )
        what = bytes.fromhex(view)
        self.told.tell(Sort.VIEWS, [Telling(number, what, time, f"view {view}")])

    def _load(self, number: ViewNo, view: ViewId, time: int) -> View | None:
        try:
            manifest = read_manifest(self.places, view)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LayerError(f"view {view}: cannot read its manifest: {error}") from error
        layers = [layer.archive for layer in manifest.layers]
        where = list(zip(layers, manifest.places, strict=True))
        registered = self._registered(where)
        return View(
            number,
            manifest,
            [self._member_at(view, one, registered) for one in where],
            lambda name: self._member_at(view, (name, ""), self._registered([(name, "")])),
            time=self.packing.time(time),
            packing=self.packing,
        )

    def _registered(self, where: Collection[Where]) -> Mapping[Where, Registered]:
        found = self.registry.registered_at(where)
        self._tell_archives(found.values())
        return found

    def _member_at(
        self, view: ViewId, where: Where, registered: Mapping[Where, Registered]
    ) -> Member:
        """One of a view's archives."""
        if where not in registered:
            raise LayerError(f"view {view}: its archive {where[0]} is not registered")
        return self._member(registered[where])


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
