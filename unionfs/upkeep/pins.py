"""Pinned views: kept by `pkgview gc` whatever becomes of their projects.

An empty file `<state>/pins/<view>` each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolver.atomic import write_atomically
from resolver.manifest import ViewId
from unionfs.view.catalog import VIEW_ID

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places


def _directory(places: Places) -> Path:
    return places.state / "pins"


def pinned(places: Places) -> set[ViewId]:
    """All that are pinned."""
    found = (path.name for path in _directory(places).glob("*"))
    return {ViewId(name) for name in found if VIEW_ID.fullmatch(name)}


def pin(places: Places, view: ViewId) -> None:
    """Keep a view from now on."""
    write_atomically(_directory(places) / view, b"")


def unpin(places: Places, view: ViewId) -> bool:
    """Keep it no longer than anything else; whether it was pinned."""
    was = view in pinned(places)
    (_directory(places) / view).unlink(missing_ok=True)
    return was
