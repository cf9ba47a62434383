"""`pkgview up`."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.cli import console, quick
from unionfs.cli.asked import (
    DIRECTORY,
    FROZEN,
    KIND,
    LOCKED,
    MOUNT_MODULES,
    OFFLINE,
    OMIT,
    PYTHON_FETCH,
    QUIET,
    TRUST,
    UPGRADE_PACKAGE,
    json_of,
    refuse_contrary,
    say_untrusted,
    trusted_projects_at,
)
from unionfs.cli.asked import (
    PYTHON as PYTHON_OPTION,
)
from unionfs.cli.commands.links.project import link_at, link_project, linkable, mountable_at
from unionfs.cli.commands.making import (
    compiled_view,
    ensured,
    hold_size,
    is_mounted,
    mount_now,
    say_conflicts,
    say_not_mounted,
    say_of_lock,
)
from unionfs.cli.commands.store.pull import LAZY, fetched
from unionfs.cli.lists import refuse_undefined, with_lists
from unionfs.formats.kind import Wish
from unionfs.formats.node.wish import of_node
from unionfs.formats.python.wish import of_python
from unionfs.kinds import NODE, PYTHON
from unionfs.publishing.repeat import (
    forgotten,
    forgotten_by_node,
    last_omitted,
    repeated_by_edit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from resolver.manifest import Manifest
    from resolver.project.changes import Change
    from resolver.project.project import Project
    from resolver.python.declared.lists import Names
    from unionfs.cli.progress import Display
    from unionfs.formats.kind import Kind
    from unionfs.publishing.up import Made

_VIEW = (
    "project, kind, target: {…}, view, path, distributions, changed, "
    "changes: [{name, before, after}], fetched, fetched_bytes, compiled, seconds, mounted"
)

ANSWER = f"{{{_VIEW}, others: [{{{_VIEW}}}]}}; others: further kinds of the project"
"""What `up` prints as JSON, and all that ends as it does."""


@click.command(
    epilog="""\b
Examples:
  pkgview up                             the project here
  pkgview up ~/project --group docs --python 3.12
  pkgview up script.py                   a script with an inline block (PEP 723)
  pkgview up --frozen --offline          as it was locked and fetched before, or fail
  pkgview up --compile                   in an image or CI job, whose first run shall be fast
"""
)
@DIRECTORY
@KIND
@PYTHON_OPTION
@PYTHON_FETCH
@with_lists
@OMIT
@MOUNT_MODULES
@click.option("--no-link", is_flag=True, help="Leave .venv and node_modules alone.")
@click.option("--no-mount", is_flag=True, help="Make the view without mounting.")
@OFFLINE
@FROZEN
@LOCKED
@click.option("--compile", "compiled", is_flag=True, help="Wait until all is compiled.")
@click.option("--upgrade", "-U", is_flag=True, help="Take the newest versions that fit.")
@UPGRADE_PACKAGE
@LAZY
@click.option(
    "--force", is_flag=True, help="Set a .venv, or node_modules, that is not pkgview's aside."
)
@TRUST
@QUIET
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show the distributions, and where two have the same file.",
)
@json_of(ANSWER)
def up(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    *,
    kinds: tuple[str, ...],
    python: str | None,
    fetch_python: bool,
    lists: Names,
    omit: tuple[str, ...],
    mount_modules: bool = False,
    no_link: bool,
    no_mount: bool,
    offline: bool,
    frozen: bool,
    compiled: bool,
    locked: bool,
    upgrade: bool,
    upgrade_packages: tuple[str, ...],
    lazy: str | None = None,
    force: bool,
    trust: bool,
    verbose: bool,
    as_json: bool,
    listed: bool = False,
    repeats: bool = False,
) -> None:
    """Make a project's view, mount it, and link .venv (node_modules) to it.

    Finds the project, locks it if it has no lock, fetches what the store does not have. With
    nothing changed it does next to nothing.
    """
    began = time.monotonic()
    refuse_contrary(frozen=frozen, locked=locked, renews=upgrade or bool(upgrade_packages))
    places = Places.from_environ()
    failed: list[PkgviewError] = []
    projects = trusted_projects_at(directory, kinds, failed, trust=trust)
    _refuse_others(projects, pythons=bool(python or any(lists)), nodes=bool(omit) or mount_modules)
    if no_link and mount_modules:
        raise click.UsageError("name one of --no-link and --mount-modules")
    if not no_link:
        projects = linkable(places, projects, named=bool(kinds), force=force)
    _check_mount(places, no_mount=no_mount)
    asked = Wish(
        project=projects[0][1],
        upgrade=upgrade,
        upgrade_packages=upgrade_packages,
        offline=offline,
        frozen=frozen,
        locked=locked,
        decides=True,
    )
    chosen = _Chosen(python, fetch_python, lists, omit, repeats)
    left_out: list[str] = []

    def one_of(kind: Kind, project: Project) -> Done:
        linked = (
            nullcontext()
            if no_link
            else mountable_at(places, project, asked=mount_modules, force=force)
        )
        with linked:
            wish = _wish(places, kind, replace(asked, project=project), chosen, left_out)
            made, shown = ensured(places, kind, wish, quiet=as_json, listed=True)
        if compiled and kind.name == PYTHON:
            made, shown = compiled_view(places, made, shown, quiet=as_json)
        fetched(places, [made.manifest], lazy, quiet=as_json)
        if not no_mount:
            mount_now(places)
        one = Done(kind, project, made, shown, listed)
        _show(places, one, linked=not no_link, mounted=not no_mount, force=force, quiet=as_json)
        return one

    done = _each(projects, one_of, failed)
    _say_concerns(places, projects[0][1], trust=trust, made=any(one.shown for one in done))
    _say_left_out(left_out)
    _say_done(places, done, time.monotonic() - began, verbose=verbose, as_json=as_json)
    _fail(failed)


class _Chosen(NamedTuple):
    """Options that only some kinds have."""

    python: str | None
    fetch_python: bool
    lists: Names
    omit: tuple[str, ...]
    repeats: bool


def _wish(places: Places, kind: Kind, wish: Wish, chosen: _Chosen, left_out: list[str]) -> Wish:
    """The wish with the options of its kind; `left_out`: of the last `up`, not given now."""
    if kind.name == PYTHON:
        refuse_undefined(wish.project, chosen.lists.groups)
        python = {"python": chosen.python, "asked": chosen.python or ""}
        asked = of_python(wish, **python, fetch_python=chosen.fetch_python, lists=chosen.lists)
        if chosen.repeats:
            return repeated_by_edit(places, asked)
        left_out += forgotten(places, asked)
        return asked
    if kind.name == NODE:
        again = last_omitted(places, wish.project) if chosen.repeats else None
        of_npm = of_node(wish, omit=chosen.omit or again)
        left_out += () if chosen.repeats else forgotten_by_node(places, of_npm)
        return of_npm
    return wish


def _each(
    projects: Sequence[tuple[Kind, Project]],
    one_of: Callable[[Kind, Project], Done],
    failed: list[PkgviewError],
) -> list[Done]:
    """Each kind's view, linked as it is made: what is wrong with one does not take the other's."""
    done = []
    for kind, project in projects:
        try:
            done.append(one_of(kind, project))
        except PkgviewError as error:
            if len(projects) == 1:
                raise
            failed.append(error)
    if not done:
        raise failed[0]
    return done


def _fail(failed: Sequence[PkgviewError]) -> None:
    for error in failed:
        console.report(error)
    if failed:
        raise click.exceptions.Exit(failed[0].status)


def _check_mount(places: Places, *, no_mount: bool) -> None:
    """Before anything is fetched: that what is made can be seen where it is to be."""
    from unionfs.daemon.launch import (  # noqa: PLC0415 - `-h` does without
        check_mountable,
        refuse_other_places,
    )

    (refuse_other_places if no_mount else check_mountable)(places)


def _say_left_out(options: Sequence[str]) -> None:
    if options:
        where = ".npmrc" if "--omit" in options[-1] else "[tool.pkgview] of pyproject.toml"
        console.note(
            f"Without {' '.join(options)}, which the last `up` had: give it again, or list it in "
            f"{where}."
        )


def _say_done(
    places: Places, done: Sequence[Done], seconds: float, *, verbose: bool, as_json: bool
) -> None:
    if as_json:
        first, *others = (_as_dict(places, one, seconds) for one in done)
        console.as_json({**first, "others": others})
        return
    for one in done:
        shown = _changes(one)
        for change in shown:
            console.note(f" {change}")
        say_of_lock(one.made.renewed, {change.name for change in shown})
        console.note(_summary(one, seconds, several=len(done) > 1))
        if verbose:
            say_conflicts(places, one.made)


class Done(NamedTuple):
    """One view of a project; `shown` is None where nothing had to be done.

    `listed`: what came is listed also where there was no view before.
    """

    kind: Kind
    project: Project
    made: Made
    shown: Display | None
    listed: bool = False


def _as_dict(places: Places, one: Done, seconds: float) -> dict[str, Any]:
    made, shown = one.made, one.shown
    return {
        "project": str(one.project.root),
        "kind": made.manifest.kind,
        "target": dict(sorted(made.manifest.target.items())),
        "view": made.view,
        "path": str(places.mount / "views" / made.view),
        "distributions": made.distributions,
        "changed": made.fresh,
        "changes": [change._asdict() for change in _changes(one)],
        "fetched": shown.files if shown else 0,
        "fetched_bytes": shown.bytes if shown else 0,
        "compiled": shown.compiled_archives if shown else 0,
        "seconds": round(seconds, 3),
        "mounted": is_mounted(places),
    }


def _changes(one: Done) -> Sequence[Change]:
    """What is otherwise than in the view before, and the Python, if that is another one."""
    before, after = one.made.before, one.made.manifest
    if not one.made.fresh or (before is None and not one.listed):
        return ()
    from resolver.project.changes import Change, changes  # noqa: PLC0415 - where something changed

    versions = _versions(after)
    if before is None:
        return changes({}, versions)
    name, _, old = one.kind.describe(before).partition(" ")
    new = one.kind.describe(after).partition(" ")[2]
    target = [Change(name, old, new)] if old != new else []
    # Earlier releases did not write down the version of what was built of a directory.
    were = {name: was or versions.get(name, "?") for name, was in _versions(before).items()}
    return [*target, *changes(were, versions)]


def _versions(manifest: Manifest) -> dict[str, str]:
    """By name; of several versions all."""
    found: dict[str, set[str]] = {}
    for layer in manifest.layers:
        if layer.name:
            found.setdefault(layer.name, set()).add(layer.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _refuse_others(projects: Sequence[tuple[Kind, Project]], *, pythons: bool, nodes: bool) -> None:
    """Options that are for projects of a kind that there is none of here."""
    kinds = {kind.name for kind, _ in projects}
    if pythons and PYTHON not in kinds:
        raise click.UsageError(
            "--python, --extra, --group and --no-group are for projects of Python's"
        )
    if nodes and NODE not in kinds:
        raise click.UsageError("--omit and --mount-modules are for projects of Node's")


def _say_concerns(places: Places, project: Project, *, trust: bool, made: bool) -> None:
    """What a person should know of the project and the stores; of those, when they were asked."""
    if trust:
        say_untrusted(project)
    if made:
        from unionfs.cli.commands.store.store import say_passed_over  # noqa: PLC0415 - nothing to do: no word

        say_passed_over(places, project)
        hold_size(places)


def _show(  # noqa: PLR0913 - all but the first two by name
    places: Places, one: Done, *, linked: bool, mounted: bool, force: bool, quiet: bool
) -> None:
    path = link_at(one.kind, one.project) if linked else None
    if path is not None:
        link_project(places, path, one.project, one.made, force=force, quiet=quiet)
        if not mounted:
            say_not_mounted(places, path)
    if mounted:
        _look(places, one)


def _look(places: Places, one: Done) -> None:
    """Look into the view, so that the daemon opens it and begins to compile what is missing.

    Last of all: what it makes of the view must not be undone.
    """
    if one.shown is not None:
        with suppress(OSError):
            os.listdir(places.mount / "views" / one.made.view)


def _summary(one: Done, seconds: float, *, several: bool) -> str:
    made, shown = one.made, one.shown
    named = f"{one.kind.name}: " if several else ""
    if shown is None and not made.fresh:
        return named + quick.nothing_to_do(made.described, seconds)
    done = ""
    if shown is not None and shown.files:
        done += f", fetched {shown.files} ({console.size(shown.bytes)})"
    if shown is not None and shown.compiled_archives:
        done += f", compiled {shown.compiled_archives}"
    return named + quick.view_made(made.view, f"{made.described}{done}", seconds, fresh=made.fresh)
