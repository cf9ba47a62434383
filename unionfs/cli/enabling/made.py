"""What `pkgview enable` makes where there was nothing, so that `disable` takes that away, too.

Directories of a home that other programs may come to use, and start-up files of shells that get
their first line. `<state>/made.json` lists them, before they are made; what is not empty any more
is somebody else's by then, and stays.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import write_atomically

if TYPE_CHECKING:
    from resolver.places import Places


def remember(places: Places, path: Path, *, itself: bool = False) -> None:
    """Before a file is written: which directories above it are missing, and perhaps the file."""
    wanted = (path, *path.parents) if itself else path.parents
    missing = [os.fspath(one) for one in wanted if not os.path.lexists(one)]
    known = _known(places)
    if missing and not set(missing) <= set(known):
        _write(places, [*known, *missing])


def take_away(places: Places) -> None:
    """What is empty of it goes."""
    known = _known(places)
    if not known:
        return
    for path in sorted(map(Path, known), key=lambda one: -len(one.parts)):
        with suppress(OSError):
            if path.is_dir():
                path.rmdir()
            elif path.stat().st_size == 0:
                path.unlink()
    _write(places, [one for one in known if os.path.lexists(one)])


def _known(places: Places) -> list[str]:
    try:
        known = json.loads((places.state / "made.json").read_bytes())
    except (OSError, ValueError):
        return []
    return [one for one in known if isinstance(one, str)] if isinstance(known, list) else []


def _write(places: Places, paths: list[str]) -> None:
    data = json.dumps(list(dict.fromkeys(paths)), indent=0)
    write_atomically(places.state / "made.json", data.encode())
