"""Publishing: a manifest becomes a view that any mount of this user can serve.

Order is what makes it safe to be stopped anywhere: archives are registered first, the manifest is
written next, and only then the view gets its number. A view that has a number has all it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolver.resolved import write_atomically
from unionfs.catalog import manifest_path

if TYPE_CHECKING:
    from resolver.manifest import Manifest, ViewId
    from resolver.places import Places
    from unionfs.registry import Registry
    from unionfs.store import Store


def publish(places: Places, manifest: Manifest, store: Store, registry: Registry) -> ViewId:
    """Make the view known; doing it again changes nothing."""
    for layer in manifest.layers:
        if registry.archive_number(layer.archive) is None:
            registry.register_archive(store.open(layer.archive))
    view = manifest.id
    path = manifest_path(places, view)
    if not path.exists():
        write_atomically(path, manifest.to_bytes())
    registry.register_view(view)
    return view
