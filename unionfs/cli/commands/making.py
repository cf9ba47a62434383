"""What commands for a project have in common: its view is made, and mounted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.project.changes import some
from resolver.project.trust import is_agreed
from resolver.python.uv.once import settings_read_once
from unionfs.cli import console
from unionfs.cli.asked import agree
from unionfs.publishing.up import known_view, make_view

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from resolver.places import Places
    from resolver.project.changes import Change
    from unionfs.cli.progress import Display
    from unionfs.daemon.launch import Mounted
    from unionfs.formats.kind import Kind, Wish
    from unionfs.publishing.up import Made


def ensured(
    places: Places, kind: Kind, wish: Wish, *, quiet: bool, listed: bool = False
) -> tuple[Made, Display | None]:
    """The view, made if it has to be; and the display of what that took, None if nothing.

    `listed`: the caller lists what is otherwise than before.
    """
    with settings_read_once():
        return _ensured(places, kind, wish, quiet=quiet, listed=listed)


def _ensured(
    places: Places, kind: Kind, wish: Wish, *, quiet: bool, listed: bool
) -> tuple[Made, Display | None]:
    known = known_view(places, kind, wish)
    if known is None or not is_agreed(wish.project, places.state, itself=True):
        agree(wish.project, places.state)
    if known is not None:
        return known, None
    from unionfs.cli.progress import Display  # noqa: PLC0415 - nothing to do draws nothing

    with Display(quiet=quiet) as display:
        made = make_view(places, kind, wish, display)
    if made.remark:
        console.note(made.remark)
    if not listed:
        say_of_lock(made.renewed)
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

    _say_mounted(places, ensure_mounted(places))


class Mounting:
    """`mount_now` beside something else: `begin`, and then `wait`, which is as it is."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._mounted: Mounted | None = None
        self._thread = Thread(target=self._mount)

    def begin(self) -> None:
        """Have it mounted, in a thread."""
        self._thread.start()

    def _mount(self) -> None:
        from unionfs.daemon.launch import ensure_mounted  # noqa: PLC0415 - not for --no-mount

        with suppress(PkgviewError):  # `wait` tries again, and says so
            self._mounted = ensure_mounted(self._places)

    def wait(self) -> None:
        """See that it is mounted."""
        if self._thread.ident is not None:
            self._thread.join()
        if self._mounted is None:
            mount_now(self._places)
        else:
            _say_mounted(self._places, self._mounted)


def _say_mounted(places: Places, mounted: Mounted) -> None:
    if mounted.outdated:
        from unionfs.cli.commands.upgrade import upgraded  # noqa: PLC0415 - once a version

        upgraded(places)
        console.note(f"{mounted.mountpoint} is served by this version from now on.")
    elif mounted.how != "already":
        console.note(f"Mounted {mounted.mountpoint}.")
    if mounted.refused:
        console.explain(
            f"{mounted.mountpoint} refuses {console.count(mounted.refused, 'number')} that the "
            "registry gave a second time: it was replaced by an earlier one under the live mount",
            "Run `pkgview umount` and `pkgview mount`.",
        )


def is_mounted(places: Places) -> bool:
    """Whether anything is mounted where the views shall be."""
    from unionfs.mounting import mounts  # noqa: PLC0415 - most have just mounted it

    return mounts.mounted_at(mounts.canonical(places.mount)) is not None


def say_not_mounted(places: Places, path: Path) -> None:
    """A link leads nowhere until it is mounted, and that looks as if nothing had been made."""
    if not is_mounted(places):
        console.note(
            f"Nothing is mounted at {places.mount}, so {path.name} leads nowhere until "
            "`pkgview mount`."
        )


def say_of_lock(renewed: Sequence[Change], shown: Container[str] = ()) -> None:
    """What is otherwise in the lock, and not in the view: for other platforms, other groups."""
    if others := [change for change in renewed if change.name not in shown]:
        console.note(f"In the lock: {some(others)}.")


def hold_size(places: Places) -> None:
    """Keep the store below the size that `config.toml` gives it."""
    from resolver import config  # noqa: PLC0415 - nothing to do: it did not grow

    max_size = config.load(places).max_size
    if max_size is not None:
        from unionfs.upkeep.collect import keep_below  # noqa: PLC0415 - hardly anybody has one

        problem = keep_below(places, max_size)
        if problem is not None:
            console.report(problem)


def say_conflicts(places: Places, made: Made) -> None:
    """Show the distributions of a view, and where two have the same file."""
    from unionfs.cli.commands.view import conflicts  # noqa: PLC0415 - only where it was asked for
    from unionfs.view.opened import open_view  # noqa: PLC0415 - only where it was asked for

    opened = open_view(places, made.view)
    for layer in made.manifest.layers:
        if layer.name:
            console.note(f"  {layer.name} {layer.version}")
    for conflict in conflicts(opened):
        console.note(
            f"  conflict: {conflict['path']}: {conflict['winner']} wins over {conflict['loser']}"
        )
