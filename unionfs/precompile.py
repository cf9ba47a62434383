"""A project's views get their bytecode: compiled where it is missing, and shown from then on.

A view never changes, so with bytecode it is another one, of the same distributions. It takes the
place of the old one in the project's record, and `.venv` is pointed to it where it pointed to that.
Programs that run keep what they have; whatever starts afterwards gets the new one.

Called by `pkgview up --compile`, which waits for it, and by the daemon's own process below.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resolver import resolved
from resolver.errors import PkgviewError
from resolver.interpreter import inspect
from unionfs import link
from unionfs.catalog import read_manifest
from unionfs.compiling import Means, compile_missing, with_companions
from unionfs.publish import publish
from unionfs.registry import Registry
from unionfs.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.manifest import Manifest, ViewId
    from resolver.places import Places


def precompile(
    places: Places,
    root: str,
    view: ViewId,
    *,
    idle: bool,
    done: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[ViewId, Manifest]:
    """The view of the project at `root` with all its bytecode: the same one if it has that.

    `done` as in `compile_missing`. `PkgviewError` if something could not be compiled; what was
    compiled is in the store all the same.
    """
    manifest = _manifest(places, view)
    store = Stores(places)
    interpreter = inspect(Path(manifest.python.executable), places.state)
    means = Means(store=store, interpreter=interpreter, cache=places.cache, idle=idle)
    compile_missing(manifest, means, done)
    complete = with_companions(manifest, store, interpreter)
    if complete == manifest:
        return view, manifest
    registry = Registry(places.state / "registry.sqlite3")
    try:
        new = publish(places, complete, store, registry)
    finally:
        registry.close()
    _replace(places, root, view, new)
    return new, complete


def _manifest(places: Places, view: ViewId) -> Manifest:
    try:
        return read_manifest(places, view)
    except OSError as error:
        raise PkgviewError(
            f"there is no view {view}: {error.strerror}",
            remedy="Run `pkgview up` in the project.",
        ) from error


def _replace(places: Places, root: str, old: ViewId, new: ViewId) -> None:
    """Let the project have the new view wherever it has the old one by now."""
    projects = places.state / "projects"
    with resolved.alone(projects):
        record = resolved.load(projects, root)
        views = tuple(replace(v, view=new) if v.view == old else v for v in record.views)
        if views != record.views:
            resolved.save(projects, replace(record, views=views))
    if link.is_linked(Path(root), places.mount, old):
        link.link(Path(root), places.mount, new, force=False)
