"""When an archive came, by a clock that nobody sets.

What no view needs yet may be on its way into one, for some minutes. The file's time of modification
says when that began, but the time of day may be set at any moment. So each archive carries the boot
and the seconds since then, as an extended attribute (xattr(7)): it goes with the file, and is gone
with it. Where a file system has none, and for archives of earlier versions, the time of
modification has to do.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from resolver.boot import boot_id, since_boot

if TYPE_CHECKING:
    from pathlib import Path

ATTRIBUTE: Final = "user.pkgview.arrival"


def mark(descriptor: int) -> None:
    """An archive that is being written comes now."""
    with suppress(OSError):
        os.setxattr(descriptor, ATTRIBUTE, f"{boot_id()} {since_boot():.2f}".encode())


def mark_again(path: Path) -> None:
    """One that was here comes once more; another's, in a shared store, stays as it is."""
    with suppress(OSError):
        os.utime(path)
        mode = path.stat().st_mode
        path.chmod(mode | 0o200)  # a file's attributes are written by who may write to it
        try:
            with path.open("rb") as file:
                mark(file.fileno())
        finally:
            path.chmod(mode)


def age(path: Path) -> float:
    """Seconds since then; many for what is not there."""
    with suppress(OSError, ValueError):
        boot, moment = os.getxattr(path, ATTRIBUTE).decode("ascii").split()
        if boot == boot_id():
            return since_boot() - float(moment)
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
