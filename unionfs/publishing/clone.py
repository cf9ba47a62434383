"""The view of a clone of Node's: a known one, with the layer of links into the project swapped.

What `unionfs.cli.quick` imports where it finds a new clone of what is known: all that publishes,
and nothing that understands a lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resolver import remembered
from resolver.manifest import LayerSpec
from resolver.node import start
from resolver.places import Places
from unionfs.formats.node.placed import GRAFTS, placed_layer
from unionfs.formats.node.writable import make_writable
from unionfs.publishing.publish import publish_alike, tell_needs
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resolver.node.clone import Pattern
    from resolver.remembered import Entry, Situation


def made(
    named: Mapping[str, str],
    found: Situation,
    entry: Entry,
    pattern: Pattern,
    further: Sequence[str],
) -> Entry:
    """Make it known, with the directories that tools write into; what is to be remembered of it.

    `named` are the places, `found` is the clone, `entry` what is known of the other one, whose
    archives are all there; `further` is where else to look. To be called with the store held.
    `PkgviewError` where the other one is not what it was.
    """
    places = Places(**{name: Path(path) for name, path in named.items()})
    root, state = found.directory, named["state"]
    tell_needs(places)
    store = Store(places.store)
    archive = placed_layer(store, places, root, pattern.links)
    layer = LayerSpec(archive=archive, grafts=GRAFTS)
    registry = Registry.of(places)
    try:
        view = publish_alike(places, entry.view, (pattern.archive, layer), store, registry)
    finally:
        registry.close()
    writable = make_writable(places, root, pattern.writable)
    remembered.note_further(state, root, further, start.KIND)
    record = entry.made.replace(entry.view, view)
    own = remembered.Entry(view, "\0".join(writable), entry.said, record, entry.choices)
    remembered.remember(state, [found.here], own)
    return own
