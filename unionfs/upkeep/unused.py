"""The directories of a mount that nobody has a use for any more: the mount point, and the daemon's.

They stay from one mount to the next: whatever starts meanwhile (a container that has the mount
point bound into it, at boot) must not find nothing there, and make a directory of its own. They go
when no project has a view any more, as before an uninstallation. Only those that are surely ours:
the usual mount point, the runtime directory, and only if they are empty.

Whoever mounts makes and checks them with the daemon's lock held. So it is held here, too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.naming import is_nobodys
from resolver.project import resolved
from resolver.where import where
from unionfs.control.endpoint import acquire_alone, endpoint_of
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.places import Places


def remove_unused(places: Places, environ: Mapping[str, str]) -> None:
    """Take them away, if nothing is mounted and no project has a view; never an error.

    What was run without a project, or came by standard input, is none.
    """
    projects, own = places.state / "projects", (os.fspath(places.state), os.fspath(places.cache))
    records = (resolved.load_key(projects, path.stem) for path in projects.glob("*.json"))
    if any(one is not None and not is_nobodys(one.root, *own) for one in records):
        return
    mountpoint = mounts.canonical(places.mount)
    endpoint = endpoint_of(places, mountpoint)
    with suppress(OSError, PkgviewError):
        lock = acquire_alone(endpoint)
        if lock is None:
            return  # somebody mounts
        try:
            if mounts.mounted_at(mountpoint) is not None:
                return
            if places.mount == _usual(environ):
                with suppress(OSError):  # not empty, or a link
                    mountpoint.rmdir()
            # Whoever waits for this lock sees that it is no file's any more.
            endpoint.lock.unlink()
            if not places.runtime.is_relative_to(places.state):
                places.runtime.rmdir()
        finally:
            os.close(lock)


def _usual(environ: Mapping[str, str]) -> Path:
    """The mount point that is called so by us alone."""
    return Path(where({**environ, "PKGVIEW_MOUNT": ""})["mount"])
