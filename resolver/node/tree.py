"""The tree that a lock describes: who needs what, where that is found, and what is left out here.

A name is looked up as Node does it: in the node_modules of the directory itself, then in those
above. What does not fit this machine is left out if it is optional, with all that only it reaches
(`optionalSet` and `gatherDepSet` of npm's arborist); so is what is omitted by its sort. What lies
below something that is left out is left out with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from resolver.errors import PkgviewError
from resolver.node.machine import fits
from resolver.node.semver import satisfies

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from resolver.node.lock import Entry, Lock
    from resolver.node.machine import Machine

    Asked = Mapping[str, Mapping[str, tuple[str, str]]]
    """By place, the project's ("") and members', what it asks for: as `Entry.dependencies`."""

OMITTED = ("dev", "optional", "peer")
"""What can be left out by its sort."""


class Edge(NamedTuple):
    """One place needs what has a name; `to` is where that is found, None: nowhere."""

    by: str
    name: str
    wanted: str
    sort: str
    to: str | None

    @property
    def is_optional(self) -> bool:
        """Whether it may be missing."""
        return self.sort in {"optional", "peerOptional"}


class Tree:
    """A lock's places with their edges; what it answers never changes.

    `asked` counts instead of what the lock has of the project and its members.
    """

    def __init__(self, lock: Lock, asked: Asked | None = None) -> None:
        self.entries = lock.entries
        self._asked = asked
        self._out: dict[str, list[Edge]] = {}
        self._into: dict[str, list[Edge]] = {}
        for place, entry in self.entries.items():
            needed = (asked or {}).get(place, entry.dependencies)
            for name, (wanted, sort) in needed.items():
                self._add(Edge(place, name, wanted, sort, self.found(place, name)))
        for place, entry in self.entries.items():
            if entry.link and entry.resolved and (target := self.target(place)) is not None:
                if asked is not None and target not in asked:
                    continue
                root = Edge("", entry.name, f"file:{target}", "workspace", place)
                if self.found("", entry.name) == place and not self._into.get(place):
                    self._add(root)

    def _add(self, edge: Edge) -> None:
        self._out.setdefault(edge.by, []).append(edge)
        if edge.to is not None:
            self._into.setdefault(edge.to, []).append(edge)

    def edges(self, place: str) -> list[Edge]:
        """What a place needs."""
        return self._out.get(place, [])

    def needed_by(self, place: str) -> list[Edge]:
        """Who needs it."""
        return self._into.get(place, [])

    def target(self, place: str) -> str | None:
        """Where a link leads: a place of the lock."""
        target = self.entries[place].resolved.removeprefix("./")
        return target if target in self.entries else None

    def found(self, by: str, name: str) -> str | None:
        """Where a name is found from a place."""
        at: str | None = by
        while at is not None:
            place = f"{at}/node_modules/{name}" if at else f"node_modules/{name}"
            if place in self.entries:
                return place
            at = self._above(at)
        return None

    def _above(self, place: str) -> str | None:
        """The place in whose directory it lies; None: above the project."""
        if not place:
            return None
        entry = self.entries.get(place)
        if entry is not None and entry.is_package:
            return entry.parent
        above = place
        while above and not above.startswith("../"):
            above = above.rpartition("/")[0]
            if above in self.entries:
                return above
        return None

    # What is left out

    def kept(
        self, machine: Machine, omitted: Collection[str], forgone: Collection[str] = ()
    ) -> dict[str, Entry]:
        """What lies in some node_modules on this machine, by place, in the lock's order.

        Without what nothing reaches of what was asked for, as `npm ci` leaves it out. `forgone`:
        places that are left out like what is optional and does not fit. `PkgviewError` where
        something does not fit that is not optional.
        """
        left_out = {place for place in self.entries if self._is_omitted(place, omitted)}
        if self._asked is not None:
            left_out |= self.entries.keys() - self._reached()
        unfit = []
        not_had = []
        for place, entry in self.entries.items():
            if not entry.is_package or entry.link:
                continue
            if _fits(entry, machine) and place not in forgone:
                continue
            if entry.optional:
                not_had.append(place)
            elif place not in left_out and not _fits_platform(entry, machine):
                unfit.append(entry.title)
        if unfit:
            raise PkgviewError(
                f"not for this machine ({machine.os}, {machine.cpu}, {machine.libc}): "
                f"{', '.join(unfit)}",
                remedy="Make them optionalDependencies, or leave them out.",
            )
        left_out |= self._with_what_only_they_need(not_had)
        return dict(self._without(left_out))

    def _reached(self) -> set[str]:
        """All that the project needs, with what that needs; what is bundled is there anyway."""
        bundled: dict[str, list[str]] = {}
        for place, entry in self.entries.items():
            if entry.bundled:
                bundled.setdefault(entry.parent, []).append(place)
        pending = [""]
        reached = {""}
        for place in pending:  # it grows while it is walked
            found = [edge.to for edge in self.edges(place)] + bundled.get(place, [])
            if self.entries[place].link:
                found.append(self.target(place))
            more = [one for one in dict.fromkeys(found) if one is not None and one not in reached]
            pending += more
            reached.update(more)
        return reached

    def _without(self, left_out: set[str]) -> Iterator[tuple[str, Entry]]:
        gone = set(left_out)
        # The shallowest first, wherever the lock has them.
        for place in sorted(self.entries, key=lambda one: one.count("node_modules/")):
            entry = self.entries[place]
            if entry.is_package and entry.parent in gone:
                gone.add(place)
        for place, entry in self.entries.items():
            if entry.is_package and place not in gone:
                yield place, entry

    def _is_omitted(self, place: str, omitted: Collection[str]) -> bool:
        entry = self.entries[place]
        return entry.is_package and (
            (entry.peer and "peer" in omitted)
            or (entry.dev and "dev" in omitted)
            or (entry.optional and "optional" in omitted)
            or (entry.dev_optional and {"dev", "optional"} <= set(omitted))
        )

    def _with_what_only_they_need(self, places: list[str]) -> set[str]:
        """What goes where these optional packages cannot be had, of all of them at once."""
        bounded, inside = list(places), set(places)
        for one in bounded:  # it grows while it is walked
            by = (edge.by for edge in self.needed_by(one) if not edge.is_optional)
            more = [one for one in dict.fromkeys(by) if one not in inside]
            bounded += more
            inside.update(more)
        reached = list(bounded)
        gathered = set(reached)
        for one in reached:  # the same
            for edge in self.edges(one):
                if edge.to is not None and edge.to not in gathered:
                    reached.append(edge.to)
                    gathered.add(edge.to)
        needed = [
            one
            for one in reached
            if one not in inside and any(edge.by not in gathered for edge in self.needed_by(one))
        ]
        gathered.difference_update(needed)
        for one in needed:  # the same: what they need is needed, too
            for edge in self.edges(one):
                if edge.to in gathered and edge.to not in inside:
                    gathered.remove(edge.to)
                    needed.append(edge.to)
        return gathered

    # What is wrong

    def problems(self, *, peers: bool) -> Iterator[Edge]:
        """What nothing is found for, or another version than is asked for.

        `peers`: what a package wants beside it counts, too. What only npm can compare (a tag, an
        address) does not.
        """
        for edges in self._out.values():
            for edge in edges:
                if (peers or not edge.sort.startswith("peer")) and not self._is_met(edge):
                    yield edge

    def _is_met(self, edge: Edge) -> bool:
        if edge.to is None:
            return edge.is_optional
        return meets(self.entries, edge.to, edge.wanted) is not False


def meets(entries: Mapping[str, Entry], place: str, wanted: str) -> bool | None:
    """Whether what lies at a place is in a range; None where only npm can say."""
    entry = entries[place]
    if entry.link:
        entry = entries.get(entry.resolved.removeprefix("./"), entry)
    if wanted.startswith("npm:"):
        name, at, wanted = wanted.removeprefix("npm:").rpartition("@")
        if not at or not name:
            return None
        if name != entry.package:
            return False
    if wanted.startswith(("file:", "workspace:")) or not entry.version:
        return None
    return satisfies(entry.version, wanted)


def _fits_platform(entry: Entry, machine: Machine) -> bool:
    if entry.libc and not machine.libc:
        return False
    pairs = ((machine.os, entry.os), (machine.cpu, entry.cpu), (machine.libc, entry.libc))
    return all(fits(value, listed) for value, listed in pairs)


def _fits(entry: Entry, machine: Machine) -> bool:
    return _fits_platform(entry, machine) and fits_engine(entry, machine)


def fits_engine(entry: Entry, machine: Machine) -> bool:
    """Whether it is for this Node, as far as that is known."""
    if not entry.engine or not machine.node:
        return True
    # What is no range npm takes for one that nothing fits.
    return satisfies(machine.node, entry.engine, prereleases=True) is True


def others_node(entries: Iterable[Entry], machine: Machine) -> list[str]:
    """Packages that are for another Node: what they call themselves, and their range."""
    return [
        f"{one.title} ({one.engine})"
        for one in entries
        if not one.link and not fits_engine(one, machine)
    ]
