"""`pkgview projects` and `pkgview forget`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from resolver.errors import PkgviewError
from resolver.naming import is_nobodys
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import absolute, find_projects, have_all_looked_at, json_of
from unionfs.kinds import KINDS, link_of
from unionfs.publishing.link import is_foreign, is_of
from unionfs.upkeep import projects as upkeep


@click.command(
    epilog="""\b
Examples:
  pkgview projects
  pkgview projects --json | jq -r '.[] | select(.exists | not) | .project'
"""
)
@json_of("[{project, exists, views: [{kind, variant, view}], size, alone, others: [path]}]")
def projects(*, as_json: bool) -> None:
    """Show the projects that have a view, and what each takes.

    "alone" is what no other project needs: `pkgview forget` and `pkgview gc` free that much;
    "others" is where something else has taken the place of a link to a view.
    """
    places = Places.from_environ()
    own = os.fspath(places.state), os.fspath(places.cache)
    found = [one for one in upkeep.known_projects(places) if not is_nobodys(one.root, *own)]
    if as_json:
        console.as_json(
            [
                {
                    "project": one.root,
                    "exists": one.is_there,
                    "views": [
                        {"kind": view.kind, "variant": view.variant, "view": view.view}
                        for view in one.views
                    ],
                    "size": one.size,
                    "alone": one.alone,
                    "others": _others(one, places),
                }
                for one in found
            ]
        )
        return
    if not found:
        console.note("No project has a view yet. Run `pkgview up` in one.")
        return
    console.table(
        [
            (
                one.root,
                ", ".join(f"{view.kind} {view.variant}".strip() for view in one.views),
                *map(console.size, (one.size, one.alone)),
                _said(one.is_there, _others(one, places)),
            )
            for one in found
        ],
        header=("project", "views", "size", "alone", ""),
        right="  rr",
    )


def _others(one: upkeep.Known, places: Places) -> list[str]:
    """Where a link to a view was made, and something else is now (npm's own node_modules)."""
    paths = {Path(one.root, link_of(view.kind)) for view in one.views if view.kind in KINDS}
    return sorted(
        str(path)
        for path in paths
        if one.is_there and is_foreign(path, places) and not is_of(path, places)
    )


def _said(is_there: bool, others: list[str]) -> str:  # noqa: FBT001 - a property's
    if not is_there:
        return "it is gone"
    names = " and ".join(Path(path).name for path in others)
    return f"its {names} is not pkgview's" if names else ""


@click.command(
    epilog="""\b
Examples:
  pkgview forget                         the project here
  pkgview forget ~/old ~/older && pkgview gc
"""
)
@click.argument("directories", nargs=-1, metavar="[DIRECTORY]...", type=click.Path(path_type=Path))
@json_of("[{project, removed: [path]}]")
def forget(directories: tuple[Path, ...], *, as_json: bool) -> None:
    """Have projects no more: their views, locks, what was built there, and what you said yes to.

    Their .venv goes, all their own files stay. Programs that run keep what they see. `pkgview gc`
    then removes what only they needed; `pkgview up` would begin anew.
    """
    places = Places.from_environ()
    known = {one.root for one in upkeep.known_projects(places)}
    done = []
    for directory in directories or (Path(),):
        # One that is gone, or broken, is known by the name it is listed under.
        root = os.path.realpath(absolute(directory))
        if root not in known and os.path.lexists(root) and (found := find_projects(directory)):
            root = str(found[0][1].root)
        removed = upkeep.forget(places, root)
        if removed is None:
            raise PkgviewError(
                f"nothing is known of {root}", remedy="`pkgview projects` shows what is."
            )
        done.append({"project": root, "removed": removed})
        if not as_json:
            for link in removed:
                console.note(f"Removed {link}.")
            for aside in sorted(Path(root).glob("*.before-pkgview*")):
                console.note(f"{aside} is what was there before: rename it, or remove it.")
            console.note(f"Forgot {root}. `pkgview gc` removes what only it needed.")
    have_all_looked_at(places)
    if as_json:
        console.as_json(done)
