"""A command is done by a process that is forked for it, where there is one; else here.

What it takes to import all that a command needs is most of what `up` takes in a new project.
"""

from __future__ import annotations

import os
import sys

from resolver.errors import PkgviewError
from unionfs.cli import console
from unionfs.forkserver import OFF
from unionfs.forkserver.client import EndedError, Forkserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

SERVED = ("up", "lock", "add", "remove", "list", "tree", "outdated", "view", "why")
"""Commands for which it pays: they import much, and do nothing to this very process."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Do a command, and end this process as that one ended."""
    forkserver = _forkserver() if arguments[:1] and arguments[0] in SERVED else None
    try:
        status = None if forkserver is None else forkserver.run(arguments)
    except EndedError as error:
        console.report(error)
        sys.exit(error.status)
    except (OSError, PkgviewError):
        status = None
    if status is not None:
        _end(status)
    from unionfs.cli import group  # noqa: PLC0415 - it imports click

    try:
        group.main(arguments)
    finally:
        if forkserver is not None:
            _leave(forkserver)
    raise AssertionError("a group ends the process")


def _forkserver() -> Forkserver | None:
    if os.environ.get(OFF) == "0":
        return None
    try:
        return Forkserver("unionfs.cli.served", os.environ)
    except (OSError, PkgviewError):
        return None


def _leave(forkserver: Forkserver) -> None:
    try:
        forkserver.leave()
    except OSError:
        return  # there is one already, or the next command imports as this one did


def _end(status: int) -> NoReturn:
    if status < 0:
        import signal  # noqa: PLC0415 - it takes longer to import than all else here

        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)
