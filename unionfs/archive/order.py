"""Who reads an archive in order: found from which frames are asked for, and from nothing else.

The kernel does not say who a READ is for, and one who reads in order is worth much: the frames that
come next can be fetched and decompressed before they are asked for, and what lies behind is not
wanted again. For anybody else all of that is waste: a page fault somewhere in a large file needs
its one or two frames, and those beside it need not be on the disk's way.

So the last few places are kept, each with how often the next request went on from there. Several,
since programs read side by side; few, since a place that is old fits by chance.

This module does no I/O. Several threads may tell: what they write over each other is advice.
"""

from __future__ import annotations

from typing import Final

PLACES: Final = 4
"""Readers that are told apart."""

SURE: Final = 4
"""Steps after which a reader may come a little out of order, and is still the same one."""

NEAR: Final = 16
"""Frames that he may be out: READs of one read-ahead are answered by several threads, or by several
processes, of which each sees a part."""


class Run:
    """One who reads in order: frames from `began` to `last`, in `steps` requests after the first.

    `asked` and `dropped` say until where in the file the system was told to fetch, and to forget
    (`unionfs.archive.advice`).
    """

    __slots__ = ("asked", "began", "dropped", "last", "steps")

    def __init__(self, began: int, last: int) -> None:
        self.began = began
        self.last = last
        self.steps = 0
        self.asked = 0
        self.dropped = 0


class Order:
    """The readers of one archive, the last one that was seen first."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: tuple[Run, ...] = ()

    def told(self, first: int, last: int) -> Run | None:
        """A request for frames `first` to `last`: who reads in order, and comes to new ones by it.

        None for anybody else. A request that touches two frames is no order by itself: it has to
        begin where another one ended. That may be chance, the more the longer ago: only the last
        place counts at once, of the others it takes a second step.
        """
        runs = self._runs
        for place, run in enumerate(runs):
            beyond = first - run.last
            if 0 <= beyond <= NEAR or (run.steps >= SURE and -NEAR <= beyond < 0):
                if last <= run.last:
                    return None
                run.last = last
                run.steps += 1
                if place:
                    self._runs = (run, *runs[:place], *runs[place + 1 :])
                needed = SURE if beyond > 1 else 2 if place else 1
                return run if run.steps >= needed else None
        self._runs = (Run(first, last), *runs[: PLACES - 1])
        return None
