"""Debian's part of `run`: a set of packages, laid over the machine's own directories."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unionfs.cli import console
from unionfs.cli.asked import find_projects
from unionfs.cli.command import replace_by, runs_python
from unionfs.cli.commands.making import ensured, mount_now
from unionfs.cli.inside import inside
from unionfs.daemon.launch import check_mountable
from unionfs.formats.debian.kind import KIND, wish_for
from unionfs.kinds import PYTHON
from unionfs.mounting.mounts import table
from unionfs.namespaces.private import Overlay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.places import Places
    from unionfs.namespaces.private import Mount

DEBS = click.option(
    "--deb",
    "debs",
    multiple=True,
    metavar="NAME",
    help="With that Debian package and what it needs, for this run: laid over /usr, and nothing is "
    "installed. May be repeated.",
)

LAID_OVER = ("usr", "etc", "opt")
"""Directories of the machine that what is in the packages is laid over."""


def overlays(places: Places, names: Sequence[str], *, offline: bool) -> tuple[Mount, ...]:
    """What a command has to see for these packages, which are made and mounted if need be."""
    if not names:
        return ()
    check_mountable(places)
    made, _ = ensured(places, KIND, wish_for(places, names, offline=offline), quiet=False)
    if not made.manifest.layers:
        console.note("All of that is installed on this machine: nothing is laid over it.")
        return ()
    mount_now(places)
    view = places.mount / "views" / made.view
    return tuple(_laid_over(view))


def become_without(
    directory: Path | None,
    mounts: Sequence[Mount],
    words: Sequence[str],
    *,
    no_project: bool,
    for_python: bool,
) -> None:
    """Become a command that needs no project of Python's, unless there is one, or it is asked for.

    `for_python`: by options that are for such a project.
    """
    if for_python or runs_python(words):
        return
    if no_project or not find_projects(directory or Path(), [PYTHON]):
        replace_by(inside(mounts, words), os.environ)


def _laid_over(view: Path) -> list[Overlay]:
    found = []
    for name in LAID_OVER:
        target = Path("/", name)
        if not (view / name).is_dir() or not target.is_dir() or target.is_symlink():
            continue
        # The overlay would hide it, and the kernel allows that to root alone.
        below = [str(one.path) for one in table() if target in one.path.parents]
        if below and name != LAID_OVER[0]:
            console.note(
                f"{target} stays the machine's own: {', '.join(below[:3])} is mounted there, which "
                "would be hidden."
            )
            continue
        found.append(Overlay(str(view / name), str(target)))
    return found
