"""`pkgview why`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import PkgviewError
from resolver.node.project import NodeProject
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import KIND, json_of, projects_at
from unionfs.cli.completing import paths
from unionfs.view.explain import find, origin
from unionfs.view.opened import open_view, project_view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resolver.project.project import Project
    from unionfs.formats.kind import Kind
    from unionfs.formats.node.reasons import Reason
    from unionfs.view.explain import Origin, Provider
    from unionfs.view.opened import OpenedView


_PROVIDER = "{name, version, archive, kind, size}"
_REASON = "{what, name, version, place, range}"


@click.command(
    epilog="""\b
Examples:
  pkgview why numpy                      a module
  pkgview why bin/pytest                 a path in the view
  pkgview why .venv/lib/python3.11/site-packages/six.py
  pkgview why node_modules/ms            also who needs it
"""
)
@click.argument("query", metavar="PATH|MODULE", shell_complete=paths)
@click.option(
    "--project",
    "directory",
    type=click.Path(path_type=Path),
    default=".",
    help="The project whose view it is; default: the one here.",
)
@KIND
@json_of(
    f"{{path, given_by: [{_PROVIDER}], hides: [{_PROVIDER}], reasons: [{_REASON}]}}; "
    "reasons: of Node's packages"
)
def why(query: str, *, directory: Path, kinds: tuple[str, ...], as_json: bool) -> None:
    """Show which distribution gives a file or module, and what it hides."""
    if not query:
        raise click.UsageError("name a path or a module")
    places = Places.from_environ()
    found, reasons = _found(places, projects_at(directory, kinds), query)
    if as_json:
        console.as_json({**_as_dict(found), "reasons": [one._asdict() for one in reasons]})
        return
    console.answer(found.path)
    for provider in found.given_by:
        console.answer(f"  given by  {_said(provider)}")
    for provider in found.hides:
        console.answer(f"  hides     {_said(provider)}")
    for reason in reasons:
        console.answer(f"  {reason}")


def _found(
    places: Places, projects: Sequence[tuple[Kind, Project]], query: str
) -> tuple[Origin, Sequence[Reason]]:
    """The first of the project's views that has it, and what its kind says of that."""
    missing: PkgviewError | None = None
    for kind, project in projects:
        try:
            view = project_view(places, project, kind=kind.name)
        except PkgviewError as error:
            missing = missing or error
            continue
        opened = open_view(places, view)
        look = partial(
            find,
            opened.union,
            opened.manifest,
            roots=kind.roots(opened.manifest),
            mount=places.mount,
            cwd=Path.cwd(),
            project=project.root,
        )
        if isinstance(project, NodeProject):
            answer = _of_node(project, opened, query, look)
            if answer is not None:
                return answer
        elif (found := look(query)) is not None:
            return found, ()
        missing = PkgviewError(
            f"nothing in the view of {project.root} gives {query}",
            remedy="If the project needs it, list its distribution and run `pkgview up`.",
        )
    assert missing is not None  # noqa: S101 - there is at least one project
    raise missing


def _of_node(
    project: NodeProject, opened: OpenedView, query: str, look: Callable[[str], Origin | None]
) -> tuple[Origin, Sequence[Reason]] | None:
    """As a program of Node's in the working directory finds what is asked for."""
    from unionfs.formats.node.reasons import behind, meant, reasons  # noqa: PLC0415 - `-h` does without

    union, manifest = opened.union, opened.manifest
    path = meant(project, union, query, Path.cwd())
    found = look(query) if path is None else origin(union, manifest, path)
    if found is not None:
        found = origin(union, manifest, behind(union, found.path))
    if found is None:
        return None
    # What is ours in a package's directory says nothing of who brought it.
    named = tuple(one for one in found.given_by if one.layer.name)
    return replace(found, given_by=named or found.given_by), reasons(project, union, found.path)


def _said(provider: Provider) -> str:
    layer = provider.layer
    name = f"{layer.called} {layer.version}".strip() or "pkgview itself"
    return f"{name} ({provider.archive})"


def _as_dict(found: Origin) -> dict[str, Any]:
    def listed(providers: tuple[Provider, ...]) -> list[dict[str, Any]]:
        return [
            {
                "name": provider.layer.name,
                "version": provider.layer.version,
                "archive": provider.archive,
                "kind": provider.kind.name.lower(),
                "size": provider.size,
            }
            for provider in providers
        ]

    return {
        "path": found.path,
        "given_by": listed(found.given_by),
        "hides": listed(found.hides),
    }
