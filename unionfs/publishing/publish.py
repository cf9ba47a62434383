"""Publishing: a manifest becomes a view that any mount of this user can serve.

Order is what makes it safe to be stopped anywhere: archives are registered first, the manifest is
written next, and only then the view gets its number. A view that has a number has all it needs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.manifest import Manifest, ViewId
from resolver.naming import manifest_digest
from unionfs.archive.layer import LayerError
from unionfs.bytecode.companion import KIND, check
from unionfs.store.claims import Claims, is_told
from unionfs.store.local import Store
from unionfs.store.ordered import Stores
from unionfs.view.manifests import manifest_path, read_manifest
from unionfs.view.nodeid import PACKING
from unionfs.view.used import used_until_now

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from resolver.manifest import Grafts, LayerSpec
    from resolver.places import Places
    from unionfs.archive.reader import Archive
    from unionfs.view.registry import Registry
    from unionfs.view.sharing import Where


def publish(
    places: Places,
    manifest: Manifest,
    store: Store,
    registry: Registry,
    had: Collection[Where] = (),
) -> ViewId:
    """Make the view known; doing it again changes nothing, and writes a damaged manifest anew.

    To be called with the store held (`Store.held`) since it was known that all archives are there.
    `had`: what `placed` gives of the views that whom it is for has had until now.
    """
    now = placed(manifest)
    seen = {name for name, _ in registry.registered_at(now)}
    seen -= {name for name, _ in registry.unplaced(now)}
    unknown: list[Archive] = []
    for layer in manifest.layers:
        if layer.archive not in seen:
            unknown.append(_source(store, layer.archive))
        if layer.bytecode and layer.bytecode not in seen:
            unknown.append(_companion(store, layer))
        seen.update(layer.archives)  # it may be at several places
    registry.register_archives(unknown, store.open, _grafts(manifest), {*had} ^ {*now}, now)
    _must_fit(manifest, registry)
    tell(places, manifest.archives)
    _know(places, manifest.id, manifest.to_bytes(), registry)
    return manifest.id


def publish_alike(
    places: Places, known: str, swapped: tuple[str, LayerSpec], store: Store, registry: Registry
) -> ViewId:
    """Make a view known that is a `known` one with one layer of generated links swapped.

    The layers must have the same names, or the new one may not fit where the other did: so nothing
    else is looked at again. `PkgviewError` where the known one is not known any more. To be called
    as `publish`.
    """
    was, layer = swapped
    if registry.view_number(ViewId(known)) is None:
        raise PkgviewError(f"there is no view {known} any more")
    data = manifest_path(places, ViewId(known)).read_bytes()
    before, after = (f'"archive":"{name}"'.encode() for name in (was, layer.archive))
    if manifest_digest(data) != known or data.count(before) != 1:
        raise PkgviewError(f"the view {known} has no {was}")
    data = data.replace(before, after)
    archive = _source(store, layer.archive)
    grafts = {layer.archive: layer.grafts}
    view = ViewId(manifest_digest(data))
    now = placed(Manifest.from_bytes(data, expected=view))
    registry.register_archives([archive], store.open, grafts, now, now)
    tell(places, [layer.archive])
    _know(places, view, data, registry)
    return view


def _know(places: Places, view: ViewId, data: bytes, registry: Registry) -> None:
    path = manifest_path(places, view)
    new = not path.exists()
    if not _holds(path, data):
        write_atomically(path, data)
    used_until_now(places, view, new=new)
    registry.register_view(view)


def placed(manifest: Manifest) -> list[Where]:
    """The archives of a view, each with the place where it is by itself, if it is anywhere."""
    layers = zip(manifest.layers, manifest.places, strict=True)
    compiled = ((layer.bytecode, "") for layer in manifest.layers if layer.bytecode)
    return [*((layer.archive, place) for layer, place in layers), *compiled]


def _grafts(manifest: Manifest) -> dict[str, Grafts]:
    """Where each archive's directories go, by its name, for the times that they get.

    One that has its place to itself meets no other distribution's files: so does a package of a
    kind where each is in a directory of its own.
    """
    return {
        name: () if place else layer.grafts
        for layer, place in zip(manifest.layers, manifest.places, strict=True)
        for name in layer.archives
    }


def tell_needs(places: Places, *, all_of_it: bool = False) -> None:
    """Say in the stores what the state needs, or say it again; before anything is added.

    `all_of_it`: also where it was said, since the state may be one from before that, restored. Too
    much does no harm: the next `pkgview gc` says it anew.
    """
    own = Claims(places.store, places.state)
    own.begin()
    told = own.tell_again()
    for root in _others_own(places):
        with suppress(PkgviewError):
            told = Claims(root, places.state).tell_again() and told
    if told and not all_of_it:
        return
    names: set[str] = set()
    for path in (places.state / "manifests").glob("*.json"):
        with suppress(OSError, PkgviewError):
            names.update(read_manifest(places, ViewId(path.stem)).archives)
    tell(places, names, whole=True)


def tell(
    places: Places, names: Collection[str], *, whole: bool = False, instead: bool = False
) -> None:
    """Say in the user's own store that these are needed, and in added ones what only they have.

    As `Claims.tell`; but what cannot be said in another's store is not.
    """
    own = Store(places.store)
    Claims(own.root, places.state).tell(names, whole=whole, instead=instead)
    for root in _others_own(places):
        other = Store(root)
        there = {name for name in names if other.has(name) and not own.has(name)}
        with suppress(PkgviewError, OSError):
            Claims(root, places.state).tell(there, whole=whole, instead=instead)


def _others_own(places: Places) -> list[Path]:
    """The stores that were added, and that somebody has as the own one and so collects."""
    added = (one.root for one in Stores(places).order if one.rank == "added" and not one.problem)
    own = os.path.realpath(places.store)
    return [root for root in added if is_told(root) and os.path.realpath(root) != own]


def _must_fit(manifest: Manifest, registry: Registry) -> None:
    from unionfs.view.tree import room  # noqa: PLC0415 - a clone of Node's needs it not

    layers = zip(manifest.layers, manifest.places, strict=True)
    by_place = [((layer.archive, place), bool(layer.bytecode)) for layer, place in layers]
    known = registry.registered_at([where for where, _ in by_place])
    places = sum(room(known[where].entries, compiled=compiled) for where, compiled in by_place)
    if places > PACKING.most_places:
        raise PkgviewError(
            f"a view of {len(manifest.layers)} distributions with so many files is too large: "
            f"they take {places} numbers, at most {PACKING.most_places}",
            remedy="List fewer distributions, or split the project.",
        )


def _source(store: Store, name: str) -> Archive:
    archive = _opened(store, name)
    if archive.meta.kind == KIND:
        # It would be known from now on, and pass for some source's companion unchecked.
        raise PkgviewError(f"{name} holds bytecode, which is no layer by itself")
    return archive


def _companion(store: Store, layer: LayerSpec) -> Archive:
    archive = _opened(store, layer.bytecode)
    try:
        check(archive, _opened(store, layer.archive))
    except LayerError as error:
        raise PkgviewError(
            f"{error}; it was moved to {store.set_aside(layer.bytecode).parent}",
            remedy="Run the command again: the bytecode is made anew.",
        ) from error
    return archive


def _opened(store: Store, name: str) -> Archive:
    """The archive, whose own word counts from now on.

    What this user's own store holds was packed or read whole as it came. Any other could claim the
    content of other files for its own, so it is read whole, whoever owns it: whose the file is does
    not say who made it. Once is enough: its name says every byte. Of a partial archive not all is
    here: its word does not count for others' files (`unionfs.view.registry`).
    """
    try:
        archive = store.open(name)
        if not archive.whole:
            return archive
        own = archive.owner == os.geteuid() and archive.path == os.path.abspath(store.path(name))  # noqa: PTH100 - as text
        if not own:
            archive.verify()
        return archive  # noqa: TRY300 - it is what is tried
    except LayerError as error:
        if not store.path(name).exists():
            raise PkgviewError(
                str(error), remedy="Run the command again: it is made anew."
            ) from error
        aside = store.set_aside(name)
        raise PkgviewError(
            f"{error}; it was moved to {aside.parent}",
            remedy="Run the command again: the archive is made anew.",
        ) from error


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
