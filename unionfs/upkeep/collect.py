"""Collecting: what nothing needs any more goes, manifests first, then archives.

**What is needed**: the views of projects that there are, the default view, pinned views, views that
programs use (`unionfs.upkeep.inuse`), and what others who write to the same store say that they
need. A view that no project has (one replaced a moment ago, or made for `pkgview run --with`) may
be on its way to a program, so it is kept for `ON_ITS_WAY` seconds; so is an archive that no view
has had since it came, since whoever adds it may still be fetching others.

**Meanwhile others make views.** Who does holds the store (`Store.held`) from the moment that it
knows all archives there until the view is written down; collecting happens while nobody
does. So either the view is seen here, or its maker finds an archive missing and makes it again.
Programs are looked at before that: a view can come into use afterwards only if it is needed, or was
so within `ON_ITS_WAY`.

Stopped anywhere, it leaves archives that nothing names, which the next one takes.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resolver import remembered
from resolver.atomic import Alone, sweep
from resolver.errors import PkgviewError
from resolver.fetch.partial import SESSION, sweep_parts
from resolver.manifest import ViewId
from resolver.naming import said_scripts
from resolver.project import standing, trust
from resolver.project.resolved import FORGOTTEN
from resolver.python.locks.chosen import CACHES
from resolver.python.uv.note import forget_gone
from unionfs.archive.meta import digest_of_name, short_name
from unionfs.bytecode.compiling import WITHIN
from unionfs.control import daemons
from unionfs.kinds import NODE
from unionfs.publishing.assemble import BUILD
from unionfs.publishing.default import default_view
from unionfs.publishing.publish import tell, tell_needs
from unionfs.store import arrival
from unionfs.store.claims import Claims
from unionfs.store.directory import TEMPORARY_PREFIX
from unionfs.store.local import Store
from unionfs.store.ordered import Stores
from unionfs.store.partial import Partials
from unionfs.upkeep.began import TICKS
from unionfs.upkeep.inuse import survey
from unionfs.upkeep.pins import pinned
from unionfs.upkeep.references import manifest_ids, read_references
from unionfs.upkeep.watches import named_by
from unionfs.upkeep.writable import only_written, owners, remove_written, written_by
from unionfs.view.catalog import manifest_path
from unionfs.view.registry import Registry, registry_path
from unionfs.view.used import last_use, used_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from resolver.manifest import Manifest
    from resolver.places import Places
    from unionfs.upkeep.inuse import Survey
    from unionfs.upkeep.references import References
    from unionfs.view.used import LastUse

ON_ITS_WAY = 600.0
"""Seconds that something which nobody has yet, or nobody has any more, is kept."""

ROUNDED = 0.1
"""Seconds by which what is written down of two moments may be in the wrong order, and more."""

CACHE_KEPT = 30 * 24 * 3600.0
"""Seconds that a cache of uv's stays which is for some projects, unless one uses it."""

DAMAGED_KEPT = 7 * 24 * 3600.0
"""Seconds that archives which were set aside stay for whoever wants to know what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may stay though nothing needs it.

    What was needed within the last `max_age` seconds; and, if `max_size` is given, the youngest
    archives as long as all together have no more bytes.
    """

    max_age: float = 0.0
    max_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What goes: views; archives and their sizes; records of projects that are gone.

    `kept` and `needed` are the bytes of all archives that stay, and of those that something needs;
    `own` are those that something of this state does. `silent` are the states whose words counted
    no more: the user, and the time when each last told. `written` are directories of Node's that
    only views lead to which go (`unionfs.upkeep.writable`).
    """

    views: tuple[ViewId, ...]
    archives: Mapping[str, int]
    records: tuple[Path, ...]
    kept: int
    needed: int
    own: frozenset[str]
    silent: tuple[tuple[int, float], ...] = ()
    written: tuple[str, ...] = ()

    @property
    def freed(self) -> int:
        """Bytes of the archives that go."""
        return sum(self.archives.values())


def plan(places: Places, seen: Survey, limits: Limits) -> Plan:
    """What would be collected now; nothing is changed."""
    now = time.time()
    store, everywhere = Store(places.store), Stores(places)
    needs = read_references(places)
    gone = {view.view: record.root for record in needs.gone.values() for view in record.views}
    watched_views, watched = named_by(places, seen.watched)
    watched_views |= {view for view, manifest in needs.manifests.items()
                      if not watched.isdisjoint(manifest.archives)}  # fmt: skip
    kept_views = watched_views | _needed_views(places, needs, seen, gone)
    unneeded = {view for view in manifest_ids(places) if view not in kept_views}
    names = {name for view in kept_views & needs.manifests.keys()
             for name in needs.manifests[view].archives}  # fmt: skip
    used: dict[str, float] = {}
    uses: dict[str, list[LastUse]] = {}
    for view in unneeded & needs.manifests.keys():
        last = last_use(places, view)
        for name in needs.manifests[view].archives:
            used[name] = max(used.get(name, 0.0), last.wall)
            uses.setdefault(name, []).append(last)
    sizes = {**Partials(store.root).sizes(), **store.sizes()}
    names |= {name for name in sizes if name in watched or _digits(name) in seen.named}
    claims = Claims(places.store, places.state)
    needed = names | claims.of_others()
    removable: dict[str, float] = {}
    for name in sizes.keys() - needed:
        path = _place(store, name)
        # What a view has had since it came is not on its way to that one any more.
        age = arrival.age(path)
        if age > ON_ITS_WAY or any(last.within(age + ROUNDED) for last in uses.get(name, ())):
            removable[name] = max(_modified(path), used.get(name, 0.0))
    archives = _within(sizes, removable, limits, now)
    views = tuple(sorted(
        view for view in unneeded
        if view not in needs.manifests
        or not archives.keys().isdisjoint(needs.manifests[view].archives)
        or not all(map(everywhere.has, needs.manifests[view].archives))
        or now - _modified(manifest_path(places, view)) >= max(limits.max_age, ON_ITS_WAY)
    ))  # fmt: skip
    records = tuple(
        path for path, record in needs.gone.items()
        if all(view.view in views or view.view not in needs.manifests for view in record.views)
    )  # fmt: skip
    return Plan(
        views=views,
        archives=archives,
        records=records,
        kept=sum(sizes.values()) - sum(archives.values()),
        needed=sum(size for name, size in sizes.items() if name in needed),
        own=frozenset(names),
        silent=claims.silent(),
        written=only_written(
            places,
            store,
            gone=[needs.manifests[view] for view in views if view in needs.manifests],
            kept=[manifest for view, manifest in needs.manifests.items() if view not in views],
        ),
    )


def collect(places: Places, limits: Limits, *, patience: float = 60.0) -> Plan | None:
    """Collect; None if others made views for all of `patience` seconds."""
    kept = max(limits.max_age, ON_ITS_WAY)
    sweep_parts(places.cache / "downloads", kept)
    for script in Path(said_scripts(os.fspath(places.cache))).glob("*.py"):
        if script.stat().st_mtime <= time.time() - kept:
            script.unlink()  # and what was made of it goes with the projects that are gone
    store = Store(places.store)
    if not store.archives.is_dir():
        return Plan(views=(), archives={}, records=(), kept=0, needed=0, own=frozenset())
    with suppress(PkgviewError):  # on a full disk, above all
        tell_needs(places)
    seen = survey(places)
    with store.alone(patience=patience) as alone:
        if not alone:
            return None
        found = plan(places, seen, limits)
        done = _carried_out(places, store, found)
    names = filter(None, map(short_name, done.archives))
    seen.gone(done.views, [name.decode() for name in names])
    _sweep(places, store)
    trust.forget_gone(places.state)
    return done


def _needed_views(
    places: Places, needs: References, seen: Survey, gone: Mapping[ViewId, str]
) -> set[ViewId]:
    found = {view.view for project in needs.projects.values() for view in project.views}
    found |= pinned(places)
    default = default_view(places, None)
    if default is not None:
        found.add(default)
    left = set()
    for view in manifest_ids(places):
        if view in seen.named or (
            view not in found
            and (
                _may_be_used(places, view, seen, gone)
                or _may_node_use(places, view, needs.manifests.get(view), seen)
            )
        ):
            found.add(view)
        elif view not in found:
            left.add(view)
    return found | seen.held(left)


def _may_be_used(places: Places, view: ViewId, seen: Survey, gone: Mapping[ViewId, str]) -> bool:
    """Whether it is on its way to a program, or with one that says nothing."""
    root, last = gone.get(view), last_use(places, view)
    # A tick may have begun just before the view was made in it.
    since = [program for program in seen.programs if program.itself + 2 / TICKS >= last.made]
    if root is not None:
        return any(program.came_through([root]) for program in since)
    return last.within(ON_ITS_WAY) or any(
        last.may_follow(program.started) and program.came_through([os.fspath(places.mount)])
        for program in since
    )


def _may_node_use(places: Places, view: ViewId, manifest: Manifest | None, seen: Survey) -> bool:
    """Whether a program of Node's may read from it: in its project, or where nothing tells.

    Of a project that it is in, it may use each view, whenever it was started: the link need not
    have been moved when the record was.
    """
    if not seen.nodes or manifest is None or manifest.kind != NODE:
        return False
    whose = owners(written_by(places, Store(places.store), manifest) or "")
    last = last_use(places, view)
    return any(
        one.may_use(whose)
        and ((whose and one.directories is not None) or last.may_follow(one.started))
        for one in seen.nodes
    )


def _place(store: Store, name: str) -> Path:
    """Where an archive of the store lies, whole or not."""
    whole, partials = store.path(name), Partials(store.root)
    return whole if whole.exists() or not partials.has(name) else partials.path(name)


def _digits(archive: str) -> str:
    """What an archive is told by in `packages/`."""
    return (digest_of_name(archive) or b"").hex()[:12]


def _within(
    sizes: Mapping[str, int], removable: Mapping[str, float], limits: Limits, now: float
) -> dict[str, int]:
    """Those of the removable archives that go, the oldest first."""
    total = sum(sizes.values())
    gone: dict[str, int] = {}
    for name in sorted(removable, key=lambda name: (removable[name], name)):
        if now - removable[name] < limits.max_age:
            continue
        if limits.max_size is not None and total <= limits.max_size:
            break
        gone[name] = sizes[name]
        total -= sizes[name]
    return gone


def _carried_out(places: Places, store: Store, found: Plan) -> Plan:
    """Remove what can be; what others own in a shared store stays."""
    remove_written(places, found.written)
    for view in found.views:
        manifest_path(places, view).unlink(missing_ok=True)
        used_path(places, view).unlink(missing_ok=True)
    remembered.forget(os.fspath(places.state), found.views)
    if found.records:
        with Alone(places.state / "projects"):
            for path in found.records:
                path.unlink(missing_ok=True)
                if path.suffix != FORGOTTEN:  # else it may be known again, and have a new one
                    forget_lock(places, path.stem)
    partials = Partials(store.root)
    removed = {
        name: size
        for name, size in found.archives.items()
        if store.remove(name) and partials.remove(name)
    }
    store.forget_sources()
    _forget_numbers(places, store)
    tell(places, found.own, whole=True, instead=True)
    kept = found.kept + found.freed - sum(removed.values())
    return replace(found, archives=removed, kept=kept)


def forget_lock(places: Places, key: str) -> None:
    """Remove the locks that were made for the project of that key."""
    shutil.rmtree(places.state / "locks" / key, ignore_errors=True)


def _forget_numbers(places: Places, store: Store) -> None:
    """Of archives that are not here and that no view needs; of views and projects that are gone."""
    if not registry_path(places).exists():
        return
    needs = read_references(places)
    registry = Registry.of(places)
    try:
        registry.forget(
            archives={*store.names(), *Partials(store.root).names(), *needs.views_of()},
            views=manifest_ids(places),
            projects=[file.stem for file in (places.state / "projects").glob("*.json")],
        )
    finally:
        registry.close()


def _sweep_caches(directory: Path) -> None:
    """Of uv's, for what projects choose: those that none has used for long."""
    for path in _files(directory):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > CACHE_KEPT:
                shutil.rmtree(path, ignore_errors=True)


def _sweep(places: Places, store: Store) -> None:
    """What processes that died have left, and what was damaged long ago."""
    of_state = (path for path in _files(places.state) if path.is_dir())
    for directory in (store.archives, store.root / "users", places.state, *of_state):
        sweep(directory, TEMPORARY_PREFIX)
    Partials(store.root).tidy()
    sweep(places.state / daemons.DIRECTORY, daemons.PREFIX)
    for name, prefix in (("downloads", SESSION), ("builds", BUILD), ("bytecode", WITHIN)):
        sweep(places.cache / name, prefix)
    _sweep_caches(places.cache / CACHES)
    forget_gone(places.state)
    standing.forget_gone(places.state, manifest_ids(places))
    for path in _files(places.state / "used"):
        if not manifest_path(places, ViewId(path.name)).exists():
            path.unlink(missing_ok=True)
    with suppress(OSError):
        for path in _files(store.archives / "damaged"):
            if time.time() - path.lstat().st_mtime > DAMAGED_KEPT:
                path.unlink()


def _files(directory: Path) -> Iterable[Path]:
    return list(directory.iterdir()) if directory.is_dir() else ()


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def keep_below(places: Places, max_size: int) -> PkgviewError | None:
    """Hold the store to a size without keeping anybody waiting; what kept it from that."""
    store = Store(places.store)
    sizes = {**Partials(store.root).sizes(), **store.sizes()}
    if sum(sizes.values()) <= max_size:
        return None
    try:
        found = collect(places, Limits(max_size=max_size), patience=0.0)
    except PkgviewError as error:
        return error
    if found is None or found.kept <= max_size:
        return None  # who is making views holds it to its size afterwards
    return PkgviewError(
        f"the store {places.store} has {found.kept} bytes, more than gc.max-size in config.toml, "
        "and all of them are needed",
        remedy="Raise it, or remove projects; `pkgview store du` shows what each takes.",
    )
