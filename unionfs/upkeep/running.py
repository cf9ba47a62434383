"""What runs from a view's own path (`.venv/bin/…`): it never asks, so only /proc speaks of it.

Who starts through `current` is asked for by the kernel, and the daemon knows the binding. A
program of `.venv` walks no such link. But an interpreter there pins itself, and so holds its view
by a descriptor; and of a program that lies in a view, or has mapped something of it, /proc names
the view, too.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from resolver.caller.process import MOST_SHOWN
from resolver.caller.procfs import Absence, read_stat
from resolver.errors import PkgviewError
from resolver.project import resolved
from resolver.python.target import python_of
from unionfs.upkeep.inuse import TICKS, in_views, said_of
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from resolver.manifest import ViewId
    from resolver.places import Places

RULE = "path"
"""What stands in the place of a binding rule: none was asked."""


def running(places: Places) -> Iterator[dict[str, Any]]:
    """Each process, as `pkgview ps` shows it, in JSON's types."""
    roots: dict[str, set[str]] = {}
    for path in (places.state / "projects").glob("*.json"):
        record = resolved.load_key(path.parent, path.stem)
        if record is not None:
            roots[record.root] = {one.view for one in record.views}
    for pid, view in in_views(places.mount):
        stat = read_stat(pid)
        if isinstance(stat, Absence) or stat.dead:
            continue
        argv, cwd, uid = said_of(pid)
        seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_time / TICKS
        yield {
            "pid": pid,
            "program": os.fsdecode(b" ".join(argv)[:MOST_SHOWN]),
            "uid": uid,
            "python": _python(places, view),
            "rule": RULE,
            "project": _project(roots, view, argv, cwd),
            "view": view,
            "why": "it was started by its path in the view",
            "since": datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(
                timespec="seconds"
            ),
            "seconds": round(max(seconds, 0.0), 3),
            "lasting": True,
        }


def _python(places: Places, view: ViewId) -> str | None:
    try:
        return python_of(read_manifest(places, view)).version
    except (OSError, PkgviewError):
        return None


def _project(roots: Mapping[str, set[str]], view: str, argv: list[bytes], cwd: str) -> str | None:
    """The project whose view it is; of several, or of none any more, the one it was started in."""
    found = [root for root, views in roots.items() if view in views]
    if len(found) == 1:
        return found[0]
    first = os.path.normpath(os.path.join(cwd, os.fsdecode(argv[0]) if argv else ""))  # noqa: PTH118 - strings
    around = (root for root in found or roots if f"{first}/".startswith(f"{root}/"))
    return max(around, key=len, default=None)
