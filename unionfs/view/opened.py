"""A view opened by a command: its manifest, its archives, its union. No daemon is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.project import resolved
from unionfs.archive.layer import LayerError
from unionfs.store.ordered import Stores
from unionfs.view.catalog import VIEW_ID, read_manifest
from unionfs.view.tree import union_of

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.manifest import Manifest, ViewId
    from resolver.places import Places
    from resolver.project.project import Project
    from unionfs.archive.reader import Archive
    from unionfs.view.union import Union


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedView:
    """`archives` are the manifest's layers, in its order."""

    id: ViewId
    manifest: Manifest
    archives: tuple[Archive, ...]
    union: Union

    def path(self, places: Places) -> Path:
        """Where it is seen while mounted."""
        return places.mount / "views" / self.id


def project_view(
    places: Places, project: Project, variant: str | None = None, *, kind: str = resolved.PYTHON
) -> ViewId:
    """The id of a project's newest view of a kind, or of the one of that variant ("3.11")."""
    known = resolved.load(places.state / "projects", str(project.root))
    found = known.view_for(variant, kind)
    if found is None:
        raise PkgviewError(
            f"{project.root} has no view yet", remedy=f"Run `pkgview up {project.root}`."
        )
    if variant not in {None, found.variant}:
        listed = ", ".join(view.variant for view in known.views if view.kind == kind)
        raise PkgviewError(
            f"{project.root} has no view for Python {variant}, only for {listed}",
            remedy=f"Run `pkgview up --python {variant} {project.root}`.",
        )
    return found.view


def load_manifest(places: Places, view: ViewId) -> Manifest:
    """A view's manifest, checked against its id."""
    try:
        return read_manifest(places, view)
    except FileNotFoundError as error:
        raise PkgviewError(
            f"there is no view {view}",
            remedy="`pkgview view` shows a project's; `pkgview up` there makes it again.",
        ) from error
    except OSError as error:
        raise PkgviewError(
            f"the view {view} cannot be read: {error.strerror}",
            remedy="Run `pkgview up` in the project.",
        ) from error


def open_view(places: Places, view: ViewId) -> OpenedView:
    """Open everything a view is made of."""
    if not VIEW_ID.fullmatch(view):
        raise PkgviewError(
            f"{view!r} is no view's id: that is 32 hexadecimal digits",
            remedy="`pkgview view` shows the view of a project.",
        )
    return open_manifest(places, load_manifest(places, view))


def open_manifest(places: Places, manifest: Manifest) -> OpenedView:
    """The same of a manifest, whether a view of it was published or not."""
    view, store = manifest.id, Stores(places)
    try:
        archives = tuple(store.open(layer.archive) for layer in manifest.layers)
        union = union_of(manifest, archives, store.open)
    except LayerError as error:
        raise PkgviewError(
            f"view {view} is not whole: {error}",
            remedy="Run `pkgview up` in the project: it fetches what is missing.",
        ) from error
    return OpenedView(id=view, manifest=manifest, archives=archives, union=union)
