"""Directories for tools that write into node_modules, where a view's links lead to."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from resolver.atomic import make_private
from unionfs.formats.node.generated import writable_of
from unionfs.formats.node.layout import MODULES, OWN
from unionfs.kinds import MEMBERS

if TYPE_CHECKING:
    from resolver.manifest import Manifest
    from resolver.node.project import NodeProject
    from resolver.places import Places


def make_writable(places: Places, project: NodeProject, manifest: Manifest) -> list[str]:
    """Make those that are missing: a link that leads nowhere is an error to most tools.

    Returns all of them.
    """
    top = writable_of(places, project)
    below = {MODULES}
    for layer in manifest.layers:
        for _, path in layer.grafts:
            if path.startswith(f"{MEMBERS}/"):
                below.add(f"{path.partition(f'/{MODULES}/')[0]}/{MODULES}".removeprefix(f"{OWN}/"))
    wanted = [f"{top}/{one}/{name}" for one in sorted(below) for name in project.writable]
    with suppress(OSError):  # said by the tool that misses it
        make_private(top)
        for path in wanted:
            os.makedirs(path, exist_ok=True)  # noqa: PTH103 - at every start
    return wanted
