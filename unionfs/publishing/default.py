"""The view of callers that have no project: the user's default, or an empty environment.

It is kept like a project's record, in `<state>/default/`, and made when a mount finds none, so
that `bin/python` below a mount always works.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.project import resolved
from resolver.project.resolved import ResolvedView
from resolver.python.target import KIND, python_of
from unionfs.archive.layer import LayerError
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from resolver.manifest import ViewId
    from resolver.places import Places
    from unionfs.store.local import Store
    from unionfs.view.registry import Registry

_ROOT = "/"


def default_view(places: Places, python: str | None) -> ViewId | None:
    """The default for that Python ("3.11"), else any; None before there is one."""
    found = resolved.load(places.state / "default", _ROOT).view_for(python)
    return None if found is None else found.view


def ensure_default(places: Places, store: Store, registry: Registry) -> ViewId:
    """The default view, made anew where there is none or something that it needs is gone."""
    known = resolved.load(places.state / "default", _ROOT).view_for(None)
    if (
        known is not None
        and known.format == resolved.FORMAT
        and _is_whole(places, store, registry, known.view)
    ):
        return known.view
    from resolver.python.discovery import find_interpreter  # noqa: PLC0415 - hardly ever needed
    from resolver.python.interpreter import inspect  # noqa: PLC0415 - the same
    from unionfs.formats.python.generated import bare_manifest  # noqa: PLC0415 - the same
    from unionfs.publishing.publish import publish  # noqa: PLC0415 - the same

    try:
        # For all programs there are: not what happened to be on PATH in some project.
        interpreter = find_interpreter(None, None, places.state, lookup=True)
    except PkgviewError:
        interpreter = inspect(Path(sys.executable), places.state)
    with store.held():
        view = publish(places, bare_manifest(store, interpreter), store, registry)
        record = resolved.Resolved(root=_ROOT).with_view(
            ResolvedView(kind=KIND, variant=interpreter.python.version, view=view, fingerprint="")
        )
        resolved.save(places.state / "default", record)
    return view


def _is_whole(places: Places, store: Store, registry: Registry, view: ViewId) -> bool:
    """Every byte is looked at: the archives are few and small, and all else rests on them."""
    try:
        manifest = read_manifest(places, view)
        for archive in manifest.archives:
            store.verify(archive)
    except (OSError, PkgviewError, LayerError):
        return False
    executable = Path(python_of(manifest).executable)
    return registry.view_number(view) is not None and executable.exists()
