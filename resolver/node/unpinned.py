"""Packages on this machine that the lock names by their place alone: nothing says what they hold.

npm notes no hash of a tarball that lies beside a project, nor of a directory that it packs. Who has
such a project and changes one means the new one, which no bytes of the project's files tell.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.local import file_state
from resolver.node.lock import OldLockError, read
from resolver.node.project import MANIFEST
from resolver.node.selection import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.node.project import NodeProject

_MOST_FILES: Final = 20_000
"""Of a directory that is packed; one with more counts as changed each time."""


def unpinned(project: NodeProject) -> list[Path] | None:
    """Where they are; None where only npm can tell, as of a lock that it has to convert first."""
    if project.lock is None:
        return []
    data = b""
    with suppress(PkgviewError):  # who reads it to use it says what is wrong
        try:
            data = read_input(project.lock)
            entries = read(project.lock, data).entries.values()
        except OldLockError:
            return None if b'"file:' in data else []
        local = ((one, local_path(one, project.root)) for one in entries if not one.link)
        return sorted(
            {path for one, path in local if path and (path.is_dir() or not one.integrity)}
        )
    return []


def unpinned_state(project: NodeProject) -> list[str]:
    """What is otherwise once one of them has changed; [] where there is none."""
    places = unpinned(project)
    return [_never()] if places is None else [f"{one} {_state(one)}" for one in places]


def _never() -> str:
    return str(time.time_ns())


def _state(place: Path) -> str:
    try:
        if not place.is_dir():
            return file_state(place)
        digest = hashlib.sha256()
        for count, (name, found) in enumerate(_tree(place)):
            if count > _MOST_FILES:
                return _never()
            words = (found.st_mode, found.st_size, found.st_ctime_ns, found.st_ino)
            digest.update(os.fsencode(f"{name}\0{words}\0"))
        return digest.hexdigest()
    except OSError:
        return ""


def _tree(top: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All that npm may pack of a directory."""
    manifest = top / MANIFEST
    bundles = manifest.is_file() and b"undle" in manifest.read_bytes()
    left_out = {".git"} if bundles else {".git", "node_modules"}
    for where, directories, files in os.walk(top):
        directories[:] = sorted(set(directories) - left_out)
        for name in sorted(files):
            path = f"{where}/{name}"
            yield path, os.lstat(path)
