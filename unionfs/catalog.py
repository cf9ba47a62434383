"""The catalog: what this process knows of archives, views and projects, read when it is asked for.

Everything lies on disk (registry, manifests, store) where other processes add to it; nothing has
to be announced to a running daemon. What is found is kept: a view and an archive never change,
and their numbers must go on meaning what they meant when the kernel was told about them, even if
somebody replaces the registry under a live mount.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resolver import resolved
from resolver.manifest import Manifest, ViewId
from unionfs.layer import LayerError
from unionfs.nodeid import ArchiveNo, ProjectNo, ViewNo
from unionfs.view import Member, View

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places
    from unionfs.registry import Registry
    from unionfs.store import Store

VIEW_ID = re.compile(r"[0-9a-f]{32}")
_PACKAGE = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-.*)?\.(?P<digest>[0-9a-f]{64})\.tar\.zst"
)


def manifest_path(places: Places, view: ViewId) -> Path:
    """Where a view's manifest lies."""
    return places.state / "manifests" / f"{view}.json"


class Catalog:
    """Reads registry, manifests and store. One thread only; small reads of local files."""

    def __init__(self, places: Places, store: Store, registry: Registry) -> None:
        self.places = places
        self.store = store
        self.registry = registry
        self._members: dict[ArchiveNo, Member] = {}
        self._views: dict[ViewNo, View] = {}
        self._numbers: dict[ViewId, ViewNo] = {}
        self._packages: dict[bytes, ArchiveNo] = {}
        self._last_package = ArchiveNo(0)

    @property
    def loaded_views(self) -> int:
        """How many views have been looked at since the start."""
        return len(self._views)

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

    def view(self, view: ViewId) -> View | None:
        """The view of that id; None where there is none (yet)."""
        number = self._numbers.get(view)
        if number is None:
            if not VIEW_ID.fullmatch(view):
                return None
            number = self.registry.view_number(view)
        return None if number is None else self._view(number, view)

    def view_numbered(self, number: ViewNo) -> View | None:
        """The view of that number."""
        found = self._views.get(number)
        if found is not None:
            return found
        view = self.registry.view_id(number)
        return None if view is None else self._view(number, view)

    def _view(self, number: ViewNo, view: ViewId) -> View:
        found = self._views.get(number)
        if found is None:
            found = self._views[number] = self._load(number, view)
            self._numbers[view] = number
        elif found.manifest.id != view:
            raise LayerError(
                f"view {view} has number {number}, which this mount knows as "
                f"{found.manifest.id}: the registry was replaced under a live mount"
            )
        return found

    def _load(self, number: ViewNo, view: ViewId) -> View:
        try:
            data = manifest_path(self.places, view).read_bytes()
        except OSError as error:
            raise LayerError(f"view {view}: cannot read its manifest: {error}") from error
        manifest = Manifest.from_bytes(data, expected=view)
        members = []
        for layer in manifest.layers:
            archive = self.registry.archive_number(layer.archive)
            member = None if archive is None else self.member(archive)
            if member is None:
                raise LayerError(f"view {view}: its archive {layer.archive} is not registered")
            if member.archive.name != layer.archive:
                raise LayerError(
                    f"archive {layer.archive} has number {archive}, which this mount knows as "
                    f"{member.archive.name}: the registry was replaced under a live mount"
                )
            members.append(member)
        return View(number, manifest, members)

    # What the mount's own directories list

    def view_ids(self) -> list[ViewId]:
        """All views that could be opened."""
        return [view for view in self.registry.views() if manifest_path(self.places, view).exists()]

    def project_keys(self) -> list[str]:
        """The names of all projects that have a view."""
        directory = self.places.state / "projects"
        try:
            return sorted(path.stem for path in directory.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return []

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
        if "/" in key or key.startswith("."):
            return None
        project = resolved.load_key(self.places.state / "projects", key)
        newest = None if project is None else project.view_for(None)
        return None if newest is None else newest.view

    def packages(self) -> dict[bytes, ArchiveNo]:
        """`<name>-<version>-<hash>` of every registered archive that is in the store."""
        for number, name in self.registry.archives(self._last_package):
            match = _PACKAGE.fullmatch(name)
            if match:
                short = f"{match['name']}-{match['version']}-{match['digest'][:12]}"
                self._packages[short.encode()] = number
            self._last_package = number
        return self._packages
