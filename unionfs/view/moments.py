"""Which time an archive gets: that of all its files which no earlier one has.

Many programs look at whole seconds and sizes alone: rsync, make, bytecode that is kept elsewhere.
So what may stand at one path of a view, with other bytes, never has the same second: not the
versions of one distribution, nor two distributions that bring the same path, of which a project may
prefer the one today and the other tomorrow. All others that are first seen within a second share
it, as an installer's files do.

Later versions have later times, or `make` and `cp -u` would pass over them, and none from before
they came: what was made of the earlier ones may be a moment old. Where that leaves a choice, it is
the latest second that is over or now: a file from the future is one that `make` warns of. What is
the first of its distribution has that choice, so it is given a time last. There is none where two
versions of a distribution are first seen within one second, where two distributions bring new
files of one path at once, both after earlier versions, and where the clock was set back since: then
the next free second it is. Nothing follows a time that is more
than a day from now: the clock was wrong then, and would be so for ever.

Which path a file has in a view, the grafts of its layer say: data may lie among the modules, or
beside the scripts, of others. Of those in a second only the archives are remembered, so they are
looked at with the grafts of the one that is added: nearly all of a kind have the same. What they
share with earlier ones has the time of these, and is left out.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.archive.layer import ROOT, Kind, LayerError
from unionfs.archive.meta import NEWEST
from unionfs.view.nodeid import DAY, EARLIEST
from unionfs.view.schema import SECOND, STEP, now
from unionfs.view.sharing import NOTHING, Shared, archive_of, distribution_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from resolver.manifest import Grafts
    from unionfs.archive.layer import EntryNo
    from unionfs.archive.reader import Archive

    OpenArchive = Callable[[str], Archive]

BACK: Final = 60
"""Seconds before now that are tried."""

AHEAD: Final = DAY
"""Nanoseconds from now to what is followed."""

BEYOND: Final = 4_102_444_800 * SECOND
"""The year 2100: from there on are the times of files that have to be newer than all directories
(`unionfs.archive.meta.NEWEST`). Nothing else follows them."""

_NEWEST: Final = f"skeleton {NEWEST}"

_LATEST: Final = "SELECT coalesce(max(time), 0) FROM archives WHERE distribution = ?"
_LATEST_AT: Final = (
    "SELECT coalesce(max(time), 0) FROM places JOIN archives USING (number) WHERE place = ?"
)

_MOST_KEPT: Final = 2 * BACK
"""Seconds of which it is remembered what stands where."""


def time_of_view(db: sqlite3.Connection) -> int:
    """The time of a new view: one that no other has; inside a transaction.

    Later than the others', but for those that are from the future since the clock was set back.
    """
    moment = now()
    taken = {time for (time,) in db.execute("SELECT time FROM views WHERE time >= ?", (moment,))}
    found = max((time + STEP for time in taken if time < moment + SECOND), default=moment)
    while found in taken:
        found += STEP
    return found


def _beyond(db: sqlite3.Connection, distribution: str) -> int:
    """A time after all that come from clocks; the next second of it."""
    query = "SELECT coalesce(max(time), 0) FROM archives WHERE distribution = ?"
    (last,) = db.execute(query, (distribution,)).fetchone()
    return max(BEYOND, (int(last) // SECOND + 1) * SECOND)


class Moments:
    """Times for new archives of one registry, inside a transaction of it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._seconds: dict[tuple[int, Grafts | None], _Second] = {}

    def of(
        self,
        archive: Archive,
        shared: Shared,
        open_archive: OpenArchive,
        grafts: Grafts | None = None,
        place: str = "",
    ) -> int:
        """The time of an archive: nanoseconds since the Epoch, in whole steps, nobody else's.

        It is that of what is not `shared` with earlier ones. `grafts`: where its top directories
        go; None: nobody knows, and all are taken for one. `place`: where it is by itself; then it
        follows what was there before, whichever distribution that was.
        """
        distribution = distribution_of(archive)
        if distribution == _NEWEST:
            return _beyond(self._db, distribution)
        # Earlier versions of the registry go on with it, so its format stays.
        self._db.execute("CREATE INDEX IF NOT EXISTS archives_by_time ON archives(time)")
        query = _LATEST_AT if place else _LATEST
        (latest,) = self._db.execute(
            f"{query} AND time < ?", (place or distribution, now() + AHEAD)
        ).fetchone()
        moment = max(now(), (latest // SECOND + 1) * SECOND)
        first = moment // SECOND
        if not latest:
            first = max(first - BACK, EARLIEST // SECOND)
        candidates = self._candidates(moment, first)
        while True:
            candidate = next(candidates)
            second = self._second(candidate // SECOND, grafts, open_archive)
            if not second.takes(archive, shared, open_archive):
                if second.names or second.unknown:
                    continue
                second.unknown = True  # it has two things at one path itself, and stays alone
            while candidate in second.times:
                candidate += STEP
            return candidate

    def _candidates(self, moment: int, first: int) -> Iterator[int]:
        yield moment
        for second in range(moment // SECOND - 1, first - 1, -1):
            yield second * SECOND
        while True:
            moment = (moment // SECOND + 1) * SECOND
            yield moment

    def _second(self, number: int, grafts: Grafts | None, open_archive: OpenArchive) -> _Second:
        """What is registered for a second by now."""
        if (number, grafts) not in self._seconds and len(self._seconds) >= _MOST_KEPT:
            self._seconds.clear()
        second = self._seconds.setdefault((number, grafts), _Second(grafts))
        rows = self._db.execute(
            "SELECT number, name, time, shared FROM archives "
            "WHERE time >= ? AND time < ? AND number > ? ORDER BY number",
            (number * SECOND, (number + 1) * SECOND, second.last),
        ).fetchall()
        for row, name, time, text in rows:
            second.last = row
            second.times.add(time)
            if name not in second.names:
                try:
                    shared = Shared.from_json(text) if text else NOTHING
                    taken = second.takes(open_archive(archive_of(name)), shared, open_archive)
                except LayerError:
                    taken = False
                second.unknown = second.unknown or not taken
        return second


class _Place(NamedTuple):
    """What stands at a path: a file or link by its digest, a directory by who has it.

    `entry` is None for a directory of several, or one that has been looked into.
    """

    kind: Kind
    digest: bytes
    archive: str
    entry: EntryNo | None


class _Second:
    """All that archives of one second have, as one tree; none of them clashes with another.

    It is the tree of a view with these grafts. A directory that only one archive has is not looked
    into: nearly all are. But those above a graft are, or what an archive has there by its path
    would not meet what others have there by the graft.
    """

    def __init__(self, grafts: Grafts | None) -> None:
        self._grafts = None
        if grafts is not None:
            self._grafts = {os.fsencode(top): os.fsencode(path) for top, path in grafts}
        self.last = 0
        self.times: set[int] = set()
        self.names: dict[str, Shared] = {}
        self.unknown = False  # what one of them has: it was collected, or is damaged
        self._places: dict[bytes, _Place] = {}
        for path in (self._grafts or {}).values():
            parts = path.split(b"/") if path else []
            for number in range(1, len(parts) + 1):
                above = b"/%b" % b"/".join(parts[:number])
                self._places[above] = _Place(Kind.DIRECTORY, b"", "", None)

    def takes(self, archive: Archive, shared: Shared, open_archive: OpenArchive) -> bool:
        """Whether an archive has nothing else at a path than the others; then it is one of them."""
        if self.unknown:
            return False
        added: dict[bytes, _Place] = {}
        pending = list(self._tops(archive))
        while pending:
            above, directory = pending.pop()
            for path, place in _children(archive, shared, above, directory):
                found = added.get(path) or self._places.get(path)
                if found is None:
                    added[path] = place
                elif (found.kind, found.digest) != (place.kind, place.digest):
                    return False
                elif place.kind is Kind.DIRECTORY and place.entry is not None:
                    if found.entry is not None:
                        try:
                            own = found.archive == archive.name
                            other = archive if own else open_archive(found.archive)
                        except LayerError:
                            return False
                        its = shared if own else self.names[found.archive]
                        added |= dict(_children(other, its, path, found.entry))
                        added[path] = found._replace(entry=None)
                    pending.append((path, place.entry))
        self._places |= added
        self.names[archive.name] = shared
        return True

    def _tops(self, archive: Archive) -> Iterator[tuple[bytes, EntryNo]]:
        """Where its top directories lie, each beginning with a slash or "" for the root."""
        for name, number, entry in archive.children(ROOT):
            if entry.kind is not Kind.DIRECTORY:
                continue
            if self._grafts is None:
                yield b"", number
            elif (path := self._grafts.get(name)) is not None:
                yield (b"/%b" % path if path else b""), number


def _children(
    archive: Archive, shared: Shared, above: bytes, directory: EntryNo
) -> Iterator[tuple[bytes, _Place]]:
    for name, number, entry in archive.children(directory):
        is_directory = entry.kind is Kind.DIRECTORY
        if not is_directory and shared.get(number) is not None:
            continue
        digest = b"" if is_directory else archive.digest(number)
        yield b"%b/%b" % (above, name), _Place(entry.kind, digest, archive.name, number)
