"""Pinned views: kept by `pkgview gc` whatever becomes of their projects.

An empty file `<state>/pins/<view>` each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.view.catalog import VIEW_ID, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from resolver.manifest import Manifest
    from resolver.places import Places


def _directory(places: Places) -> Path:
    return places.state / "pins"


def pinned(places: Places) -> set[ViewId]:
    """All that are pinned."""
    found = (path.name for path in _directory(places).glob("*"))
    return {ViewId(name) for name in found if VIEW_ID.fullmatch(name)}


def alike(places: Places, views: Iterable[ViewId], view: ViewId) -> set[ViewId]:
    """Those of the views that are the view itself, or what it is with less or more bytecode."""
    own = _without_bytecode(places, view)
    return {
        one
        for one in views
        if one == view or (own is not None and _without_bytecode(places, one) == own)
    }


def _without_bytecode(places: Places, view: ViewId) -> Manifest | None:
    try:
        manifest = read_manifest(places, view)
    except (OSError, PkgviewError):
        return None
    return replace(manifest, layers=tuple(replace(one, bytecode="") for one in manifest.layers))


def pin(places: Places, view: ViewId) -> None:
    """Keep a view from now on."""
    write_atomically(_directory(places) / view, b"")


def unpin(places: Places, view: ViewId) -> bool:
    """Keep it no longer than anything else; whether it was pinned."""
    was = view in pinned(places)
    (_directory(places) / view).unlink(missing_ok=True)
    return was
