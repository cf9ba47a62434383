"""From a project to its view: what `pkgview up` and `pkgview run` do.

Two halves. `known_view` answers when nothing has changed, and imports nothing that resolves,
fetches or draws; `make_view` does the work. Options, inputs and the interpreter are compared by
fingerprint, so the two never disagree about what "changed" means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver import resolved
from resolver.errors import PkgviewError
from resolver.interpreter import find_interpreter
from resolver.manifest import Manifest, ViewId
from resolver.project import fingerprint
from resolver.resolved import ResolvedView
from unionfs.catalog import manifest_path
from unionfs.registry import Registry
from unionfs.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.fetch import FetchSettings
    from resolver.interpreter import Interpreter
    from resolver.manifest import LayerSpec
    from resolver.places import Places
    from resolver.project import Project
    from unionfs.assemble import Progress

FORMAT = "view 1"
"""Part of every fingerprint: raised where the same inputs shall give another view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for; with `requirements` (`run --with`) the view is nobody's."""

    project: Project
    python: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    upgrade: bool = False
    offline: bool = False
    frozen: bool = False

    def fingerprint(self, interpreter: Interpreter) -> str:
        """Equal as long as the same view would come out, newer releases aside."""
        return fingerprint(
            self.project,
            FORMAT,
            interpreter.executable,
            interpreter.full,
            "\0".join(self.extras),
            "\0".join(self.groups),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A view that is there. `fresh`: it was not the project's view before."""

    view: ViewId
    manifest: Manifest
    fresh: bool


def known_view(places: Places, wish: Wish) -> Made | None:
    """The project's view if nothing has changed since it was made and it is whole."""
    if wish.upgrade or wish.requirements:
        return None
    record = resolved.load(places.state / "projects", str(wish.project.root))
    if not record.views:
        return None
    interpreter = find_interpreter(wish.project, wish.python, places.state)
    found = record.view_for(interpreter.python.version)
    if found is None or found.fingerprint != wish.fingerprint(interpreter):
        return None
    manifest = whole_manifest(places, found.view)
    return None if manifest is None else Made(view=found.view, manifest=manifest, fresh=False)


def whole_manifest(places: Places, view: ViewId) -> Manifest | None:
    """A view's manifest if all of its archives are in the store and the registry knows it."""
    try:
        data = manifest_path(places, view).read_bytes()
        manifest = Manifest.from_bytes(data, expected=view)
    except (OSError, PkgviewError):
        return None
    store = Store(places.store)
    if not all(store.has(layer.archive) for layer in manifest.layers):
        return None
    registry = _registry(places)
    try:
        return None if registry.view_number(view) is None else manifest
    finally:
        registry.close()


def make_view(places: Places, wish: Wish, progress: Progress) -> Made:
    """Lock, fetch, pack, publish; the project's record is written last."""
    import trio  # noqa: PLC0415 - nothing to do needs none of this

    from unionfs.made import skeleton_layer  # noqa: PLC0415 - the same
    from unionfs.publish import publish  # noqa: PLC0415 - the same

    interpreter = find_interpreter(wish.project, wish.python, places.state)
    # Taken before the inputs are read: an edit meanwhile makes the next `up` look again.
    taken = wish.fingerprint(interpreter)
    store = Store(places.store)
    try:
        distributions = trio.run(_layers, places, wish, interpreter, store, progress)
    except BaseExceptionGroup as group:
        raise _single(group) from group
    manifest = Manifest(
        python=interpreter.python,
        layers=(
            skeleton_layer(store, interpreter),
            *preferred(distributions, wish.project.settings.prefer),
        ),
    )
    registry = _registry(places)
    try:
        view = publish(places, manifest, store, registry)
    finally:
        registry.close()
    if wish.requirements:
        return Made(view=view, manifest=manifest, fresh=True)
    projects = places.state / "projects"
    record = resolved.load(projects, str(wish.project.root))
    before = record.view_for(interpreter.python.version)
    resolved.save(
        projects,
        record.with_view(
            ResolvedView(python=interpreter.python.version, view=view, fingerprint=taken)
        ),
    )
    return Made(view=view, manifest=manifest, fresh=before is None or before.view != view)


def preferred(layers: Sequence[LayerSpec], prefer: Sequence[str]) -> list[LayerSpec]:
    """The layers whose distributions are preferred first, in that order; the rest as they are."""
    ranks = {name: rank for rank, name in enumerate(prefer)}
    return sorted(layers, key=lambda layer: ranks.get(layer.name, len(ranks)))


async def _layers(
    places: Places, wish: Wish, interpreter: Interpreter, store: Store, progress: Progress
) -> tuple[LayerSpec, ...]:
    from resolver.lock import lock  # noqa: PLC0415 - nothing to do needs none of this
    from resolver.selection import select  # noqa: PLC0415 - the same
    from unionfs.assemble import Means, assemble  # noqa: PLC0415 - the same

    progress.locking(str(wish.project.root))
    found = await lock(
        wish.project,
        interpreter,
        extras=wish.extras,
        groups=wish.groups,
        state=places.state,
        upgrade=wish.upgrade,
        offline=wish.offline,
        frozen=wish.frozen,
        with_requirements=wish.requirements,
    )
    means = Means(
        places=places,
        store=store,
        interpreter=interpreter,
        settings=_fetch_settings(wish.project),
        progress=progress,
        offline=wish.offline,
    )
    return await assemble(select(found, interpreter), means)


def _single(group: BaseExceptionGroup) -> BaseException:
    """What a user has to know of several failures: an interrupt, a bug, else the first of them."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending = [*error.exceptions, *pending]
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if not isinstance(leaf, PkgviewError)), leaves[0])


def _fetch_settings(project: Project) -> FetchSettings:
    from resolver.fetch import FetchSettings  # noqa: PLC0415 - nothing to do needs none of this
    from resolver.index import download_settings  # noqa: PLC0415 - the same

    found = download_settings(project.directory)
    return FetchSettings(
        verify=found.certificates,
        auth={host: (one.user, one.password) for host, one in found.credentials.items()},
    )


def _registry(places: Places) -> Registry:
    return Registry(places.state / "registry.sqlite3")
