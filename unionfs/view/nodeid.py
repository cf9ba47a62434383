"""Node ids: 53 bits that say what they name, so that no inode table is needed.

| bits 50-52 | below |
|---|---|
| FIXED | a number of `Fixed`; 1 is the root, as `FUSE_ROOT_ID` demands |
| ARCHIVE | archive number (26 bits), entry (24): any file or link, anything in `packages/` |
| OWNED | view number (24), place (26): a view's directory that one layer owns |
| MERGED | view number (24), number in the view's union (26): a directory of several layers |
| PROJECT | project number (50): a link in `projects/` |

The place of an OWNED directory counts through the layers, one after the other, each having as many
places as it may have entries: that takes fewer bits than a layer and an entry would.

Any process that holds the registry and the store can answer for any node id, whoever handed it
out: a crashed or upgraded server needs nothing from its predecessor, `forget` has nothing to do,
and memory does not grow with the files that were looked at. Files are named by archive, not by
view, so the kernel keeps one set of pages for all views; directories are named by view, because
the kernel allows a directory one name. 53 bits, because programs keep `st_ino` in a double:
JavaScript has no other numbers.

Decoding takes every bit: one thing has one node id, and a number that we never handed out decodes
to an archive, view or entry that does not exist, never to another's.

A mount keeps the `Packing` that it began with: the kernel remembers its numbers. `BEFORE` is the
one of mounts that an earlier version began. All their ids but the fixed ones are above `PACKING`'s,
and their files keep the time that they had then.

Why no hash of the content as node id: that could be forged, and a forged file would be served from
another file's pages. Numbers are handed out by the registry.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NewType

from unionfs.archive.layer import EntryNo

if TYPE_CHECKING:
    from collections.abc import Sequence

NodeId = NewType("NodeId", int)
ArchiveNo = NewType("ArchiveNo", int)
ViewNo = NewType("ViewNo", int)
ProjectNo = NewType("ProjectNo", int)
MergedNo = NewType("MergedNo", int)
LayerNo = NewType("LayerNo", int)

PYCACHES: Final = 1 << 39
"""Added to the number of a directory that several layers share: that of its `__pycache__`."""

DAY: Final = 86_400 * 1_000_000_000

EPOCH: Final = 315_532_800 * 1_000_000_000
"""1980-01-01 (UTC), nanoseconds: the time of every member in an archive."""

EARLIEST: Final = EPOCH + DAY
"""The time of what has no better one: 1980, the first year of a zip, has begun everywhere."""

LATEST: Final = 4_291_747_200 * 1_000_000_000
"""2106-01-01 (UTC): some weeks before 32 bits of seconds end, as bytecode and gzip have them. A zip
ends in 2107. What is registered then goes on from here."""


class NodeKind(enum.IntEnum):
    """The uppermost bits of a node id."""

    FIXED = 0
    ARCHIVE = 1
    OWNED = 2
    MERGED = 3
    PROJECT = 4


_KINDS = {int(kind): kind for kind in NodeKind}
_ARCHIVE, _OWNED, _MERGED, _PROJECT = (int(kind) for kind in NodeKind if kind)


class Fixed(enum.IntEnum):
    """Nodes that every mount has, under these numbers in every packing."""

    ROOT = 1
    CURRENT = 2
    VIEWS = 3
    PROJECTS = 4
    PACKAGES = 5
    BIN = 6
    LIB = 7
    INCLUDE = 8
    SHARE = 9
    PYVENV_CFG = 10
    SITE_PACKAGES = 11
    LIB64 = 12


def fixed(node: Fixed) -> NodeId:
    """The id of a node that every mount has."""
    return NodeId(int(node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What lies where in a node id, by numbers of bits; `kind_at`: where the kind begins.

    `pycaches` is what stands for `PYCACHES`. `layer_at`: where the layer begins in a place; None
    where places are counted through all layers. `number` is what a mount's keeper calls it.
    """

    number: int
    kind_at: int
    entry_bits: int
    place_bits: int
    pycaches: int
    layer_at: int | None = None
    timed: bool = True

    @property
    def most_archives(self) -> int:
        """The largest archive number."""
        return (1 << self.kind_at - self.entry_bits) - 1

    @property
    def most_views(self) -> int:
        """The largest view number."""
        return (1 << self.kind_at - self.place_bits) - 1

    @property
    def most_projects(self) -> int:
        """The largest project number."""
        return (1 << self.kind_at) - 1

    @property
    def most_entries(self) -> int:
        """How many entries an archive may have."""
        return 1 << self.entry_bits

    @property
    def most_places(self) -> int:
        """How many places a view may have."""
        return 1 << self.place_bits

    def time(self, known_since: int) -> int:
        """What the kernel is told of when a registered thing became what it is."""
        return known_since if self.timed else EPOCH

    @property
    def beginning(self) -> int:
        """What it is told of everything else."""
        return EARLIEST if self.timed else EPOCH

    # Making

    def in_archive(self, archive: ArchiveNo, entry: EntryNo) -> NodeId:
        """The id of a member, the same in every view."""
        return NodeId(_ARCHIVE << self.kind_at | archive << self.entry_bits | entry)

    def firsts(self, rooms: Sequence[int]) -> list[int]:
        """Each layer's first place, and the one after the last; `rooms`: entries they may have."""
        if self.layer_at is not None:
            return [layer << self.layer_at for layer in range(len(rooms) + 1)]
        return list(accumulate(rooms, initial=0))

    def owned(self, view: ViewNo, place: int) -> NodeId:
        """The id of a view's directory whose only owner is one layer."""
        return NodeId(_OWNED << self.kind_at | view << self.place_bits | place)

    def merged(self, view: ViewNo, number: MergedNo) -> NodeId:
        """The id of a view's directory that is in its trie."""
        place = number if number < PYCACHES else number - PYCACHES + self.pycaches
        return NodeId(_MERGED << self.kind_at | view << self.place_bits | place)

    def project(self, number: ProjectNo) -> NodeId:
        """The id of a link in `projects/`."""
        return NodeId(_PROJECT << self.kind_at | number)

    # Reading

    def kind(self, node: NodeId) -> NodeKind | None:
        """What the node is; None for a number that we never hand out."""
        return _KINDS.get(node >> self.kind_at)

    def archive_parts(self, node: NodeId) -> tuple[ArchiveNo, EntryNo]:
        """Archive and entry of an ARCHIVE node."""
        below = node & (1 << self.kind_at) - 1
        return ArchiveNo(below >> self.entry_bits), EntryNo(below & (1 << self.entry_bits) - 1)

    def owned_parts(self, node: NodeId) -> tuple[ViewNo, int]:
        """View and place of an OWNED node."""
        below = node & (1 << self.kind_at) - 1
        return ViewNo(below >> self.place_bits), below & (1 << self.place_bits) - 1

    def merged_parts(self, node: NodeId) -> tuple[ViewNo, MergedNo]:
        """View and number of a MERGED node."""
        view, place = self.owned_parts(node)
        beyond = place - self.pycaches
        return view, MergedNo(place if beyond < 0 else beyond + PYCACHES)

    def project_part(self, node: NodeId) -> ProjectNo:
        """The number of a PROJECT node."""
        return ProjectNo(node & (1 << self.kind_at) - 1)


PACKING: Final = Packing(number=2, kind_at=50, entry_bits=24, place_bits=26, pycaches=1 << 25)
BEFORE: Final = Packing(
    number=1,
    kind_at=60,
    entry_bits=32,
    place_bits=40,
    pycaches=PYCACHES,
    layer_at=28,
    timed=False,
)
PACKINGS: Final = {packing.number: packing for packing in (PACKING, BEFORE)}
