"""Why a package is where it is: who needs it, what it stands in front of, where else it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from resolver.node.lock import Entry, Lock, dependencies, read
from resolver.node.tree import Tree
from unionfs.archive.layer import EntryNo
from unionfs.formats.node.layout import MODULES
from unionfs.kinds import MEMBERS, UP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.node.project import NodeProject
    from unionfs.view.union import Union

_HIDDEN = f"{MODULES}/.package-lock.json"


class Reason(NamedTuple):
    """`what` is "needed by", "instead of" or "also at"; `name` and `version` whose that is.

    `place` is where it lies, `range` what is asked for.
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


def reasons(project: NodeProject, union: Union, path: str) -> list[Reason]:
    """Of the package that gives a path of the view; [] where it is no package's."""
    lock = _lock(project, union)
    place = "" if lock is None else _place(lock, path)
    return list(_of(lock, place)) if lock is not None and place else []


def _of(lock: Lock, place: str) -> Iterator[Reason]:
    tree, entry = Tree(lock), lock.entries[place]
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
