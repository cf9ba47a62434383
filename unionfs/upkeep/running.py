"""What runs from a view's own path (`.venv/bin/…`): it never asks, so only /proc speaks of it.

Who starts through `current` is asked for by the kernel, and the daemon knows the binding. A
program of `.venv` walks no such link. But an interpreter there pins itself, and so holds its view
by a descriptor; and of a program that lies in a view, or has mapped something of it, /proc names
the view, too.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from resolver.caller.process import MOST_SHOWN
from resolver.caller.procfs import Absence, read_stat
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.project import resolved
from resolver.python.target import python_of
from unionfs.upkeep.began import TICKS
from unionfs.upkeep.inuse import OURS
from unionfs.upkeep.proc import link, open_files, pinned, read
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

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
    for pid, view in _in_views(places.mount):
        stat = read_stat(pid)
        if isinstance(stat, Absence) or stat.dead:
            continue
        argv = read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
        seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_time / TICKS
        yield {
            "pid": pid,
            "program": os.fsdecode(b" ".join(argv)[:MOST_SHOWN]),
            "uid": _uid(pid),
            "python": _python(places, view),
            "rule": RULE,
            "project": _project(roots, view, argv, link(f"/proc/{pid}/cwd")),
            "view": view,
            "why": "it was started by its path in the view",
            "since": datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(
                timespec="seconds"
            ),
            "seconds": round(max(seconds, 0.0), 3),
            "lasting": True,
        }


def _in_views(mountpoint: Path) -> Iterator[tuple[int, ViewId]]:
    """Processes that run in a view by its path in that mount, and which view it is."""
    inside = re.compile(rf"{re.escape(os.fspath(mountpoint))}/views/([0-9a-f]{{32}})(?=[/ ]|$)")
    for name in filter(str.isdecimal, os.listdir("/proc")):
        base = f"/proc/{name}"
        held = pinned(base, open_files(base))
        maps = "" if held else os.fsdecode(read(f"{base}/maps"))
        found = next(filter(None, map(inside.search, (link(f"{base}/exe"), *held, maps))), None)
        if found is not None and not OURS.search(read(f"{base}/cmdline")):
            yield int(name), ViewId(found[1])


def _uid(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - as all of /proc here
    except OSError:
        return None


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
