"""`pkgview store pin` and `unpin`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import json_of, project_at
from unionfs.cli.completing import paths
from unionfs.upkeep import pins
from unionfs.upkeep.references import read_references
from unionfs.view.catalog import VIEW_ID
from unionfs.view.opened import load_manifest, project_view

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHAT = click.argument("what", required=False, metavar="[DIRECTORY|VIEW]", shell_complete=paths)


@click.command(
    epilog="""\b
Examples:
  pkgview store pin                      keep the view of the project here
  pkgview store pin ~/project
  pkgview store pin --list
"""
)
@_WHAT
@click.option("--list", "listed", is_flag=True, help="Show the views that are pinned.")
@json_of("{view, pinned}; with --list: [{view, projects: [project]}]")
def pin(what: str | None, *, listed: bool, as_json: bool) -> None:
    """Keep a view, and all that it needs, whatever becomes of its project."""
    places = Places.from_environ()
    if listed:
        if what is not None:
            raise click.UsageError("--list goes with nothing else")
        _show_pinned(places, sorted(pins.pinned(places)), as_json=as_json)
        return
    view = _view(places, what or ".")
    if VIEW_ID.fullmatch(what or ""):
        load_manifest(places, view)
    pins.pin(places, view)
    _say_pinned(view, pinned=True, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  pkgview store unpin
  pkgview store unpin 0123456789abcdef0123456789abcdef
"""
)
@_WHAT
@json_of("{view, pinned}")
def unpin(what: str | None, *, as_json: bool) -> None:
    """Keep a view no longer than anything else."""
    places = Places.from_environ()
    view = _view(places, what or ".")
    # A project's view may have been pinned before its bytecode was ready: by its id it is that one.
    found = {view} if view == what else pins.alike(places, pins.pinned(places), view)
    kept = [one for one in sorted(found) if pins.unpin(places, one)]
    if not kept:
        named = "" if view == what else f" of {what or 'the project here'}"
        raise PkgviewError(
            f"view {view}{named} is not pinned",
            remedy="`pkgview store pin --list` shows which are; name one by its id.",
        )
    _say_pinned(view if view in kept else kept[0], pinned=False, as_json=as_json)


def _view(places: Places, what: str) -> ViewId:
    """A view by its id, or that of a project."""
    if VIEW_ID.fullmatch(what):
        return ViewId(what)
    if not os.path.lexists(what):
        raise PkgviewError(
            f"{what} is no project's directory, and no view's id, which has 32 digits",
            remedy="`pkgview view` shows the view of a project, `pkgview store pin --list` those "
            "that are pinned.",
        )
    return project_view(places, project_at(Path(what)))


def _say_pinned(view: ViewId, *, pinned: bool, as_json: bool) -> None:
    if as_json:
        console.as_json({"view": view, "pinned": pinned})
    elif pinned:
        console.note(f"View {view} is kept from now on.")
    else:
        console.note(f"View {view} is kept as long as something needs it.")


def _projects_of(places: Places, views: Iterable[ViewId]) -> dict[ViewId, list[str]]:
    """Those that have a view, or had it before its bytecode was ready."""
    found: dict[ViewId, list[str]] = {view: [] for view in views}
    for root, known in read_references(places).projects.items():
        for one in known.views:
            for view in pins.alike(places, found, one.view):
                found[view].append(root)
    return found


def _show_pinned(places: Places, views: list[ViewId], *, as_json: bool) -> None:
    projects = _projects_of(places, views)
    if as_json:
        console.as_json([{"view": one, "projects": projects[one]} for one in views])
        return
    console.table(
        [(one, ", ".join(projects[one]) or "-") for one in views],
        header=("view", "project"),
        empty="No view is pinned.",
    )
