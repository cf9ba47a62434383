"""What programs have the kernel watch: inotify(7) and fanotify(7).

Who waits for a change in a view may have nothing of it open: a watch holds an inode, and the view's
own directory only if it is that. `/proc/<pid>/fdinfo/<descriptor>` says which inode, and with us
that is the node id, which says what it names. The device is not compared: another file system has
no numbers of that size, or, by a chance of one in millions, keeps a view that nobody watches.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from unionfs.view.nodeid import BEFORE, PACKING, NodeId, NodeKind
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from resolver.manifest import ViewId
    from resolver.places import Places
    from unionfs.archive.layer import EntryNo
    from unionfs.view.nodeid import ArchiveNo, ViewNo

_DESCRIPTORS = frozenset({"anon_inode:inotify", "anon_inode:[fanotify]"})
_WATCH = re.compile(rb"(?:inotify|fanotify) [^\n]*\bino:([0-9a-f]{13,16}) ")
"""A line of theirs, proc_pid_fdinfo(5); shorter numbers are other file systems'."""


def watched(base: str, files: Mapping[str, str]) -> Iterator[NodeId]:
    """What the process at `base` (`/proc/<pid>`) watches and may be ours; `files`: `open_files`."""
    for number, path in files.items():
        if path not in _DESCRIPTORS:
            continue
        try:
            with open(f"{base}/fdinfo/{number}", "rb") as lines:  # noqa: PTH123 - thousands of them
                for line in lines:
                    if found := _WATCH.match(line):
                        yield NodeId(int(found[1], 16))
        except OSError:
            continue


def named_by(places: Places, nodes: Collection[NodeId]) -> tuple[set[ViewId], set[str]]:
    """Views of which directories are among the nodes, and archives of which anything else is.

    A file is not told from the same in other versions, so all archives that have it are meant.
    """
    if not nodes:
        return set(), set()
    views: set[ViewNo] = set()
    members: dict[ArchiveNo, set[EntryNo]] = {}
    for node in nodes:
        packing = PACKING if node < 1 << PACKING.kind_at + 3 else BEFORE
        kind = packing.kind(node)
        if kind in {NodeKind.OWNED, NodeKind.MERGED}:
            views.add(packing.owned_parts(node)[0])
        elif kind is NodeKind.ARCHIVE:
            archive, entry = packing.archive_parts(node)
            members.setdefault(archive, set()).add(entry)
    with closing(Registry.of(places)) as registry:
        found = {row[0] for row in map(registry.view, views) if row}
        holders = set(members)
        for archive, entries in members.items():
            copies = registry.copies(archive)
            holders.update(other for entry in entries for other, _ in copies.get(entry, ()))
        names = {row.name for row in map(registry.archive, holders) if row}
    return found, names
