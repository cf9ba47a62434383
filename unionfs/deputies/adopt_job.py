"""A job: copy one view of another user's into this store, and verify it.

A process of its own, started by `unionfs.deputies.adoption` and by nobody else: it reads what
strangers made. So it has no capabilities, no network, and limits on time, memory and disk; what it
is handed are descriptors, never a path. Nothing counts but bytes: the manifest must have the digest
that the view is named by, and every archive is copied first and then read whole, table and frames,
against its name. Only then is the view published.

Arguments are the places as JSON and the view's id. Standard input is the socket on which a deputy
hands files over (`unionfs.deputies.deputy`); standard output gets one line, `{}` or `{"what": …}`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import stat
import sys
from pathlib import Path

from resolver.errors import PkgviewError
from resolver.manifest import Manifest, ViewId
from resolver.places import Places
from unionfs.archive.layer import LayerError
from unionfs.publishing.publish import publish
from unionfs.store.ordered import Stores
from unionfs.view.registry import Registry

NICENESS = 5
SECONDS = 600
"""Of processor time: some hundred GiB."""
MEMORY = 4 << 30
LARGEST_MANIFEST = 4 << 20
LARGEST_ARCHIVE = 8 << 30
LARGEST_VIEW = 32 << 30
ROOM = 1 << 30
"""Bytes that stay free in the store's file system: it is everybody's."""

PATIENCE = 20.0
"""Seconds for one descriptor to come."""

_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522


def confine() -> None:
    """Give up what copying does not need. Where the kernel has no word for it, it is not given."""
    os.nice(NICENESS)
    os.umask(0o077)
    for limit, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, LARGEST_ARCHIVE),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare(_CLONE_NEWNET)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    # capabilities(7): the header, and two words each of effective, permitted, inheritable.
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


class HandedFiles:
    """Files as a deputy hands them over."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._left = LARGEST_VIEW
        end.settimeout(PATIENCE)

    def file(self, name: str, largest: int) -> int:
        """A descriptor of a regular file, to be closed; `PkgviewError` if there is none."""
        what = name or "the manifest"
        try:
            self._end.send(b"=" + name.encode())
            _, descriptors, _, _ = socket.recv_fds(self._end, 16, 1)
        except OSError as error:
            raise PkgviewError(f"{what} was not handed over: {error}") from error
        if not descriptors:
            raise PkgviewError(f"{what} was not handed over")
        found = os.fstat(descriptors[0])
        if stat.S_ISREG(found.st_mode) and found.st_size <= min(largest, self._left):
            self._left -= found.st_size
            return descriptors[0]
        os.close(descriptors[0])
        raise PkgviewError(f"{what} is no regular file, or too large")


def adopt(places: Places, view: ViewId, handed: HandedFiles) -> None:
    """Take it over; `PkgviewError` or `LayerError`, and then nothing of it is served."""
    with open(handed.file("", LARGEST_MANIFEST), "rb") as file:  # noqa: PTH123 - a descriptor
        manifest = Manifest.from_bytes(file.read(LARGEST_MANIFEST + 1), expected=view)
    store = Stores(places)
    for name in dict.fromkeys(manifest.archives):
        if store.has(name):
            continue
        with open(handed.file(name, LARGEST_ARCHIVE), "rb") as file:  # noqa: PTH123 - the same
            there = os.statvfs(_existing(places.store))
            if there.f_bavail * there.f_frsize - os.fstat(file.fileno()).st_size < ROOM:
                raise PkgviewError(f"there is no room for {name}")
            store.receive(file, name)
    with store.held():
        if not all(map(store.has, manifest.archives)):
            raise PkgviewError("an archive that was here before has been collected meanwhile")
        registry = Registry(places.state / "registry.sqlite3")
        try:
            publish(places, manifest, store, registry)
        finally:
            registry.close()


def _existing(path: Path) -> Path:
    return next(above for above in (path, *path.parents) if above.exists())


def main() -> int:
    """The exit status is 0 whenever a line was written."""
    given, view = sys.argv[1:]
    places = Places(**{name: Path(path) for name, path in json.loads(given).items()})
    confine()
    answer = {}
    with socket.socket(fileno=os.dup(0)) as end:
        try:
            adopt(places, ViewId(view), HandedFiles(end))
        except (PkgviewError, LayerError, OSError, MemoryError) as error:
            answer = {"what": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
