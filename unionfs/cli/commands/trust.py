"""`pkgview trust`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver.errors import PkgviewError
from resolver.naming import is_nobodys
from resolver.places import Places
from resolver.project import trust as trusting
from resolver.project.project import trust_faults
from resolver.python.project import Origin, PythonProject, owner_of_settings, settings_at
from unionfs.cli import console
from unionfs.cli.asked import (
    DIRECTORY,
    absolute,
    choices_of,
    have_all_looked_at,
    json_of,
    projects_at,
)
from unionfs.formats.python.kind import KIND
from unionfs.store.ordered import PROJECT
from unionfs.upkeep.projects import forget_built

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resolver.project.project import Project
    from resolver.project.trust import Trusted


@click.command(
    epilog="""\b
Examples:
  pkgview trust                          the project here may do what it wants to
  pkgview trust /srv/shared/project
  pkgview trust --list
  pkgview trust --revoke /srv/shared/project
"""
)
@DIRECTORY
@click.option("--revoke", is_flag=True, help="Trust it no longer.")
@click.option("--list", "listed", is_flag=True, help="Show what is trusted, and what became of it.")
@json_of(
    "{project, trusted, faults: [text], choices: [text]}; "
    "with --list: [{project, objection, choices: [text]}]"
)
def trust(directory: Path, *, revoke: bool, listed: bool, as_json: bool) -> None:
    """Say yes to a project: a clone, or one that others own or may write to.

    What a project lists decides which code runs in your programs. Until you say yes, it counts only
    for its own scripts, and does nothing that it has chosen itself: another index, an address, a
    Python of its own. `up`, `run`, `shell`, `lock` and `bind` say yes to it, too.

    What it wants, and what speaks against it now, is written down: where that grows (another
    index, another owner, write access for more people, another directory in its place) you are
    asked again.
    """
    places = Places.from_environ()
    if listed and revoke:
        raise click.UsageError("name one of --list and --revoke")
    if listed:
        own = os.fspath(places.state), os.fspath(places.cache)
        known = trusting.load(places.state).values()
        _show([one for one in known if not is_nobodys(one.root, *own)], as_json=as_json)
        return
    if revoke:
        root = _root(directory, places)
        if not trusting.revoke(root, places.state, covered=_is_covered(directory, places)):
            raise PkgviewError(
                f"{root} is not trusted", remedy="`pkgview trust --list` shows what is."
            )
        forget_built(places, root)
        have_all_looked_at(places)
        _answer(as_json, root, trusted=False, said=[f"{root} is not trusted any more."])
        return
    project = _project_at(directory)
    uid = os.geteuid()
    choices = _choices_of(project) | _of_store(project)
    given = trusting.allow(project, uid, places.state, choices)
    have_all_looked_at(places)
    root = str(project.root)
    faults = [fault.said for fault in trust_faults(project, uid)]
    said = [f"{root} is trusted from now on" + (", although" if faults else ".")]
    said += [f"  {fault}" for fault in faults]
    if given.choices:
        said += ["It may", *(f"  {choice}" for choice in sorted(given.choices))]
    more: dict[str, object] = {"faults": faults, "choices": sorted(given.choices)}
    _answer(as_json, root, trusted=True, said=said, more=more)


def _project_at(directory: Path) -> Project:
    """Of any kind; where there are several, the first: a yes is one to all of them.

    Where there is none, what stands for a directory that has settings of uv (`run --with` there).
    """
    try:
        return projects_at(directory)[0][1]
    except PkgviewError:
        here = settings_at(directory) if directory.is_dir() else None
        if here is None or not here.around:
            raise
        return owner_of_settings(here)


def _choices_of(project: Project) -> frozenset[str]:
    if isinstance(project, PythonProject) and project.origin is Origin.NOTHING:
        return KIND.choices(project, users=frozenset())
    return choices_of(project)


def _is_covered(directory: Path, places: Places) -> bool:
    """Whether it is a member of a workspace that was said yes to."""
    try:
        return trusting.is_agreed(_project_at(directory), places.state)
    except PkgviewError:
        return False


def _of_store(project: Project) -> frozenset[str]:
    """What a store of its own adds to what it chooses."""
    brings = (project.directory / PROJECT / "archives").is_dir()
    return frozenset({trusting.STORE} if brings else ())


def _root(directory: Path, places: Places) -> str:
    """The project's root; also of one that is gone, or broken, by the name it is listed under."""
    named = os.path.realpath(absolute(directory))
    if named in trusting.load(places.state):
        return named
    return str(_project_at(directory).root)


def _answer(
    as_json: bool,  # noqa: FBT001 - of one caller
    root: str,
    *,
    trusted: bool,
    said: list[str],
    more: dict[str, object] | None = None,
) -> None:
    if as_json:
        told: dict[str, object] = {"project": root, "trusted": trusted, "faults": [], "choices": []}
        console.as_json(told | (more or {}))
    else:
        for line in said:
            console.note(line)


def _show(known: Iterable[Trusted], *, as_json: bool) -> None:
    rows = [(one, _objection(one)) for one in sorted(known, key=lambda one: one.root)]
    if as_json:
        console.as_json(
            [
                {"project": one.root, "objection": why or None, "choices": sorted(one.choices)}
                for one, why in rows
            ]
        )
        return
    for one, why in rows:
        console.answer(f"{one.root}: {why or 'trusted'}")
        for choice in sorted(one.choices):
            console.answer(f"  may {choice}")
    if not rows:
        console.note("Nothing is trusted.")


def _objection(one: Trusted) -> str:
    """Why what was said of it does not count any more, "" if it does."""
    try:
        project = _project_at(Path(one.root))
    except PkgviewError as error:
        return error.what
    if str(project.root) != one.root:
        return "there is no project any more"
    return trusting.objection(project, one, trust_faults(project, os.geteuid())) or ""
