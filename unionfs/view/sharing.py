"""Which members of an archive are known by an earlier one: what successive versions share.

Most files of a distribution are the same in its next version. Where the path in the archive, the
bytes and the mode are, both have one inode, so the kernel keeps one set of pages. Nothing else is
shared: a program takes two paths of one inode for one file, so two distributions that bring the
same library would be one library to the loader, and two empty files one file to `cp`.

A new archive is compared with the one of its distribution that was registered last, and what both
have is known as it is known of that one: so an inode, with its time, goes through any number of
versions, and ends at the first that has something else at that path, or nothing. Who has the old
bytes again later has them anew, and newer than all that was there in between: `make` and `cp -u`
need that. So do those who went back to an earlier version: what had come since goes no further
(`unionfs.view.again`). Nothing at a path counts as something else, because it may be at another
place of the archive that leads to the same in a view (`purelib`, `platlib`). An archive that is by
itself at places of a view, as a package of Node's is, is compared with what was registered last for
that place, and with nothing that is elsewhere.

It is found by comparing tables of contents, once, when an archive is new, and is kept as *runs*: of
what an archive shares most lies together, in the same order as in the earlier one.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.archive.layer import ROOT, EntryNo, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from unionfs.archive.reader import Archive
    from unionfs.view.nodeid import ArchiveNo


class Known(NamedTuple):
    """By which archive's entry a file or link is known, and since when: nanoseconds (Epoch)."""

    archive: ArchiveNo
    entry: EntryNo
    time: int


class _Run(NamedTuple):
    """From entry `first` on, `size` entries are known as those from `known` on."""

    first: int
    size: int
    known: Known


class Shared:
    """What one archive shares with earlier ones; immutable."""

    __slots__ = ("_firsts", "_runs")

    def __init__(self, runs: Iterable[_Run] = ()) -> None:
        self._runs = sorted(runs)
        self._firsts = [run.first for run in self._runs]

    @classmethod
    def of(cls, entries: Mapping[EntryNo, Known]) -> Shared:
        """The same, entry by entry."""
        runs: list[_Run] = []
        for entry, known in sorted(entries.items()):
            if runs:
                first, size, before = runs[-1]
                if entry == first + size and known == _after(before, size):
                    runs[-1] = _Run(first, size + 1, before)
                    continue
            runs.append(_Run(entry, 1, known))
        return cls(runs)

    @classmethod
    def from_json(cls, text: str) -> Shared:
        """What `to_json` wrote."""
        return cls(
            _Run(first, size, Known(archive, entry, time))
            for archive, time, runs in json.loads(text)
            for first, size, entry in runs
        )

    def to_json(self) -> str:
        """`[[archive, time, [[first, size, known first], ...]], ...]`, "" for nothing."""
        by_archive: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for first, size, known in self._runs:
            runs = by_archive.setdefault((known.archive, known.time), [])
            runs.append((first, size, known.entry))
        if not by_archive:
            return ""
        return json.dumps([[*key, runs] for key, runs in by_archive.items()], separators=(",", ":"))

    def archives(self) -> set[ArchiveNo]:
        """Those by which members are known."""
        return {run.known.archive for run in self._runs}

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._runs)

    def get(self, entry: EntryNo) -> Known | None:
        """By what an entry is known; None for one of the archive's own."""
        if not self._firsts or entry < self._firsts[0]:
            return None
        place = bisect_right(self._firsts, entry) - 1
        first, size, known = self._runs[place]
        return _after(known, entry - first) if entry < first + size else None

    def known_by(self, archive: ArchiveNo) -> Iterator[tuple[EntryNo, EntryNo]]:
        """(entry of that archive, own entry) of all that is known by that archive."""
        for first, size, known in self._runs:
            if known.archive == archive:
                for step in range(size):
                    yield EntryNo(known.entry + step), EntryNo(first + step)


NOTHING = Shared()

Where = tuple[str, str]
"""An archive's name, and the place of a view where it is by itself; "": it has no such place."""


class Registered(NamedTuple):
    """An archive that has a number, since `time` (nanoseconds, Epoch).

    `name` is the archive's, or what `name_at` gives. `entries` is 0 for one that an earlier version
    registered.
    """

    number: ArchiveNo
    name: str
    time: int
    entries: int
    shared: Shared

    @classmethod
    def of(cls, row: tuple[ArchiveNo, str, int, int, str]) -> Registered:
        """What `REGISTERED` gives."""
        number, name, moment, entries, shared = row
        return cls(number, name, moment, entries, Shared.from_json(shared) if shared else NOTHING)

    @property
    def archive(self) -> str:
        """The archive's own name."""
        return archive_of(self.name)


REGISTERED: Final = "SELECT number, name, time, entries, shared FROM archives"


def distribution_of(archive: Archive) -> str:
    """What an archive is a version of."""
    return f"{archive.meta.kind} {archive.meta.name}"


def name_at(archive: str, place: str) -> str:
    """What an archive is called in the registry at another place than its first one."""
    return f"{archive} {place}"


def archive_of(name: str) -> str:
    """The archive that is meant by a name in the registry; no archive's own has a space."""
    return name.partition(" ")[0]


def _after(known: Known, steps: int) -> Known:
    return Known(known.archive, EntryNo(known.entry + steps), known.time)


def passed_on(
    archive: Archive,
    last: Archive,
    own: Known,
    shared: Shared,
    again: Collection[tuple[ArchiveNo, ArchiveNo]],
) -> Shared:
    """What a new archive has in common with its distribution's last, of which `shared` is known.

    The other members of that one are known as `own`, by their numbers. `again`: what came after
    the first of each pair, up to the second, passes nothing on (`unionfs.view.again`).
    """
    found: dict[EntryNo, Known] = {}
    for entry, twin in same_members(archive, last) if archive.whole and last.whole else ():
        known = shared.get(twin) or own._replace(entry=twin)
        if not any(first < known.archive <= until for first, until in again):
            found[entry] = known
    return Shared.of(found)


def same_members(one: Archive, other: Archive) -> Iterator[tuple[EntryNo, EntryNo]]:
    """The files and links that two archives have at one path, with equal bytes and mode."""
    pending = [(ROOT, ROOT)]
    while pending:
        here, there = pending.pop()
        listed = {name: (number, entry) for name, number, entry in other.children(there)}
        for name, number, entry in one.children(here):
            twin, its_entry = listed.get(name, (None, None))
            if twin is None or its_entry != entry:
                continue
            if entry.kind is Kind.DIRECTORY:
                pending.append((number, twin))
            elif one.digest(number) == other.digest(twin):
                yield number, twin
