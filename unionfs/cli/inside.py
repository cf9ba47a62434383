"""Becoming a command in a mount namespace of its own (`unionfs.namespaces`).

A process of its own does it, which becomes the command: a command of ours may have threads, and
whatever it starts to do its work (the daemon) has to stay outside. It loads nothing that takes
time: half of what it takes is Python's own.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from unionfs.namespaces.private import Mount

_START = "import sys; sys.path.insert(0, {!r}); from unionfs.cli.inside import main; main()"


def inside(mounts: Sequence[Mount], words: Sequence[str]) -> list[str]:
    """The command that becomes the command of these words, where it sees the mounts."""
    if not mounts:
        return list(words)
    from unionfs.namespaces.private import MOUNTS  # noqa: PLC0415 - mostly none

    start = _START.format(os.path.abspath(f"{__file__}/../../.."))
    named = {kind: name for name, kind in MOUNTS.items()}
    places = [word for one in mounts for word in (named[type(one)], one.source, one.target)]
    return [sys.executable, "-I", "-S", "-c", start, str(len(mounts)), *places, *words]


def main() -> NoReturn:
    """The process: a number of mounts, what each is, where from and where to, and the command."""
    from resolver.errors import PkgviewError  # noqa: PLC0415 - of the process alone, as the rest
    from unionfs.cli import console  # noqa: PLC0415
    from unionfs.cli.command import replace_by  # noqa: PLC0415
    from unionfs.namespaces.private import MOUNTS, enter  # noqa: PLC0415

    count = 3 * int(sys.argv[1])
    places, words = sys.argv[2 : 2 + count], sys.argv[2 + count :]
    try:
        enter(MOUNTS[kind](*where) for kind, *where in zip(*[iter(places)] * 3, strict=True))
        replace_by(words, os.environ)
    except PkgviewError as error:
        console.report(error)
        sys.exit(error.status)
