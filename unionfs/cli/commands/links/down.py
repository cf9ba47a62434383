"""`pkgview down`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import DIRECTORY, KIND, absolute, json_of, projects_at
from unionfs.kinds import NODE, link_of, links
from unionfs.publishing import link
from unionfs.publishing.members import unlink_members

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    epilog="""\b
Examples:
  pkgview down
  pkgview down ~/project
"""
)
@DIRECTORY
@KIND
@json_of("{project, removed: [path]}")
def down(directory: Path, *, kinds: tuple[str, ...], as_json: bool) -> None:
    """Take a project's links to its views away. Views and archives stay (see `forget`)."""
    places = Places.from_environ()
    root, names = _linked(places, directory, kinds)
    removed = [root / name for name in names if link.unlink(root / name, places)]
    if not kinds or NODE in kinds:
        removed += unlink_members(root, places)
    if as_json:
        console.as_json({"project": os.fspath(root), "removed": list(map(os.fspath, removed))})
        return
    for path in removed:
        console.note(f"Removed {path}.")
    if not removed and not root.is_dir():
        console.note(f"{root} is a script: it has no .venv of its own.")
    elif not removed:
        console.note(f"{root} has no {' and no '.join(names)}: there is nothing to remove.")


def _linked(places: Places, directory: Path, kinds: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """Where the links of a project are, and their names; of a script none."""
    root = Path(os.path.realpath(absolute(directory)))
    names = sorted(map(link_of, kinds)) if kinds else sorted(links())
    # What is linked may be a project no longer, or one whose files are broken.
    if any(link.is_ours(root / name, places) for name in names):
        return root, names
    try:
        found = projects_at(directory, kinds)
    except PkgviewError:
        if not root.is_dir():
            raise
        return root, names  # it is no project, and so has no link
    project = found[0][1]
    if project.root != project.directory:
        return project.root, []
    return project.root, [link_of(kind.name) for kind, _ in found]
