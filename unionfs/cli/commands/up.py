"""`pkgview up` and `pkgview down`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from resolver.places import Places
from resolver.project.project import Kind
from unionfs.cli import console, quick
from unionfs.cli.asked import (
    DIRECTORY,
    EXTRA,
    FROZEN,
    GROUP,
    JSON,
    OFFLINE,
    PYTHON,
    TRUST,
    absolute,
    project_at,
    say_untrusted,
    trusted_project_at,
)
from unionfs.publishing import link
from unionfs.publishing.up import Made, Wish, known_view

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.project.project import Project
    from unionfs.cli.progress import Display


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
@PYTHON
@EXTRA
@GROUP
@click.option("--no-link", is_flag=True, help="Leave .venv alone.")
@click.option("--no-mount", is_flag=True, help="Make the view without mounting.")
@OFFLINE
@FROZEN
@click.option("--compile", "compiled", is_flag=True, help="Wait until all is compiled.")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit.")
@click.option("--force", is_flag=True, help="Set a .venv that is not pkgview's aside.")
@TRUST
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show the distributions, and where two have the same file.",
)
@JSON
def up(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    *,
    python: str | None,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    no_link: bool,
    no_mount: bool,
    offline: bool,
    frozen: bool,
    compiled: bool,
    upgrade: bool,
    force: bool,
    trust: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Make a project's view, mount it, and link .venv to it.

    Finds the project, locks it if it has no lock, fetches what the store does not have. With
    nothing changed it does next to nothing.
    """
    began = time.monotonic()
    places = Places.from_environ()
    project = trusted_project_at(directory, trust=trust)
    linked = not no_link and project.kind is not Kind.SCRIPT
    if linked:
        link.refuse_foreign(project.root, places.mount, force=force)
    if not no_mount:
        from unionfs.daemon.launch import check_mountable  # noqa: PLC0415 - not for --no-mount

        check_mountable(places)
    wish = Wish(
        project=project,
        python=python,
        extras=extras,
        groups=groups,
        upgrade=upgrade,
        offline=offline,
        frozen=frozen,
    )
    made, shown = ensured(places, wish, quiet=as_json)
    if compiled:
        made, shown = _compiled(places, made, shown, quiet=as_json)
    if not no_mount:
        _mount(places)
    if linked:
        _link(places, project, made, force=force)
    if shown and not no_mount:
        _look(places, made)
    _say_concerns(places, project, trust=trust, made=shown is not None)
    if as_json:
        console.as_json(
            {
                "project": str(project.root),
                "view": made.view,
                "path": str(places.mount / "views" / made.view),
                "python": made.manifest.python.version,
                "distributions": made.distributions,
                "changed": made.fresh,
                "fetched": shown.files if shown else 0,
                "fetched_bytes": shown.bytes if shown else 0,
                "compiled": shown.compiled_archives if shown else 0,
                "seconds": round(time.monotonic() - began, 3),
            }
        )
        return
    console.note(_summary(made, shown, time.monotonic() - began))
    if verbose:
        _say_conflicts(places, made)


def _say_concerns(places: Places, project: Project, *, trust: bool, made: bool) -> None:
    """What a person should know of the project and the stores; of those, when they were asked."""
    if trust:
        say_untrusted(project)
    if made:
        from unionfs.cli.commands.store import say_passed_over  # noqa: PLC0415 - nothing to do: no word

        say_passed_over(places, project.directory)
        _hold_size(places)


def _hold_size(places: Places) -> None:
    """Keep the store below the size that `config.toml` gives it."""
    from resolver import config  # noqa: PLC0415 - nothing to do: it did not grow

    max_size = config.load(places).max_size
    if max_size is not None:
        from unionfs.upkeep.collect import keep_below  # noqa: PLC0415 - hardly anybody has one

        problem = keep_below(places, max_size)
        if problem is not None:
            console.report(problem)


def ensured(places: Places, wish: Wish, *, quiet: bool) -> tuple[Made, Display | None]:
    """The view, made if it has to be; and the display of what that took, None if nothing."""
    known = known_view(places, wish)
    if known is not None:
        return known, None
    from unionfs.cli.progress import Display  # noqa: PLC0415 - nothing to do draws nothing
    from unionfs.publishing.up import make_view  # noqa: PLC0415 - beside its condition

    with Display(quiet=quiet) as display:
        return make_view(places, wish, display), display


def _compiled(
    places: Places, made: Made, shown: Display | None, *, quiet: bool
) -> tuple[Made, Display | None]:
    """The view with its bytecode; what had none is compiled first."""
    from unionfs.cli.progress import Display  # noqa: PLC0415 - only where it was asked for
    from unionfs.publishing.precompile import precompile  # noqa: PLC0415 - the same

    with shown or Display(quiet=quiet) as display:
        view, manifest = precompile(places, made.view, idle=False, done=display.compiled)
    if view == made.view:
        return made, shown
    return Made(view=view, manifest=manifest, fresh=True), display


def _mount(places: Places) -> None:
    from unionfs.daemon.launch import ensure_mounted  # noqa: PLC0415 - not for --no-mount

    mounted = ensure_mounted(places)
    if mounted.how != "already":
        console.note(f"Mounted {mounted.mountpoint}.")


def _look(places: Places, made: Made) -> None:
    """Look into the view, so that the daemon opens it and begins to compile what is missing.

    Last of all: what it makes of the view must not be undone.
    """
    with suppress(OSError):
        (places.mount / "views" / made.view / "pyvenv.cfg").stat()


def _link(places: Places, project: Project, made: Made, *, force: bool) -> None:
    first = not link.is_ours(project.root / link.NAME, places.mount)
    aside = link.link(project.root, places.mount, made.view, force=force)
    if aside is not None:
        console.note(f"What was at .venv is now at {aside}.")
    if first:
        console.note(quick.linked_at(f"{project.root / link.NAME}"))


@click.command(
    epilog="""\b
Examples:
  pkgview down
  pkgview down ~/project
"""
)
@DIRECTORY
def down(directory: Path) -> None:
    """Take the .venv link away. The view and its archives stay."""
    places = Places.from_environ()
    root = absolute(directory)
    # What is linked may be a project no longer, or one whose files are broken.
    if not link.is_ours(root / link.NAME, places.mount):
        project = project_at(directory)
        if project.kind is Kind.SCRIPT:
            console.note(f"{project.root} is a script: it has no .venv of its own.")
            return
        root = project.root
    if link.unlink(root, places.mount):
        console.note(f"Removed {root / link.NAME}.")
    else:
        console.note(f"{root} has no .venv.")


def _summary(made: Made, shown: Display | None, seconds: float) -> str:
    if shown is None:
        return quick.nothing_to_do(made.described, seconds)
    done = f", fetched {shown.files} ({console.size(shown.bytes)})" if shown.files else ""
    done += f", compiled {shown.compiled_archives}" if shown.compiled_archives else ""
    return quick.view_made(made.view, f"{made.described}{done}", seconds, fresh=made.fresh)


def _say_conflicts(places: Places, made: Made) -> None:
    from unionfs.cli.commands.view import conflicts  # noqa: PLC0415 - only where it was asked for
    from unionfs.view.opened import open_view  # noqa: PLC0415 - the same

    opened = open_view(places, made.view)
    for layer in made.manifest.layers:
        if layer.name:
            console.note(f"  {layer.name} {layer.version}")
    for conflict in conflicts(opened):
        console.note(
            f"  conflict: {conflict['path']}: {conflict['winner']} wins over {conflict['loser']}"
        )
