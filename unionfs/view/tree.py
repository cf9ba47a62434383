"""A view: a manifest as a directory tree, and the node ids of everything in it.

A view is a union of archives; the manifest says where each one's top-level directories go, so that
the union is, for Python, a complete virtual environment. Files and links are known by their
archive's node id (or that of an earlier archive which has them, too) and have that one's time,
directories by the view's own.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unionfs.archive.layer import EntryNo, Kind, LayerError
from unionfs.bytecode.companion import MOST_COMPILED
from unionfs.bytecode.paired import Paired
from unionfs.view.nodeid import (
    EPOCH,
    PACKING,
    ArchiveNo,
    LayerNo,
    MergedNo,
    NodeId,
    Packing,
    ViewNo,
)
from unionfs.view.union import MERGED, Place, Stacked, Union

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resolver.manifest import Grafts, Manifest
    from unionfs.archive.layer import Entry, Layer
    from unionfs.archive.reader import Archive
    from unionfs.view.sharing import Shared


ARCHIVE_BYTES, RUN_BYTES, LAYER_BYTES, NAME_BYTES = 2700, 250, 2048, 200
"""What opening takes beside tables of contents, measured with tracemalloc: an archive, a run of
members that it shares; a layer of a view, a name in a directory that several share."""


class Member(NamedTuple):
    """A registered archive: its number, when it got that, and what it shares with earlier ones."""

    number: ArchiveNo
    archive: Archive
    time: int
    shared: Shared
    packing: Packing = PACKING

    def known(self, entry: EntryNo) -> tuple[NodeId, int]:
        """Node id and time (nanoseconds, Epoch) of a file or link."""
        number, _, time, shared, packing = self
        known = shared.get(entry)
        if known is not None:
            number, entry, time = known
        return packing.in_archive(number, entry), time if packing.timed else EPOCH

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return ARCHIVE_BYTES + self.archive.contents.size + RUN_BYTES * len(self.shared)


class Found(NamedTuple):
    """What lies somewhere: its node id, its time (nanoseconds, Epoch), its attributes."""

    node: NodeId
    time: int
    entry: Entry


def room(entries: int, *, compiled: bool) -> int:
    """How many places a layer takes in a view, whether its companion is opened or not."""
    return entries * (1 + MOST_COMPILED) if compiled else entries


def grafted(grafts: Grafts) -> dict[bytes, bytes]:
    """Where an archive's top-level directories go, as `Stacked` wants it."""
    return {os.fsencode(directory): os.fsencode(path) for directory, path in grafts}


def union_of(
    manifest: Manifest,
    archives: Sequence[Archive],
    open_archive: Callable[[str], Archive],
) -> Union:
    """The union that a manifest describes; `archives` are its layers, in its order.

    `open_archive` gives the companion of that name when it is needed.
    """
    where = {grafts: grafted(grafts) for grafts in {spec.grafts for spec in manifest.layers}}
    layers: list[Layer] = [
        Paired(archive, partial(open_archive, spec.bytecode)) if spec.bytecode else archive
        for spec, archive in zip(manifest.layers, archives, strict=True)
    ]
    return Union(
        [
            Stacked(layer=layer, grafts=where[spec.grafts])
            for spec, layer in zip(manifest.layers, layers, strict=True)
        ]
    )


class View:
    """One view with its numbers; immutable. `members` are its layers without their companions.

    `time`: when it got its number. `member_named` gives a registered archive by its name when it
    is needed.
    """

    def __init__(  # noqa: PLR0913 - what a view is made of, each by its name
        self,
        number: ViewNo,
        manifest: Manifest,
        members: Sequence[Member],
        member_named: Callable[[str], Member],
        *,
        time: int,
        packing: Packing = PACKING,
    ) -> None:
        self.number = number
        self.manifest = manifest
        self.members = tuple(members)
        self.time = packing.time(time)
        self._packing = packing
        self._member_named = member_named
        self._companions: dict[int, Member] = {}
        self._firsts = packing.firsts(
            [
                room(len(member.archive), compiled=bool(spec.bytecode))
                for spec, member in zip(manifest.layers, members, strict=True)
            ]
        )
        self.union = union_of(
            manifest,
            [member.archive for member in members],
            lambda name: member_named(name).archive,
        )
        if (
            self._firsts[-1] > packing.most_places
            or self.union.merged_directories > packing.pycaches
        ):
            # `publish` refuses it with a remedy; this is for a manifest that came otherwise.
            raise LayerError(f"view {manifest.id} has more files than this mount can number")

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly.

        With its companions, which are opened later and are about as large as what they compile.
        """
        own = LAYER_BYTES * len(self.members) + NAME_BYTES * self.union.merged_names
        specs = zip(self.manifest.layers, self.members, strict=True)
        return own + sum(member.size * (2 if spec.bytecode else 1) for spec, member in specs)

    def found(self, place: Place) -> Found:
        """What lies at a place in the union."""
        return self._found(place, self.union.entry(place))

    def listing(self, place: Place) -> list[tuple[bytes, Found]]:
        """All that a directory holds, sorted by name."""
        found = self._found
        return [(name, found(child, entry)) for name, child, entry in self.union.children(place)]

    def owned(self, place: int) -> Place:
        """The directory that an OWNED node id names by its place."""
        layer = bisect_right(self._firsts, place) - 1
        return Place(LayerNo(layer), EntryNo(place - self._firsts[layer]))

    def _found(self, place: Place, entry: Entry) -> Found:
        layer, number = place
        if layer == MERGED:
            return Found(self._packing.merged(self.number, MergedNo(number)), self.time, entry)
        if entry.kind is Kind.DIRECTORY:
            node = self._packing.owned(self.number, self._firsts[layer] + number)
            return Found(node, self.time, entry)
        read_from = self.union.layers[layer]
        compiled = (
            read_from.in_companion(EntryNo(number)) if isinstance(read_from, Paired) else None
        )
        if compiled is None:
            node, time = self.members[layer].known(EntryNo(number))
        else:
            node, time = self._companion(layer).known(compiled)
        return Found(node, time, entry)

    def _companion(self, layer: LayerNo) -> Member:
        found = self._companions.get(layer)
        if found is None:
            found = self._member_named(self.manifest.layers[layer].bytecode)
            self._companions[layer] = found
        return found
