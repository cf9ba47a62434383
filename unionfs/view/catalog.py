"""The catalog: what this process knows of archives, views and projects, read when it is asked for.

Everything lies on disk (registry, manifests, store) where other processes add to it; nothing has
to be announced to a running daemon. What is found is kept: a view and an archive never change,
and their numbers must go on meaning what they meant when the kernel was told about them, even if
somebody replaces the registry under a live mount. What is not found, or damaged, is looked for
again each time: it may have been mended.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from typing import TYPE_CHECKING

from resolver.manifest import Manifest, ViewId
from resolver.project import resolved
from unionfs.archive.layer import LayerError
from unionfs.view import nodeid
from unionfs.view.nodeid import NodeKind
from unionfs.view.tree import Member, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from resolver.places import Places
    from unionfs.archive.layer import EntryNo
    from unionfs.archive.reader import Archive
    from unionfs.store.local import Store
    from unionfs.view.nodeid import ArchiveNo, NodeId, ProjectNo, ViewNo
    from unionfs.view.registry import Numbered, Registry

logger = logging.getLogger(__name__)

VIEW_ID = re.compile(r"[0-9a-f]{32}")
_PROJECT_KEY = re.compile(r"[A-Za-z0-9._-]+-[0-9a-f]{10}")
_ARCHIVE = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-.*)?\.(?P<digest>[0-9a-f]{64})\.tar\.zst"
)


def manifest_path(places: Places, view: ViewId) -> Path:
    """Where a view's manifest lies."""
    return places.state / "manifests" / f"{view}.json"


def read_manifest(places: Places, view: ViewId) -> Manifest:
    """A view's manifest, checked against its id; `OSError` where it cannot be read."""
    return Manifest.from_bytes(manifest_path(places, view).read_bytes(), expected=view)


def used_until_now(places: Places, view: ViewId) -> bool:
    """Let the manifest's time of modification say when its view was somebody's last.

    False where there is no such manifest (any more).
    """
    try:
        os.utime(manifest_path(places, view))
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


class Catalog:
    """Reads registry, manifests and store. One thread only; small reads of local files.

    `opened` is told of each view that is looked into for the first time.

    `LayerError` where something is damaged or missing, `PkgviewError` where the registry or the
    store cannot be used at all.
    """

    def __init__(self, places: Places, store: Store, registry: Registry) -> None:
        self.places = places
        self.store = store
        self.registry = registry
        self._members: dict[ArchiveNo, Member] = {}
        self._views: dict[ViewNo, View] = {}
        # What the kernel may have been told: never forgotten, never changed.
        self._numbers: dict[ViewId, ViewNo] = {}
        self._ids: dict[ViewNo, ViewId] = {}
        self.opened: Callable[[ViewId, Manifest], None] = lambda *_: None

    @property
    def loaded_views(self) -> int:
        """How many views have been looked into since the start."""
        return len(self._views)

    # Archives

    def member(self, number: ArchiveNo) -> Member | None:
        """A registered archive; None for a number that was never given."""
        found = self._members.get(number)
        if found is None:
            name = self.registry.archive_name(number)
            if name is None:
                return None
            found = Member(number, self.store.open(name), self.registry.aliases(number))
            self._members[number] = found
        return found

    def holder_at_hand(self, node: NodeId) -> tuple[Archive, EntryNo] | None:
        """The archive that an ARCHIVE node is named by, if it is open already."""
        if nodeid.kind(node) is not NodeKind.ARCHIVE:
            return None
        number, entry = nodeid.archive_parts(node)
        member = self._members.get(number)
        return None if member is None else (member.archive, entry)

    def holders(self, node: NodeId) -> Iterator[tuple[Archive, EntryNo]]:
        """Every archive that has an ARCHIVE node's file or link, the one it is named by first.

        The others brought the same bytes later; they are looked for only if somebody wants more
        than the first. One that cannot be opened is passed over and logged; where no other stands
        in for it, `LayerError` says what is wrong.
        """
        faults: list[LayerError] = []
        for number, entry in self._candidates(node):
            try:
                member = self.member(number)
            except LayerError as error:
                faults.append(error)
                continue
            if member is not None:
                while faults:
                    logger.error("%s", faults.pop())
                yield member.archive, entry
        if faults:
            raise faults[0]

    def _candidates(self, node: NodeId) -> Iterator[tuple[ArchiveNo, EntryNo]]:
        yield nodeid.archive_parts(node)
        yield from self.registry.copies(node)

    def packages(self) -> list[tuple[bytes, ArchiveNo]]:
        """`<name>-<version>-<hash>` of every registered archive that is in the store."""
        there = set(self.store.names())
        return [
            (short, number)
            for number, name in self.registry.archives()
            if name in there and (short := _short(name))
        ]

    def package(self, short: bytes) -> ArchiveNo | None:
        """The archive of that short name; None where there is none."""
        digest = short.rpartition(b"-")[2].decode("ascii", "replace")
        for number, name in self.registry.archives():
            if digest in name and _short(name) == short and self.store.has(name):
                return number
        return None

    # Views

    def view_number(self, view: ViewId) -> ViewNo | None:
        """The number of the view of that id; None where there is none (yet).

        The view itself is not opened: that waits until somebody looks into it.
        """
        number = self._numbers.get(view)
        if number is None:
            if not VIEW_ID.fullmatch(view):
                return None
            number = self.registry.view_number(view)
            if number is not None:
                self._remember(number, view)
        return number

    def view_numbered(self, number: ViewNo) -> View | None:
        """The view of that number, opened; None for a number that was never given."""
        found = self._views.get(number)
        if found is None:
            view = self._ids.get(number) or self.registry.view_id(number)
            if view is None:
                return None
            found = self._load(number, view)
            self._remember(number, view)
            self._views[number] = found
            self.opened(view, found.manifest)
        return found

    def view(self, view: ViewId) -> View | None:
        """The view of that id, opened; None where there is none (yet)."""
        number = self.view_number(view)
        return None if number is None else self.view_numbered(number)

    def views(self) -> list[tuple[ViewNo, ViewId]]:
        """All views, in the order of their numbers."""
        found = []
        for number, view in self.registry.views():
            try:
                self._remember(number, view)
            except LayerError as error:
                logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
            else:
                found.append((number, view))
        return found

    def _remember(self, number: ViewNo, view: ViewId) -> None:
        known = self._ids.setdefault(number, view)
        if known != view or self._numbers.setdefault(view, number) != number:
            raise LayerError(
                f"view {view} has number {number}, which does not fit what this mount knows: "
                "the registry was replaced under a live mount; unmount (`pkgview umount`) and "
                "mount again"
            )

    def _load(self, number: ViewNo, view: ViewId) -> View:
        try:
            manifest = read_manifest(self.places, view)
        except OSError as error:
            raise LayerError(f"view {view}: cannot read its manifest: {error}") from error
        names = [layer.archive for layer in manifest.layers]
        numbered = self.registry.numbered(names)
        return View(
            number,
            manifest,
            [self._member_named(view, name, numbered) for name in names],
            lambda name: self._member_named(view, name, self.registry.numbered([name])),
        )

    def _member_named(self, view: ViewId, name: str, numbered: Mapping[str, Numbered]) -> Member:
        """One of a view's archives."""
        if name not in numbered:
            raise LayerError(f"view {view}: its archive {name} is not registered")
        archive, aliases = numbered[name]
        member = self._members.get(archive)
        if member is None:
            member = self._members[archive] = Member(archive, self.store.open(name), aliases)
        if member.archive.name != name:
            raise LayerError(
                f"archive {name} has number {archive}, which this mount knows as "
                f"{member.archive.name}: the registry was replaced under a live mount; "
                "unmount (`pkgview umount`) and mount again"
            )
        return member

    # Projects

    def projects(self) -> list[tuple[ProjectNo, str]]:
        """The links of all projects that have a view, in the order of their numbers."""
        names = [path.stem for path in (self.places.state / "projects").glob("*.json")]
        found = ((self.project_number(key), key) for key in names)
        return sorted((number, key) for number, key in found if number is not None)

    def project_number(self, key: str) -> ProjectNo | None:
        """The number of a project's link; None if there is no such project."""
        if self._newest_view(key) is None:
            return None
        return self.registry.register_project(key)

    def project_view(self, number: ProjectNo) -> ViewId | None:
        """The newest view of a project."""
        key = self.registry.project_key(number)
        return None if key is None else self._newest_view(key)

    def _newest_view(self, key: str) -> ViewId | None:
        if not _PROJECT_KEY.fullmatch(key):
            return None
        project = resolved.load_key(self.places.state / "projects", key)
        newest = None if project is None else project.newest
        return None if newest is None else newest.view


def _short(archive: str) -> bytes | None:
    """`<name>-<version>-<hash>`; None for what is no package (a notice)."""
    match = _ARCHIVE.fullmatch(archive)
    if match is None:
        return None
    return f"{match['name']}-{match['version']}-{match['digest'][:12]}".encode()
