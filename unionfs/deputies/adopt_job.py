"""A job: copy one view of another user's into this store, and verify it.

A process of its own, started by `unionfs.deputies.adoption` and by nobody else: it reads what
strangers made. So it has no capabilities, no network, and limits on time, memory and disk; what it
is handed are descriptors, never a path. Nothing counts but bytes: the manifest must have the digest
that the view is named by, and every archive is copied first and then read whole, table and frames,
against its name. Only then is the view published.

Arguments are the places as JSON, the view's id and its user's number. Standard input is the socket
on which a deputy hands files over (`unionfs.deputies.deputy`); standard output gets one line, `{}`
or `{"what": …}`.

Room is everybody's, so it is measured twice: by what a file is when it is handed over, and by what
is written, since it may grow meanwhile (`unionfs.deputies.room`).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import stat
import sys
from contextlib import ExitStack
from pathlib import Path

from resolver.errors import PkgviewError
from resolver.manifest import Manifest, ViewId
from resolver.places import Places
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import digest_of_name
from unionfs.deputies.room import Measured, Room
from unionfs.mounting import mounts
from unionfs.publishing.publish import publish
from unionfs.store.ordered import Stores
from unionfs.view.registry import Registry

NICENESS = 5
SECONDS = 600
"""Of processor time: some hundred GiB."""
MEMORY = 4 << 30
LARGEST_MANIFEST = 4 << 20
LARGEST_ARCHIVE = 8 << 30
WHOLE = 150
"""Seconds for all of it, whatever happens to the daemon, which waits for less."""

PATIENCE = 10.0
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
    signal.alarm(WHOLE)
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
        end.settimeout(PATIENCE)

    def file(self, name: str, largest: int, room: Room) -> Measured:
        """A regular file, to be closed; `PkgviewError` if there is none, or no room for it."""
        what = name or "the manifest"
        try:
            self._end.send(b"=" + name.encode())
            _, descriptors, _, _ = socket.recv_fds(self._end, 16, 1)
        except OSError as error:
            raise PkgviewError(f"{what} was not handed over: {error}") from error
        if not descriptors:
            raise PkgviewError(f"{what} was not handed over")
        with ExitStack() as undone:
            undone.callback(os.close, descriptors[0])
            refuse_own(descriptors[0], what)
            found = os.fstat(descriptors[0])
            if not stat.S_ISREG(found.st_mode) or found.st_size > largest:
                raise PkgviewError(f"{what} is no regular file, or too large")
            room.check(found.st_size, what)
            undone.pop_all()
        return Measured(os.fdopen(descriptors[0], "rb"), what, found.st_size, room)


def refuse_own(descriptor: int, what: str) -> None:
    """Refuse a file of a file system that its user serves, who might never answer a read.

    Nothing is asked of it: the kernel says which mount it came by, proc(5). One that is not here
    is a mount namespace's own, where any user mounts.
    """
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:  # noqa: PTH123 - a text of the kernel's
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
    here = {mount.number: mount for mount in mounts.table()}.get(int(fields["mnt_id"]))
    if here is None or here.owner not in {None, 0}:
        raise PkgviewError(f"{what} lies in a file system that is its user's own")


def adopt(places: Places, view: ViewId, handed: HandedFiles, room: Room) -> None:
    """Take it over; `PkgviewError` or `LayerError`, and then nothing of it is served."""
    with handed.file("", LARGEST_MANIFEST, room) as file:
        manifest = Manifest.from_bytes(file.read(LARGEST_MANIFEST + 1), expected=view)
    store = Stores(places)
    strange = next((name for name in manifest.archives if digest_of_name(name) is None), None)
    if strange is not None:
        raise PkgviewError(f"{strange!r} is no archive's name")
    missing = [name for name in dict.fromkeys(manifest.archives) if not store.has(name)]
    room.note(view, missing)
    for name in missing:
        with handed.file(name, LARGEST_ARCHIVE, room) as file:
            store.receive(file, name)
    with store.held():
        if not all(map(store.has, manifest.archives)):
            raise PkgviewError("an archive that was here before has been collected meanwhile")
        registry = Registry.of(places)
        try:
            publish(places, manifest, store, registry)
        finally:
            registry.close()


def main() -> int:
    """The exit status is 0 whenever a line was written."""
    given, view, user = sys.argv[1:]
    places = Places(**{name: Path(path) for name, path in json.loads(given).items()})
    confine()
    answer = {}
    with socket.socket(fileno=os.dup(0)) as end:
        try:
            adopt(places, ViewId(view), HandedFiles(end), Room(places, int(user)))
        except (PkgviewError, LayerError, OSError, MemoryError) as error:
            answer = {"what": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
