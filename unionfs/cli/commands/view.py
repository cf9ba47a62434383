"""`pkgview view`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from resolver.places import Places
from unionfs.archive.layer import EntryNo, Kind
from unionfs.cli import console
from unionfs.cli.asked import DIRECTORY, KIND, json_of, projects_at
from unionfs.view.opened import open_view, project_view

if TYPE_CHECKING:
    from pathlib import Path

    from unionfs.view.opened import OpenedView


@click.command(
    epilog="""\b
Examples:
  pkgview view
  ls $(pkgview view --path ~/project)
"""
)
@DIRECTORY
@click.option("--path", "only_path", is_flag=True, help="Print just the view's path.")
@click.option("--python", metavar="X.Y", help="The view for that Python, not the newest.")
@KIND
@json_of(
    "{project, kind, target: {…}, view, path, "
    "layers: [{name, version, archive, bytecode, files, size, stored}], "
    "conflicts: [{path, winner, loser}]}"
)
def view(
    directory: Path,
    *,
    only_path: bool,
    python: str | None,
    kinds: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show a project's view: path, layers, sizes, conflicts."""
    places = Places.from_environ()
    kind, project = projects_at(directory, kinds)[0]
    found = project_view(places, project, python, kind=kind.name)
    if only_path:
        console.answer(str(places.mount / "views" / found))
        return
    shown = describe(places, open_view(places, found))
    shown = {"project": str(project.root), **shown}
    if as_json:
        console.as_json(shown)
        return
    console.answer(f"project  {shown['project']}")
    console.answer(f"view     {shown['path']}")
    target = ", ".join(f"{name} {value}" for name, value in shown["target"].items())
    console.answer(f"{shown['kind']:<8} {target}")
    console.answer("")
    console.table(
        [
            (
                layer["name"] or "(pkgview's own)",
                layer["version"],
                str(layer["files"]),
                console.size(layer["size"]),
                console.size(layer["stored"]),
            )
            for layer in shown["layers"]
        ],
        header=("distribution", "version", "files", "size", "stored"),
        right="  rrr",
    )
    for conflict in shown["conflicts"]:
        console.answer(
            f"conflict  {conflict['path']}: {conflict['winner']} wins over {conflict['loser']}"
        )


def describe(places: Places, opened: OpenedView) -> dict[str, Any]:
    """The view as JSON has it; sizes in bytes."""
    layers = []
    for spec, archive in zip(opened.manifest.layers, opened.archives, strict=True):
        files = size = 0
        for number in range(len(archive)):
            entry = archive.entry(EntryNo(number))
            if entry.kind is not Kind.DIRECTORY:
                files += 1
                size += entry.size
        layers.append(
            {
                "name": spec.name,
                "version": spec.version,
                "archive": spec.archive,
                "bytecode": spec.bytecode,
                "files": files,
                "size": size,
                "stored": archive.size,
            }
        )
    return {
        "view": opened.id,
        "path": str(opened.path(places)),
        "kind": opened.manifest.kind,
        "target": dict(sorted(opened.manifest.target.items())),
        "layers": layers,
        "conflicts": conflicts(opened),
    }


def conflicts(opened: OpenedView) -> list[dict[str, str]]:
    """Every path on which two layers disagree, with the layers' names."""

    def name(layer: int) -> str:
        spec = opened.manifest.layers[layer]
        return f"{spec.name} {spec.version}" if spec.name else spec.archive

    return [
        {
            "path": conflict.path.decode("utf-8", "surrogateescape"),
            "winner": name(conflict.winner),
            "loser": name(conflict.loser),
        }
        for conflict in opened.union.conflicts
    ]
