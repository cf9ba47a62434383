"""The command line: `pkgview COMMAND`.

Every command has a module of its own, which is imported only when the command runs. The help texts
of `pkgview -h` are in one table (`unionfs.cli.group`), so neither `pkgview -h` nor `pkgview up`
pays for the others. Mostly `pkgview up` has nothing to do or nothing new to make, and what `pkgview
run` needs is there; then they do even without click, whose import takes longer than that
(`unionfs.cli.quick`, `unionfs.cli.quick_run`).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that this process was started with, and end it; or one with `arguments`.

    The second leaves ending to its caller: `SystemExit`, always.
    """
    if arguments is not None:
        _interruptible(arguments)
    from unionfs.forkserver.ending import end_with  # noqa: PLC0415 - for a process of ours

    end_with(lambda: _interruptible(sys.argv[1:]))


def _interruptible(arguments: Sequence[str]) -> NoReturn:
    try:
        _main(arguments)
    except KeyboardInterrupt:  # while something is imported, say
        from unionfs.cli.console import INTERRUPTED  # noqa: PLC0415 - nobody else needs it

        sys.exit(INTERRUPTED)


def _main(given: Sequence[str]) -> NoReturn:
    if given[:1] == ["up"]:
        from unionfs.cli import quick  # noqa: PLC0415 - other commands do without

        if quick.up(given[1:]):
            sys.exit(0)
    elif given[:1] == ["run"]:
        from unionfs.cli import quick_run  # noqa: PLC0415 - the same

        quick_run.run(given[1:])
    elif given[:2] == ["tool", "run"]:
        from unionfs.cli import quick_run  # noqa: PLC0415 - the same

        quick_run.run(given[2:], tool=True)
    from unionfs.cli import forked  # noqa: PLC0415 - nothing to do needs none

    forked.main(given)
