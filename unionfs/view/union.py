"""The union: layers in order, the first that has a name wins. Its rules are defined here only.

1. The first layer that has a name decides what the name is.
2. A directory merges with the directories of that name in later layers, up to the first layer in
   which the name is no directory: a file hides what lies below it, a directory the file below it.
3. A merged directory's children follow the same rules.
4. Bytecode belongs to the source that is seen: a companion (`unionfs.bytecode.paired`) is no party
   to the rules above, and adds to a `__pycache__` only what was compiled from the file that won. A
   layer's own `__pycache__` leaves no room for one.

This is what the kernel's overlayfs does with read-only lower directories.

Theory of operation. Only directories that several layers share are merged: they form the trie,
built once, breadth first, in an order that follows from the layers alone, so that the number of
a merged directory is the same in every process. Everything below a directory with one owner is
read from that owner's table of contents when it is asked for. Making a union therefore costs the
names in shared directories (a few for each layer), never the files. Companions do not count in
the numbers of merged directories; the `__pycache__` of one has that one's number, from
`PYCACHES` on, and is put together when it is looked into.

Pure: no clock, no disk, no FUSE. Not known here: node ids, wheels, interpreters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from unionfs.archive.layer import DIRECTORY, ROOT, Entry, EntryNo, Kind, Layer
from unionfs.bytecode.companion import PYCACHE, SOURCE
from unionfs.bytecode.paired import Paired
from unionfs.view.nodeid import LayerNo, MergedNo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MERGED = LayerNo(-1)
"""The `layer` of a `Place` that is a merged directory."""


class Place(NamedTuple):
    """A spot in a union: a layer's entry or, where `layer` is MERGED, a merged directory."""

    layer: LayerNo
    number: EntryNo | MergedNo


PYCACHES = 1 << 39
"""Added to a merged directory's number: its `__pycache__`, of what several companions have."""

ROOT_PLACE = Place(MERGED, MergedNo(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """A layer and where its top-level directories go.

    `grafts` maps a top-level name to a path in the union ("" is its root); top-level names that
    it does not hold are not shown. None shows the whole layer at the union's root. Where two
    grafts of one layer meet, the earlier in the mapping wins.
    """

    layer: Layer
    grafts: Mapping[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Layers that disagree on a path: `winner` is seen, `loser` is hidden."""

    path: bytes
    winner: LayerNo
    loser: LayerNo


class _Graft:
    """A directory that exists because something is grafted below it."""

    __slots__ = ("children", "layer")

    def __init__(self, layer: LayerNo) -> None:
        self.layer = layer
        self.children: dict[bytes, list[_Source]] = {}

    def below(self, path: bytes) -> list[_Source]:
        """The sources at `path`, made on the way."""
        at = self
        *parents, last = path.split(b"/")
        for name in parents:
            sources = at.children.setdefault(name, [])
            inner = next((s for s in sources if isinstance(s, _Graft)), None)
            if inner is None:
                inner = _Graft(self.layer)
                sources.append(inner)
            at = inner
        return at.children.setdefault(last, [])


_Source = Place | _Graft

_Named = tuple[_Source, bool]
"""What a name is in one layer, and whether that is a directory."""


@dataclass(slots=True)
class _Directory:
    """A merged directory under construction, and its children when it is done."""

    path: bytes
    sources: list[_Source]
    children: dict[bytes, Place] = field(default_factory=dict)


class Union:
    """A merged tree; what it answers never changes."""

    def __init__(self, stack: Sequence[Stacked]) -> None:
        self.layers: tuple[Layer, ...] = tuple(stacked.layer for stacked in stack)
        self._sources = [one.source if isinstance(one, Paired) else one for one in self.layers]
        self.conflicts: list[Conflict] = []
        self._trie: list[_Directory] = []
        self._pycaches: dict[int, _Directory] = {}
        self._above: dict[Place, Place] = {}
        self._build(self._roots([stacked.grafts for stacked in stack]))

    # Reading

    def entry(self, place: Place) -> Entry:
        """Attributes; `IndexError` where there is no such place."""
        if place.layer == MERGED:
            if place.number < PYCACHES:
                self._merged(place.number)
            else:
                self._beside(place.number)
            return DIRECTORY
        return self.layers[place.layer].entry(EntryNo(place.number))

    def lookup(self, place: Place, name: bytes) -> Place | None:
        """The child of that name, None where there is none or `place` is no directory."""
        if place.layer == MERGED:
            return self._merged(place.number).children.get(name)
        child = self.layers[place.layer].lookup(EntryNo(place.number), name)
        return None if child is None else Place(place.layer, child)

    def children(self, place: Place) -> Sequence[tuple[bytes, Place, Entry]]:
        """All children with their attributes, sorted by name."""
        layer = place.layer
        if layer == MERGED:
            found = sorted(self._merged(place.number).children.items())
            return [(name, child, self.entry(child)) for name, child in found]
        return [
            (name, Place(layer, child), entry)
            for name, child, entry in self.layers[layer].children(EntryNo(place.number))
        ]

    def parent(self, directory: Place) -> Place:
        """The directory that one lies in; the root's is itself."""
        layer, number = directory
        if layer != MERGED:
            owned = Place(layer, self.layers[layer].parent(EntryNo(number)))
            return self._above.get(directory, owned)
        if number >= PYCACHES:
            return Place(MERGED, MergedNo(number - PYCACHES))
        return self._above.get(directory, ROOT_PLACE)

    def resolve(self, path: bytes) -> Place | None:
        """Walk a path from the root, component by component; links are not followed."""
        place: Place | None = ROOT_PLACE
        for name in path.split(b"/"):
            if name and place is not None:
                place = self.lookup(place, name)
        return place

    def walk(self, place: Place = ROOT_PLACE, path: bytes = b"") -> Iterator[tuple[bytes, Place]]:
        """Every path below `place`, depth first, parents before children."""
        pending = [(path, place)]
        while pending:
            path, place = pending.pop()
            if path:
                yield path, place
            if self.entry(place).kind is Kind.DIRECTORY:
                pending += [
                    (path + b"/" + name if path else name, child)
                    for name, child, _ in reversed(self.children(place))
                ]

    def providers(self, path: bytes) -> list[Place]:
        """Every layer's own entry at `path`, the one that is seen first: what `why` shows."""
        found: list[_Source] = list(self._trie[0].sources)
        for name in filter(None, path.split(b"/")):
            found = [child for source in found for child in self._child(source, name)]
        return [source for source in found if isinstance(source, Place)]

    @property
    def merged_names(self) -> int:
        """How many names they have."""
        return sum(len(one.children) for one in self._trie)

    @property
    def merged_directories(self) -> int:
        """How many directories the trie holds."""
        return len(self._trie)

    def _merged(self, number: int) -> _Directory:
        if number < 0:
            raise IndexError(number)
        return self._trie[number] if number < PYCACHES else self._pycache(number)

    def _pycache(self, number: int) -> _Directory:
        """Rule 4 for the files of a merged directory."""
        found = self._pycaches.get(number)
        if found is None:
            beside = self._beside(number)
            found = _Directory(beside.path + b"/" + PYCACHE, [])
            for name, place in beside.children.items():
                layer = self._compiled_layer(name, place)
                compiled = layer.compiled(EntryNo(place.number)) if layer else None
                if compiled is not None:
                    found.children[compiled[0]] = Place(place.layer, compiled[1])
            self._pycaches[number] = found
        return found

    def _beside(self, pycache: int) -> _Directory:
        """The directory that a merged `__pycache__` lies in."""
        directory = self._trie[pycache - PYCACHES]
        if directory.children.get(PYCACHE) != Place(MERGED, MergedNo(pycache)):
            raise IndexError(pycache)
        return directory

    def _compiled_layer(self, name: bytes, place: Place) -> Paired | None:
        """The layer of a source that may have bytecode; None for anything else."""
        if place.layer == MERGED or not name.endswith(SOURCE):
            return None
        layer = self.layers[place.layer]
        is_file = layer.entry(EntryNo(place.number)).kind is Kind.FILE
        return layer if is_file and isinstance(layer, Paired) else None

    # Building

    def _roots(self, grafts: Sequence[Mapping[bytes, bytes] | None]) -> list[_Source]:
        """What lies at the union's root, layer by layer."""
        roots: list[_Source] = []
        for number, tops in enumerate(grafts):
            layer = LayerNo(number)
            if tops is None:
                roots.append(Place(layer, ROOT))
                continue
            graft = _Graft(layer)
            whole: list[_Source] = []
            there = {name: entry for name, entry, _ in self._sources[layer].children(ROOT)}
            for top, path in tops.items():
                if top in there:
                    (graft.below(path) if path else whole).append(Place(layer, there[top]))
            if graft.children:
                roots.append(graft)
            roots += whole
        return roots

    def _build(self, roots: list[_Source]) -> None:
        self._trie.append(_Directory(b"", roots))
        # The list grows while it is walked: that is what breadth first means.
        for number, directory in enumerate(self._trie):
            here = Place(MERGED, MergedNo(number))
            by_name: dict[bytes, list[_Named]] = {}
            for source in directory.sources:
                for name, named in self._children(source):
                    by_name.setdefault(name, []).append(named)
            for name in sorted(by_name):
                path = directory.path + b"/" + name if directory.path else name
                child = self._resolve_name(path, by_name[name])
                if isinstance(child, _Directory):
                    self._trie.append(child)
                    child = Place(MERGED, MergedNo(len(self._trie) - 1))
                directory.children[name] = child
                if by_name[name][0][1]:
                    self._above[child] = here
            if PYCACHE not in directory.children and any(
                self._compiled_layer(*child) for child in directory.children.items()
            ):
                directory.children[PYCACHE] = Place(MERGED, MergedNo(PYCACHES + number))

    def _resolve_name(self, path: bytes, named: list[_Named]) -> Place | _Directory:
        """Rules 1 and 2 for one name."""
        merging: list[_Source] = []
        for number, (source, is_directory) in enumerate(named):
            if not is_directory:
                if merging:
                    self._note_conflicts(path, merging[0], named[number:])
                    break
                assert isinstance(source, Place)  # noqa: S101 - a graft is a directory
                self._note_conflicts(path, source, named[number + 1 :])
                return source
            merging.append(source)
        if len(merging) == 1 and isinstance(merging[0], Place):
            return merging[0]
        return _Directory(path, merging)

    def _note_conflicts(self, path: bytes, winner: _Source, hidden: list[_Named]) -> None:
        """What is hidden is a conflict unless it is the same file or link, byte for byte."""
        for loser, _ in hidden:
            same = (
                isinstance(winner, Place)
                and isinstance(loser, Place)
                and self._signature(winner) == self._signature(loser)
            )
            if not same:
                self.conflicts.append(Conflict(path=path, winner=winner.layer, loser=loser.layer))

    def _signature(self, place: Place) -> object:
        """What two equal files or links have in common; a directory equals nothing hidden."""
        layer, number = self._sources[place.layer], EntryNo(place.number)
        kind = layer.entry(number).kind
        return place if kind is Kind.DIRECTORY else (kind, layer.digest(number))

    def _children(self, source: _Source) -> Iterator[tuple[bytes, _Named]]:
        if isinstance(source, _Graft):
            for name, below in source.children.items():
                yield from ((name, (one, self._is_directory(one))) for one in below)
            return
        layer = source.layer
        for name, child, entry in self._sources[layer].children(EntryNo(source.number)):
            yield name, (Place(layer, child), entry.kind is Kind.DIRECTORY)

    def _is_directory(self, source: _Source) -> bool:
        return isinstance(source, _Graft) or self.entry(source).kind is Kind.DIRECTORY

    def _child(self, source: _Source, name: bytes) -> list[_Source]:
        if isinstance(source, _Graft):
            return source.children.get(name, [])
        child = self.layers[source.layer].lookup(EntryNo(source.number), name)
        return [] if child is None else [Place(source.layer, child)]
