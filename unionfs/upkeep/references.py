"""What needs which archive: manifests, and the projects whose views they are.

Read from the state directory as it is now; what is damaged there needs nothing, and is named to
whoever runs `pkgview up`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.project import resolved
from unionfs.view.catalog import VIEW_ID, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from resolver.manifest import Manifest
    from resolver.places import Places
    from resolver.project.resolved import Resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """All manifests that can be read, and the projects that there are, by their roots.

    `gone` are those whose directory (or script) is there no more, and those that were forgotten
    (`pkgview forget`), by the files that speak of them.
    """

    manifests: Mapping[ViewId, Manifest]
    projects: Mapping[str, Resolved]
    gone: Mapping[Path, Resolved]

    def archives_of(self, project: Resolved) -> set[str]:
        """What a project's views need."""
        found = (self.manifests.get(view.view) for view in project.views)
        return {name for manifest in found if manifest for name in manifest.archives}

    def distributions_of(self, project: Resolved) -> set[str]:
        """The same without what any store makes for itself: skeletons and bytecode."""
        found = (self.manifests.get(view.view) for view in project.views)
        return {layer.archive for one in found if one for layer in one.layers if layer.name}

    def projects_of(self, archive: str) -> Iterator[Resolved]:
        """Projects one of whose views needs the archive."""
        for project in self.projects.values():
            if archive in self.archives_of(project):
                yield project

    def views_of(self) -> dict[str, list[ViewId]]:
        """The views that need each archive."""
        found: dict[str, list[ViewId]] = {}
        for view, manifest in self.manifests.items():
            for name in set(manifest.archives):
                found.setdefault(name, []).append(view)
        return found


def read_references(places: Places) -> References:
    """Everything there is."""
    manifests = {}
    for view in manifest_ids(places):
        try:
            manifests[view] = read_manifest(places, view)
        except (OSError, PkgviewError):
            continue
    projects: dict[str, Resolved] = {}
    gone: dict[Path, Resolved] = {}
    for path in (places.state / "projects").glob("*.json"):
        project = resolved.load_key(path.parent, path.stem)
        if project is None:
            continue
        if _exists(project.root):
            projects[project.root] = project
        else:
            gone[path] = project
    gone |= resolved.forgotten(places.state / "projects")
    return References(manifests=manifests, projects=projects, gone=gone)


def _exists(root: str) -> bool:
    """Also where that cannot be known, e.g. on a file system that is not mounted well."""
    try:
        os.lstat(root)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def manifest_ids(places: Places) -> list[ViewId]:
    """The views that have a manifest, damaged ones included."""
    found = (path.stem for path in (places.state / "manifests").glob("*.json"))
    return sorted(ViewId(name) for name in found if VIEW_ID.fullmatch(name))
