"""The projects that are known: what each has, and how one is forgotten."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.naming import project_key
from resolver.project import resolved, trust
from unionfs.formats.python import packages
from unionfs.kinds import links
from unionfs.publishing import link
from unionfs.publishing.members import unlink_members
from unionfs.store.local import Store
from unionfs.upkeep.collect import forget_lock
from unionfs.upkeep.references import read_references
from unionfs.upkeep.usage import usage
from unionfs.upkeep.writable import forget_written
from unionfs.view.opened import load_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.places import Places
    from resolver.project.resolved import ResolvedView


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A project. `is_there`: its directory, or its script.

    `size` and `alone` are bytes of the store: of what it needs, and of what nobody else does.
    """

    root: str
    is_there: bool
    views: Sequence[ResolvedView]
    size: int
    alone: int


def known_projects(places: Places) -> list[Known]:
    """All of them, by root."""
    needs = read_references(places)
    shares = {share.project: share for share in usage(places).projects}
    there = needs.projects
    gone = {one.root: one for path, one in needs.gone.items() if path.suffix != resolved.FORGOTTEN}
    return [
        Known(
            root=root,
            is_there=root in there,
            views=one.views,
            size=shares[root].size if root in shares else 0,
            alone=shares[root].alone if root in shares else 0,
        )
        for root, one in sorted({**gone, **there}.items())
    ]


def forget(places: Places, root: str) -> list[str] | None:
    """Have a project no more: its record, the lock that was made for it, and what was said of it.

    Its links go; its own files stay as they are, and so do programs that run. What it needed is
    `pkgview gc`'s to remove. Returns the links that were removed; None where nothing was known of
    it. `PkgviewError` where that cannot be written; a link that stays does not keep the rest.
    """
    forget_built(places, root)
    removed, stuck = [], None
    for name in sorted(links()):
        path = Path(root, name)
        try:
            if link.is_ours(path, places) and link.unlink(path, places):
                removed.append(str(path))
        except PkgviewError as error:
            stuck = error
    removed += map(str, unlink_members(Path(root), places))
    forget_written(places, project_key(root))
    known = resolved.forget(places.state / "projects", root)
    forget_lock(places, project_key(root))
    agreed = trust.forget(root, places.state)
    if stuck is not None:
        raise PkgviewError(
            f"{root} is forgotten, but {stuck.what}",
            remedy="Remove it yourself where the directory is writable: it leads nowhere after a "
            "`pkgview gc`.",
        )
    return removed if known or agreed or removed else None


def forget_built(places: Places, root: str) -> None:
    """Have a store know nothing of what was built of the directories in a project's views.

    It was by a yes to that project that code of theirs was run.
    """
    record = resolved.load_key(places.state / "projects", project_key(root))
    archives: set[str] = set()
    for view in record.views if record is not None and record.root == root else ():
        with suppress(PkgviewError):  # collected, or damaged: then nothing leads there
            archives.update(layer.archive for layer in load_manifest(places, view.view).layers)
    packages.forget_built(Store(places.store), archives, Path(root))
