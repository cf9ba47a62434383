"""The daemons of a state directory, as they say there themselves.

Where a daemon is met depends on the environment, and whether it can be met on namespaces: a
container may share store and state, and have neither its mount nor its socket nor its processes;
and another machine may have the same home. Who collects has to know that somebody else lives. So
each keeps a file in the state, locked for as long as one of its processes lives.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import claim_file, make_private
from resolver.boot import boot_id
from resolver.errors import PkgviewError
from unionfs.control.endpoint import Endpoint, endpoint_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places

DIRECTORY = "daemons"
"""Of a state."""

PREFIX = "daemon-"
"""Of the files there; one that nobody has locked was left by a dead daemon (`resolver.atomic`)."""


def write_down(places: Places, lock: int) -> int | None:
    """A daemon whose endpoint's lock is open as `lock`: the descriptor that says that it lives.

    None on a full disk, or where there are no locks: such a daemon lives all the same.
    """
    with suppress(OSError):
        directory = places.state / DIRECTORY
        make_private(directory)
        _, descriptor = claim_file(directory, PREFIX)
        said = {
            "boot": boot_id(),
            "pids": os.readlink("/proc/self/ns/pid"),
            "mount": os.fspath(places.mount),
            "lock": os.fspath(endpoint_of(places, places.mount).lock),
            "file": _identity(os.fstat(lock)),
        }
        try:
            os.write(descriptor, json.dumps(said).encode())
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    return None


def written_down(places: Places) -> Iterator[Endpoint]:
    """Where those that live are met, or were before they let go of their mount.

    `PkgviewError` where one cannot be met from here, and serves processes that are not seen here.
    """
    with suppress(FileNotFoundError):
        for path in (places.state / DIRECTORY).iterdir():
            if path.name.startswith(PREFIX) and (text := _said(path)) is not None:
                yield from _endpoint(text)


def _said(path: Path) -> bytes | None:
    """What a living daemon says."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read()
        except OSError:
            pass  # no locks here
    return None


def _endpoint(text: bytes) -> Iterator[Endpoint]:
    mount = "a mount"
    with suppress(ValueError, KeyError, TypeError):
        said = json.loads(text)
        mount, lock = said["mount"], Path(said["lock"])
        if said["boot"] == boot_id():
            with suppress(OSError):
                if _identity(lock.stat()) == said["file"]:
                    yield Endpoint(directory=lock.parent, name=lock.stem)
                    return
            # Nobody can ask it; but whoever it serves is seen here, too.
            if said["pids"] == os.readlink("/proc/self/ns/pid"):
                return
    raise PkgviewError(
        f"the daemon of {mount} cannot be asked from here, and has this state directory, too",
        remedy="Run the command where that daemon runs: outside the container, or on that machine.",
    )


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino]
