"""When a view was somebody's last, by a clock that nobody sets.

`<state>/used/<view>` holds the id of the boot, and in seconds since then (CLOCK_BOOTTIME,
clock_gettime(2)) when the view was made, 0 for before, and when it was used last. That is what
`/proc` counts the starts of programs by. The time of day may be set at any moment, so it decides
only where there is nothing better: for what was used before this boot, or on another machine with
the same home. The manifest's time of modification says it, too, for people's limits of days.

One small file for each view, replaced in place: one that is torn, missing or of another version
says nothing, and then the view counts as one that any program may use.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.boot import boot_id, since_boot
from unionfs.view.manifests import manifest_path

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.manifest import ViewId
    from resolver.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class LastUse:
    """`boot`: seconds since this boot; None if it was not in this one, or is not known at all.

    `made`: when the view was, in the same way; 0 if not in this boot, or if that is not known.

    `wall`: seconds since 1970, 0 where there is no manifest. `known`: the file says something.
    """

    made: float
    boot: float | None
    wall: float
    known: bool

    def within(self, seconds: float) -> bool:
        """Whether it may be no longer ago than that."""
        if self.boot is not None:
            return since_boot() - self.boot < seconds
        return time.time() - self.wall < seconds

    def may_follow(self, started: float) -> bool:
        """Whether it may be later than what started so many seconds after this boot."""
        if self.boot is not None:
            return started <= self.boot
        booted = time.time() - since_boot()
        return not self.known or booted + started <= self.wall


def used_until_now(places: Places, view: ViewId, *, new: bool = False) -> bool:
    """Write down that a view is somebody's now, or was until now. `new`: it was made just now.

    False where there is no such view (any more).
    """
    try:
        os.utime(manifest_path(places, view))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
    now = since_boot()
    made = now if new else last_use(places, view).made
    said = f"{boot_id()} {made:.2f} {now:.2f}\n"
    path = used_path(places, view)
    with suppress(OSError):  # on a full disk the time of modification has to do
        path.parent.mkdir(exist_ok=True)
        path.write_text(said, "ascii")
    return True


def last_use(places: Places, view: ViewId) -> LastUse:
    """When it was; of a view that is unknown nothing is."""
    try:
        wall = manifest_path(places, view).stat().st_mtime
    except OSError:
        wall = 0.0
    try:
        boot, *moments = used_path(places, view).read_text("ascii").split()
        made, found = map(float, moments)
    except (OSError, ValueError):
        return LastUse(made=0.0, boot=None, wall=wall, known=False)
    if boot != boot_id():
        return LastUse(made=0.0, boot=None, wall=wall, known=True)
    return LastUse(made=made, boot=found, wall=wall, known=True)


def used_path(places: Places, view: ViewId) -> Path:
    """Where it is written down."""
    return places.state / "used" / view
