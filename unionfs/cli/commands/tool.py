"""`pkgview tool`: programs with a view of their own."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import PkgviewError
from resolver.local import named_place
from resolver.places import Places
from resolver.project import resolved
from resolver.project.changes import changes, some
from resolver.python.added.additions import addition
from resolver.python.project import project_at
from resolver.python.requirements import normalised
from resolver.python.target import python_of
from unionfs.cli import console
from unionfs.cli.asked import OFFLINE, PYTHON, PYTHON_FETCH, QUIET, Adding, json_of, with_for
from unionfs.cli.command import tool_requirement
from unionfs.cli.commands.making import ensured, mount_now
from unionfs.cli.commands.run import become, nothing
from unionfs.cli.completing import names_of, paths, tools
from unionfs.cli.ending import interrupted_by_all
from unionfs.cli.group import Group
from unionfs.formats.python.kind import KIND
from unionfs.formats.python.wish import PythonWish
from unionfs.publishing.tools import (
    Tool,
    bin_directory,
    commands_of,
    installed,
    link_commands,
    linked,
    refuse_taken,
    tool_named,
)
from unionfs.upkeep.projects import forget
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from resolver.python.added.additions import Addition
    from unionfs.publishing.up import Made


_TOOL = "{name, version, python, requirements: [text], commands: [name], view, directory}"


@click.group(
    cls=Group,
    epilog="""\b
Examples:
  pkgview tool run ruff@0.14.0 check     as `uvx` does: for this run only
  pkgview tool install ruff              its commands come to ~/.local/bin
  pkgview tool upgrade --all
""",
)
def tool() -> None:
    """Run or install programs that belong to no project, each with a view of its own."""


@tool.command(
    cls=Adding,
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  pkgview tool run ruff check
  pkgview tool run --from httpie http https://example.org
  pkgview tool run --with mkdocs-material mkdocs build
""",
)
@click.option(
    "--from",
    "source",
    metavar="REQ|PATH",
    shell_complete=paths,
    help="The distribution that brings it.",
)
@with_for("run")
@PYTHON
@PYTHON_FETCH
@OFFLINE
@QUIET
@click.argument(
    "command",
    nargs=-1,
    type=click.UNPROCESSED,
    required=True,
    shell_complete=names_of(tools, or_paths=True),
)
def run(  # noqa: PLR0913 - one parameter an option
    *,
    source: str | None,
    additions: tuple[str, ...],
    python: str | None,
    fetch_python: bool,
    offline: bool,
    command: tuple[str, ...],
) -> None:
    """Run a command of a distribution, which is installed nowhere.

    It works on whatever environment is active, as an installed one does.

    One that is installed is run as it is, unless a version or anything else is asked for.
    """
    places = Places.from_environ()
    requirement, name = tool_requirement(command[0])
    if source is None and named_place(command[0]) is not None:
        name = _name(addition(command[0]), command[0])
    words = [name, *command[1:]] if source is None else list(command)
    there = tool_named(places, normalised(name))
    if source is None and requirement == name and not (additions or python) and there.is_installed:
        become(places, _wish(places, there, offline=offline), words, source=name)
    wish = PythonWish(
        project=nothing(places),
        python=python,
        fetch_python=fetch_python,
        requirements=(source or requirement, *additions),
        offline=offline,
        kept=False,
    )
    become(places, wish, words, source=tool_requirement(source or name)[1])


@tool.command(
    cls=Adding,
    epilog="""\b
Examples:
  pkgview tool install ruff
  pkgview tool install 'black[d]>=24' --python 3.12
  pkgview tool install mkdocs --with mkdocs-material
  pkgview tool install -e ~/src/mytool
""",
)
@click.argument("source", metavar="REQ|PATH", shell_complete=paths)
@click.option("-e", "--editable", is_flag=True, help="Take a directory as it is edited.")
@with_for("tool")
@PYTHON
@PYTHON_FETCH
@OFFLINE
@QUIET
@json_of(_TOOL)
def install(  # noqa: PLR0913 - one parameter an option
    source: str,
    *,
    editable: bool,
    additions: tuple[str, ...],
    python: str | None,
    fetch_python: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Install a distribution's commands for yourself, with a view of their own.

    They are links in XDG_BIN_HOME, else ~/.local/bin. What is there already and is not of this tool
    stays, and is an error.
    """
    places = Places.from_environ()
    first = addition(f"-e {source}" if editable else tool_requirement(source)[0])
    beside = [addition(text) for text in additions]
    one = tool_named(places, _name(first, source))
    listed = [first.line if editable else first.as_built, *(other.line for other in beside)]
    before = one.requirements
    with interrupted_by_all():
        try:
            if before != listed:
                one.write(listed)
            made = _made(places, one, python=python, fetch_python=fetch_python, offline=offline)
            commands = _linked(places, one, made)
        except BaseException:
            if not before:
                _remove(places, one)
            elif before != listed:
                one.write(before)
                with suppress(PkgviewError):
                    _made(places, one, python=None, fetch_python=False, offline=True)
            raise
    if as_json:
        console.as_json(_described(places, one))
    elif before == listed and not made.fresh:
        console.note(
            f"{one.name} {_version(made, one)} is installed already; "
            f"`pkgview tool upgrade {one.name}` looks for a newer one."
        )
    else:
        _say(one, made, commands)


@tool.command("list")
@json_of(f"[{_TOOL}]")
def list_(*, as_json: bool) -> None:
    """Show the tools that are installed."""
    places = Places.from_environ()
    found = [_described(places, one) for one in installed(places)]
    if as_json:
        console.as_json(found)
        return
    console.table(
        [
            (one["name"], one["version"] or "?", one["python"] or "?", " ".join(one["commands"]))
            for one in found
        ],
        header=("tool", "version", "python", "commands"),
    )


@tool.command(
    epilog="""\b
Examples:
  pkgview tool upgrade ruff
  pkgview tool upgrade --all
"""
)
@click.argument("names", nargs=-1, shell_complete=names_of(tools))
@click.option("--all", "everything", is_flag=True, help="All that are installed.")
@PYTHON
@PYTHON_FETCH
@OFFLINE
@QUIET
@json_of(f"[{_TOOL}]")
def upgrade(  # noqa: PLR0913 - one parameter an option
    names: tuple[str, ...],
    *,
    everything: bool,
    python: str | None,
    fetch_python: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Take the newest versions that a tool's requirements allow."""
    if bool(names) == everything:
        raise click.UsageError("name tools, or --all")
    places = Places.from_environ()
    tools = installed(places) if everything else [_known(places, name) for name in names]
    for one in tools:
        before = _described(places, one)["version"]
        made = _made(
            places, one, python=python, fetch_python=fetch_python, offline=offline, upgrade=True
        )
        commands = _linked(places, one, made)
        if as_json:
            continue
        if before != _version(made, one):
            _say(one, made, commands)
        else:
            console.note(f"{one.name} {before}: {_changed(made)}.")
    if as_json:
        console.as_json([_described(places, one) for one in tools])


@tool.command()
@click.argument("names", nargs=-1, required=True, shell_complete=names_of(tools))
@QUIET
@json_of("[name]")
def uninstall(names: tuple[str, ...], *, as_json: bool) -> None:
    """Take a tool and its commands away; `pkgview gc` then removes what nothing else needs."""
    places = Places.from_environ()
    for one in [_known(places, name) for name in names]:
        link_commands(places, one, (), bin_directory(os.environ))
        _remove(places, one)
        if not as_json:
            console.note(f"Uninstalled {one.name}.")
    if as_json:
        console.as_json(list(names))


def _remove(places: Places, one: Tool) -> None:
    """Take it away, and have it as a project no more."""
    one.remove()
    forget(places, str(one.directory))


def _name(first: Addition, source: str) -> str:
    """The distribution's name; of a place, as its pyproject.toml or file name says it."""
    if first.name is not None:
        return first.name
    raise PkgviewError(
        f"{source} does not say how the distribution is called",
        remedy=f"Say it: 'NAME @ {source if first.path is None else first.path.as_uri()}'.",
    )


def _known(places: Places, name: str) -> Tool:
    one = tool_named(places, normalised(name))
    if not one.is_installed:
        raise PkgviewError(
            f"there is no tool {name}", remedy="`pkgview tool list` shows those that there are."
        )
    return one


def _wish(
    places: Places,
    one: Tool,
    *,
    python: str | None = None,
    offline: bool = False,
    upgrade: bool = False,
) -> PythonWish:
    """What is wanted of a tool's view; by default for the Python that it has."""
    project = project_at(os.fspath(one.directory))
    if project is None:
        raise PkgviewError(
            f"{one.directory} lists nothing any more",
            remedy=f"Run `pkgview tool install {one.name}` again.",
        )
    wish = PythonWish(project=project, python=python, offline=offline, upgrade=upgrade)
    newest = resolved.load(places.state / "projects", str(project.root)).newest
    if python is None and newest is not None:
        try:
            had = python_of(read_manifest(places, newest.view)).executable
        except (OSError, PkgviewError):
            return wish
        if Path(had).exists():
            return replace(wish, python=had)
    return wish


def _made(  # noqa: PLR0913 - one an option
    places: Places,
    one: Tool,
    *,
    python: str | None,
    fetch_python: bool,
    offline: bool,
    upgrade: bool = False,
) -> Made:
    from unionfs.daemon.launch import check_mountable  # noqa: PLC0415 - `-h` does without

    check_mountable(places)
    wish = _wish(places, one, python=python, offline=offline, upgrade=upgrade)
    wish = replace(wish, fetch_python=fetch_python, decides=True)
    made, _ = ensured(places, KIND, wish, quiet=False)
    mount_now(places)
    return made


def _linked(places: Places, one: Tool, made: Made) -> list[str]:
    commands = commands_of(places, made.view, one.name)
    if not commands:
        raise PkgviewError(
            f"{one.name} {_version(made, one)} brings no commands",
            remedy="Install what does; `pkgview run --with` is for libraries.",
        )
    bin_ = bin_directory(os.environ)
    refuse_taken(places, one, commands, bin_)
    link_commands(places, one, commands, bin_)
    return commands


def _version(made: Made, one: Tool) -> str:
    return next((layer.version for layer in made.manifest.layers if layer.name == one.name), "")


def _changed(made: Made) -> str:
    """What is otherwise in a tool of the same version: what it needs, or what it was built of."""
    if not made.fresh or made.before is None:
        return "as before"
    before, after = (
        {layer.name: layer.version for layer in manifest.layers if layer.name}
        for manifest in (made.before, made.manifest)
    )
    return some(changes(before, after)) or "built anew"


def _say(one: Tool, made: Made, commands: list[str]) -> None:
    bin_ = bin_directory(os.environ)
    console.note(f"Installed {one.name} {_version(made, one)}: {', '.join(commands)}.")
    if os.fspath(bin_) not in os.environ.get("PATH", "").split(os.pathsep):
        console.note(f"{bin_} is not on PATH: add it, and the commands are found.")


def _described(places: Places, one: Tool) -> dict[str, Any]:
    """A tool as JSON has it."""
    newest = resolved.load(places.state / "projects", str(one.directory)).newest
    version = python = None
    if newest is not None:
        try:
            manifest = read_manifest(places, newest.view)
        except (OSError, PkgviewError):
            pass  # it is made again when it is asked for
        else:
            python = python_of(manifest).version
            named = (layer.version for layer in manifest.layers if layer.name == one.name)
            version = next(named, None)
    return {
        "name": one.name,
        "version": version,
        "python": python,
        "requirements": one.requirements,
        "commands": sorted(linked(places, one, bin_directory(os.environ))),
        "view": None if newest is None else newest.view,
        "directory": str(one.directory),
    }
