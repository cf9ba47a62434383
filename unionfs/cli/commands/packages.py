"""`pkgview list`, `tree` and `outdated`: what a project's view has, in uv's own formats.

A view is a virtual environment that uv reads like any other, so uv answers: what people and scripts
know to read stays the same. Where there is nothing of Python's npm does, for Node's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import DIRECTORY, OFFLINE, project_at, refuse_untrusted
from unionfs.cli.commands.making import mount_now
from unionfs.cli.commands.node import listing
from unionfs.cli.commands.node.beside import node_alone
from unionfs.cli.completing import distributions, names_of
from unionfs.publishing.repeat import last_shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_NODE = re.compile(r"((?:[\u2502\u251c\u2514 ][\u2500 ]{2} )*)(\S+) v(\S+)(.*)")
_LATEST = re.compile(r"\(latest: v([^)]+)\)")

FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["columns", "freeze", "json"]),
    default="columns",
    help="As of `pip list` and `uv pip list`.",
)
JSON = click.option(
    "--json", "form", flag_value="json", help="Print it as JSON: [{name, version, …}]"
)


@click.command(
    "list",
    epilog="""\b
Examples:
  pkgview list
  pkgview list --format freeze > constraints.txt
""",
)
@DIRECTORY
@FORMAT
@JSON
@click.option("--outdated", is_flag=True, help="Those that there is a newer version of.")
@OFFLINE
def list_(directory: Path, *, form: str, outdated: bool, offline: bool) -> None:
    """List a project's distributions: names, versions, where editable ones are."""
    if (node := node_alone(directory)) is not None:
        if outdated:
            listing.outdated(node, as_json=form == "json", offline=offline)
        else:
            listing.listed(node, form)
        return
    _answer(directory, "list", f"--format={form}", outdated=outdated, offline=offline)


@click.command(
    epilog="""\b
Examples:
  pkgview outdated
  pkgview up --upgrade-package rich      take the newest one that fits
"""
)
@DIRECTORY
@click.option(
    "--format",
    "form",
    type=click.Choice(["columns", "json"]),
    default="columns",
    help="As of `pip list --outdated`.",
)
@JSON
@OFFLINE
def outdated(directory: Path, *, form: str, offline: bool) -> None:
    """List distributions that the index has a newer version of, whether it would fit or not."""
    if (node := node_alone(directory)) is not None:
        listing.outdated(node, as_json=form == "json", offline=offline)
        return
    _answer(directory, "list", f"--format={form}", outdated=True, offline=offline)


@click.command(
    epilog="""\b
Examples:
  pkgview tree
  pkgview tree --invert --package six    what needs six
  pkgview tree --json | jq -r '.resolution[].name'
"""
)
@DIRECTORY
@click.option("--depth", "-d", type=int, metavar="N", help="Show so many levels.")
@click.option(
    "--package",
    "packages",
    multiple=True,
    metavar="NAME",
    shell_complete=names_of(distributions),
    help="Show only this one.",
)
@click.option("--invert", is_flag=True, help="Show what needs a distribution.")
@click.option("--no-dedupe", is_flag=True, help="Show again what was shown before.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="As of `uv tree`.",
)
@click.option(
    "--json",
    "form",
    flag_value="json",
    help="Print it as JSON: {roots: [{id}], inverted, resolution: {…}}; "
    "resolution: {name, version, dependencies: [{id}], …} by id",
)
@click.option("--outdated", is_flag=True, help="Show the newest versions, too.")
@OFFLINE
def tree(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    *,
    depth: int | None,
    packages: tuple[str, ...],
    invert: bool,
    no_dedupe: bool,
    form: str,
    outdated: bool,
    offline: bool,
) -> None:
    """Show which distribution needs which."""
    if (node := node_alone(directory)) is not None:
        if invert:
            listing.invert(node, packages, as_json=form == "json")
        else:
            listing.tree(node, packages, depth=depth, as_json=form == "json")
        return
    options = [] if depth is None else [f"--depth={depth}"]
    options += [f"--package={name}" for name in packages]
    options += ["--invert"] if invert else []
    if form == "json":
        said = _said(directory, "tree", *options, outdated=outdated, offline=offline)
        console.as_json(_graph(said, inverted=invert))
        return
    options += ["--no-dedupe"] if no_dedupe else []
    _answer(directory, "tree", *options, outdated=outdated, offline=offline)


def _graph(tree: str, *, inverted: bool) -> dict[str, Any]:
    """`uv pip tree`, which has no JSON, in the form of `uv tree --format json`.

    What is shown again (`(*)`) has been shown with all that it needs.
    """
    roots: list[dict[str, str]] = []
    found: dict[str, dict[str, Any]] = {}
    above: list[list[dict[str, str]]] = []
    for depth, name, version, latest in _nodes(tree):
        one = f"{name}=={version}"
        more = {"latest": latest} if latest else {}
        entry = found.setdefault(
            one, {"name": name, "version": version, **more, "dependencies": []}
        )
        among = above[depth - 1] if depth else roots
        if {"id": one} not in among:
            among.append({"id": one})
        above[depth:] = [entry["dependencies"]]
    return {"roots": roots, "inverted": inverted, "resolution": dict(sorted(found.items()))}


def _nodes(tree: str) -> Iterator[tuple[int, str, str, str]]:
    """Each line's depth, name, version, and the latest version where that is said."""
    for line in tree.splitlines():
        if found := _NODE.match(line):
            lines, name, version, rest = found.groups()
            latest = _LATEST.search(rest)
            yield len(lines) // 4, name, version, latest[1] if latest else ""


def _answer(directory: Path, *arguments: str, outdated: bool, offline: bool) -> None:
    """Print what `uv pip` says of the view that the project has."""
    for line in _said(directory, *arguments, outdated=outdated, offline=offline).splitlines():
        console.answer(line)


def _said(directory: Path, *arguments: str, outdated: bool, offline: bool) -> str:
    places = Places.from_environ()
    project = project_at(directory)
    view = last_shown(places, project)
    if view is None:
        raise PkgviewError(
            f"{project.root} has no view yet",
            remedy=f"Run `pkgview up {shell_word(project.root)}`.",
        )
    if outdated:
        from unionfs.publishing.allowed import check_choices  # noqa: PLC0415 - only where asked for

        # It is no yes: what there is newer is asked only where a look would ask.
        refuse_untrusted(project, trust=False)
        check_choices(project, places.state)
    mount_now(places)
    python = places.mount / "views" / view.view / "bin/python"
    # What there is follows from no settings.
    options = ["--outdated"] if outdated else ["--no-config"]
    asked = ["pip", *arguments, *options, f"--python={python}"]
    return _uv(asked, project.directory, settings=outdated, offline=offline)


def _uv(arguments: Sequence[str], directory: Path, *, settings: bool, offline: bool) -> str:
    from functools import partial  # noqa: PLC0415 - `-h` does without

    import trio  # noqa: PLC0415 - the same

    from resolver.python.index import uv_environment  # noqa: PLC0415 - the same
    from resolver.python.uv.run import run_uv  # noqa: PLC0415 - the same

    added = uv_environment(directory) if settings else {}
    run = partial(run_uv, arguments, cwd=directory, added=added, offline=offline)
    return trio.run(run).stdout
