"""The command line: `pkgview COMMAND`.

Every command lives in a module of its own that is imported when it runs and not before: the help
texts of `pkgview -h` are in the table below, so neither `pkgview -h` nor `pkgview up` pays for
the others. What `pkgview up` mostly is, nothing to do or nothing new, does even without click,
which takes longer than that (`unionfs.cli.quick`).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

COMMANDS = {
    "up": ("up:up", "Make a project's view and link .venv to it."),
    "down": ("up:down", "Take the .venv link away."),
    "run": ("run:run", "Run a command with a project's view."),
    "shell": ("shell:shell", "Start a shell that sees a project's view."),
    "lock": ("lock:lock", "Write a project's pylock.toml."),
    "view": ("view:view", "Show a project's view: path, layers, sizes."),
    "why": ("why:why", "Show which distribution gives a file or module."),
    "ps": ("ps:ps", "Show which process sees which view."),
    "explain": ("ps:explain", "Show why a process sees its view."),
    "bind": ("bind:bind", "Bind a process, cgroup or container to a project."),
    "unbind": ("bind:unbind", "Take a binding by hand back."),
    "enable": ("enable:enable", "Let an installed Python see its project's view."),
    "disable": ("enable:disable", "Undo enable."),
    "trust": ("trust:trust", "Use a project that others own or may write to."),
    "store": ("store:store", "Show the archives that are kept, verify, add stores."),
    "gc": ("gc:gc", "Remove archives and views that nothing needs."),
    "mount": ("mount:mount", "Mount, unless it is mounted; mend a stale mount."),
    "umount": ("mount:umount", "Unmount and end the daemon."),
    "upgrade": ("upgrade:upgrade", "Have a new version go on with the mount."),
    "status": ("status:status", "Show the mount and what its daemon did."),
}
"""Name -> "module:attribute" in `unionfs.cli.commands`, and its line in `pkgview -h`."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command, by default the one that this process was started with; ends the process."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["up"]:
        from unionfs.cli import quick  # noqa: PLC0415 - beside its condition

        if quick.up(given[1:]):
            sys.exit(0)
    from unionfs.cli import group  # noqa: PLC0415 - it imports click

    group.main(given)
    raise AssertionError("a group ends the process")
