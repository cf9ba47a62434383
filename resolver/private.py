"""Directories that are the user's alone: store, state, cache and configuration.

Who may read a directory may lock it, too (flock(2) asks for no more), and reads there what a
user's projects are called. So what was made open to others, by an older pkgview or another umask,
is closed before it is used. Nothing is ever opened.

A store that others may *write* to is shared on purpose (docs/store.md), and left as it is. Stores
that are named in `config.toml`, or the system's, are not looked at: they are their owners' to open.

What belongs to somebody else is refused, and so is what somebody else could put another directory
in the place of: a state is believed in all that it says, and a store in what became of a wheel.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat

from resolver.errors import PkgviewError
from resolver.ownership import is_private_group
from resolver.way import way_faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWN = ("store", "state", "cache", "config")
"""Names of `resolver.where`. The runtime directory, in which sockets lie, is refused instead."""

_SET_BY = {
    "store": "XDG_DATA_HOME", "state": "XDG_STATE_HOME",
    "cache": "XDG_CACHE_HOME", "config": "XDG_CONFIG_HOME",
}  # fmt: skip


def close_to_others(places: Mapping[str, str]) -> Iterator[str]:
    """Take away what others may there; a sentence for each that was open.

    `PkgviewError` where one is, or could become, another user's.
    """
    for name in OWN:
        path = places[name]
        try:
            found = os.stat(path)
        except OSError:
            continue
        mode = stat.S_IMODE(found.st_mode)
        if not mode & 0o077 or found.st_uid != os.geteuid():
            continue
        if name == "store" and _is_shared(path, found):
            continue
        try:
            os.chmod(path, mode & 0o700)
            closed = not os.stat(path).st_mode & 0o077
        except OSError:
            continue
        if closed:  # some file systems have one mode for all that they hold
            yield (
                f"{path} was open to other users (mode {mode:04o}), who could hold up its locks "
                "and see what your projects are called: it is yours alone now."
            )
    for name in OWN:
        _refuse_anothers(name, places[name])


def _refuse_anothers(name: str, path: str) -> None:
    for fault in way_faults(path, os.geteuid()):
        real = os.path.realpath(path)
        if name == "store" and fault.kind != "owner" and fault.said.endswith(f"write to {real}"):
            continue
        raise PkgviewError(
            f"{path} is or could become another user's: {fault.said}",
            remedy="Let it, and all that it lies in, be yours or root's alone (`chmod go-w`, "
            f"`chown`), or set {_SET_BY[name]} to a directory of your own (with sudo, HOME).",
        )


def _is_shared(path: str, found: os.stat_result) -> bool:
    """Whether others may write to it."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not is_private_group(
        path, found.st_gid, found.st_uid
    )
