"""Commands of a project's own directories, which a view links to: made executable, as npm does.

What lies in an archive is executable there. A member's file is the user's, and only its mode is
changed, where it lies in the project and is reached without a link.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from resolver.ownership import is_in_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.node.lock import Entry, Lock
    from resolver.node.project import NodeProject


def make_executable(project: NodeProject, lock: Lock, kept: Mapping[str, Entry]) -> None:
    """For whoever may read them. What cannot be changed stays; running it says why."""
    root = os.path.realpath(project.root)
    for entry in kept.values():
        member = entry.resolved.removeprefix("./")
        if not entry.link or member not in project.members:
            continue
        for place in lock.entries[member].bins.values() if member in lock.entries else ():
            path = os.path.normpath(f"{root}/{member}/{place}")
            inside = path.startswith(f"{os.path.normpath(f'{root}/{member}')}/")
            if inside and is_in_tree(root, path):
                with suppress(OSError):
                    _add_bits(path)


def _add_bits(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        mode = stat.S_IMODE(status.st_mode)
        wanted = mode | (mode & 0o444) >> 2
        if stat.S_ISREG(status.st_mode) and wanted != mode:
            os.fchmod(descriptor, wanted)
    finally:
        os.close(descriptor)
