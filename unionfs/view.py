"""A view: a manifest as a directory tree, and the node ids of everything in it.

A view is a union of archives whose top-level directories are wheel schemes; the manifest says
where each scheme lies, so the union is a complete virtual environment. Files and links are known
by their archive's node id (or the one that the registry gave their content before), directories
by the view's own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from unionfs import nodeid
from unionfs.layer import EntryNo, Kind, LayerError
from unionfs.nodeid import ArchiveNo, LayerNo, MergedNo, NodeId, ViewNo
from unionfs.union import MERGED, Place, Stacked, Union

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resolver.manifest import Manifest, Schemes
    from unionfs.archive import Archive


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


def grafts(schemes: Schemes) -> dict[bytes, bytes]:
    """Where an archive's top-level directories go, as `Stacked` wants it."""
    return {
        scheme.encode(): os.fsencode(getattr(schemes, scheme))
        for scheme in ("purelib", "platlib", "scripts", "headers", "data")
    }


def union_of(manifest: Manifest, archives: Sequence[Archive]) -> Union:
    """The union that a manifest describes; `archives` are its layers, in its order."""
    where = grafts(manifest.python.schemes)
    return Union([Stacked(layer=archive, grafts=where) for archive in archives])


class View:
    """One view with its numbers; immutable."""

    def __init__(self, number: ViewNo, manifest: Manifest, members: Sequence[Member]) -> None:
        if len(members) > MOST_LAYERS:
            # `publish` refuses it with a remedy; this is for a manifest that came otherwise.
            raise LayerError(f"view {manifest.id} has {len(members)} layers, at most {MOST_LAYERS}")
        self.number = number
        self.manifest = manifest
        self.members = tuple(members)
        self.union = union_of(manifest, [member.archive for member in members])

    def node(self, place: Place) -> NodeId:
        """The node id of a place in the union."""
        if place.layer == MERGED:
            return nodeid.merged(self.number, MergedNo(place.number))
        member = self.members[place.layer]
        entry = EntryNo(place.number)
        if member.archive.entry(entry).kind is Kind.DIRECTORY:
            return nodeid.owned(self.number, LayerNo(place.layer), entry)
        return member.node(entry)
