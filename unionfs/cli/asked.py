"""Options that several commands share, and the project they mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import PkgviewError
from resolver.project import find_project, project_of_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.project import Project

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DIRECTORY = click.argument(
    "directory", required=False, default=".", type=click.Path(path_type=Path)
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
PYTHON = click.option(
    "--python", metavar="PYTHON", help="A version (3.12), a command's name or a path."
)
EXTRA = click.option(
    "--extra", "extras", multiple=True, metavar="NAME", help="Add an extra; may be repeated."
)
GROUP = click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME",
    help="Add a dependency group (PEP 735); may be repeated.",
)
OFFLINE = click.option("--offline", is_flag=True, help="Ask no network.")


def project_at(path: Path) -> Project:
    """The project that a directory belongs to, or that a script is or belongs to."""
    if not os.path.lexists(path):
        raise PkgviewError(
            f"there is no {path}", remedy="Name the project's directory, or a script."
        )
    found = project_of_script(path) if path.is_file() else find_project(path)
    if found is None:
        raise PkgviewError(
            f"{Path(os.path.realpath(path))} belongs to no project: no pylock.toml, "
            "pyproject.toml with [project] or requirements.txt there or above",
            remedy="Create one of them, e.g. a requirements.txt that lists what it needs.",
        )
    return found
