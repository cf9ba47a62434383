"""The same places as `resolver.places`, as text: the XDG base directory specification.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat

from resolver.errors import PkgviewError
from resolver.naming import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Name = str | Path


def where(environ: Mapping[str, str]) -> dict[str, str]:
    """Name -> absolute path of all that pkgview writes; relative values are ignored, as XDG says.

    A mount point is not resolved: it may be stale.
    """
    home = _home(environ)

    def xdg(variable: str, default: str) -> str:
        value = environ.get(variable, "")
        return os.path.join(value if value.startswith("/") else f"{home}/{default}", "pkgview")

    state = xdg("XDG_STATE_HOME", ".local/state")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    mount = environ.get("PKGVIEW_MOUNT")
    return {
        "store": f"{xdg('XDG_DATA_HOME', '.local/share')}/store",
        "state": state,
        "cache": xdg("XDG_CACHE_HOME", ".cache"),
        "runtime": f"{runtime}/pkgview" if runtime.startswith("/") else f"{state}/run",
        "config": xdg("XDG_CONFIG_HOME", ".config"),
        "mount": os.path.abspath(mount) if mount else f"{home}/.pkgview",
    }


def endpoint_name(mountpoint: Name) -> str:
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


def _home(environ: Mapping[str, str]) -> str:
    """HOME, else what the user database says; it has to be absolute."""
    home = environ.get("HOME") or os.path.expanduser("~")
    if home == "~":
        raise PkgviewError(
            f"there is no home directory: HOME is not set, and user {os.getuid()} has no entry",
            remedy="Set HOME to a directory of your own.",
        )
    if not home.startswith("/"):
        raise PkgviewError(
            f"HOME is {home!r}, which is no absolute path",
            remedy="Set HOME to the absolute path of a directory of your own.",
        )
    return home.rstrip("/")
