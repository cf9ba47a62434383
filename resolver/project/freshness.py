"""Whether a project's inputs have changed since its view was made, asked as programs start.

The answer is the fingerprint of the inputs' bytes; so that it is not taken of the same bytes over
and over, it is kept together with what stat(2) says of each file. As in git, a file that was
written a moment ago is not taken to be the same because its times are: another write may follow
within the clock's grain.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from resolver.project.project import fingerprint
from resolver.project.resolved import FORMAT, identity_text

if TYPE_CHECKING:
    from resolver.project.project import Project
    from resolver.project.resolved import ResolvedView

MOST_KEPT = 1024
"""Projects whose fingerprint is kept, some hundred bytes each; beyond that all begin anew."""

GRAIN = 2.0
"""Seconds within which two writes may leave equal times, on the coarsest file systems there are."""


class _Stat(NamedTuple):
    """What tells one content of a path from another; all 0 where there is nothing."""

    path: str
    device: int = 0
    inode: int = 0
    size: int = 0
    modified: int = 0
    changed: int = 0


class Freshness:
    """Compares views with their projects' inputs. May be called from several threads.

    Single look-ups and insertions in a dict are atomic; two threads that miss at once both read.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[_Stat, ...], str]] = {}

    def is_stale(self, project: Project, view: ResolvedView) -> bool:
        """Whether the project's inputs are others than those that its view was made from.

        False where it is not known what the view was made from. Views of earlier versions count as
        such: what their archives came from was not kept; and so do those that believe a store which
        another directory at this place has brought. `PkgviewError` where an input cannot be
        read.
        """
        if view.format != FORMAT or (
            view.word_of and view.word_of != identity_text(project.directory)
        ):
            return True
        return bool(view.inputs) and view.inputs != self.fingerprint(project)

    def fingerprint(self, project: Project) -> str:
        """`fingerprint` of the inputs alone; read only if one of them may have changed."""
        if project.is_live:
            return fingerprint(project)  # more counts than is kept here
        seen = snapshot(project)
        kept = self._kept.get(str(project.root))
        if kept is not None and kept[0] == seen:
            return kept[1]
        taken = fingerprint(project)
        newest = max((one.changed for one in seen), default=0)
        if time.time_ns() - newest > GRAIN * 1e9:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[str(project.root)] = (seen, taken)
        return taken


def snapshot(project: Project) -> tuple[_Stat, ...]:
    """What stat(2) says of each file that counts.

    Equal before and after: nothing was written to them in between, not even to be put back.
    """
    return tuple(_stat(os.fspath(path)) for path in (*project.inputs, *project.archives))


def _stat(path: str) -> _Stat:
    try:
        found = os.stat(path)  # noqa: PTH116 - several of them at each start of a program
    except OSError:
        return _Stat(path)
    return _Stat(
        path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )
