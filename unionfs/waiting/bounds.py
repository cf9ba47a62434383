"""What a resolution may take that nobody asked for by a command: memory, and time until it fetches.

A stranger's clone says what uv has to work out, and a few kilobytes are enough to keep it busy for
ever, or to fill the machine. So the process is looked at each `BEAT`, with all that it has started,
and ended. `pkgview up` has no such bound: a person waits for it, and can end it.

Why not RLIMIT_AS: what a process reserves says little. uv, whose 250 MB the largest resolutions
need, reserves 2.9 GB for them, and programs that git starts for passwords (.NET's) reserve more
than any machine has.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from resolver.errors import PkgviewError
from resolver.naming import shell_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from unionfs.control.jobs import Job

MOST_MEMORY = 2 * 1024**3
"""Bytes of a job and all that it has started, or half of the machine's if that is less. The largest
resolution that was seen (640 distributions) took 250 MB, packing takes less."""

MOST_SECONDS = 120.0
"""Seconds in which all of a project has to be known that is to be fetched. The largest that was
seen took 20, and 41 on a busy machine."""

REMEMBERED = 600.0
"""Seconds that such a failure is told again: it does not come from a network that may be back."""

BEAT = 1.0
"""Seconds between two looks. uv has been seen to take 140 MB more in one."""


async def ended_beyond(
    job: Job, root: str, is_timed: Callable[[], bool], running: trio.CancelScope
) -> PkgviewError:
    """Wait until a job has more than it may, and cancel what is `running`: why.

    Its time counts while `is_timed`.
    """
    most = min(MOST_MEMORY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    seconds = 0.0
    while True:
        await trio.sleep(BEAT)
        seconds += BEAT if is_timed() else 0.0
        if job.memory() > most:
            what = f"making the view of {root} takes more than {most / 1024**2:.0f} MB of memory"
        elif seconds >= MOST_SECONDS:
            what = f"it takes more than {MOST_SECONDS:g} s to find out which packages {root} needs"
        else:
            continue
        running.cancel()
        remedy = f"`pkgview up {shell_word(root)}` takes what it needs, until you end it."
        return PkgviewError(what, remedy=remedy)
