"""Why a package is where it is: who needs it, what it stands in front of, where else it is.

And which one is meant by a name, or by a command.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from resolver.node.lock import Entry, Lock, dependencies, read
from resolver.node.tree import Tree
from unionfs.archive.layer import EntryNo, Kind
from unionfs.formats.node.layout import MODULES, in_view
from unionfs.kinds import MEMBERS, UP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.node.project import NodeProject
    from unionfs.view.union import Union

_HIDDEN = f"{MODULES}/.package-lock.json"


class Reason(NamedTuple):
    """`what` is "leads to", "needed by", "instead of" or "also at".

    `name` and `version` are whose that is, `place` is where it lies, `range` what is asked for.
    """

    what: str
    name: str
    version: str
    place: str
    range: str = ""

    def __str__(self) -> str:
        """For people."""
        whose = f"{self.name} {self.version}".strip()
        more = self.range or self.place
        return f"{self.what:<10} {whose} ({more})" if more else f"{self.what:<10} {whose}"


def meant(project: NodeProject, union: Union, query: str, cwd: Path) -> str | None:
    """The path in the view of the package of that name that a program there finds, or another.

    Also of one that nothing finds from there. None where there is none, or it is no name.
    """
    lock = _lock(project, union)
    if lock is None:
        return None
    around = [one for one in project.members if cwd.is_relative_to(project.root / one)]
    member = max(around, key=len, default="")
    place = Tree(lock).found(member, query) or next(
        (place for place, one in lock.entries.items() if one.name == query), None
    )
    return None if place is None else in_view(place)


def behind(union: Union, path: str) -> str:
    """What a command in a `.bin` leads to; any other path as it is."""
    above, _, _ = path.rpartition("/")
    found = union.resolve(os.fsencode(path)) if above.endswith("/.bin") else None
    if found is None or union.entry(found).kind is not Kind.SYMLINK:
        return path
    target = union.layers[found.layer].target(EntryNo(found.number))
    return os.path.normpath(f"{above}/{os.fsdecode(target)}")


def reasons(project: NodeProject, union: Union, path: str) -> list[Reason]:
    """Of the package that gives a path of the view; [] where it is no package's."""
    lock = _lock(project, union)
    place = "" if lock is None else _place(lock, path)
    return list(_of(lock, place)) if lock is not None and place else []


def _of(lock: Lock, place: str) -> Iterator[Reason]:
    tree, entry = Tree(lock), lock.entries[place]
    if entry.link and (target := tree.target(place)) is not None:
        yield Reason("leads to", entry.package, lock.entries[target].version, target)
    for edge in tree.needed_by(place):
        by = lock.entries[edge.by]
        name = by.package or "the project"
        wanted = edge.wanted + ("" if edge.sort in {"prod", "workspace"} else f", {edge.sort}")
        yield Reason("needed by", name, by.version, edge.by, wanted)
    for other, its in lock.entries.items():
        if other != place and its.is_package and its.name == entry.name:
            above = entry.parent == its.parent or f"{entry.parent}/".startswith(
                f"{its.parent}/" if its.parent else ""
            )
            yield Reason("instead of" if above else "also at", its.package, its.version, other)


def _lock(project: NodeProject, union: Union) -> Lock | None:
    found = union.resolve(_HIDDEN.encode())
    if found is None:
        return None
    layer, number = union.layers[found.layer], EntryNo(found.number)
    data = layer.read(number, 0, layer.entry(number).size)
    lock = read(project.root / _HIDDEN, data)
    root = Entry(
        location="",
        name="",
        package=str(project.manifest.get("name") or ""),
        parent="",
        dependencies=dependencies(project.manifest, root=True),
    )
    return Lock(path=lock.path, entries={**lock.entries, "": root}, raw=lock.raw)


def _place(lock: Lock, path: str) -> str:
    """The package that a path of the view lies in."""
    inside = path.removeprefix(f"{MEMBERS}/")
    names = [".." if one == UP else one for one in inside.split("/")]
    for count in range(len(names), 0, -1):
        place = "/".join(names[:count])
        if place in lock.entries and lock.entries[place].is_package:
            return place
    return ""
