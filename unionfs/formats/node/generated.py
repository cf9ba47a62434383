"""What a view of Node's has besides its packages: the hidden lock, and commands and links.

The hidden lock is an archive by itself, newer than all directories: npm takes it for outdated where
one is newer, also a member's own, and then for links what it finds in a view. So are the links into
the project's own place (`unionfs.formats.node.placed`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from resolver.manifest import LayerSpec
from resolver.node.hidden import bins, hidden_lock
from unionfs.formats.node.layout import MODULES, OWN, WRITABLE, in_view, modules_of
from unionfs.formats.node.placed import GRAFTS, placed_layer
from unionfs.formats.node.placed import OWN as TOP_OF_OWN
from unionfs.formats.npm.reader import TOP
from unionfs.store.generated import GeneratedFile, add_generated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from resolver.node.lock import Entry, Lock
    from resolver.node.project import NodeProject
    from resolver.places import Places
    from unionfs.store.local import Store


class Generated(NamedTuple):
    """The layers; `placed` is the archive of links into the project, which are `links`.

    These as `placed_layer` takes them.
    """

    layers: tuple[LayerSpec, ...]
    placed: str
    links: Mapping[str, str]


def generated_layers(  # noqa: PLR0913, PLR0917 - what it follows from
    store: Store,
    places: Places,
    project: NodeProject,
    lock: Lock,
    kept: Mapping[str, Entry],
    layers: Sequence[LayerSpec],
) -> Generated:
    """For the view of these packages' layers."""
    content = hidden_lock(lock, kept)
    hidden = [GeneratedFile(path=f"{TOP_OF_OWN}/{MODULES}/.package-lock.json", content=content)]
    making = _Making(store, project, lock, kept, layers)
    files = list(making.files())
    placed = placed_layer(store, places, str(project.root), making.placed)
    made = (
        add_generated(store, "package-lock", hidden, newest=True),
        add_generated(store, MODULES, files),
        placed,
    )
    specs = tuple(LayerSpec(archive=archive, grafts=GRAFTS) for archive in made)
    return Generated(specs, placed, making.placed)


class _Making:
    """One call of `generated_layers`. `placed`: the links that lead into the project."""

    def __init__(
        self,
        store: Store,
        project: NodeProject,
        lock: Lock,
        kept: Mapping[str, Entry],
        layers: Sequence[LayerSpec],
    ) -> None:
        self._store = store
        self.placed: dict[str, str] = {}
        self._project = project
        self._lock = lock
        self._kept = kept
        self._archives = {layer.grafts[0][1]: layer.archive for layer in layers}

    def files(self) -> Iterator[GeneratedFile]:
        """All that are the same in every clone; `placed` has the others then."""
        for parent, command, place in bins(self._kept, self._lock):
            source = self._source(place)
            path = source.bins[command]
            if self._has(place, path):
                leads = os.path.relpath(f"/{place}/{path}", f"/{parent}/{MODULES}/.bin")
                yield self._file(f"{_within(parent)}.bin/{command}", target=leads)
        yield from self._links()
        members = {self._top_of(place) for place in self._kept} | {""}
        for member in sorted(members):
            for name in self._project.writable:
                at = f"{modules_of(member)}/{name}"
                if self._project.mounted:
                    yield self._file(f"{at}/", target="")  # an empty directory
                    continue
                leads = f"{WRITABLE}/{modules_of(member).removeprefix(OWN).strip('/')}/{name}"
                yield self._file(at, target=os.path.relpath(leads, os.path.dirname(at)))  # noqa: PTH120 - text

    def _links(self) -> Iterator[GeneratedFile]:
        """To the project's own directories: as npm writes them where that can lead there."""
        for place, entry in self._kept.items():
            if not entry.link:
                continue
            target = entry.resolved.removeprefix("./")
            at = in_view(place)
            top = target.partition("/")[0]
            if at == place and top not in {"", ".", "..", MODULES, OWN}:
                self.placed[top] = top
                yield self._file(at, target=os.path.relpath(target, os.path.dirname(at)))  # noqa: PTH120 - text
            else:
                self.placed[at] = target

    def _file(self, path: str, *, target: str) -> GeneratedFile:
        return GeneratedFile(path=f"{TOP_OF_OWN}/{path}", target=target)

    def _source(self, place: str) -> Entry:
        entry = self._kept[place]
        return self._lock.entries[entry.resolved.removeprefix("./")] if entry.link else entry

    def _top_of(self, place: str) -> str:
        """The member below whose directory it lies; "" for the project's own node_modules."""
        return place.partition(f"{MODULES}/")[0].rstrip("/")

    def _has(self, place: str, path: str) -> bool:
        """Whether what a command would lead to is there: else npm makes no link."""
        entry = self._kept[place]
        if entry.link:
            return os.path.lexists(self._project.root / entry.resolved / path)
        while place in self._kept and self._kept[place].bundled:
            above = self._kept[place].parent
            path, place = f"{place.removeprefix(above).lstrip('/')}/{path}", above
        archive = self._archives.get(in_view(place))
        if archive is None:
            return False
        return self._store.open(archive).find(os.fsencode(f"{TOP}/{path}")) is not None


def _within(parent: str) -> str:
    """The node_modules of a place, as a path in the view."""
    if not parent:
        return f"{MODULES}/"
    if f"{MODULES}/" in parent:
        return f"{in_view(parent)}/{MODULES}/"
    return f"{modules_of(parent)}/"
