"""`pkgview run`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from resolver.binding.manual import Said
from resolver.caller.commandline import Runs, parse_command
from resolver.errors import PkgviewError
from resolver.naming import nothing_at
from resolver.places import Places
from resolver.python.project import (
    PythonProject,
    owner_of_settings,
    project_of_script,
    settings_at,
)
from resolver.python.requirements import normalised
from resolver.python.target import python_of
from unionfs.cli import console
from unionfs.cli.asked import (
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
    refuse_untrusted,
    say_unclosed,
    trusted_project_at,
    with_for,
)
from unionfs.cli.command import (
    NotFoundError,
    block_on_stdin,
    command_line,
    environment,
    is_file,
    may_have_block,
    missing,
    on_path,
    replace_by,
    runs_python,
)
from unionfs.cli.commands.bind import bind_self
from unionfs.cli.commands.debian.beside import DEBS, become_without, overlays
from unionfs.cli.commands.making import Mounting, ensured, mount_now
from unionfs.cli.commands.node.beside import commands_of as commands_of_node
from unionfs.cli.commands.node.beside import first_on_path, node_project
from unionfs.cli.commands.store.pull import (
    ALLOW_OLDER,
    KEYS,
    LAZY,
    fetched,
    not_for_addresses,
    taken,
)
from unionfs.cli.completing import commands
from unionfs.cli.inside import inside
from unionfs.cli.lists import ByHand, refuse_undefined, with_layers, with_lists
from unionfs.cli.projectless import kept_script, nothing, say_foreign
from unionfs.daemon.launch import check_mountable
from unionfs.formats.python.kind import KIND
from unionfs.formats.python.wish import PythonWish
from unionfs.kinds import PYTHON as PYTHON_KIND
from unionfs.kinds import link_of
from unionfs.publishing import link
from unionfs.publishing.allowed import check_choices
from unionfs.publishing.repeat import last_shown, repeated
from unionfs.publishing.tools import commands_of
from unionfs.publishing.up import Made, whole_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.python.declared.lists import Names


def _change_directory(_: click.Context, __: click.Parameter, named: str | None) -> None:
    """A callback: before anything is looked for here."""
    if named is not None:
        try:
            os.chdir(named)
        except OSError as error:
            raise click.BadParameter(f"{named}: {error.strerror}") from error


@click.command(
    # The first word that is no option is the command, and all that follows is its own.
    cls=Adding,
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  pkgview run app.py
  pkgview run -- python app.py
  pkgview run --project ~/project -- pytest -q
  pkgview run --with rich -- python -m rich
  pkgview run --with ../lib -m pytest        with what is in ../lib, instead of the locked one
  pkgview run oci://registry.example.org/team/env:main -- python -m mypackage
""",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(path_type=Path),
    help="The project's directory or script; default: the script that is run, if it has an "
    "inline block (PEP 723), else the project here.",
)
@click.option(
    "--directory",
    "change_to",  # not `directory`, which is the project's
    callback=_change_directory,
    is_eager=True,
    expose_value=False,
    metavar="DIRECTORY",
    help="Change to that directory first.",
)
@click.option("--no-project", is_flag=True, help="Without a project, though there is one here.")
@with_for("run")
@with_layers
@DEBS
@PYTHON
@PYTHON_FETCH
@with_lists
@click.option("-m", "--module", is_flag=True, help="Run a module, as `python -m` does.")
@click.option("-s", "--script", is_flag=True, help="Run a Python script, whatever its name.")
@click.option("--isolated", is_flag=True, help="Regardless of the last `up`, and of .venv.")
@click.option("--no-sync", is_flag=True, help="With the view as it is, whatever was edited since.")
@OFFLINE
@FROZEN
@LOCKED
@TRUST
@MOUNT_MODULES
@KEYS
@ALLOW_OLDER
@LAZY
@QUIET
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, shell_complete=commands)
def run(  # noqa: PLR0913 - one parameter an option
    directory: Path | None,
    *,
    additions: tuple[str, ...],
    by_hand: ByHand,
    debs: tuple[str, ...],
    python: str | None,
    fetch_python: bool,
    lists: Names,
    module: bool,
    script: bool,
    no_project: bool,
    isolated: bool,
    no_sync: bool,
    offline: bool,
    frozen: bool,
    locked: bool,
    trust: bool,
    mount_modules: bool,
    keys: tuple[str, ...],
    allow_older: bool,
    lazy: str | None,
    command: tuple[str, ...],
) -> None:
    """Run a command, or a Python script, with a project's view: on PATH, and for all it starts.

    ADDRESS:TAG before the command, and `--`, names a view that was pushed to a remote store, and no
    project. It needs nothing but a Python that fits; --trust believes all that is said there.

    Whatever it executes, forks or leaves running, all of it sees this view, also when the project
    gets another. `pkgview ps` shows how it is bound.

    The command replaces this process: its signals, its exit code and its output are its own.
    What --with, --extra and --group add is there for this run only. What --with names wins over
    the lock; a directory is taken as it is edited.
    """
    refuse_contrary(frozen=frozen, locked=locked)
    if module and script:
        raise click.UsageError("-m and -s go not together")
    if no_project and (directory is not None or mount_modules):
        raise click.UsageError("--no-project goes not with --project and --mount-modules")
    added = bool(additions or any(by_hand))
    if no_sync and (added or any(lists) or python or isolated):
        raise click.UsageError("--no-sync takes the view as it is: nothing can be added to it")
    places = Places.from_environ()
    by_name = {"trust": trust, "keys": keys, "allow_older": allow_older, "offline": offline}
    _become_by_address(
        places, command, {**by_name, "python": python}, lazy, module=module, script=script,
        further=(directory, added, debs, *lists, no_project, isolated, no_sync),
    )  # fmt: skip
    words = command_line(command, module=module, script=script)
    said = b"" if module or command[0] != "-" else block_on_stdin()
    mounts = overlays(places, debs, offline=offline)
    node = None if no_project or isolated else node_project(directory, needed=mount_modules)
    if node is not None:
        alone = not find_projects(directory or Path(), [PYTHON_KIND])
        there = commands_of_node(
            places, node, offline=offline, frozen=frozen, locked=locked, trust=trust,
            mounted=mount_modules,
        )  # fmt: skip
        mounts += there.mounts
        if there.commands:
            first_on_path(there.commands)
        if alone and not runs_python(words):
            if added or any(lists) or python:
                raise click.UsageError("--with, --python and their like are for Python's projects")
            replace_by(inside(mounts, words), os.environ)
    asked = not debs or added or any(lists) or python
    become_without(directory, mounts, words, no_project=no_project, for_python=bool(asked))
    if no_project:
        project = nothing(places)
    else:
        project = _project(places, directory, words, said, adding=added, trust=trust)
    refuse_undefined(project, lists.groups)
    wish = PythonWish(
        project=project,
        python=python,
        fetch_python=fetch_python,
        asked=python or "",
        requirements=additions,
        settings_of=_settings_here(places, project, trust=trust) if additions else None,
        offline=offline,
        frozen=frozen,
        locked=locked,
        **by_hand._asdict(),
        kept=not (added or any(lists) or isolated),
        lists=lists,
    )
    if no_sync:
        _run_with(places, wish, _as_it_is(places, project), inside(mounts, words))
    wish = wish if isolated else repeated(places, wish)
    become(places, wish, inside(mounts, words), follows=python is None, lazy=lazy)


def _become_by_address(  # noqa: PLR0913 - what it becomes, and of what
    places: Places,
    command: tuple[str, ...],
    asked: dict[str, Any],
    lazy: str | None,
    *,
    module: bool,
    script: bool,
    further: tuple[object, ...],
) -> None:
    """Become a command with a remote store's view, if one is named; `further` is for projects."""
    if "://" not in (named := command[0]):
        if asked["keys"] or asked["allow_older"]:
            raise click.UsageError("--key and --allow-older are for views of remote stores")
        return
    not_for_addresses(*further)
    if not (rest := command[1 + (command[1:2] == ("--",)) :]):
        if named.startswith("oci:"):
            raise click.UsageError(f"what shall be run with the view of {named}?")
        raise missing(named)  # somebody means a script
    check_mountable(places)
    mounting = Mounting(places)
    made = taken(places, named, believed=mounting.begin, **asked)
    fetched(places, [made.manifest], lazy)
    mounting.wait()
    _bound_to(places, made, command_line(rest, module=module, script=script))


def become(  # noqa: PLR0913 - what it becomes, and of what
    places: Places,
    wish: PythonWish,
    words: Sequence[str],
    *,
    follows: bool = False,
    source: str = "",
    lazy: str | None = None,
) -> NoReturn:
    """Become a command with the view of the wish, which is made and mounted if need be.

    `follows`: the project's link, if it has one, leads to what is its view from now on. `source`
    is the distribution that should bring the command, which then is a tool: bound to nothing.
    """
    check_mountable(places)
    made, _ = ensured(places, KIND, wish, quiet=False)
    fetched(places, [made.manifest], lazy)
    mount_now(places)
    root = wish.project.root
    path = root / link_of(KIND.name) if root == wish.project.directory else None  # a script
    if follows and wish.kept and path is not None and link.is_ours(path, places):
        try:
            link.link(path, places, made.view, force=False)
        except link.LinkError as error:  # the command does without
            console.note(f"{path} still leads to the view of before: {error.what}")
    try:
        if not source:
            _run_with(places, wish, made, words)
        replace_by(words, on_path(str(places.mount / "views" / made.view), os.environ))
    except NotFoundError as error:
        if not source:
            raise
        there = commands_of(places, made.view, normalised(source))
        raise NotFoundError(
            f"{source} brings no command {words[0]}",
            remedy=f"It brings {', '.join(there)}: `pkgview tool run --from {source} {there[0]}`."
            if there
            else "It brings none: `pkgview run --with` is for libraries.",
        ) from error


def _as_it_is(places: Places, project: PythonProject) -> Made:
    """The view that the project has, of whatever it was made."""
    last = last_shown(places, project)
    manifest = None if last is None else whole_manifest(places, last.view)
    if last is None or manifest is None:
        raise PkgviewError(
            f"{project.root} has no view yet", remedy="Leave --no-sync out: then it gets one."
        )
    mount_now(places)
    return Made(view=last.view, manifest=manifest, fresh=False)


def _run_with(places: Places, wish: PythonWish, made: Made, words: Sequence[str]) -> NoReturn:
    """Become a command that is bound to a view of the wish."""
    _bound_to(places, made, words, str(wish.project.root) if wish.kept else None)


def _bound_to(
    places: Places, made: Made, words: Sequence[str], project: str | None = None
) -> NoReturn:
    """The same for a view, of a project or of none."""
    bind_self(
        places,
        Said.RUN,
        project=project,
        view=made.view,
        python=python_of(made.manifest).version,
    )
    view = places.mount / "views" / made.view
    replace_by(words, environment(str(view), made.view, os.environ))


def _project(  # noqa: PLR0913 - what decides it
    places: Places,
    directory: Path | None,
    words: Sequence[str],
    said: bytes,
    *,
    adding: bool,
    trust: bool,
) -> PythonProject:
    """The project that was named; else the script's own, the one here, the script's directory's.

    A script, or what was added, does without any: then the project is one that lists nothing.
    `said` is a script that came by standard input.
    """
    if directory is not None:
        return trusted_project_at(directory, trust=trust)
    script = kept_script(places, said) if said else _script(words)
    if script is not None and may_have_block(os.fspath(script)):
        found = project_of_script(script)
        if found is not None and found.root == script.resolve():
            refuse_untrusted(found, trust=trust)
            return found
        say_unclosed(script)
    beside = () if said or script is None else (script.resolve().parent,)
    for place in (Path(), *beside):
        for _, one in find_projects(place, ["python"]):
            if isinstance(one, PythonProject):
                refuse_untrusted(one, trust=trust)
                return one
    if not (adding or runs_python(words)):
        named = Path(words[0])
        if named.is_dir() or (is_file(words[0]) and not named.exists()):
            raise missing(words[0])
        return trusted_project_at(Path(), trust=trust)  # which says what there is not
    if not adding:
        say_foreign(Path() if said or script is None else script.resolve().parent)
    return nothing(places)


def _settings_here(places: Places, project: PythonProject, *, trust: bool) -> PythonProject | None:
    """The working directory's settings, where no project has any."""
    if project.root != Path(nothing_at(os.fspath(places.state))):
        return None
    here = settings_at(Path.cwd())
    if here is not None:
        refuse_untrusted(here, trust=trust)
        if not trust:  # who asks for no project says yes to none
            check_choices(owner_of_settings(here), places.state)
    return here


def _script(words: Sequence[str]) -> Path | None:
    """The script that a command runs, if it is Python's and there."""
    if not runs_python(words):
        return None
    told = parse_command([os.fsencode(word) for word in words])
    path = Path(os.fsdecode(told.value))
    return path if told.kind is Runs.SCRIPT and path.exists() else None
