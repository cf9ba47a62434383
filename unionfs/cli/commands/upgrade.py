"""`pkgview upgrade`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import PkgviewError
from unionfs.cli import console
from unionfs.cli.asked import json_of
from unionfs.cli.commands.mount import MOUNTPOINT, argument_for, places_for
from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon import launch
from unionfs.daemon.logfile import log_named
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places

PATIENCE = 30.0
"""Seconds that the new version may take to serve."""


@click.command(
    epilog="""\b
Examples:
  pkgview upgrade
  uv tool upgrade pkgview && pkgview upgrade

Programs that use the mount notice nothing. What is bound by hand stays bound.
"""
)
@MOUNTPOINT
@json_of("{before: {mountpoint, version, …}, after: {mountpoint, version, …}}")
def upgrade(mountpoint: Path | None, *, as_json: bool) -> None:
    """Have this version of pkgview go on with the mount, without unmounting it."""
    before, after = upgraded(places_for(mountpoint))
    if as_json:
        console.as_json({"before": before, "after": after})
    else:
        was, now = before["version"], after["version"]
        how = f"(was {was})" if was != now else "as before, by a new process of it"
        console.note(f"{after['mountpoint']} is served by pkgview {now} {how}.")
        if after.get("begun_before"):
            console.note(
                "Until it is unmounted its files keep the inodes and times that the version "
                "before gave them:\n  `pkgview umount` and `pkgview mount` when nothing uses it."
            )


def upgraded(
    places: Places, *, patience: float = PATIENCE
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Have this interpreter's pkgview take the mount over: its status before and after."""
    path = mounts.canonical(places.mount)
    live = launch.running(places, endpoint_of(places, path))
    if live is None:
        raise PkgviewError(
            f"nothing serves {path}", remedy=f"Run `pkgview mount{argument_for(places)}`."
        )
    before = client.ask(live, "status")
    if not before.get("supervised"):
        raise PkgviewError(
            f"the daemon of {path} cannot be replaced while it is mounted: its transport is "
            f"{before['transport']}",
            remedy=f"Run `pkgview umount` and `pkgview mount --transport {before['transport']}`.",
        )
    client.ask(live, "upgrade", executable=sys.executable)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        time.sleep(0.02)
        after = client.ask(live, "status", seconds=max(deadline - time.monotonic(), 0.1))
        if after["upgrades"] > before["upgrades"]:
            return before, after
    raise PkgviewError(
        f"{path} is still served by pkgview {before['version']}",
        remedy=f"The log says why: {log_named(places)}",
    )
