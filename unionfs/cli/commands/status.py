"""`pkgview status`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from unionfs.cli import console
from unionfs.cli.asked import json_of
from unionfs.cli.commands.mount import MOUNTPOINT, argument_for, places_for
from unionfs.control import client
from unionfs.control.endpoint import DaemonAbsentError, DaemonSilentError, endpoint_of
from unionfs.daemon import launch
from unionfs.daemon.logfile import log_named
from unionfs.environment.skeleton import own_version
from unionfs.mounting import mounts
from unionfs.mounting.connection import is_connected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resolver.places import Places

SENTENCES = {
    "absent": "Nothing is mounted at {}. Run `pkgview mount{named}`.",
    "stale": "{} is stale: its daemon died. Run `pkgview mount{named}`: it mends that.",
    "hung": "{} is mounted, and its daemon does not answer. Run `pkgview umount --force{named}`.",
    "failing": "{} is mounted, but each server that is started for it ends at once: {why}\n"
    "It is tried again every few seconds. The log says more: {log}",
    "unmet": "{} is mounted, and its daemon cannot be found from here. Run `pkgview mount`: it "
    "mends that, or says why not.",
    "foreign": "{} has something else mounted.",
    "detached": "Nothing is mounted at {} here, but a daemon serves it: it is still in use, or "
    "mounted in another mount namespace.",
}


@click.command(
    epilog="""\b
Examples:
  pkgview status
  pkgview status --json | jq .requests

Exit status: 0 if the mount works, else 1.
"""
)
@MOUNTPOINT
@json_of("{state, mountpoint, log, …}; …: what the daemon says, or what is in the way")
def status(mountpoint: Path | None, *, as_json: bool) -> None:
    """Show the mount and what its daemon did: requests, memory, cache, views in use."""
    places = places_for(mountpoint)
    found = look(places)
    if as_json:
        console.as_json(found)
    elif found["state"] == "mounted":
        _show(found)
    else:
        sentence = SENTENCES[found["state"]]
        console.answer(sentence.format(found["mountpoint"], named=argument_for(places), **found))
    sys.exit(0 if found["state"] == "mounted" else 1)


def look(places: Places) -> dict[str, Any]:
    """`state` (a key of `SENTENCES`, or "mounted"), `mountpoint`, and what the daemon says."""
    path = mounts.canonical(places.mount)
    there = mounts.mounted_at(path)
    live = launch.running(places, endpoint_of(places, path))
    found: dict[str, Any] = {"state": "absent", "mountpoint": os.fspath(path)}
    found["log"] = log_named(places)
    if there is not None and not there.ours:
        return {**found, "state": "foreign", "fstype": there.fstype, "source": there.source}
    if live is None:
        served = there is not None and is_connected(path)
        return {**found, "state": "unmet" if served else "stale" if there else "absent"}
    try:
        said = client.ask(live, "status")
    except DaemonSilentError:
        why = live.said_trouble()
        found["pid"] = live.pid()
        return {**found, "state": "failing", "why": why} if why else {**found, "state": "hung"}
    except DaemonAbsentError:
        return {**found, "state": "stale" if there else "absent"}
    return {**found, **said, "state": "mounted" if there else "detached"}


def _show(found: Mapping[str, Any]) -> None:
    rows = [
        ("mount", str(found["mountpoint"])),
        ("daemon", f"pid {found['pid']}, pkgview {found['version']}, {found['transport']}"),
        ("server", _server(found)),
        *([("workers", _workers(found))] if found.get("workers", 1) > 1 else []),
        ("up for", console.duration(found["uptime"])),
        *([("store", str(found["places"]["store"]))] if found.get("places") else []),
        ("memory", console.size(found["memory"])),
    ]
    if frames := found.get("frames"):
        cached = f"{console.size(frames['bytes'])}, {frames['hits']:,} hits"
        rows += [
            ("views", f"{found['views']:,} looked at, {_bound(found['bindings'])}"),
            ("frame cache", f"{cached}, {frames['misses']:,} misses"),
        ]
    remote = found.get("remote", {})
    if any(remote.values()):
        rows.append(("network", _network(remote)))
    rows += [
        (f"no {name}" if gain["on"] else f"every {name}", str(gain["why"]))
        for name, gain in found.get("gains", {}).items()
    ]
    if refused := found.get("refused"):
        told = f"{console.count(refused, 'number')} that the registry gave a second time"
        rows.append(("refused", f"{told}: `pkgview umount` and `pkgview mount`"))
    rows.append(("log", str(found["log"])))
    requests = ", ".join(f"{name} {count:,}" for name, count in found["requests"].items())
    console.table([*rows, ("requests", requests or "none")])
    if found["version"] != own_version():
        console.note(
            f"The daemon is pkgview {found['version']}, this command {own_version()}: "
            "`pkgview upgrade` brings it up to date."
            if found["supervised"]
            else f"`pkgview umount` and `pkgview mount --transport {found['transport']}` bring it "
            "up to date."
        )


def _server(found: Mapping[str, Any]) -> str:
    if not found["supervised"]:
        return "the daemon itself; if it dies, so does the mount"
    died = f"pid {found['server']}, restarted {console.count(found['restarts'], 'time')}"
    pause = found["pause"]
    return died if pause is None else f"{died}, last within {pause * 1000:.0f} ms"


def _network(remote: Mapping[str, Any]) -> str:
    """What became of reads that needed something from another machine."""
    done = remote["here"] + remote["answered"] + remote["failed"]
    said = (
        f"{remote['here']:,} of {console.count(done, 'read')} lacked nothing "
        f"({100 * remote['here'] // max(1, done)} %), {remote['answered']:,} got what they lacked, "
        f"{remote['failed']:,} failed, {remote['waiting']:,} waiting"
    )
    return f"{said}; the last: {remote['last']}" if remote["last"] else said


def _bound(number: int) -> str:
    return console.count(number, "process bound", "processes bound")


def _workers(found: Mapping[str, Any]) -> str:
    """How many answer, and who they are right now, the server first."""
    return f"{found['workers']}, pids {', '.join(map(str, found['pids']))}"
