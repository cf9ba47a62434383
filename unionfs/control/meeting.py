"""How a daemon's place is called, and what makes it private.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256

from resolver.errors import PkgviewError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    Name = str | Path


def name_of(mountpoint: Name) -> str:
    """What the lock and the socket of a mount point (canonical) are called, without suffix."""
    return sha256(os.fsencode(mountpoint)).hexdigest()[:16]


def check_private(directory: Name, found: os.stat_result) -> None:
    """Refuse a directory that somebody else owns or may enter."""
    if found.st_uid != os.geteuid():
        raise PkgviewError(
            f"{directory} belongs to uid {found.st_uid}, and you are uid {os.geteuid()}",
            remedy="Set XDG_RUNTIME_DIR to a directory of your own, "
            "or remove it from the environment.",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PkgviewError(
            f"{directory} can be entered by other users: its mode is "
            f"{stat.S_IMODE(found.st_mode):04o}",
            remedy=f"Run `chmod 700 {directory}`.",
        )
