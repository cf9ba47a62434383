"""A view gets its bytecode: compiled where it is missing, and shown from then on.

A view never changes, so a view with bytecode is a new one, of the same distributions. It replaces
the old one in the records of all projects that had it, and every `.venv` that led to the old one
leads to it. Running programs keep the old one; programs that start afterwards get the new one.

`pkgview up --compile` calls it and waits. As `python -m unionfs.publishing.precompile` it is a job
(`unionfs.control.job`) of `unionfs.daemon.compile_jobs`: the request is `{"places": {…}, "views":
[…]}`, and each view that is done gets a line, `{"view": ID, "new": ID}` or `{"view": ID, "what":
…}`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resolver import remembered
from resolver.atomic import Alone
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.places import Places
from resolver.project import resolved
from resolver.python.interpreter import inspect
from resolver.python.target import python_of
from unionfs.bytecode.companion import with_companions
from unionfs.bytecode.compiling import Means, compile_missing
from unionfs.control.job import begin, write
from unionfs.kinds import PYTHON, link_of
from unionfs.publishing import link
from unionfs.publishing.publish import placed, publish
from unionfs.store.ordered import Stores
from unionfs.view.opened import load_manifest
from unionfs.view.registry import Registry
from unionfs.view.used import used_until_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.manifest import Manifest


def precompile(
    places: Places,
    view: ViewId,
    *,
    idle: bool,
    done: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[ViewId, Manifest]:
    """The view with all its bytecode: the same one if it has that.

    `done` as in `compile_missing`. `PkgviewError` if something could not be compiled; what was
    compiled is in the store all the same.
    """
    manifest = load_manifest(places, view)
    store = Stores(places)
    interpreter = inspect(Path(python_of(manifest).executable), places.state)
    means = Means(store=store, interpreter=interpreter, cache=places.cache, idle=idle)
    compile_missing(manifest, means, done)
    with store.held():
        complete = with_companions(manifest, interpreter, store.archive_of)
        if complete == manifest:
            return view, manifest
        registry = Registry.of(places)
        try:
            new = publish(places, complete, store, registry, placed(manifest))
        finally:
            registry.close()
        _replace(places, view, new)
    return new, complete


def _replace(places: Places, old: ViewId, new: ViewId) -> None:
    """Let every project have the new view that has the old one by now."""
    projects = places.state / "projects"
    for path in sorted(projects.glob("*.json")):
        with Alone(projects):
            record = resolved.load_key(projects, path.stem)
            if record is None or old not in {one.view for one in record.views}:
                continue
            views = tuple(replace(v, view=new) if v.view == old else v for v in record.views)
            resolved.save(projects, replace(record, views=views))
            used_until_now(places, old)
        linked = Path(record.root) / link_of(PYTHON)
        if link.is_linked(linked, places, old):
            with suppress(link.LinkError):  # the old view can be used as well
                link.link(linked, places, new, force=False)
    with suppress(PkgviewError):  # it only saves time
        remembered.replace(str(places.state), old, new)


def _own(places: Places) -> set[ViewId]:
    """The views of all projects.

    Root's mount serves others, too, which came from other users (`unionfs.deputies.adopt_job`):
    what such a view calls its interpreter, only its user shall run.
    """
    projects = places.state / "projects"
    records = (resolved.load_key(projects, path.stem) for path in projects.glob("*.json"))
    return {one.view for record in records if record is not None for one in record.views}


def main() -> int:
    """Do the job; the exit status is 0 unless it was ended."""
    request, output = begin()
    places = Places(**{name: Path(path) for name, path in request["places"].items()})
    own = _own(places)
    try:
        for view in request["views"]:
            if view not in own:
                write(output, {"view": view, "what": "no project of this user's has it"})
                continue
            try:
                new, _ = precompile(places, ViewId(view), idle=True)
                write(output, {"view": view, "new": new})
            except PkgviewError as error:
                write(output, {"view": view, "what": error.what})
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
