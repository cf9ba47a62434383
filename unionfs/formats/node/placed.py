"""What of a view leads to its project's own place: a layer of links, by itself.

All other layers are the same in every clone of a project, so a clone's view is another one's with
this layer instead of that one's (`unionfs.publishing.clone`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.naming import directory_names
from resolver.ownership import identity
from unionfs.formats.node.layout import WRITABLE
from unionfs.kinds import WRITABLE as DIRECTORY
from unionfs.store.generated import GeneratedFile, add_generated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.places import Places
    from unionfs.store.local import Store

OWN = "view"
GRAFTS = ((OWN, ""),)
"""Where the directories of a view's own layers go."""


def placed_layer(store: Store, places: Places, root: str, links: Mapping[str, str]) -> str:
    """The layer's archive. `links`: paths in the view, to where below the project they lead."""
    targets = {path: os.path.normpath(Path(root, inside)) for path, inside in links.items()}
    targets[WRITABLE] = os.fspath(writable_of(places, root))
    files = [
        GeneratedFile(path=f"{OWN}/{path}", target=target)
        for path, target in sorted(targets.items())
    ]
    return add_generated(store, "place", files)


def writable_of(places: Places, root: str) -> Path:
    """The directory of a project's own that tools may write into.

    What lies there runs in the project: so another directory in its place has another one.
    """
    return places.cache / DIRECTORY / ".".join(directory_names(root, identity(root)))
