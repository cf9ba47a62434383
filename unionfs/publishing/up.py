"""From a project to its view: what `pkgview up` and `pkgview run` do, whatever the project's kind.

Two halves. `known_view` answers when nothing has changed, and imports nothing that resolves,
fetches or draws; `make_view` does the work. Options, inputs and what the view is for are compared
by fingerprint, so the two never disagree about what "changed" means.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from resolver import config
from resolver.atomic import Alone
from resolver.errors import PkgviewError
from resolver.failures import single_failure
from resolver.project import resolved
from resolver.project.resolved import UNCHECKED
from resolver.project.trust import believes_store, counts
from unionfs.formats.kind import described
from unionfs.store.ordered import Stores
from unionfs.view.catalog import read_manifest
from unionfs.view.registry import Registry
from unionfs.view.used import used_until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resolver.manifest import LayerSpec, Manifest, ViewId
    from resolver.places import Places
    from resolver.project.changes import Change
    from resolver.project.resolved import ResolvedView
    from unionfs.formats.kind import Kind, Making, Wish
    from unionfs.publishing.assemble import Progress
    from unionfs.view.sharing import Where

ATTEMPTS = 5
"""How often archives are made again that `pkgview gc` took just then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A view that is there. `fresh`: it was not the project's view before.

    `before` is the view that was, if its manifest is still there; `remark` what a person should
    know, of the lock or of what came out, a sentence; mostly "". `renewed`: what is otherwise in a
    lock that was made anew for it.
    """

    view: ViewId
    manifest: Manifest
    fresh: bool
    before: Manifest | None = None
    remark: str = ""
    renewed: tuple[Change, ...] = ()

    @property
    def distributions(self) -> int:
        """How many there are in it."""
        return self.manifest.distributions

    @property
    def described(self) -> str:
        """Such as "3 distributions, Python 3.11"."""
        return described(self.manifest)


def known_view(places: Places, kind: Kind, wish: Wish) -> Made | None:
    """The project's view if nothing has changed since it was made and it is whole."""
    if wish.upgrade or wish.upgrade_packages:
        return None  # what that gives is known only when it has been resolved
    record = resolved.load(places.state / "projects", str(wish.project.root))
    newest = record.view_for(None, kind.name)
    if newest is None:
        return None
    making = kind.making(places, wish)
    found = record.exactly(making.variant, kind.name)
    if found is None or not _is_same(found, making.fingerprint, wish):
        return None
    which = resolved.identity_text(wish.project.directory)
    # What was agreed to for it and is no more: it is recorded anew, after another yes.
    if found.word_of not in {"", which} or not counts(
        found, record.root, places.state, wish.project
    ):
        return None
    manifest = whole_manifest(places, found.view)
    if manifest is None:
        return None
    before = None
    own = replace(found, beside=False)
    if wish.kept and own != newest:
        # Asked for again after one for another target: it is the project's own now.
        before = _manifest_before(places, record.root, found)
    if wish.kept and (own != newest or not record.directory):
        # Earlier versions did not say which directory it was.
        _record(places, record.root, which, own)
    making.settled(manifest, own)
    fresh = wish.kept and found.view != newest.view
    return Made(view=found.view, manifest=manifest, fresh=fresh, before=before)


def _is_same(found: ResolvedView, fingerprint: str | None, wish: Wish) -> bool:
    """Whether it was made of the same; a lock that is used as it is nobody has to have compared."""
    if fingerprint is None:
        return False
    recorded = found.fingerprint.removeprefix(UNCHECKED) if wish.frozen else found.fingerprint
    return resolved.is_same(recorded, fingerprint, decides=wish.decides and not wish.frozen)


def whole_manifest(places: Places, view: ViewId) -> Manifest | None:
    """A view's manifest if all of its archives are in the store and the registry knows it."""
    try:
        manifest = read_manifest(places, view)
    except (OSError, PkgviewError):
        return None
    store = Stores(places)
    if not all(map(store.has, manifest.archives)):
        return None
    registry = Registry.of(places)
    try:
        return None if registry.view_number(view) is None else manifest
    finally:
        registry.close()


def make_view(
    places: Places,
    kind: Kind,
    wish: Wish,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
) -> Made:
    """Lock, fetch, pack, publish; the project's record is written last.

    `check` is called when all is read and packed, and raises if none of it shall count.
    `PkgviewError` for what cannot be had, and `KeyboardInterrupt` as itself.
    """
    import trio  # noqa: PLC0415 - nothing to do needs none of this

    from unionfs.publishing.publish import tell_needs  # noqa: PLC0415 - as above

    tell_needs(places)
    which = resolved.identity_text(wish.project.directory)
    making = kind.making(places, wish)
    # A store that a project brings counts by its user's word, and not where somebody only looks.
    brought = None if wish.no_build else wish.project.directory
    store = Stores(places, brought, believed=believes_store(wish.project, places.state))
    said: list[str] = []
    for attempt in count(1):
        with single_failure():
            layers = trio.run(_layers, places, making, wish, store, progress, said)
        manifest = making.manifest(store, preferred(layers, wish.prefer))
        check()
        with store.held():
            if attempt < ATTEMPTS and not all(map(store.has, manifest.archives)):
                continue  # collected meanwhile, since nothing said yet that they are needed
            view = _published(places, manifest, store, _had(places, str(wish.project.root)))
            record = replace(making.record(manifest), beside=wish.beside)
            before, fresh = None, True
            if wish.kept:
                before = _manifest_before(places, str(wish.project.root), record)
                fresh = _record(places, str(wish.project.root), which, record)
                fresh = fresh or (before is not None and before.id != view)
            break
    making.settled(manifest, record)
    return Made(
        view=view,
        manifest=manifest,
        fresh=fresh,
        before=before,
        remark=" ".join(filter(None, (making.remark, *dict.fromkeys(said)))),
        renewed=making.renewed,
    )


def _manifest_before(places: Places, root: str, made: ResolvedView) -> Manifest | None:
    """That of the view which the project has had until now, of that kind."""
    before = resolved.load(places.state / "projects", root).view_for(None, made.kind)
    try:
        return None if before is None else read_manifest(places, before.view)
    except (OSError, PkgviewError):
        return None


async def _layers(  # noqa: PLR0913, PLR0917 - what it is made with, and of
    places: Places,
    making: Making,
    wish: Wish,
    store: Stores,
    progress: Progress,
    said: list[str],
) -> Sequence[LayerSpec]:
    from unionfs.publishing.assemble import Means, assemble  # noqa: PLC0415 - as above

    packages = await making.packages(progress.locking)
    lacking = [one.key for one in packages if one.key and one.archive_in(store) is None]
    if lacking and not wish.offline and config.load(places).remotes:
        from unionfs.store.remote.use.asking import ask_for  # noqa: PLC0415 - hardly ever

        said += (await ask_for(places, store, lacking, making.further)).said
    means = Means(
        places=places, store=store, making=making, progress=progress, offline=wish.offline
    )
    while (layers := await assemble(packages, means)) is None:
        # Without what is optional and cannot be had.
        packages = await making.packages(progress.locking)
    said += store.damaged
    return await making.completed(store, layers, progress.building)


def _had(places: Places, root: str) -> set[Where]:
    """The archives of all views that the project has had until now, and where they are there."""
    from unionfs.publishing.publish import placed  # noqa: PLC0415 - as below

    found: set[Where] = set()
    for one in resolved.load(places.state / "projects", root).views:
        with suppress(OSError, PkgviewError):
            found.update(placed(read_manifest(places, one.view)))
    return found


def _published(places: Places, manifest: Manifest, store: Stores, had: set[Where]) -> ViewId:
    from unionfs.publishing.publish import publish  # noqa: PLC0415 - as above

    registry = Registry.of(places)
    try:
        return publish(places, manifest, store, registry, had)
    finally:
        registry.close()


def _record(places: Places, root: str, which: str, made: ResolvedView) -> bool:
    """Write down what the project's view is now; whether that is another one than before.

    `which` directory it was made of: `resolved.identity_text`.
    """
    projects = places.state / "projects"
    with Alone(projects):
        record = resolved.load(projects, root)
        before = record.exactly(made.variant, made.kind)
        there = resolved.load_key(projects, record.key)
        after = replace(record.with_view(made), directory=which)
        resolved.save(projects, after)
    kept = {one.view for one in after.views}
    for one in there.views if there is not None else ():
        if one.view not in kept:  # of another directory, perhaps
            used_until_now(places, one.view)
    return before is None or before.view != made.view


def preferred(layers: Sequence[LayerSpec], prefer: Sequence[str]) -> list[LayerSpec]:
    """The layers whose distributions are preferred first, in that order; the rest as they are."""
    ranks = {name: rank for rank, name in enumerate(prefer)}
    return sorted(layers, key=lambda layer: ranks.get(layer.name, len(ranks)))
