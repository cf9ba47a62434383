"""`pkgview shell`."""

from __future__ import annotations

import os
import pwd
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver.binding.manual import Said
from resolver.errors import PkgviewError
from resolver.naming import project_key
from resolver.places import Places
from resolver.project.resolved import load
from resolver.python.target import python_of
from unionfs.cli import console
from unionfs.cli.asked import (
    DIRECTORY,
    FROZEN,
    LOCKED,
    MOUNT_MODULES,
    OFFLINE,
    PYTHON,
    PYTHON_FETCH,
    QUIET,
    TRUST,
    Adding,
    find_projects,
    refuse_contrary,
    trusted_project_at,
    with_for,
)
from unionfs.cli.command import replace_by
from unionfs.cli.commands.bind import bind_self, home_as_tilde
from unionfs.cli.commands.making import ensured, mount_now
from unionfs.cli.commands.node.beside import commands_of as commands_of_node
from unionfs.cli.commands.node.beside import node_project
from unionfs.cli.inside import inside
from unionfs.cli.lists import refuse_undefined, with_lists
from unionfs.daemon.launch import check_mountable
from unionfs.formats.python.kind import KIND
from unionfs.formats.python.wish import PythonWish
from unionfs.kinds import PYTHON as PYTHON_KIND
from unionfs.publishing.repeat import repeated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from resolver.python.declared.lists import Names
    from unionfs.cli.commands.node.beside import There
    from unionfs.namespaces.private import Bind
    from unionfs.publishing.up import Made

SHELLS = Path(__file__).parents[1] / "shells"
"""What shells read at their start; the user's own files are read as ever."""

BOUND = "PKGVIEW_SHELL"
"""The variable that names the project in such a shell and all that it starts."""

MORE = "PKGVIEW_SHELL_MORE"
"""The variable that names a directory of commands besides the view's, for our part of its files."""

KORN = frozenset({"sh", "dash", "ash", "ksh", "ksh93", "mksh", "oksh", "yash", "busybox"})
"""Shells that read the file that ENV names when they are interactive, as POSIX has it."""


@click.command(
    cls=Adding,
    epilog="""\b
Examples:
  pkgview shell                          the project here; `exit` or Ctrl-D leaves
  pkgview shell ~/shop
  pkgview shell --with ipython
""",
)
@DIRECTORY
@with_for("shell")
@PYTHON
@PYTHON_FETCH
@with_lists
@OFFLINE
@FROZEN
@LOCKED
@TRUST
@MOUNT_MODULES
@QUIET
def shell(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    *,
    additions: tuple[str, ...],
    python: str | None,
    fetch_python: bool,
    lists: Names,
    offline: bool,
    frozen: bool,
    locked: bool,
    trust: bool,
    mount_modules: bool,
) -> None:
    """Start your shell here, bound to a project with all that it starts, wherever it goes.

    After `pkgview up` what it starts sees the new view. --python, --with, --extra and --group give
    a view for this shell only, which stays what it is.
    """
    refuse_contrary(frozen=frozen, locked=locked)
    places = Places.from_environ()
    node = node_project(directory, needed=mount_modules)
    there = partial(
        commands_of_node, places, offline=offline, frozen=frozen, locked=locked, trust=trust,
        mounted=mount_modules,
    )  # fmt: skip
    if node is not None and not find_projects(directory, [PYTHON_KIND]):
        _refuse_pipe()
        _start_for_node(str(node.root), there(node))
    project = trusted_project_at(directory, trust=trust)
    refuse_undefined(project, lists.groups)
    wish = PythonWish(
        project=project,
        python=python,
        fetch_python=fetch_python,
        asked=python or "",
        requirements=additions,
        offline=offline,
        frozen=frozen,
        locked=locked,
        kept=not (additions or any(lists)),
        lists=lists,
    )
    _refuse_pipe()
    mounts: tuple[Bind, ...] = ()
    if node is not None:
        more, mounts = there(node)
        os.environ |= {MORE: more} if more else {}
    root = str(wish.project.root)
    around = os.environ.get(BOUND)
    if around == root and wish.kept and python is None:
        raise PkgviewError(
            f"this shell is bound to {root} already",
            remedy="`exit` leaves it. After a change of the project, run `pkgview up`: what is "
            "started here from then on sees the new view.",
        )
    check_mountable(places)
    made, _ = ensured(places, KIND, repeated(places, wish), quiet=False)
    mount_now(places)
    prefix, pinned = _prefix(places, wish, made)
    environ = environment(prefix, root, made.view if pinned else None, os.environ)
    program = user_shell(os.environ)
    command = start(program, environ)
    if around is not None:
        console.note(f"A shell within the one for {home_as_tilde(around)}: `exit` returns there.")
    console.note(f"Bound to {home_as_tilde(root)}: `exit` or Ctrl-D leaves.")
    bind_self(
        places,
        Said.SHELL,
        project=root if wish.kept else None,
        view=made.view if pinned else None,
        python=python_of(made.manifest).version if pinned else None,
    )
    replace_by(inside(mounts, command), environ)


def _refuse_pipe() -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise PkgviewError(
            "there is no terminal for a shell",
            remedy="Run a command with `pkgview run -- COMMAND`.",
        )


def _start_for_node(root: str, there: There) -> NoReturn:
    """A shell with the commands of Node's packages; where it goes decides what is looked up."""
    environ = {**os.environ, BOUND: root, MORE: there.commands}
    command = start(user_shell(os.environ), environ)
    console.note(f"With the commands of {home_as_tilde(root)}: `exit` or Ctrl-D leaves.")
    replace_by(inside(there.mounts, command), environ)


def _prefix(places: Places, wish: PythonWish, made: Made) -> tuple[Path, bool]:
    """The environment that the shell has on PATH, and whether it is this one view for good."""
    root = str(wish.project.root)
    newest = load(places.state / "projects", root).newest
    if wish.kept and wish.python is None and newest and newest.view == made.view:
        return places.mount / "projects" / project_key(root), False
    return places.mount / "views" / made.view, True


def environment(
    prefix: Path, root: str, view: str | None, environ: Mapping[str, str]
) -> dict[str, str]:
    """As an activated environment would have it, and what binds those the daemon cannot see."""
    changed = {
        **environ,
        BOUND: root,
        "PKGVIEW_SHELL_PREFIX": str(prefix),
        "VIRTUAL_ENV": str(prefix),
        "VIRTUAL_ENV_PROMPT": prompt(root),
        "PATH": os.pathsep.join((str(prefix / "bin"), environ.get("PATH", os.defpath))),
    }
    for variable in ("PYTHONHOME", "PKGVIEW_VIEW", "PKGVIEW_PROJECT"):
        changed.pop(variable, None)
    changed |= {"PKGVIEW_PROJECT": root} if view is None else {"PKGVIEW_VIEW": view}
    return changed


def prompt(root: str) -> str:
    """The project's name, without anything that a shell would run or expand in a prompt."""
    return re.sub(r"[^\w.+-]", "_", Path(root).name) or "root"


def user_shell(environ: Mapping[str, str]) -> str:
    """The shell that the user has chosen."""
    named = environ.get("SHELL", "")
    if not os.access(named, os.X_OK):
        try:
            named = pwd.getpwuid(os.getuid()).pw_shell
        except KeyError:
            named = ""
    return named if os.access(named, os.X_OK) else "/bin/sh"


def start(program: str, environ: dict[str, str]) -> list[str]:
    """The command that starts it; puts into its environment what makes it read our part, too.

    A shell that is none of those below gets PATH and the binding, and its prompt says nothing.
    """
    kind = os.path.basename(program)  # noqa: PTH119 - a name, of no file here
    if kind == "bash":
        return [program, "--rcfile", str(SHELLS / "bash.sh")]
    if kind == "fish":
        environ["PKGVIEW_SHELL_INIT"] = str(SHELLS / "shell.fish")
        return [program, "--init-command", 'source "$PKGVIEW_SHELL_INIT"']
    if kind == "zsh":
        if "ZDOTDIR" in environ:
            environ["PKGVIEW_SHELL_ZDOTDIR"] = environ["ZDOTDIR"]
        environ["ZDOTDIR"] = str(SHELLS)
    elif kind in KORN:
        if "ENV" in environ:
            environ["PKGVIEW_SHELL_ENV"] = environ["ENV"]
        environ["ENV"] = str(SHELLS / "posix.sh")
    return [program]
