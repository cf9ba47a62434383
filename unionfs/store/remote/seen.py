"""The latest view that was seen under a tag: what tells an old one, which is signed as well.

One small file for each store and tag, `<state>/seen/<digest>.json`. Where the state is new, or the
file is damaged, nothing was seen: the first answer is then believed, as with a host key of ssh.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from resolver.atomic import Alone, write_atomically
from unionfs.store.remote.vouching import Seen, older, remembered

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places
    from unionfs.store.remote.vouching import Trust, VouchedView

_LARGEST = 4096


def admit(places: Places, found: VouchedView, trust: Trust, *, allow_older: bool = False) -> None:
    """Refuse a view older than what was seen (`NotBelievedError`), and remember the others.

    With `allow_older` it is what the tag means from now on.
    """
    fresh = remembered(found)
    if fresh is None:
        return
    with Alone(places.state / "seen"):
        path = _path(places, trust, found.view.name)
        seen = _read(path)
        fault = None if allow_older else older(found, trust, seen)
        if fault is not None:
            raise fault
        if fresh != seen:
            write_atomically(path, json.dumps(asdict(fresh), sort_keys=True).encode())


def latest(places: Places, trust: Trust, name: str) -> Seen | None:
    """The view that a tag meant when it was last asked for.

    None: it was not, or by no signature, or by a key that is revoked by now.
    """
    seen = _read(_path(places, trust, name))
    return None if seen is None or seen.key in trust.revoked else seen


def _path(places: Places, trust: Trust, name: str) -> Path:
    digest = hashlib.sha256(f"{trust.identity}\n{name}".encode()).hexdigest()[:32]
    return places.state / "seen" / f"{digest}.json"


def _read(path: Path) -> Seen | None:
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(_LARGEST))
        seen = Seen(**fields)
        kinds = [type(one) for one in (seen.view, seen.serial, seen.made, seen.key)]
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return seen if kinds == [str, int, int, str] else None
