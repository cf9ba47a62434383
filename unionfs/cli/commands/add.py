"""`pkgview add` and `pkgview remove`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click
import trio

from resolver.errors import PkgviewError
from resolver.failures import single_failure
from resolver.places import Places
from resolver.python.discovery import find_interpreter
from resolver.python.editing.edit import Edit, edit
from resolver.python.editing.whole import all_or_nothing
from unionfs.cli.asked import OFFLINE, PYTHON, TRUST, absolute, agree, json_of, trusted_project_at
from unionfs.cli.commands.up import ANSWER, up
from unionfs.cli.progress import Display
from unionfs.formats.python.kind import PythonWish
from unionfs.kinds import PYTHON as PYTHON_KIND
from unionfs.kinds import link_of
from unionfs.publishing import link
from unionfs.publishing.repeat import repeated

_DIRECTORY = click.option(
    "--directory", default=".", type=click.Path(path_type=Path), help="Of the project there."
)
_DEV = click.option("--dev", is_flag=True, help="The dependency group dev: `--group dev`.")
_GROUP = click.option("--group", metavar="NAME", help="A dependency group (PEP 735).")
_OPTIONAL = click.option("--optional", "extra", metavar="NAME", help="An extra.")


@click.command(
    epilog="""\b
Examples:
  pkgview add 'rich>=14' httpx
  pkgview add --dev pytest
  pkgview add --editable ../library
"""
)
@click.argument("requirements", nargs=-1, metavar="[REQ]...")
@click.option(
    "--editable",
    "editables",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A project in a directory, whose edits count at once; may be repeated.",
)
@_DEV
@_GROUP
@_OPTIONAL
@_DIRECTORY
@PYTHON
@OFFLINE
@TRUST
@json_of(ANSWER)
@click.pass_context
def add(  # noqa: PLR0913 - one parameter an option
    context: click.Context,
    requirements: tuple[str, ...],
    *,
    editables: tuple[Path, ...],
    dev: bool,
    group: str | None,
    extra: str | None,
    directory: Path,
    python: str | None,
    offline: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Add requirements to the project's list; lock and view follow.

    Edits pyproject.toml, as `uv add` does, or requirements.txt. If anything fails, every file is as
    before.
    """
    if not requirements and not editables:
        raise click.UsageError("name a requirement, or a directory with --editable", context)
    asked = Edit(
        requirements=tuple(map(_from_here, requirements)),
        editables=tuple(map(absolute, editables)),
        group=_one_place(context, dev=dev, group=group, extra=extra),
        extra=extra,
    )
    _carry_out(
        context, asked, directory, python=python, offline=offline, trust=trust, as_json=as_json
    )


@click.command(
    epilog="""\b
Examples:
  pkgview remove httpx
  pkgview remove --dev pytest
"""
)
@click.argument("names", nargs=-1, metavar="NAME...", required=True)
@_DEV
@_GROUP
@_OPTIONAL
@_DIRECTORY
@PYTHON
@OFFLINE
@TRUST
@json_of(ANSWER)
@click.pass_context
def remove(  # noqa: PLR0913 - one parameter an option
    context: click.Context,
    names: tuple[str, ...],
    *,
    dev: bool,
    group: str | None,
    extra: str | None,
    directory: Path,
    python: str | None,
    offline: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Take requirements out of the project's list; lock and view follow.

    What others need stays. If anything fails, every file is as before.
    """
    group = _one_place(context, dev=dev, group=group, extra=extra)
    asked = Edit(requirements=names, group=group, extra=extra, removed=True)
    _carry_out(
        context, asked, directory, python=python, offline=offline, trust=trust, as_json=as_json
    )


def _one_place(
    context: click.Context, *, dev: bool, group: str | None, extra: str | None
) -> str | None:
    """The group that is meant, if any."""
    if sum((dev, group is not None, extra is not None)) > 1:
        raise click.UsageError("--dev, --group and --optional exclude each other", context)
    return "dev" if dev else group


def _from_here(requirement: str) -> str:
    """A path is relative to where it was typed, wherever the project's directory is."""
    if requirement.startswith(("./", "../")) or requirement in {".", ".."}:
        return os.fspath(absolute(Path(os.path.normpath(requirement))))
    return requirement


def _refuse_foreign(path: Path, places: Places) -> None:
    """Say before anything is edited what `up` would say then."""
    if os.path.lexists(path) and not link.is_ours(path, places):
        raise PkgviewError(
            f"{path} is there already and is not pkgview's",
            remedy="Run `pkgview up --force` once, which sets it aside; or use uv itself.",
        )


def _carry_out(  # noqa: PLR0913 - of both commands
    context: click.Context,
    asked: Edit,
    directory: Path,
    *,
    python: str | None,
    offline: bool,
    trust: bool,
    as_json: bool,
) -> None:
    places = Places.from_environ()
    project = trusted_project_at(directory, trust=trust)
    agree(project, places.state)
    _refuse_foreign(project.directory / link_of(PYTHON_KIND), places)
    extras = (asked.extra,) if asked.extra and not asked.removed else ()
    groups = (asked.group,) if asked.group and not asked.removed else ()
    # All else is as in the last `up`: nobody has said that it should not be.
    wish = repeated(
        places,
        PythonWish(
            project=project, python=python, asked=python or "", extras=extras, groups=groups
        ),
    )
    interpreter = find_interpreter(project, wish.python, places.state)
    with all_or_nothing(project, places.state):
        with Display(quiet=as_json) as display, single_failure():
            display.locking(str(project.root))
            trio.run(
                partial(edit, project, interpreter, asked, state=places.state, offline=offline)
            )
        context.invoke(
            up,
            directory=project.directory,
            kinds=(PYTHON_KIND,),
            python=wish.asked or None,
            extras=wish.extras,
            groups=wish.groups,
            offline=offline,
            trust=trust,
            as_json=as_json,
        )
