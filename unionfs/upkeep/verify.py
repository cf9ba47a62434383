"""Verifying a store and mending it: every frame of every archive against its name.

What is damaged is set aside, and had again by the shortest way: another store's copy, else what
`pkgview up` would do in a project that needs it. The name stays the same, so views under a live
mount are whole again without anybody being told.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from resolver.errors import PkgviewError
from resolver.project import trust
from resolver.project.resolved import FORMAT
from unionfs.archive.layer import LayerError
from unionfs.formats.kind import kind_named
from unionfs.kinds import link_of
from unionfs.publishing import link
from unionfs.publishing.allowed import check_choices
from unionfs.publishing.precompile import precompile
from unionfs.publishing.up import make_view
from unionfs.store.partial import Partials
from unionfs.upkeep.references import read_references

if TYPE_CHECKING:
    from collections.abc import Collection

    from resolver.manifest import Manifest
    from resolver.places import Places
    from resolver.project.resolved import Resolved, ResolvedView
    from unionfs.publishing.assemble import Progress as MakingProgress
    from unionfs.store.local import Store
    from unionfs.store.ordered import Stores


class Progress(Protocol):
    """Told which archive is being read, the first of them is number 1."""

    def verifying(self, name: str, number: int, count: int) -> None:
        """An archive is next."""
        ...


def damaged(store: Store, progress: Progress) -> dict[str, str]:
    """What is wrong with each archive of one store that is not whole."""
    found = {}
    names = store.names()
    for number, name in enumerate(names, 1):
        progress.verifying(name, number, len(names))
        try:
            store.verify(name)
        except LayerError as error:
            if os.path.lexists(store.path(name)):  # else somebody removed it meanwhile
                found[name] = str(error).removeprefix(f"{name}: ")
    partials = Partials(store.root)
    for name in partials.names():
        progress.verifying(name, 1, 1)
        try:
            wrong = partials.wrong(name)
        except LayerError as error:
            if partials.has(name):  # else it became an ordinary one
                found[name] = str(error)
        else:
            if wrong:
                found[name] = f"of what was fetched, {len(wrong)} frames are wrong"
    return found


class Unproved(NamedTuple):
    """What earlier versions left that may be some project's word, and nothing tells whether it is.

    `records` of what wheels became, and the roots of `projects` with a view that was made by these.
    """

    records: int
    projects: tuple[str, ...]


def unproved(places: Places, store: Store) -> Unproved:
    """What there is of it; none of it is believed, but programs may still have such a view."""
    projects = read_references(places).projects.values()
    former = (one.root for one in projects if any(view.format != FORMAT for view in one.views))
    return Unproved(store.former_sources(), tuple(sorted(former)))


class Outcome(NamedTuple):
    """How a repair went: whether there is nothing left to do, and what was done, in words."""

    settled: bool
    said: str


def repair(
    places: Places, stores: Stores, names: Collection[str], progress: MakingProgress
) -> dict[str, Outcome]:
    """Set archives of the user's own store aside and have them again.

    `PkgviewError` where the store cannot be changed.
    """
    partial = [
        name for name in names if not stores.path(name).exists() and _refetched(stores, name)
    ]
    outcome = {
        name: Outcome(settled=True, said="fetched again when it is read") for name in partial
    }
    names = [name for name in names if name not in outcome]
    for name in names:
        stores.set_aside(name)
    for name in names:
        if said := _copied(stores, name):
            outcome[name] = Outcome(settled=True, said=said)
    left = {name for name in names if name not in outcome}
    reasons = _made_where_needed(places, stores, left, progress)
    for name in left:
        if stores.path(name).exists():
            outcome[name] = Outcome(settled=True, said="made again")
        elif name in reasons:
            outcome[name] = Outcome(settled=False, said=reasons[name])
        else:
            outcome[name] = Outcome(settled=True, said="no project needs it")
    return outcome


def prove(places: Places, store: Store, progress: MakingProgress) -> dict[str, Outcome]:
    """Drop these records, and make the views anew from package files; how that went, by project."""
    store.drop_former_sources()
    outcome: dict[str, Outcome] = {}
    needs = read_references(places)
    for root in unproved(places, store).projects:
        project = needs.projects[root]
        for view in project.views:
            manifest = needs.manifests.get(view.view)
            if manifest is None or view.format == FORMAT:
                continue
            try:
                made_again(places, project, view, manifest, progress)
            except PkgviewError as error:
                outcome[root] = Outcome(settled=False, said=error.what)
        outcome.setdefault(root, Outcome(settled=True, said="made again"))
    return outcome


def _made_where_needed(
    places: Places, stores: Stores, names: set[str], progress: MakingProgress
) -> dict[str, str]:
    """Make the views anew that need one of these; why that failed, by archive."""
    reasons: dict[str, str] = {}
    needs = read_references(places)
    for project in needs.projects.values():
        for view in project.views:
            manifest = needs.manifests.get(view.view)
            wanted = names.intersection(manifest.archives if manifest else ())
            missing = {name for name in wanted if not stores.path(name).exists()}
            if manifest is None or not missing:
                continue
            reasons |= dict.fromkeys(missing, f"{project.root} has changed and needs another now")
            try:
                made_again(places, project, view, manifest, progress)
            except PkgviewError as error:
                reasons |= dict.fromkeys(missing, f"{project.root}: {error.what}")
    return reasons


def _refetched(stores: Stores, name: str) -> bool:
    """Have frames of a partial archive fetched again that are wrong; False if there is none."""
    partials = stores.partials
    try:
        return partials.has(name) and partials.unmark(name, partials.wrong(name))
    except (LayerError, OSError):
        # Nobody can say what is here: whoever needs it begins it again.
        return partials.remove(name)


def _copied(stores: Stores, name: str) -> str:
    """Take it from another store that has it whole; "" where none has."""
    for other in stores.others:
        if other.has(name):
            try:
                stores.take(other.path(name), name)
            except LayerError:
                continue
            return f"copied from {other.root}"
    return ""


def made_again(
    places: Places,
    project: Resolved,
    view: ResolvedView,
    manifest: Manifest,
    progress: MakingProgress,
) -> None:
    """Make a project's view anew, as `pkgview up` does, for the same that was asked for then.

    Where it comes out as another one, what leads to the former leads to that.
    """
    kind = kind_named(manifest.kind)
    found = kind.project_at(Path(project.root))
    if found is None:
        raise PkgviewError("it is no project any more")
    problem = trust.problem(found, os.geteuid(), places.state)
    if problem is not None:
        raise PkgviewError(f"it is not yours alone: {problem}")
    check_choices(found, places.state)
    now = make_view(places, kind, kind.again(found, view, manifest), progress).view
    if any(layer.bytecode for layer in manifest.layers):
        now, _ = precompile(places, now, idle=False)
    path = Path(project.root) / link_of(manifest.kind)
    if link.is_linked(path, places, view.view):
        link.link(path, places, now, force=False)
