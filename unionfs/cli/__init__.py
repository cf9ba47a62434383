"""The command line: `pkgview COMMAND`.

Every command has a module of its own, which is imported only when the command runs. The help texts
of `pkgview -h` are in one table (`unionfs.cli.group`), so neither `pkgview -h` nor `pkgview up`
pays for the others. Mostly `pkgview up` has nothing to do or nothing new to make; then it does even
without click, whose import takes longer than that (`unionfs.cli.quick`).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command, by default the one that this process was started with; ends the process."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["up"]:
        from unionfs.cli import quick  # noqa: PLC0415 - other commands do without

        if quick.up(given[1:]):
            sys.exit(0)
    from unionfs.cli import group  # noqa: PLC0415 - it imports click

    group.main(given)
    raise AssertionError("a group ends the process")
