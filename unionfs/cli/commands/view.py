"""`pkgview view`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from resolver.manifest import BY_HAND
from resolver.places import Places
from unionfs.archive.layer import EntryNo, Kind
from unionfs.cli import console
from unionfs.cli.asked import DIRECTORY, KIND, json_of, projects_at
from unionfs.store.ordered import Stores
from unionfs.store.provenance import provenance
from unionfs.view.opened import load_manifest, open_view, project_view

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.manifest import ViewId
    from unionfs.store.provenance import Provenance
    from unionfs.view.opened import OpenedView


@click.command(
    epilog="""\b
Examples:
  pkgview view
  ls $(pkgview view --path ~/project)
  pkgview view --provenance              by whose word each package is what it is
"""
)
@DIRECTORY
@click.option("--path", "part", flag_value="path", help="Print just the view's path.")
@click.option(
    "--provenance",
    "part",
    flag_value="provenance",
    help="Show by whose word each archive is what it is.",
)
@click.option("--python", metavar="X.Y", help="The view for that Python, not the newest.")
@KIND
@json_of(
    "{project, kind, target: {…}, view, path, "
    "layers: [{name, version, archive, bytecode, files, size, stored}], "
    "conflicts: [{path, winner, loser}]}; "
    "with --provenance: {project, view, "
    "archives: [{name, version, archive, word, source, store, signer, key, taken}]}"
)
def view(
    directory: Path,
    *,
    part: str | None,
    python: str | None,
    kinds: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show a project's view: path, layers, sizes, conflicts."""
    places = Places.from_environ()
    kind, project = projects_at(directory, kinds)[0]
    found = project_view(places, project, python, kind=kind.name)
    if part == "path":
        console.answer(str(places.mount / "views" / found))
        return
    if part == "provenance":
        _show_provenance(places, str(project.root), found, as_json=as_json)
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
                layer["name"] or _unnamed(layer["archive"]),
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


def _unnamed(archive: str) -> str:
    return "(by hand)" if archive.startswith(BY_HAND) else "(pkgview's own)"


def _show_provenance(places: Places, root: str, view: ViewId, *, as_json: bool) -> None:
    manifest = load_manifest(places, view)
    known = provenance(Stores(places), set(manifest.archives))
    listed = [(layer, name) for layer in manifest.layers for name in layer.archives]
    if as_json:
        archives = [
            {"name": one.name, "version": one.version, "archive": name, **asdict(known[name])}
            for one, name in listed
        ]
        console.as_json({"project": root, "view": view, "archives": archives})
        return
    console.table(
        [
            (
                (layer.name or _unnamed(layer.archive)) + (" bytecode" * (name == layer.bytecode)),
                layer.version,
                *_whose(known[name]),
            )
            for layer, name in listed
        ],
        header=("archive of", "version", "from", "by whose word"),
    )


def _whose(one: Provenance) -> tuple[str, str]:
    """What an archive is made from, and by whose word that is so."""
    digest = one.source.removeprefix("sha256-")
    source = f"sha256 {digest[:12]}…" if digest != one.source else ""
    day = f", {datetime.fromtimestamp(one.taken, UTC):%Y-%m-%d}"
    words = {
        "made": "made here",
        "derived": "packed here",
        "imported": "imported, by your word",
        "vouched": f"{one.signer} ({one.key}), in {one.store}{day}"
        if one.signer
        else f"{one.store or 'a word that is lost'}, unsigned{day if one.store else ''}",
        "store": f"the store {one.store}",
        "doubted": "a word that counts no more: `pkgview store verify --signatures`",
        "": "nothing is written down: built here, or it came with the project",
    }
    return source, words[one.word]


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
