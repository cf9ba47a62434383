"""Texts as a kind of namespace: a view is a directory of texts, with an index of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unionfs.formats.text import read

from resolver import text
from resolver.fetch.client import FetchSettings
from resolver.manifest import LayerSpec, Manifest
from resolver.project.project import fingerprint
from resolver.project.resolved import ResolvedView
from unionfs.formats.kind import Wish
from unionfs.store.generated import GeneratedFile, add_generated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from resolver.places import Places
    from resolver.project.package import Package
    from resolver.project.project import Project
    from unionfs.store.ordered import Stores


class TextMaking:
    variant = ""
    remark = ""
    renewed = ()

    def __init__(self, wish: Wish) -> None:
        self._project = wish.project
        self.fingerprint = fingerprint(wish.project)
        self.said = ""

    def settings(self) -> FetchSettings:
        return FetchSettings()

    async def packages(self, locking: Callable[[str], None]) -> Sequence[Package]:
        locking(str(self._project.root))
        return text.packages(self._project)

    async def build(self, package: Package, source: Path | None, within: Path) -> Path | str:
        raise NotImplementedError

    def add(self, store: Stores, package: Package, path: Path) -> str:
        return store.add(*read(package, path))

    async def completed(
        self, store: Stores, layers: Sequence[LayerSpec], told: Callable[[str], None]
    ) -> Sequence[LayerSpec]:
        return layers

    def further(self, archives: Sequence[str]) -> Sequence[str]:
        return ()

    def manifest(self, store: Stores, layers: Sequence[LayerSpec]) -> Manifest:
        index = "".join(f"{layer.name} {layer.version}\n" for layer in layers)
        own = add_generated(
            store, "index", [GeneratedFile(path="own/INDEX", content=index.encode())]
        )
        first = LayerSpec(archive=own, grafts=text.GRAFTS)
        return Manifest(kind=KIND.name, target={"alphabet": "any"}, layers=(first, *layers))

    def record(self, manifest: Manifest) -> ResolvedView:
        return ResolvedView(
            kind=KIND.name, variant=self.variant, view=manifest.id, fingerprint=self.fingerprint
        )

    def settled(self, manifest: Manifest, record: ResolvedView) -> None:
        pass


class _Text:
    name = "text"

    def project_at(self, directory: Path) -> Project | None:
        return text.project_at(directory)

    def choices(self, project: Project, *, users: frozenset[str]) -> frozenset[str]:
        return frozenset()

    def making(self, places: Places, wish: Wish) -> TextMaking:
        return TextMaking(wish)

    def again(self, project: Project, view: ResolvedView, manifest: Manifest) -> Wish:
        return Wish(project=project)

    def roots(self, manifest: Manifest) -> Sequence[str]:
        return ("texts",)

    def describe(self, manifest: Manifest) -> str:
        return "texts"


KIND = _Text()
