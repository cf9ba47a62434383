"""`pkgview mount` and `pkgview umount`."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import json_of
from unionfs.control import client
from unionfs.control.endpoint import DaemonAbsentError, endpoint_of
from unionfs.daemon import launch
from unionfs.daemon.service import (
    MOST_WORKERS,
    TRANSPORT_VARIABLE,
    TRANSPORTS,
    WORKERS_VARIABLE,
    workers_named,
)
from unionfs.forkserver.client import end_all
from unionfs.mounting import mounts, unmounting
from unionfs.upkeep.unused import remove_unused

if TYPE_CHECKING:
    from unionfs.control.endpoint import Endpoint

MOUNTPOINT = click.argument("mountpoint", required=False, type=click.Path(path_type=Path))

ELSEWHERE_SECONDS = 3.0
"""How long a daemon may take to see that it was unmounted before it is asked."""


def places_for(mountpoint: Path | None) -> Places:
    """The user's places, with another mount point where one is named."""
    places = Places.from_environ()
    if mountpoint is None:
        return places
    return replace(places, mount=Path(os.path.abspath(mountpoint)))  # noqa: PTH100 - resolve() would touch it


def argument_for(places: Places) -> str:
    """What a command that is advised needs to mean this mount point: nothing if it is the usual."""
    usual = places.mount == Places.from_environ().mount
    return "" if usual else f" {shell_word(places.mount)}"


@click.command(
    epilog="""\b
Examples:
  pkgview mount                          at ~/.pkgview, or where PKGVIEW_MOUNT says
  pkgview mount /scratch/me/view
  pkgview mount --foreground             for a service manager; Ctrl-C unmounts
  pkgview mount --allow-other /srv/pkgview     as root: views for everybody
  pkgview mount --transport libfuse      where pkgview's own loop has trouble with a kernel
  pkgview mount --workers 4              for many programs at once on a machine with many cores

Transport and workers are kept until `pkgview umount`, also where the mount is mended after its
daemon died; PKGVIEW_TRANSPORT and PKGVIEW_WORKERS choose for every mount that is made.

With --allow-other everybody can read every view. At root's mount each user's programs see the views
of that user's own projects; they are looked at with that user's rights.
"""
)
@MOUNTPOINT
@click.option("--allow-other", is_flag=True, help="Let other users (and containers) in.")
@click.option("--foreground", is_flag=True, help="Serve in this process, log to stderr.")
@click.option(
    "--transport",
    type=click.Choice(TRANSPORTS),
    help="How to talk to the kernel: pkgview's own loop (devfuse), or libfuse's.",
)
@click.option(
    "--workers", metavar="N", help=f"How many processes answer the kernel, 1 to {MOST_WORKERS} (1)."
)
@json_of("{mountpoint, pid, how}")
def mount(  # noqa: PLR0913 - one an option
    mountpoint: Path | None,
    *,
    allow_other: bool,
    foreground: bool,
    transport: str | None,
    workers: str | None,
    as_json: bool,
) -> None:
    """Mount the views; does nothing if they are mounted, and mends a mount whose daemon died."""
    places = places_for(mountpoint)
    if transport is not None:
        os.environ[TRANSPORT_VARIABLE] = transport  # which the daemon inherits
    if workers is not None:
        os.environ[WORKERS_VARIABLE] = str(workers_named(workers))
    if foreground:
        from unionfs.daemon.process import serve_here  # noqa: PLC0415 - 0.3 s for a daemon's parts

        serve_here(places, shared=allow_other)
        return
    mounted = launch.ensure_mounted(places, shared=allow_other)
    if mounted.how == "already":
        _refuse_another(replace(places, mount=mounted.mountpoint), transport, workers)
    if as_json:
        console.as_json(
            {"mountpoint": os.fspath(mounted.mountpoint), "pid": mounted.pid, "how": mounted.how}
        )
        return
    console.note(
        {
            "already": "{} is mounted already (daemon {}).",
            "new": "Mounted {} (daemon {}).",
            "mended": "Mounted {} (daemon {}) in place of a mount whose daemon had died.",
        }[mounted.how].format(mounted.mountpoint, mounted.pid)
    )


def _refuse_another(places: Places, transport: str | None, workers: str | None) -> None:
    """Say no to what a mount that is there is not."""
    if transport is None and workers is None:
        return
    endpoint = endpoint_of(places, places.mount)
    there = client.ask(launch.running(places, endpoint) or endpoint, "status")
    for wanted, found, said in (
        (transport, there["transport"], "through {}"),
        (workers, there.get("workers", 1), "with --workers {}"),
    ):
        if wanted is not None and wanted != str(found):
            raise PkgviewError(
                f"{places.mount} is mounted already, {said.format(found)}",
                remedy="Run `pkgview umount` first.",
            )


@click.command(
    epilog="""\b
Examples:
  pkgview umount                         refuses while programs use it, and names them
  pkgview umount --lazy                  what is open stays readable until it is closed
  pkgview umount --force                 now; ends a daemon that hangs
"""
)
@MOUNTPOINT
@click.option("--lazy", is_flag=True, help="Detach; what is open stays readable.")
@click.option("--force", is_flag=True, help="End the daemon and the mount; what is open breaks.")
@json_of("{mountpoint, how}")
def umount(mountpoint: Path | None, *, lazy: bool, force: bool, as_json: bool) -> None:
    """Unmount and end the daemon; does nothing if nothing is mounted.

    Where no project has a view any more, ~/.pkgview goes, too.
    """
    places = places_for(mountpoint)
    path, how = unmount(places, lazy=lazy, force=force)
    end_all(os.environ)
    if how != "detached":
        remove_unused(places, os.environ)
    if as_json:
        console.as_json({"mountpoint": os.fspath(path), "how": how})
        return
    console.note(
        {
            "absent": "Nothing is mounted at {}.",
            "unmounted": "Unmounted {}.",
            "detached": "Unmounted {}; the daemon ends when nobody uses it any more.",
        }[how].format(path)
    )


def unmount(
    places: Places, *, lazy: bool, force: bool, patience: float = launch.PATIENCE
) -> tuple[Path, str]:
    """Unmount `places.mount`: its path, and "absent", "unmounted" or "detached" (in use still).

    The command unmounts, not the daemon, so it works on a daemon that is dead or hangs; a live one
    sees its connection end, and ends.
    """
    path = mounts.canonical(places.mount)
    there = mounts.mounted_at(path)
    live = launch.running(places, endpoint_of(places, path))
    if there is not None and not there.ours:
        raise launch.foreign(there)
    if there is None and live is None:
        return path, "absent"
    if force:
        if there is not None:
            unmounting.abort(there)
        if live is not None:
            _kill(live)
    devices: set[tuple[int, int]] = set()
    while (there := mounts.mounted_at(path)) is not None and there.ours:
        unmounting.unmount(path, lazy=lazy or force)
        devices.add(there.device)
    detached = lazy or (not force and _say_copies(devices))
    if live is None or _wait_for_end(live, patience, detached=detached):
        return path, "unmounted"
    if lazy or not live.held():
        return path, "detached"
    raise client.silent(live, patience)


def _say_copies(devices: set[tuple[int, int]]) -> bool:
    """Name those whose copies of a mount are served until they end; False: there are none."""
    holders = [holder for device in devices for holder in unmounting.elsewhere(device)]
    if holders:
        names = ", ".join(f"{name} (pid {pid})" for pid, name in holders[:5])
        console.note(
            "In a mount namespace of their own (a container, a sandbox) these have a copy, and are "
            f"served until they end: {names}"
        )
    return bool(holders)


def _kill(live: Endpoint, patience: float = launch.PATIENCE) -> None:
    """End all processes of a daemon that may hang; one may start another meanwhile."""
    deadline = time.monotonic() + patience
    while (pids := live.pids()) and time.monotonic() < deadline:
        for pid in pids:
            _kill_one(live, pid)
        time.sleep(0.01)


def _kill_one(live: Endpoint, pid: int) -> None:
    """Through a pidfd: the pid cannot change its meaning meanwhile."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in live.pids():
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise PkgviewError(
            f"the daemon (pid {pid}) is not yours to end", remedy=f"Run `sudo kill -9 {pid}`."
        ) from error
    finally:
        os.close(process)


def _wait_for_end(live: Endpoint, patience: float, *, detached: bool) -> bool:
    """Wait until the daemon has released its lock.

    A daemon detached from its mount while in use releases it when it is asked, and lives on: False.
    Its mount may have been copied elsewhere without anybody having seen it (another user's
    container): the kernel does not tell the daemon when this one is taken away.
    """
    now = time.monotonic()
    deadline, ask_from = now + patience, now if detached else now + ELSEWHERE_SECONDS
    while live.held():
        if time.monotonic() >= ask_from:
            try:
                client.ask(live, "ping", seconds=max(deadline - time.monotonic(), 0.1))
            except DaemonAbsentError:
                pass
            else:
                return False
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
