"""Node ids: 63 bits that say what they name, so that no inode table is needed.

| bits 60-62 | below |
|---|---|
| FIXED | a number of `Fixed`; 1 is the root, as `FUSE_ROOT_ID` demands |
| ARCHIVE | archive number (24 bits), entry (32): any file or link, anything in `packages/` |
| OWNED | view number (20), layer (12), entry (28): a view's directory that one layer owns |
| MERGED | view number (20), number in the view's union (40): a directory of several layers |
| PROJECT | project number (60): a link in `projects/` |

Any process that holds the registry and the store can answer for any node id, whoever handed it
out: a crashed or upgraded server needs nothing from its predecessor, `forget` has nothing to do,
and memory does not grow with the files that were looked at. Files are named by archive, not by
view, so the kernel keeps one set of pages for all views; directories are named by view, because
the kernel allows a directory one name. Bit 63 stays 0: some programs keep `st_ino` signed.

Decoding takes every bit: one thing has one node id, and a number that we never handed out decodes
to an archive, view or entry that does not exist, never to another's.

Why no hash of the content as node id: 63 bits of it could be forged, and a forged file would be
served from another file's pages. Numbers are handed out by the registry, one for each content.
"""

from __future__ import annotations

import enum
from typing import NewType

from unionfs.archive.layer import EntryNo

NodeId = NewType("NodeId", int)
ArchiveNo = NewType("ArchiveNo", int)
ViewNo = NewType("ViewNo", int)
ProjectNo = NewType("ProjectNo", int)
MergedNo = NewType("MergedNo", int)
LayerNo = NewType("LayerNo", int)

MAX_ARCHIVE = (1 << 24) - 1
MAX_VIEW = (1 << 20) - 1
MAX_LAYER = (1 << 12) - 1
MAX_OWNED_ENTRY = (1 << 28) - 1
MAX_MERGED = (1 << 40) - 1
MAX_PROJECT = (1 << 60) - 1

_KIND_SHIFT = 60
_BELOW = (1 << _KIND_SHIFT) - 1


class NodeKind(enum.IntEnum):
    """The uppermost bits of a node id."""

    FIXED = 0
    ARCHIVE = 1
    OWNED = 2
    MERGED = 3
    PROJECT = 4


_KINDS = {int(kind): kind for kind in NodeKind}


class Fixed(enum.IntEnum):
    """Nodes that every mount has."""

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


def in_archive(archive: ArchiveNo, entry: EntryNo) -> NodeId:
    """The id of a member, the same in every view."""
    return NodeId(NodeKind.ARCHIVE << _KIND_SHIFT | archive << 32 | entry)


def owned(view: ViewNo, layer: LayerNo, entry: EntryNo) -> NodeId:
    """The id of a view's directory whose only owner is one layer."""
    return NodeId(NodeKind.OWNED << _KIND_SHIFT | view << 40 | layer << 28 | entry)


def merged(view: ViewNo, number: MergedNo) -> NodeId:
    """The id of a view's directory that is in its trie."""
    return NodeId(NodeKind.MERGED << _KIND_SHIFT | view << 40 | number)


def project(number: ProjectNo) -> NodeId:
    """The id of a link in `projects/`."""
    return NodeId(NodeKind.PROJECT << _KIND_SHIFT | number)


def kind(node: NodeId) -> NodeKind | None:
    """What the node is; None for a number that we never hand out."""
    return _KINDS.get(node >> _KIND_SHIFT)


def archive_parts(node: NodeId) -> tuple[ArchiveNo, EntryNo]:
    """Archive and entry of an ARCHIVE node."""
    return ArchiveNo((node & _BELOW) >> 32), EntryNo(node & 0xFFFFFFFF)


def owned_parts(node: NodeId) -> tuple[ViewNo, LayerNo, EntryNo]:
    """View, layer and entry of an OWNED node."""
    return (
        ViewNo(node >> 40 & MAX_VIEW),
        LayerNo(node >> 28 & MAX_LAYER),
        EntryNo(node & MAX_OWNED_ENTRY),
    )


def merged_parts(node: NodeId) -> tuple[ViewNo, MergedNo]:
    """View and number of a MERGED node."""
    return ViewNo(node >> 40 & MAX_VIEW), MergedNo(node & MAX_MERGED)


def project_part(node: NodeId) -> ProjectNo:
    """The number of a PROJECT node."""
    return ProjectNo(node & _BELOW)
