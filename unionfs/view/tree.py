"""A view: a manifest as a directory tree, and the node ids of everything in it.

A view is a union of archives; the manifest says where each one's top-level directories go, so that
the union is, for Python, a complete virtual environment. Files and links are known by their
archive's node id (or the one that the registry gave their content before), directories
by the view's own.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unionfs.archive.layer import EntryNo, Kind, LayerError
from unionfs.bytecode.paired import Paired
from unionfs.view import nodeid
from unionfs.view.nodeid import ArchiveNo, LayerNo, MergedNo, NodeId, ViewNo
from unionfs.view.union import MERGED, Place, Stacked, Union

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resolver.manifest import Grafts, Manifest
    from unionfs.archive.layer import Entry, Layer
    from unionfs.archive.reader import Archive


MOST_LAYERS = nodeid.MAX_LAYER + 1
"""What a node id has room for."""


class Member(NamedTuple):
    """A registered archive: its number, and the node ids its contents already had elsewhere."""

    number: ArchiveNo
    archive: Archive
    aliases: Mapping[EntryNo, NodeId]

    def node(self, entry: EntryNo) -> NodeId:
        """The node id of a file or link."""
        return self.aliases.get(entry) or nodeid.in_archive(self.number, entry)


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

    `member_named` gives a registered archive by its name when it is needed.
    """

    def __init__(
        self,
        number: ViewNo,
        manifest: Manifest,
        members: Sequence[Member],
        member_named: Callable[[str], Member],
    ) -> None:
        if len(members) > MOST_LAYERS:
            # `publish` refuses it with a remedy; this is for a manifest that came otherwise.
            raise LayerError(f"view {manifest.id} has {len(members)} layers, at most {MOST_LAYERS}")
        self.number = number
        self.manifest = manifest
        self.members = tuple(members)
        self._member_named = member_named
        self._companions: dict[int, Member] = {}
        self.union = union_of(
            manifest,
            [member.archive for member in members],
            lambda name: member_named(name).archive,
        )

    def found(self, place: Place) -> tuple[NodeId, Entry]:
        """What lies at a place in the union: its node id and attributes."""
        entry = self.union.entry(place)
        return self._node(place, entry), entry

    def listing(self, place: Place) -> list[tuple[bytes, NodeId, Entry]]:
        """All that a directory holds, sorted by name."""
        node = self._node
        return [
            (name, node(child, entry), entry) for name, child, entry in self.union.children(place)
        ]

    def _node(self, place: Place, entry: Entry) -> NodeId:
        layer, number = place
        if layer == MERGED:
            return nodeid.merged(self.number, MergedNo(number))
        if entry.kind is Kind.DIRECTORY:
            return nodeid.owned(self.number, layer, EntryNo(number))
        read_from = self.union.layers[layer]
        compiled = (
            read_from.in_companion(EntryNo(number)) if isinstance(read_from, Paired) else None
        )
        if compiled is not None:
            return self._companion(layer).node(compiled)
        return self.members[layer].node(EntryNo(number))

    def node(self, place: Place) -> NodeId:
        """The node id of a place in the union."""
        return self.found(place)[0]

    def _companion(self, layer: LayerNo) -> Member:
        found = self._companions.get(layer)
        if found is None:
            found = self._member_named(self.manifest.layers[layer].bytecode)
            self._companions[layer] = found
        return found
