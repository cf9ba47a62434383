"""Debian as a kind of namespace: a view is the tree that a set of packages would have unpacked.

There are no projects of it: a set is what a command names, for one run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from resolver.atomic import make_private
from resolver.debian.apt import Apt, checked
from resolver.fetch.client import FetchSettings
from resolver.fetch.wanted import Download
from resolver.manifest import LayerSpec, Manifest
from resolver.project.package import Package
from resolver.project.project import Project
from resolver.project.resolved import ResolvedView
from unionfs.formats.deb.reader import open_deb
from unionfs.formats.debian.alternatives import TOP, alternatives
from unionfs.formats.kind import Wish
from unionfs.store.generated import add_generated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from resolver.places import Places
    from resolver.project.changes import Change
    from unionfs.store.ordered import Stores

NAME: Final = "debian"

# What a package has outside of /usr lies there on a machine whose /usr is merged.
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32")
_ELSE = ("usr", "etc", "opt", "var")
GRAFTS: Final = (
    *((name, name) for name in _ELSE),
    *((name, f"usr/{name}") for name in _MERGED),
)
"""Where a package's directories go; its control part, and what lies elsewhere, is not shown."""

_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianWish(Wish):
    """`names` as for `apt-get install`."""

    names: tuple[str, ...]


def wish_for(places: Places, names: Sequence[str], *, offline: bool) -> DebianWish:
    """A set for one run; `PkgviewError` for what names no package."""
    root = directory_of(places)
    make_private(root)
    project = Project(root=root, origin=NAME, inputs=())
    return DebianWish(project=project, names=checked(names), offline=offline, kept=False)


def directory_of(places: Places) -> Path:
    """Where apt's indices for this user are, and the locks that were made of them."""
    return places.state / NAME


class DebianMaking:
    """A set's view in the making (`unionfs.formats.kind.Making`)."""

    variant = ""
    fingerprint = None
    renewed: tuple[Change, ...] = ()

    def __init__(self, places: Places, wish: DebianWish) -> None:
        self._apt = Apt(directory_of(places))
        self._wish = wish
        self._said: list[str] = []  # by threads
        self.remark = ""

    def settings(self) -> FetchSettings:
        """As the environment has them."""
        return FetchSettings()

    async def packages(self, locking: Callable[[str], None]) -> Sequence[Package]:
        """What apt would install beyond what the machine has."""
        lock = await self._apt.lock(self._wish.names, offline=self._wish.offline, told=locking)
        return [
            DebPackage(
                name=one.name,
                version=one.version,
                architecture=one.architecture,
                grafts=GRAFTS,
                key=f"deb-{one.sha256}",
                download=Download(
                    url=one.url,
                    filename=one.filename,
                    size=one.size,
                    hashes={"sha256": one.sha256},
                ),
            )
            for one in lock.packages
        ]

    async def build(self, package: Package, source: Path | None, within: Path) -> Path | str:
        """Nothing of Debian's is built."""
        raise NotImplementedError

    def add(self, store: Stores, package: DebPackage, path: Path) -> str:
        """A .deb."""
        assert package.download is not None  # noqa: S101 - all have one
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with open_deb(
            path,
            filename=package.download.filename,
            expected=(package.name, package.version, package.architecture),
            origin=f"sha256:{digest}",
        ) as opened:
            if opened.odd:
                self._said.append(f"{package.name}: {'; '.join(opened.odd)}.")
            return store.add(opened.members(), opened.meta)

    async def completed(
        self, store: Stores, layers: Sequence[LayerSpec], told: Callable[[str], None]
    ) -> Sequence[LayerSpec]:
        """As they are."""
        del store, told
        return layers

    def further(self, archives: Sequence[str]) -> Sequence[str]:
        """Nothing belongs to an archive of Debian's."""
        del archives
        return ()

    def manifest(self, store: Stores, layers: Sequence[LayerSpec]) -> Manifest:
        """With the alternatives that the packages' scripts would have registered."""
        made = alternatives((layer.name, store.open(layer.archive)) for layer in layers)
        said = [*sorted(self._said), *made.said]
        more = [f"And {len(said) - _NAMED} remarks more."] if len(said) > _NAMED else []
        self.remark = " ".join((*said[:_NAMED], *more))
        own: tuple[LayerSpec, ...] = ()
        if made.files:
            archive = add_generated(store, "alternatives", made.files)
            own = (LayerSpec(archive=archive, grafts=((TOP, ""),)),)
        return Manifest(kind=NAME, target={}, layers=(*own, *layers))

    def record(self, manifest: Manifest) -> ResolvedView:
        """What would be recorded of it."""
        return ResolvedView(kind=NAME, variant="", view=manifest.id, fingerprint="")

    def settled(self, manifest: Manifest, record: ResolvedView) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebPackage(Package):
    """One .deb."""

    architecture: str


class _Debian:
    """The kind (`unionfs.formats.kind.Kind`)."""

    name = NAME

    def project_at(self, directory: Path) -> Project | None:
        """No directory is a project of it."""
        del directory
        return None

    def choices(self, project: Project, *, users: frozenset[str]) -> frozenset[str]:
        """None: the sources are the machine's."""
        del project, users
        return frozenset()

    def making(self, places: Places, wish: Any) -> DebianMaking:  # noqa: ANN401 - its own
        """A set."""
        return DebianMaking(places, wish)

    def again(self, project: Project, view: ResolvedView, manifest: Manifest) -> Wish:
        """None is made again: it is of no project."""
        raise NotImplementedError

    def roots(self, manifest: Manifest) -> Sequence[str]:
        """The tree."""
        del manifest
        return ("",)

    def describe(self, manifest: Manifest) -> str:
        """Such as "Debian packages"."""
        del manifest
        return "Debian packages"


KIND = _Debian()
