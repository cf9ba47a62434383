"""Directories that are the user's alone: store, state, cache and configuration.

Who may read a directory may lock it, too (flock(2) asks for no more), and reads there what a
user's projects are called. So what was made open to others, by an older pkgview or another umask,
is closed before it is used. Nothing is ever opened.

A store that others may *write* to is shared on purpose (docs/store.md), and left as it is. So is
what belongs to somebody else. Stores that are named in `config.toml`, or the system's, are not
looked at: they are their owners' to open.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat

from resolver.ownership import is_private_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWN = ("store", "state", "cache", "config")
"""Names of `resolver.where`. The runtime directory, in which sockets lie, is refused instead."""


def close_to_others(places: Mapping[str, str]) -> Iterator[str]:
    """Take away what others may there; a sentence for each that was open."""
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


def _is_shared(path: str, found: os.stat_result) -> bool:
    """Whether others may write to it."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not is_private_group(
        path, found.st_gid, found.st_uid
    )
