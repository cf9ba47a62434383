"""`pkgview run`."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from resolver.binding.manual import Said
from resolver.errors import PkgviewError
from resolver.places import Places
from resolver.python.target import python_of
from unionfs.cli.asked import (
    EXTRA,
    FROZEN,
    GROUP,
    LOCKED,
    OFFLINE,
    PYTHON,
    PYTHON_FETCH,
    TRUST,
    refuse_contrary,
    trusted_project_at,
    with_for,
)
from unionfs.cli.commands.bind import bind_self
from unionfs.cli.commands.up import ensured, mount_now
from unionfs.daemon.launch import check_mountable
from unionfs.formats.python.kind import KIND, PythonWish
from unionfs.publishing.repeat import repeated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@click.command(
    # The first word that is no option is the command, and all that follows is its own.
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  pkgview run -- python app.py
  pkgview run --project ~/project -- pytest -q
  pkgview run --with rich -- python -m rich
""",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(path_type=Path),
    default=".",
    help="The project's directory or script; default: the one here.",
)
@with_for("run")
@PYTHON
@PYTHON_FETCH
@EXTRA
@GROUP
@OFFLINE
@FROZEN
@LOCKED
@TRUST
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    *,
    requirements: tuple[str, ...],
    python: str | None,
    fetch_python: bool,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    offline: bool,
    frozen: bool,
    locked: bool,
    trust: bool,
    command: tuple[str, ...],
) -> None:
    """Run a command with a project's view: on PATH, and for all that it starts.

    Whatever it executes, forks or leaves running, all of it sees this view, also when the project
    gets another. `pkgview ps` shows how it is bound.

    The command replaces this process: its signals, its exit code and its output are its own.
    What --with, --extra and --group add is there for this run only.
    """
    refuse_contrary(frozen=frozen, locked=locked)
    places = Places.from_environ()
    wish = PythonWish(
        project=trusted_project_at(directory, trust=trust),
        python=python,
        fetch_python=fetch_python,
        asked=python or "",
        extras=extras,
        groups=groups,
        requirements=requirements,
        offline=offline,
        frozen=frozen,
        locked=locked,
        kept=not (requirements or extras or groups),
    )
    wish = repeated(places, wish)
    check_mountable(places)
    made, _ = ensured(places, KIND, wish, quiet=False)
    mount_now(places)
    view = places.mount / "views" / made.view
    bind_self(
        places,
        Said.RUN,
        project=str(wish.project.root) if wish.kept else None,
        view=made.view,
        python=python_of(made.manifest).version,
    )
    replace_by(command, environment(view, made.view, os.environ))


def replace_by(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become the command, found on the PATH of `environ`."""
    program, *arguments = command
    if not program:
        raise NotFoundError("the command's name is empty", remedy="Name a command.")
    # Python ignores these two, and what is ignored stays so in the program that comes.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(program, [program, *arguments], environ)  # noqa: S606 - the user's own command
    except FileNotFoundError as error:
        found = shutil.which(program, path=environ["PATH"])
        if found is not None:
            raise NotRunnableError(
                f"{found} cannot be run: the interpreter that its first line names is missing",
                remedy="Install that, or mend the line.",
            ) from error
        raise NotFoundError(
            f"there is no command {program}",
            remedy="Name one that the view or PATH has: `pkgview run -- python …`.",
        ) from error
    except OSError as error:
        raise NotRunnableError(
            f"{program} cannot be run: {error.strerror}",
            remedy="Name a program that you may execute; a script needs a first line like "
            "`#!/bin/sh`.",
        ) from error


class NotFoundError(PkgviewError):
    """The command does not exist; the status is that of shells and `env`."""

    status = 127


class NotRunnableError(PkgviewError):
    """The command exists and cannot be executed."""

    status = 126


def environment(view: Path, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What an activated environment would have, and the view's name for all that is started."""
    changed = {**environ, "VIRTUAL_ENV": str(view), "PKGVIEW_VIEW": name}
    changed["PATH"] = os.pathsep.join((str(view / "bin"), environ.get("PATH", os.defpath)))
    changed.pop("PYTHONHOME", None)
    return changed
