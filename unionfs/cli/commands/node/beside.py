"""Node's part of `run` and `shell`: the commands of the project's packages, on PATH.

A program looks Node's packages up from the directory that it lies in, so the project's link is the
way to its view. Who runs something has it made and linked, as `npm exec` would install it; in a
project that is Python's, too, only after a `pkgview up` has done so once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from resolver.errors import PkgviewError
from resolver.node.project import NodeProject, project_at
from resolver.project import resolved
from unionfs.cli import console, quick, quick_node
from unionfs.cli.asked import find_projects, projects_at, refuse_untrusted
from unionfs.cli.commands.links.project import mountable_at
from unionfs.cli.commands.making import ensured, mount_now
from unionfs.daemon.launch import check_mountable
from unionfs.formats.node.kind import KIND
from unionfs.formats.node.wish import NodeWish, again
from unionfs.kinds import NODE, PYTHON, link_of
from unionfs.publishing import link, mountable
from unionfs.publishing.members import link_members, mounts_of

if TYPE_CHECKING:
    from resolver.places import Places
    from unionfs.namespaces.private import Bind


def node_project(directory: Path | None, *, needed: bool = False) -> NodeProject | None:
    """The project of Node's that a directory, or the one here, belongs to.

    `needed`: by an option that is for such projects.
    """
    found = _node_project(directory)
    if needed and found is None:
        raise click.UsageError("--mount-modules is for projects of Node's")
    return found


def _node_project(directory: Path | None) -> NodeProject | None:
    if directory is not None and not directory.is_dir():
        return None
    here = directory or Path()
    try:
        found = find_projects(here, [NODE])
    except PkgviewError:
        if find_projects(here, [PYTHON]):
            return None  # what cannot be read of it concerns nobody who has not asked for it
        raise
    return next((one for _, one in found if isinstance(one, NodeProject)), None)


def node_alone(directory: Path) -> NodeProject | None:
    """The nearest project, if it is one of Node's and of no other kind."""
    found = [project for _, project in find_projects(directory)]
    alone = found[0] if len(found) == 1 else None
    return alone if isinstance(alone, NodeProject) else None


def node_to_edit(directory: Path, kind: str | None) -> NodeProject | None:
    """The project of Node's whose package.json is meant; None: it is a list of Python's.

    `UsageError` where it could be either.
    """
    found = find_projects(directory, [kind] if kind else [])
    if len(found) > 1:
        named = " and ".join(f"--kind {one.name}" for one, _ in found)
        raise click.UsageError(
            f"{found[0][1].root} is a project of several kinds: say which one, {named}"
        )
    if not found and kind != PYTHON:
        begun = project_at(Path(os.path.realpath(directory)), begun=True)
        if begun is None:
            projects_at(directory, [kind] if kind else [])  # says why
        return begun
    return next((one for _, one in found if isinstance(one, NodeProject)), None)


class There(NamedTuple):
    """The directory of a project's commands, and what is to be mounted for those who use it."""

    commands: str = ""
    mounts: tuple[Bind, ...] = ()


def commands_of(  # noqa: PLR0913 - what is asked of it
    places: Places,
    project: NodeProject,
    *,
    offline: bool = False,
    frozen: bool = False,
    locked: bool = False,
    trust: bool = False,
    mounted: bool = False,
) -> There:
    """The directory of its commands, made and linked if need be; "" where it is none of ours.

    `mounted`: as `up --mount-modules`.
    """
    path = project.root / link_of(NODE)
    if mountable.is_mounted(path):
        return There(f"{path}/.bin")
    alone = all(kind.name == NODE for kind, _ in find_projects(project.root))
    record = resolved.load(places.state / "projects", str(project.root))
    last = record.view_for(None, NODE)
    foreign = link.is_foreign(path, places)
    if last is None and (foreign or not alone):
        return There(f"{path}/.bin" if alone else "")
    refuse_untrusted(project, trust=trust)
    if foreign:
        console.note(
            f"{path} is not pkgview's any more: its own commands are used. `pkgview up --force` "
            "sets it aside and links the view again."
        )
        return There(f"{path}/.bin")
    check_mountable(places)
    wish = NodeWish(project=project) if last is None else again(project, last)
    wish = _with(wish, offline=offline, frozen=frozen, locked=locked)
    with mountable_at(places, project, asked=mounted):
        made, _ = ensured(places, KIND, wish, quiet=False)
    mount_now(places)
    new = not os.path.lexists(path)
    try:
        link.link(path, places, made.view, force=False)
        link_members(project.root, places, made.manifest, made.before, force=False)
    except link.LinkError as error:  # the commands do without, what they look up does not
        console.note(f"{path} does not lead to the view: {error.what}")
        return There(str(places.mount / "views" / made.view / path.name / ".bin"))
    if new:
        quick.say_linked(str(path))
    return There(f"{path}/.bin", mounts_of(project.root, places, made.manifest))


def _with(wish: NodeWish, *, offline: bool, frozen: bool, locked: bool) -> NodeWish:
    from dataclasses import replace  # noqa: PLC0415 - once

    return replace(wish, offline=offline, frozen=frozen, locked=locked)


def first_on_path(directory: str) -> None:
    """Put it first on PATH, for what this process becomes, and name the view."""
    os.environ.update(quick_node.environment(directory, os.environ))
