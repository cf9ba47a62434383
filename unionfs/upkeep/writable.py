"""The directories that views of Node's lead to for tools to write into: whose, and when they go.

One goes with the last view that leads there. A state removes only what views of its own led to:
the cache directory may be several states'.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.archive.layer import LayerError
from unionfs.formats.node.layout import WRITABLE
from unionfs.formats.node.placed import GRAFTS, OWN
from unionfs.kinds import NODE
from unionfs.kinds import WRITABLE as DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resolver.manifest import Manifest
    from resolver.places import Places
    from unionfs.store.local import Store

_NAME = re.compile(r"(.+-[0-9a-f]{10})(?:\.([0-9a-f]{10}))?")
"""A project's key, and which directory it is; what earlier versions made does not say that."""


def written_by(places: Places, store: Store, manifest: Manifest) -> str | None:
    """The name of the directory that a view leads to; None of another kind's, or if unknown."""
    if manifest.kind != NODE:
        return None
    top = os.fspath(places.cache / DIRECTORY)
    for layer in manifest.layers:
        if tuple(layer.grafts) != GRAFTS:
            continue
        directory, name = os.path.split(_target(store, layer.archive))
        if directory == top and _NAME.fullmatch(name):
            return name
    return None


def _target(store: Store, archive: str) -> str:
    try:
        opened = store.open(archive)
        number = opened.find(os.fsencode(f"{OWN}/{WRITABLE}"))
        return "" if number is None else os.fsdecode(opened.target(number))
    except (OSError, LayerError, PkgviewError):
        return ""  # it is gone, or damaged


def owners(name: str) -> frozenset[str]:
    """What tells whose a directory of that name is: `resolver.naming.directory_names`."""
    found = _NAME.fullmatch(name)
    return frozenset(filter(None, found.groups())) if found is not None else frozenset()


def only_written(
    places: Places, store: Store, gone: Iterable[Manifest], kept: Iterable[Manifest]
) -> tuple[str, ...]:
    """The names of those that only views lead to which are `gone`."""
    names = {written_by(places, store, one) for one in gone} - {None}
    if names:
        names -= {written_by(places, store, one) for one in kept}
    return tuple(sorted(filter(None, names)))


def remove_written(places: Places, names: Iterable[str]) -> None:
    """Remove these."""
    for name in names:
        shutil.rmtree(places.cache / DIRECTORY / name, ignore_errors=True)


def forget_written(places: Places, key: str) -> None:
    """Remove those of the project of that key, whichever directory it was."""
    top = places.cache / DIRECTORY
    for name in os.listdir(top) if top.is_dir() else ():
        found = _NAME.fullmatch(name)
        if found is not None and (key in {name, found[1]}):
            shutil.rmtree(Path(top, name), ignore_errors=True)
