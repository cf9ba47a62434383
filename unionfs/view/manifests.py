"""Manifests as files: where they lie, and reading them.

It imports nothing that serves: `pkgview up` of a clone of Node's, which only adds one, reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolver.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.manifest import ViewId
    from resolver.places import Places


def manifest_path(places: Places, view: ViewId) -> Path:
    """Where a view's manifest lies."""
    return places.state / "manifests" / f"{view}.json"


def read_manifest(places: Places, view: ViewId) -> Manifest:
    """A view's manifest, checked against its id; `OSError` where it cannot be read."""
    return Manifest.from_bytes(manifest_path(places, view).read_bytes(), expected=view)
