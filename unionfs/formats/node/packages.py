"""Packages of a Node lock: one for each place, each a tarball that becomes an archive."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.node.npm import run_npm
from resolver.project.package import Package
from unionfs.formats.node.layout import in_view
from unionfs.formats.npm.reader import TOP, open_tarball

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resolver.node.selection import Choice
    from resolver.project.package import Archives
    from unionfs.store.local import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePackage(Package):
    """What lies at one place of the tree. `ran`: the key of what its install scripts made of it."""

    choice: Choice
    ran: str | None = None

    def archive_in(self, store: Archives) -> str | None:
        """What its scripts made, where they are to be run; else, and before, the tarball's."""
        made = store.archive_of(self.ran) if self.ran else None
        return made or Package.archive_in(self, store)


def package_of(
    choice: Choice, ran: str | None = None, forgo: Callable[[str], None] | None = None
) -> NodePackage:
    """A choice as a package of its place; `forgo` as in `Package`."""
    entry = choice.entry
    return NodePackage(
        name=entry.package,
        version=entry.version,
        grafts=((TOP, in_view(entry.location)),),
        key=choice.key,
        download=choice.download,
        built=choice.download is None,
        forgo=forgo,
        choice=choice,
        ran=ran,
    )


async def build(package: NodePackage, directory: Path, within: Path, *, offline: bool) -> Path:
    """The tarball that npm packs of a repository at a commit, or of a directory. No script runs."""
    out = within / "packed"
    out.mkdir()
    # Where it runs there is no project, whose settings would count.
    await run_npm(
        ["pack", "--ignore-scripts", "--pack-destination", str(out), "--", package.choice.packed],
        cwd=within,
        doing=f"cannot pack {package.name} for {directory}",
        offline=offline,
    )
    found = list(out.glob("*.tgz"))
    if len(found) != 1:
        raise PkgviewError(f"npm packed {len(found)} tarballs of {package.choice.packed}")
    return found[0]


def add(store: Store, package: NodePackage, path: Path) -> tuple[str, tuple[str, ...]]:
    """A tarball as an archive of the store: its name, and what a person might want to know."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with open_tarball(
        path, filename=_named(package), name=package.name, version=package.version or None,
        origin=f"sha256:{sha256}",
    ) as tarball:  # fmt: skip
        return store.add(tarball.members(), tarball.meta), tarball.odd


def _named(package: NodePackage) -> str:
    return package.download.filename if package.download else f"{package.name}.tgz"
