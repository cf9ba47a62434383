"""The memory behind rules 2 and 6: which process got which view, bounded, honest about pids."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from resolver.caller.procfs import read_serial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.binding.rules import Bound
    from resolver.caller.procfs import Pid, StartTime

MOST_BOUND = 1 << 16
"""Entries of the table, a few hundred bytes each, whatever happens."""


class Bindings:
    """Who got what. Lookups and insertions are O(1); dead processes go as new ones come.

    Why no pidfd for each: ten thousand processes would take ten thousand descriptors. A pid's
    start time, compared at each lookup, tells its first owner from the next one just as well,
    unless the pid comes round again within one tick of 10 ms. So those that were looked at in
    the tick in which they began, and only those, are known by their serial, too.

    Why no sweep: it would stop the daemon for the length of the table. Instead each insertion
    asks after the two entries that were asked after longest ago, so the table stays below about
    twice the number of live processes in it.
    """

    def __init__(
        self,
        alive: Callable[[Pid, StartTime], bool],
        *,
        serial: Callable[[Pid], int] = read_serial,
        most: int = MOST_BOUND,
    ) -> None:
        self._alive = alive
        self._serial = serial
        self._most = most
        self._entries: dict[Pid, Bound] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Bound]:
        return iter(list(self._entries.values()))

    def of(self, tgid: Pid, start_time: StartTime) -> Bound | None:
        """The process's entry; None for another process that had the same pid."""
        bound = self._entries.get(tgid)
        if bound is None or bound.identity.start_time != start_time:
            return None
        return None if bound.serial and bound.serial != self._serial(tgid) else bound

    def forget(self, hand: int) -> None:
        """Forget whatever came from that binding by hand: it was taken back."""
        for bound in self:
            if bound.binding.hand == hand:
                del self._entries[bound.identity.tgid]

    def put(self, bound: Bound) -> None:
        """Remember a binding in place of the process's last one."""
        self._entries.pop(bound.identity.tgid, None)
        for tgid in list(itertools.islice(self._entries, 2)):
            oldest = self._entries.pop(tgid)
            if self._alive(tgid, oldest.identity.start_time):
                self._entries[tgid] = oldest
        while len(self._entries) >= self._most:
            del self._entries[next(iter(self._entries))]
        self._entries[bound.identity.tgid] = bound
