"""How a command starts a daemon, or finds that one is running.

A command (`ensure_mounted`) does everything that can fail for a reason a person can mend: it takes
the lock, mends a stale mount, prepares the mount point, and only then starts the daemon, which
inherits the *held* lock. So there is no moment at which two can start, and however many commands
come at once, one daemon is started and the others wait for it: they connect to its socket, which
is bound before the mount and accepted from after it.

    command                             daemon
    lock, mend, prepare
    start ---- lock, pipe ------------> bind the socket
    wait on the pipe                    mount
         <---- "ready", or why not ---- accept from the socket
    exit                                serve, until SIGTERM, `stop`, or the mount is gone
                                        unmount, remove the socket, release the lock by exiting
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.manifest import FORMAT
from unionfs.control import client
from unionfs.control.endpoint import (
    DaemonAbsentError,
    DaemonSilentError,
    acquire_alone,
    elsewhere,
    endpoint_of,
    is_out_of_reach,
    opened_anywhere,
    standing_socket,
)
from unionfs.daemon.logfile import lines_of_fuse, log_path, open_log
from unionfs.daemon.served_from import refuse_other
from unionfs.mounting import mountpoints, mounts, prerequisites, unmounting
from unionfs.mounting.connection import is_connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.places import Places
    from unionfs.control.endpoint import Endpoint

COMMAND = (sys.executable, "-P", "-m", "unionfs.daemon")
"""-P: a directory that happens to be the current one must not shadow our modules."""

PATIENCE = 10.0
"""Seconds a command waits for a daemon that starts, ends or hangs."""

UNMET_SECONDS = 2.0
"""Seconds a mount may have a daemon that cannot be found before that is an error: the processes of
one that was killed do not end all at once."""

START_SECONDS = 60.0
"""Seconds a daemon may take from its start to its mount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A mount that is there: `how` is "already", "new", or "mended" after a daemon that died.

    `outdated`: its daemon is of a version that cannot read the manifests of this one. `refused`:
    how many numbers it has met that were given twice (`unionfs.view.told`).
    """

    mountpoint: Path
    pid: int
    how: str
    outdated: bool = False
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to serve a mount point, which is ready to be mounted: `lock` is held.

    `shared`: with `allow_other`. `transport`, `workers`: of the mount that is mended; "" for the
    default.
    """

    mountpoint: Path
    endpoint: Endpoint
    lock: int
    mended: bool
    shared: bool = False
    transport: str = ""
    workers: int = 1


def ensure_mounted(
    places: Places,
    *,
    command: Sequence[str] = COMMAND,
    patience: float = PATIENCE,
    shared: bool = False,
) -> Mounted:
    """See that `places.mount` is mounted and answers; costs two small reads and one ping if so.

    `shared`: other users are to be let in (`allow_other`).
    """
    claimed = claim(places, patience=patience, shared=shared)
    if isinstance(claimed, Mounted):
        return claimed
    try:
        pid = _start(places, claimed, command)
    finally:
        os.close(claimed.lock)
    return Mounted(
        mountpoint=claimed.mountpoint, pid=pid, how="mended" if claimed.mended else "new"
    )


def check_mountable(places: Places) -> None:
    """Refuse what `ensure_mounted` would refuse, before hours of downloads; touches nothing."""
    table = mounts.table()
    mountpoint = mounts.canonical(places.mount, table)
    prerequisites.refuse_way(places.mount, [one.path for one in table])
    mount = mounts.mounted_at(mountpoint, table)
    if mount is None:
        prerequisites.preflight()
        _refuse_inside(mountpoint)
        try:
            prerequisites.check(mountpoint)
        except PkgviewError:
            if mounts.mounted_at(mountpoint) is None:  # else somebody has just mounted it
                raise
    elif not mount.ours:
        raise foreign(mount)
    else:
        _refuse_other(places, mountpoint)


def refuse_other_places(places: Places) -> None:
    """Refuse what cannot be seen at the mount that there is, though nothing is to be mounted."""
    table = mounts.table()
    mountpoint = mounts.canonical(places.mount, table)
    mount = mounts.mounted_at(mountpoint, table)
    if mount is not None and mount.ours:
        _refuse_other(places, mountpoint)


def _refuse_other(places: Places, mountpoint: Path) -> None:
    live = running(places, endpoint_of(places, mountpoint))
    if live is not None:
        with contextlib.suppress(DaemonAbsentError, DaemonSilentError):  # said when it is mounted
            refuse_other(places, mountpoint, client.ask(live, "ping"))


def claim(places: Places, *, patience: float = PATIENCE, shared: bool = False) -> Claim | Mounted:
    """Become the one who may serve `places.mount`, unless somebody serves it."""
    table = mounts.table()
    mountpoint = mounts.canonical(places.mount, table)
    prerequisites.refuse_way(places.mount, [one.path for one in table])
    if shared:
        prerequisites.check_shareable(mountpoint)
    mount = mounts.mounted_at(mountpoint, table)
    endpoint = endpoint_of(places, mountpoint)
    began = time.monotonic()
    deadline = began + patience
    while True:
        if mount is not None and not mount.ours:
            raise foreign(mount)
        live = running(places, endpoint)
        unmet = live is None and mount is not None and _is_served(mountpoint, endpoint)
        if unmet and time.monotonic() - began > min(UNMET_SECONDS, patience):
            raise _unmet(mountpoint)
        if live is None and not unmet and (lock := acquire_alone(endpoint)) is not None:
            with contextlib.suppress(PkgviewError):  # a full disk keeps nobody from mounting
                mountpoints.remember(places)
            with contextlib.suppress(OSError):
                standing_socket(places, endpoint)
            return _prepare(mountpoint, endpoint, lock, shared=shared)
        if live is not None:
            mounted = _greet(places, live, mountpoint, deadline - time.monotonic())
            if mounted is not None:
                if shared:
                    _refuse_private(mountpoint)
                return mounted
        if time.monotonic() > deadline:
            raise client.silent(live or endpoint, patience)
        time.sleep(0.02)
        mount = mounts.mounted_at(mountpoint)


def running(places: Places, endpoint: Endpoint) -> Endpoint | None:
    """Where the live daemon is to be met, if there is one, whatever environment it began in."""
    if endpoint.held():
        return endpoint
    others = chain(elsewhere(places, endpoint), opened_anywhere({endpoint.name}))
    return next((other for other in others if other.held()), None)


def _is_served(mountpoint: Path, endpoint: Endpoint) -> bool:
    """Whether a mount has a daemon that could still be met by others, though not from here."""
    return is_connected(mountpoint) and not is_out_of_reach(endpoint.name)


def _unmet(mountpoint: Path) -> PkgviewError:
    return PkgviewError(
        f"{mountpoint} is served by a daemon that cannot be found from here, such as one in "
        "another pid namespace",
        remedy="Run the command outside the container or sandbox, or with the XDG_RUNTIME_DIR that "
        "`pkgview mount` had; or take the mount away first: `pkgview umount --lazy`.",
    )


def _greet(places: Places, live: Endpoint, mountpoint: Path, seconds: float) -> Mounted | None:
    """Ask a daemon that holds its lock; None if it is on its way in or out."""
    try:
        said = client.ask(live, "ping", seconds=max(seconds, 0.1))
    except DaemonAbsentError:
        return None
    if not said["mounted"]:
        return None  # it has let go of its lock, and serves what is still open
    if mounts.mounted_at(mountpoint) is None:
        raise PkgviewError(
            f"{mountpoint} is mounted by pid {said['pid']}, but not visible here: "
            "this process is in another mount namespace",
            remedy="Run the command outside the container or sandbox, or bind the mount into it.",
        )
    refuse_other(places, mountpoint, said)
    outdated = said.get("manifests", 1) < FORMAT  # the first that said nothing of it read 1
    refused = said.get("refused", 0)
    return Mounted(
        mountpoint=mountpoint, pid=said["pid"], how="already", outdated=outdated, refused=refused
    )


def foreign(mount: mounts.Mount) -> PkgviewError:
    """The error for a mount point that somebody else uses."""
    if mount.fstype == mounts.FSTYPE:
        return PkgviewError(
            f"{mount.path} is mounted by a pkgview of uid {mount.owner}",
            remedy="Name a mount point of your own: `pkgview mount MOUNTPOINT`, or PKGVIEW_MOUNT.",
        )
    return PkgviewError(
        f"{mount.path} has something else mounted: {mount.source} ({mount.fstype})",
        remedy=f"Unmount it, `umount {mount.path}`, or name another mount point with "
        "PKGVIEW_MOUNT.",
    )


def _refuse_private(mountpoint: Path) -> None:
    mount = mounts.mounted_at(mountpoint)
    if mount is not None and not mount.shared:
        raise PkgviewError(
            f"{mountpoint} is mounted already, without letting other users in",
            remedy="Run `pkgview umount` first.",
        )


def _prepare(mountpoint: Path, endpoint: Endpoint, lock: int, *, shared: bool) -> Claim:
    """Mend and check, holding the lock: a mount of ours that is there now has no daemon.

    A mount that is mended lets in whom it let in before, by the same transport and as many workers.
    """
    try:
        prerequisites.preflight()
        dead = mounts.mounted_at(mountpoint)
        shared = shared or (dead is not None and dead.ours and dead.shared)
        mended = _mend(mountpoint)
        _refuse_inside(mountpoint)
        prerequisites.prepare(mountpoint)
    except BaseException:
        os.close(lock)
        raise
    return Claim(
        mountpoint=mountpoint, endpoint=endpoint, lock=lock, mended=mended, shared=shared,
        transport=dead.transport if dead else "", workers=dead.workers if dead else 1,
    )  # fmt: skip


def _mend(mountpoint: Path) -> bool:
    """Take dead mounts of ours away; whether there was one."""
    mended = False
    while (mount := mounts.mounted_at(mountpoint)) is not None:
        if not mount.ours:
            raise foreign(mount)
        unmounting.unmount(mountpoint, lazy=True)
        mended = True
    return mended


def _refuse_inside(mountpoint: Path) -> None:
    """A daemon whose own modules lie below its mount would wait for itself."""
    if Path(os.path.realpath(sys.prefix)).is_relative_to(mountpoint):
        raise PkgviewError(
            f"this pkgview lies inside the mount it would serve: {sys.prefix}",
            remedy="Run a pkgview that is installed elsewhere, "
            "e.g. with `uv tool install pkgview`.",
        )


def _start(places: Places, claimed: Claim, command: Sequence[str]) -> int:
    """Start the daemon in a session of its own and wait until it has mounted: its pid."""
    log = open_log(log_path(places))
    before = os.fstat(log).st_size
    readable, writable = os.pipe()
    where = [
        f"--{place.name}={os.fspath(getattr(places, place.name))}"
        for place in fields(places)
        if place.name != "mount"
    ]
    try:
        process = subprocess.Popen(
            [*command, "--background", f"--lock={claimed.lock}", f"--ready={writable}", *where,
             f"--mount={os.fspath(claimed.mountpoint)}",
             f"--transport={claimed.transport}", f"--workers={claimed.workers}",
             *(["--allow-other"] if claimed.shared else [])],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            start_new_session=True, pass_fds=(claimed.lock, writable),
        )  # fmt: skip
        os.close(writable)
        writable = -1
        said = _read_until_closed(readable, START_SECONDS)
        if said is None:
            process.kill()
            for pid in claimed.endpoint.pids():
                os.kill(pid, signal.SIGKILL)
        process.wait()
    finally:
        for number in (log, readable, writable):
            if number >= 0:
                os.close(number)
    if said:
        message = json.loads(said)
        if "pid" in message:
            return int(message["pid"])
        reasons = "; ".join(lines_of_fuse(log_path(places), before))
        raise PkgviewError(
            message["what"] + (f" ({reasons})" if reasons else ""), remedy=message["remedy"]
        )
    raise PkgviewError(
        f"the daemon for {claimed.mountpoint} "
        + ("ended before it had mounted" if said is not None else "did not mount in time"),
        remedy=f"Its log says why: {log_path(places)}",
    )


def _read_until_closed(number: int, seconds: float) -> bytes | None:
    """All that comes through a pipe, None if it is still open after `seconds`."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(number, select.POLLIN)
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            parts.append(os.read(number, 1 << 16))
            if not parts[-1]:
                return b"".join(parts)
    return None
