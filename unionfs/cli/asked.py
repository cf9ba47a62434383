"""Options that several commands share, and the project they mean."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.ownership import accept, is_root_known
from resolver.places import Places
from resolver.project import trust as trusting
from resolver.python.added.listed import requirements_in
from resolver.python.project import PythonProject
from resolver.toml import inline_block, unclosed_block
from unionfs.cli import console
from unionfs.cli.command import EDITABLE, may_have_block, several
from unionfs.cli.completing import distributions, names_of, paths
from unionfs.formats.kind import of_every_kind
from unionfs.formats.kind import projects_at as found_projects
from unionfs.kinds import KINDS, NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resolver.project.project import Project
    from unionfs.formats.kind import Kind

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
    """What an option is, to the command that it is put on."""

DIRECTORY = click.argument(
    "directory", required=False, default=".", type=click.Path(path_type=Path)
)
PYTHON = click.option(
    "--python",
    "-p",
    metavar="PYTHON",
    shell_complete=paths,
    help="A version (3.12), a command's name or a path.",
)
PYTHON_FETCH = click.option(
    "--python-fetch", "fetch_python", is_flag=True, help="Have uv fetch a Python that is missing."
)
QUIET = click.option(
    *console.QUIET,
    is_flag=True,
    expose_value=False,
    callback=lambda _, __, quiet: console.hush(quiet=quiet),
    help="Say nothing but answers and what failed.",
)
OFFLINE = click.option("--offline", is_flag=True, help="Ask no network.")
KIND = click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(sorted(KINDS)),
    help="Of that kind only; may be repeated. Default: of every kind that the project is.",
)
OMIT = click.option(
    "--omit",
    multiple=True,
    type=click.Choice(["dev", "optional", "peer"]),
    help="Node: leave dependencies of that sort out; may be repeated. Default: as npm's settings "
    "say.",
)
MOUNT_MODULES = click.option(
    "--mount-modules",
    is_flag=True,
    help="Node: have a directory node_modules instead of a link, on which `run` and `shell` mount "
    "the view, for tools that take no link.",
)
FROZEN = click.option(
    "--frozen",
    is_flag=True,
    envvar="UV_FROZEN",
    help="Use the lock as it is, without a look at what it was made from; fail without one.",
)
LOCKED = click.option(
    "--locked", is_flag=True, envvar="UV_LOCKED", help="Fail where the lock is outdated."
)
UPGRADE_PACKAGE = click.option(
    "--upgrade-package",
    "-P",
    "upgrade_packages",
    multiple=True,
    metavar="NAME",
    shell_complete=names_of(distributions),
    help="Take the newest version of this one that fits; may be repeated.",
)
TRUST = click.option("--trust", is_flag=True, help="Use a project that others own or may write to.")


def process_number(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """A callback: the number of a process that is named by it."""
    if text is None:
        return None
    if not text.isdecimal() or not int(text):
        raise click.BadParameter(f"{text!r} is no process's number, such as 4711; `ps` shows them")
    return int(text)


def json_of(shape: str) -> Decorator:
    """`--json`, and what it prints: a test compares the two.

    `{a, b: {c}, d: [e]}` names the keys of objects, `[x]` is a list of any length, `…` stands for
    more keys; `; with --option: …` begins another answer, `; name: …` says more of a key.
    """
    return click.option("--json", "as_json", is_flag=True, help=f"Print it as JSON: {shape}")


def with_for(what: str) -> Decorator:
    """`--with` and its like, for as long as `what` ("run", "shell") lasts.

    The command has them all as `additions`, each as `resolver.python.added.additions` reads it.
    """

    def every(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def packed(
            *arguments: Any,  # noqa: ANN401 - the command's own
            requirements: tuple[str, ...],
            editables: tuple[str, ...],
            files: tuple[Path, ...],
            **others: Any,  # noqa: ANN401 - the same
        ) -> None:
            lines: list[str] = []
            for path in files:
                further, remark = requirements_in(path.absolute())
                lines += further
                if remark:
                    console.note(remark)
            additions = (
                *(one for text in requirements for one in several(text)),
                *lines,
                *(f"-e {path}" for path in editables),
            )
            command(*arguments, additions=additions, **others)

        editable = click.option(
            "--with-editable",
            "editables",
            multiple=True,
            metavar="PATH",
            shell_complete=paths,
            help="The same for a directory, as in `--with -e PATH`.",
        )
        plain = click.option(
            "--with",
            "-w",
            "requirements",
            multiple=True,
            metavar="REQ|PATH",
            shell_complete=paths,
            help=f"Add a requirement, or the distribution in a directory or file, for this {what} "
            "only; may be repeated.",
        )
        listed = click.option(
            "--with-requirements",
            "files",
            multiple=True,
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="The same for each line of a file.",
        )
        return plain(editable(listed(packed)))

    return every


class Adding(click.Command):
    """A command with `--with`, after which `-e PATH` may stand as in pip: as two words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The same arguments as click reads them."""
        taking = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        left, read = list(args), []
        while left and left[0].startswith("-") and left[0] != "--":
            word = left.pop(0)
            if word in {"--with", "-w"} and left and left[0] in EDITABLE:
                word = "--with-editable"
                del left[0]
            read.append(word)
            if word in taking and left:
                read.append(left.pop(0))
        return super().parse_args(ctx, [*read, *left])


def refuse_contrary(*, frozen: bool, locked: bool, renews: bool = False) -> None:
    """`UsageError` for options that contradict each other."""
    given = {"--frozen": frozen, "--locked": locked, "--upgrade or --upgrade-package": renews}
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        raise click.UsageError(f"name one of {named[0]} and {named[1]}")


def absolute(path: Path) -> Path:
    """Where a path is, as it is written; the working directory may have been removed meanwhile."""
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise PkgviewError(
            "the working directory does not exist any more",
            remedy="Change to one that does, e.g. with `cd`.",
        ) from error


def projects_at(
    path: Path, among: Sequence[str] = (), unread: list[PkgviewError] | None = None
) -> list[tuple[Kind, Project]]:
    """The projects that a directory belongs to, of the kinds `among` or of any; never none.

    Of a script: the one that it is, or those of its directory. `unread` as in
    `unionfs.formats.kind.projects_at`.
    """
    found = find_projects(path, among, unread)
    if not found:
        if not among or NODE in among:
            from resolver.node.project import refuse_none  # noqa: PLC0415 - only where there is none

            refuse_none(absolute(path))
        elif others := find_projects(path):
            raise PkgviewError(
                f"{others[0][1].root} is a project of {others[0][0].name.title()}'s only",
                remedy="This is for others: npm's lock is its lock, and `pkgview up` makes it.",
            )
        from resolver.python.foreign import foreign  # noqa: PLC0415 - only where there is none

        other = foreign(path) if not among or "python" in among else None
        if other is not None:
            raise PkgviewError(
                f"{Path(os.path.realpath(path))} belongs to no project: {other.said}",
                remedy=other.remedy,
            )
        raise PkgviewError(
            f"{Path(os.path.realpath(path))} belongs to no project: no "
            f"{_marks(among)} there or above"
            + (", and it has no inline block (PEP 723)" if path.is_file() else ""),
            remedy="Name a project's directory; or create one of them there, e.g. a "
            "requirements.txt that lists what it needs.",
        )
    return found


def find_projects(
    path: Path, among: Sequence[str] = (), unread: list[PkgviewError] | None = None
) -> list[tuple[Kind, Project]]:
    """The same; [] where there is none."""
    here = absolute(path)
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            say_unclosed(path)
        return found_projects(path, among, unread)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PkgviewError(
            f"there is no {path}", remedy="Name the project's directory, or a script."
        ) from error
    except OSError as error:
        raise PkgviewError(
            f"{error.filename or here} cannot be looked at: {error.strerror}",
            remedy="Name a project that you may read.",
        ) from error


def say_unclosed(script: Path) -> None:
    """Say of a script what its author did not mean: that its inline block is none."""
    if not may_have_block(os.fspath(script)):
        return
    text = script.read_bytes().decode("utf-8-sig", "replace")
    line = unclosed_block(text)
    with suppress(PkgviewError):  # said by who reads it
        if line is not None and inline_block(text, script) is None:
            console.note(
                f"{script}, line {line}: this block has no end, `# ///`, so it does not count "
                "(PEP 723)."
            )


def project_at(path: Path) -> PythonProject:
    """The project of Python's that a directory belongs to, or that a script is or belongs to."""
    ((_, project),) = projects_at(path, ["python"])
    if not isinstance(project, PythonProject):
        raise TypeError(f"{project} is no project of Python's")
    return project


def trusted_projects_at(
    path: Path,
    among: Sequence[str] = (),
    unread: list[PkgviewError] | None = None,
    *,
    trust: bool,
) -> list[tuple[Kind, Project]]:
    """The same, for commands that act on what their files say, which may run their code.

    Whoever may write to them could otherwise have us run what they like. `trust` is for a user who
    knows better, e.g. root in a container that a directory of the host's is bound into.
    """
    found = projects_at(path, among, unread)
    for _, project in found:
        refuse_untrusted(project, trust=trust)
    return found


def trusted_project_at(path: Path, *, trust: bool) -> PythonProject:
    """The same for the one of Python's."""
    project = project_at(path)
    refuse_untrusted(project, trust=trust)
    return project


def refuse_untrusted(project: Project, *, trust: bool) -> None:
    """An error where others may write to the project, unless its user trusts it."""
    if trust:
        accept(project.inputs)
        return
    why = _problem(project)
    if why is not None:
        what = "the script" if project.root != project.directory else "the project"
        if not is_root_known():
            raise PkgviewError(
                f"{what} {project.root} is not used: whose files are root's cannot be seen in the "
                "user namespace that this is a part of, as of a command that a view is mounted for",
                remedy="Run it outside, in another terminal.",
            )
        raise PkgviewError(
            f"{what} {project.root} is not used, because it is not yours alone: {why}",
            remedy="What it lists may run code as you. If you trust everybody who may write there, "
            f"use --trust, or `pkgview trust {shell_word(project.root)}` for good; else copy "
            "it, or change its owner or mode (chown, chmod go-w).",
        )


def _marks(among: Sequence[str]) -> str:
    """What would make it a project, in words."""
    names = [
        "pyproject.toml with [project]" if mark == "pyproject.toml" else mark
        for kind, (_, _, marks) in KINDS.items()
        if not among or kind in among
        for mark in marks
        if mark != "uv.lock"  # it counts beside pyproject.toml only
    ]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def agree(project: Project, state: Path) -> None:
    """Who asks for a project by a command of its own says yes to it, and to what it chooses."""
    trusting.agree(project, state, choices_of(project))


def choices_of(project: Project) -> frozenset[str]:
    """All that it chooses itself, as a project of whichever kinds it is."""
    found = of_every_kind(project.root)
    return frozenset().union(*(kind.choices(one, users=frozenset()) for kind, one in found))


def say_untrusted(project: Project) -> None:
    """Say what --trust does not change of Python's: a look at the mount decides for itself."""
    why = _problem(project) if isinstance(project, PythonProject) else None
    if why is not None:
        console.note(
            f"Programs that only start in {project.directory} do not get this view ({why}): "
            "use .venv, `pkgview run --trust`, or `pkgview trust`."
        )


def _problem(project: Project) -> str | None:
    """Why it does not count, unless the user said before that it may."""
    return trusting.problem(project, os.geteuid(), Places.from_environ().state)


def have_all_looked_at(places: Places) -> None:
    """So that shells and editors are looked at afresh; a daemon that is not there has no need."""
    from unionfs.control import client  # noqa: PLC0415 - few commands change what holds
    from unionfs.control.endpoint import endpoint_of  # noqa: PLC0415 - few commands change what holds
    from unionfs.daemon import launch  # noqa: PLC0415 - few commands change what holds
    from unionfs.mounting import mounts  # noqa: PLC0415 - few commands change what holds

    live = launch.running(places, endpoint_of(places, mounts.canonical(places.mount)))
    if live is not None:
        try:
            client.ask(live, "refresh")
        except PkgviewError as error:
            # It looks at everybody anew within a second anyway, once it looks at anybody.
            console.note(f"The daemon was not told: {error.what}")
