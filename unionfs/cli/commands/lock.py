"""`pkgview lock`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from resolver.failures import single_failure
from resolver.places import Places
from resolver.python.discovery import find_interpreter, find_or_fetch
from resolver.python.lock import write_lock
from unionfs.cli import console
from unionfs.cli.asked import (
    DIRECTORY,
    OFFLINE,
    PYTHON,
    PYTHON_FETCH,
    QUIET,
    TRUST,
    UPGRADE_PACKAGE,
    agree,
    json_of,
    project_at,
    trusted_project_at,
)
from unionfs.cli.lists import refuse_undefined, with_lists
from unionfs.cli.progress import Display

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.declared.lists import Names


@click.command(
    epilog="""\b
Examples:
  pkgview lock
  pkgview lock ~/project --upgrade
"""
)
@DIRECTORY
@PYTHON
@PYTHON_FETCH
@with_lists
@click.option("--upgrade", "-U", is_flag=True, help="Take the newest versions that fit.")
@UPGRADE_PACKAGE
@OFFLINE
@TRUST
@QUIET
@json_of("{project, path}")
def lock(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    *,
    python: str | None,
    fetch_python: bool,
    lists: Names,
    upgrade: bool,
    upgrade_packages: tuple[str, ...],
    offline: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Write the project's pylock.toml (PEP 751), for every platform and Python it supports."""
    places = Places.from_environ()
    project = trusted_project_at(directory, trust=trust)
    agree(project, places.state)
    refuse_undefined(project, lists.groups)
    interpreter = (
        find_or_fetch(project, python, places.state, offline=offline)
        if fetch_python
        else find_interpreter(project, python, places.state)
    )
    with Display(quiet=as_json) as display, single_failure():
        display.locking(str(project.root))
        path = trio.run(
            partial(
                write_lock,
                project,
                interpreter,
                extras=lists.extras,
                groups=lists.groups,
                upgrade=upgrade,
                upgrade_packages=upgrade_packages,
                offline=offline,
            )
        )
    # What it says is the user's own doing, and is what the project chooses from now on.
    agree(project_at(path.parent), places.state)
    if as_json:
        console.as_json({"project": os.fspath(project.root), "path": os.fspath(path)})
    else:
        console.note(f"Wrote {path}.")
