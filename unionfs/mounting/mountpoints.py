"""The mount points that this user has had, so that links which lead into one are known as ours.

`<state>/mountpoints`, one path a line: written where something is mounted or linked, never shorter.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from resolver.atomic import Alone, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places


def mountpoints(places: Places) -> set[str]:
    """All of them, as they were named; the present one too. What a crash left is no path."""
    try:
        lines = _path(places).read_bytes().splitlines()
    except OSError:
        lines = []
    paths = (line for line in lines if line.startswith(b"/") and b"\0" not in line)
    return {os.fspath(places.mount), *map(os.fsdecode, paths)}


def remember(places: Places) -> None:
    """Know the present mount point from now on. `PkgviewError` where that cannot be written."""
    path, line = _path(places), os.fsencode(places.mount)
    if b"\n" in line or b"\r" in line or _has(path, line):
        return
    with Alone(path.parent):
        before = path.read_bytes() if path.exists() else b""
        write_atomically(path, before + line + b"\n")


def _has(path: Path, line: bytes) -> bool:
    try:
        return line in path.read_bytes().splitlines()
    except OSError:
        return False


def _path(places: Places) -> Path:
    return places.state / "mountpoints"
