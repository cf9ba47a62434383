"""Who needs how much of the store, and what would be free without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unionfs.store.local import Store
from unionfs.store.partial import Partials
from unionfs.upkeep.references import read_references

if TYPE_CHECKING:
    from resolver.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One project's archives, in bytes on disk.

    `alone` are those of archives that no other project needs: what removing it would free. `part`
    is its fair part, each archive divided by the number of projects that need it.
    """

    project: str
    archives: int
    size: int
    alone: int
    part: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The whole store, in bytes.

    `shared` is what more than one project needs, `nobody` what none does: pinned views', programs',
    and what can be collected.
    """

    size: int
    shared: int
    nobody: int
    projects: tuple[Share, ...]


def usage(places: Places) -> Usage:
    """Of the user's own store; what other stores hold takes no room here."""
    sizes = {**Partials(places.store).sizes(), **Store(places.store).sizes()}
    needs = read_references(places)
    wanted = {
        root: needs.archives_of(project) & sizes.keys() for root, project in needs.projects.items()
    }
    counts = dict.fromkeys(sizes, 0)
    for names in wanted.values():
        for name in names:
            counts[name] += 1
    shares = [
        Share(
            project=root,
            archives=len(names),
            size=sum(sizes[name] for name in names),
            alone=sum(sizes[name] for name in names if counts[name] == 1),
            part=round(sum(sizes[name] / counts[name] for name in names)),
        )
        for root, names in wanted.items()
    ]
    return Usage(
        size=sum(sizes.values()),
        shared=sum(size for name, size in sizes.items() if counts[name] > 1),
        nobody=sum(size for name, size in sizes.items() if not counts[name]),
        projects=tuple(sorted(shares, key=lambda share: (-share.alone, share.project))),
    )
