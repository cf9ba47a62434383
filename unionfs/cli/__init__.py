"""The command line: `pkgview COMMAND`.

Every command lives in a module of its own that is imported when it runs and not before: the help
texts of `pkgview -h` are in one table (`unionfs.cli.group`), so neither `pkgview -h` nor
`pkgview up` pays for the others. What `pkgview up` mostly is, nothing to do or nothing new, does
even without click, which takes longer than that (`unionfs.cli.quick`).
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
