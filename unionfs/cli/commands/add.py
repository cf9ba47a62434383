"""`pkgview add` and `pkgview remove`."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from resolver.failures import single_failure
from resolver.places import Places
from resolver.python.discovery import find_interpreter, find_or_fetch
from resolver.python.editing.edit import Edit, edit, script_at
from resolver.python.editing.whole import all_or_nothing
from resolver.python.project import Origin
from unionfs.cli.asked import (
    OFFLINE,
    PYTHON,
    PYTHON_FETCH,
    QUIET,
    TRUST,
    absolute,
    agree,
    json_of,
    refuse_untrusted,
    trusted_project_at,
)
from unionfs.cli.commands.node.beside import node_to_edit
from unionfs.cli.commands.node.edited import edited
from unionfs.cli.commands.up import ANSWER, up
from unionfs.cli.completing import extras, groups, listed, names_of, paths
from unionfs.cli.ending import interrupted_by_all
from unionfs.cli.progress import Display
from unionfs.formats.python.wish import PythonWish
from unionfs.kinds import KINDS, NODE, link_of
from unionfs.kinds import PYTHON as PYTHON_KIND
from unionfs.publishing import link
from unionfs.publishing.repeat import repeated

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = Path()

_SHARED = (
    click.option("--dev", "-D", is_flag=True, help="The dependency group dev: `--group dev`."),
    click.option(
        "--group",
        metavar="NAME",
        shell_complete=names_of(groups),
        help="A dependency group (PEP 735).",
    ),
    click.option(
        "--optional",
        "extra",
        metavar="NAME",
        shell_complete=names_of(extras),
        help="An extra.",
    ),
    click.option(
        "--script",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="The inline block of a script (PEP 723) instead of a project's list.",
    ),
    click.option(
        "--directory",
        default=_HERE,
        show_default=False,
        type=click.Path(path_type=Path),
        help="Of the project there.",
    ),
    click.option(
        "--kind",
        type=click.Choice(sorted(KINDS)),
        help="Whose list, where the project is of several kinds.",
    ),
    PYTHON,
    PYTHON_FETCH,
    OFFLINE,
    TRUST,
    QUIET,
    json_of(ANSWER),
    click.pass_context,
)


def _edits(command: Callable[..., None]) -> Callable[..., None]:
    """What both commands are told: which list, and how the view is made of it."""
    return reduce(lambda done, option: option(done), reversed(_SHARED), command)


@click.command(
    epilog="""\b
Examples:
  pkgview add 'rich>=14' httpx
  pkgview add --dev pytest
  pkgview add --editable ../library
  pkgview add --script script.py rich    in its inline block, which it gets if it has none
  pkgview add --dev vitest               in a project of Node's: npm edits package.json
  pkgview add --kind node vitest         in one that is Python's, too
"""
)
@click.argument("requirements", nargs=-1, metavar="[REQ]...", shell_complete=paths)
@click.option(
    "--editable",
    "editables",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A project in a directory, whose edits count at once; may be repeated.",
)
@_edits
def add(
    context: click.Context,
    requirements: tuple[str, ...],
    *,
    editables: tuple[Path, ...],
    **shared: Any,  # noqa: ANN401 - as `_carry_out` has them
) -> None:
    """Add requirements to the project's list; lock and view follow.

    Edits pyproject.toml, as `uv add` does, or requirements.txt; of Node's projects package.json, as
    npm does. If anything fails, every file is as before.
    """
    if not (requirements or editables) or not all(map(str.strip, requirements)):
        raise click.UsageError("name a requirement, or a directory with --editable", context)
    asked = Edit(
        requirements=tuple(map(_from_here, requirements)),
        editables=tuple(map(absolute, editables)),
    )
    _carry_out(context, asked, **shared)


@click.command(
    epilog="""\b
Examples:
  pkgview remove httpx
  pkgview remove --dev pytest
  pkgview remove --script script.py rich
"""
)
@click.argument(
    "names", nargs=-1, metavar="NAME...", required=True, shell_complete=names_of(listed)
)
@_edits
def remove(
    context: click.Context,
    names: tuple[str, ...],
    **shared: Any,  # noqa: ANN401 - as `_carry_out` has them
) -> None:
    """Take requirements out of the project's list; lock and view follow.

    What others need stays. If anything fails, every file is as before.
    """
    _carry_out(context, Edit(requirements=names, removed=True), **shared)


def _from_here(requirement: str) -> str:
    """A path is relative to where it was typed, wherever the project's directory is."""
    if requirement.startswith(("./", "../")) or requirement in {".", ".."}:
        return os.fspath(absolute(Path(os.path.normpath(requirement))))
    return requirement


def _carry_out(  # noqa: PLR0913 - one an option
    context: click.Context,
    asked: Edit,
    *,
    kind: str | None,
    dev: bool,
    group: str | None,
    extra: str | None,
    script: Path | None,
    directory: Path,
    python: str | None,
    fetch_python: bool,
    offline: bool,
    trust: bool,
    as_json: bool,
) -> None:
    if sum((dev, group is not None, extra is not None)) > 1:
        raise click.UsageError("--dev, --group and --optional exclude each other", context)
    if script is not None and (dev or group or extra or directory != _HERE):
        raise click.UsageError(
            "--script is for the block of one file, which has no groups and no extras", context
        )
    places = Places.from_environ()
    if script is not None and kind == NODE:
        raise click.UsageError("--script is for Python's inline blocks", context)
    node = node_to_edit(directory, kind) if script is None else None
    if node is not None:
        if group or extra or python or fetch_python:
            raise click.UsageError("of Node's lists there is --dev only", context)
        names = (*asked.requirements, *map(os.fspath, asked.editables))
        with edited(
            places, node, names, removed=asked.removed, dev=dev, here=absolute(directory),
            offline=offline, trust=trust, quiet=as_json,
        ):  # fmt: skip
            context.invoke(
                up,
                directory=node.root,
                kinds=(NODE,),
                offline=offline,
                trust=trust,
                as_json=as_json,
                listed=True,
                repeats=True,
            )
        return
    asked = replace(asked, group="dev" if dev else group, extra=extra)
    if script is None:
        project = trusted_project_at(directory, trust=trust)
        agree(project, places.state)
    else:  # `up` says yes to it, when it has a block
        project = script_at(absolute(script))
        refuse_untrusted(project, trust=trust)
    if project.origin is not Origin.SCRIPT:
        # Before anything is edited, as `up` would say it then.
        link.refuse_foreign(project.directory / link_of(PYTHON_KIND), places)
    # A pylock.toml has it built in, so that it is no choice of this `up`.
    chosen = not asked.removed and project.origin is not Origin.PYLOCK
    chosen_extras = (asked.extra,) if asked.extra and chosen else ()
    chosen_groups = (asked.group,) if asked.group and chosen else ()
    wish = repeated(places, PythonWish(project=project, python=python, asked=python or ""))
    interpreter = (
        find_or_fetch(project, wish.python, places.state, offline=offline)
        if fetch_python
        else find_interpreter(project, wish.python, places.state)
    )
    with interrupted_by_all(), all_or_nothing(project, places.state):
        with Display(quiet=as_json) as display, single_failure():
            display.locking(str(project.root))
            trio.run(
                partial(edit, project, interpreter, asked, state=places.state, offline=offline)
            )
        context.invoke(
            up,
            directory=project.root,
            kinds=(PYTHON_KIND,),
            python=python,
            fetch_python=fetch_python,
            extras=chosen_extras,
            groups=chosen_groups,
            offline=offline,
            trust=trust,
            as_json=as_json,
            listed=True,
            # All else is as in the last `up`: nobody has said that it should not be.
            repeats=True,
        )
