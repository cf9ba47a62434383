"""What commands for a project have in common: its view is made, and mounted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from resolver.project.trust import is_agreed
from unionfs.cli import console
from unionfs.cli.asked import agree
from unionfs.publishing.up import known_view, make_view

if TYPE_CHECKING:
    from resolver.places import Places
    from unionfs.cli.progress import Display
    from unionfs.formats.kind import Kind, Wish
    from unionfs.publishing.up import Made


def ensured(places: Places, kind: Kind, wish: Wish, *, quiet: bool) -> tuple[Made, Display | None]:
    """The view, made if it has to be; and the display of what that took, None if nothing."""
    known = known_view(places, kind, wish)
    if known is None or not is_agreed(wish.project, places.state):
        agree(wish.project, places.state)
    if known is not None:
        return known, None
    from unionfs.cli.progress import Display  # noqa: PLC0415 - nothing to do draws nothing

    with Display(quiet=quiet) as display:
        made = make_view(places, kind, wish, display)
    if made.remark:
        console.note(made.remark)
    return made, display


def compiled_view(
    places: Places, made: Made, shown: Display | None, *, quiet: bool
) -> tuple[Made, Display | None]:
    """The view with its bytecode; what had none is compiled first."""
    from unionfs.cli.progress import Display  # noqa: PLC0415 - only where it was asked for
    from unionfs.publishing.precompile import precompile  # noqa: PLC0415 - only where it was asked for

    with shown or Display(quiet=quiet) as display:
        view, manifest = precompile(places, made.view, idle=False, done=display.compiled)
    if view == made.view:
        return made, shown
    return replace(made, view=view, manifest=manifest, fresh=True), display


def mount_now(places: Places) -> None:
    """See that it is mounted, by a daemon that can show what this version makes."""
    from unionfs.daemon.launch import ensure_mounted  # noqa: PLC0415 - not for --no-mount

    mounted = ensure_mounted(places)
    if mounted.outdated:
        from unionfs.cli.commands.upgrade import upgraded  # noqa: PLC0415 - once a version

        upgraded(places)
        console.note(f"{mounted.mountpoint} is served by this version from now on.")
    elif mounted.how != "already":
        console.note(f"Mounted {mounted.mountpoint}.")
