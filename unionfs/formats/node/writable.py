"""Directories for tools that write into node_modules, where a view's links lead to."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from resolver.atomic import make_private
from unionfs.formats.node.layout import MODULES, OWN
from unionfs.formats.node.placed import writable_of
from unionfs.kinds import MEMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resolver.manifest import LayerSpec
    from resolver.node.project import NodeProject
    from resolver.places import Places


def writable_in(project: NodeProject, layers: Iterable[LayerSpec]) -> list[str]:
    """All of them in a view of these layers, below the project's directory for that."""
    below = {MODULES}
    for layer in layers:
        for _, path in layer.grafts:
            if path.startswith(f"{MEMBERS}/"):
                below.add(f"{path.partition(f'/{MODULES}/')[0]}/{MODULES}".removeprefix(f"{OWN}/"))
    return [f"{one}/{name}" for one in sorted(below) for name in project.writable]


def make_writable(places: Places, root: str, wanted: Sequence[str]) -> list[str]:
    """Make those that are missing: a link that leads nowhere is an error to most tools.

    Returns all of them, whole.
    """
    top = writable_of(places, root)
    found = [f"{top}/{one}" for one in wanted]
    with suppress(OSError):  # said by the tool that misses it
        make_private(top)
        for path in found:
            os.makedirs(path, exist_ok=True)  # noqa: PTH103 - at every start
    return found
