"""Which resolutions run, and which wait: so that no project keeps others' programs waiting.

`AT_ONCE` have a place. Whoever has run for `LONG` seconds, or is waited for by no program any more,
goes on without one, and the next begins beside it: `BESIDE` such, no more. If there are so many,
one that nobody waits for is ended for one that somebody does wait for.

In a queue what programs wait for comes first, and of these who came first. All of it belongs to one
trio thread and changes only between awaits.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

AT_ONCE = 2
"""Resolutions that have a place; each packs with two threads and has uv's beside it."""

BESIDE = 2
"""Resolutions beside these. Each may have `bounds.MOST_MEMORY`, so there are few."""

LONG = 15.0
"""Seconds that a resolution has a place for. Most take less than five; what takes longer waits for
a server, or fetches, and leaves room for others."""

BEAT = 1.0
"""Seconds after which who waits looks again."""


@dataclass(eq=False, slots=True, kw_only=True)
class Turn:
    """One resolution's: how many programs wait for it, when it began, and how it is ended."""

    programs: int = 0
    began: float = 0.0
    begun: trio.Event = field(default_factory=trio.Event)
    running: trio.CancelScope = field(default_factory=trio.CancelScope)

    @contextlib.contextmanager
    def waited_for(self) -> Iterator[None]:
        """Within it a program waits."""
        self.programs += 1
        try:
            yield
        finally:
            self.programs -= 1


class Turns:
    """Who runs and who waits."""

    def __init__(self) -> None:
        self._queue: list[Turn] = []
        self._running: list[Turn] = []

    @property
    def is_free(self) -> bool:
        """Whether one that comes now begins at once."""
        return not self._queue and self._has_room()

    @contextlib.asynccontextmanager
    async def taken(self, turn: Turn) -> AsyncIterator[None]:
        """Wait for its turn; within it, it runs, unless `turn.running` is cancelled."""
        self._queue.append(turn)
        try:
            self._begin_some()
            while not turn.begun.is_set():
                with trio.move_on_after(BEAT):
                    await turn.begun.wait()
                self._begin_some()
            with turn.running:
                yield
        finally:
            for several in (self._queue, self._running):
                if turn in several:
                    several.remove(turn)
            self._begin_some()

    def _has_room(self) -> bool:
        with_place = [one for one in self._running if one.programs and not _is_long(one)]
        return len(with_place) < AT_ONCE and len(self._running) < AT_ONCE + BESIDE

    def _begin_some(self) -> None:
        while self._queue and self._has_room():
            turn = max(self._queue, key=lambda one: one.programs > 0)  # the first such
            self._queue.remove(turn)
            self._running.append(turn)
            turn.began = trio.current_time()
            turn.begun.set()
        if any(one.programs for one in self._queue) and len(self._running) == AT_ONCE + BESIDE:
            for one in [one for one in self._running if not one.programs][:1]:
                one.running.cancel()


def _is_long(turn: Turn) -> bool:
    return trio.current_time() - turn.began >= LONG
