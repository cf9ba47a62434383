"""Links of a project that are not at its root: to what a view has for its members' directories.

npm puts what only one member can use below that one's own directory. Where something else is there
already it stays, and that is said: a member's node_modules may be what some tool has made there.

Nothing is made, moved or taken away outside of the project's own tree, wherever a link of it leads,
nor in what is another project there: what a lock says counts for its own project only.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from resolver.errors import PkgviewError
from resolver.ownership import is_in_tree, parents
from resolver.project import resolved
from unionfs.formats.node.placed import writable_of
from unionfs.kinds import MEMBERS, NODE, UP, link_of, links, shown_of
from unionfs.publishing import link, mountable
from unionfs.publishing.ignored import hide
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from resolver.manifest import Manifest
    from resolver.places import Places
    from unionfs.namespaces.private import Bind


class Linked(NamedTuple):
    """What came of it: where others' files were left alone, or set aside to.

    `outside`: where nothing may be made, since it lies elsewhere.
    """

    left: tuple[Path, ...] = ()
    aside: tuple[Path, ...] = ()
    outside: tuple[Path, ...] = ()


def member_links(root: Path, manifest: Manifest) -> dict[Path, str]:
    """The links that a view wants, each with what of the view it shows."""
    found: dict[Path, str] = {}
    for layer in manifest.layers:
        for _, path in layer.grafts:
            if path.startswith(f"{MEMBERS}/"):
                shown = _shown(path)
                inside = shown.removeprefix(f"{MEMBERS}/").split("/")
                place = os.path.normpath(root.joinpath(*(".." if o == UP else o for o in inside)))
                found[type(root)(place)] = shown
    return found


def _shown(path: str) -> str:
    """Up to the first name that is a link's."""
    names, called = path.split("/"), links()
    end = next((at for at, name in enumerate(names) if name in called), len(names) - 1)
    return "/".join(names[: end + 1])


def link_members(
    root: Path, places: Places, manifest: Manifest, before: Manifest | None, *, force: bool
) -> Linked:
    """Make those that the view wants, and take away those that only the one before wanted.

    Where the project has a directory instead of a link, so have they.
    """
    wanted = member_links(root, manifest)
    if before is not None:
        _unlink(root, {path for path in member_links(root, before) if path not in wanted}, places)
    as_directories = mountable.is_mountable(root / link_of(manifest.kind))
    left, aside, outside = [], [], []
    for path, shown in wanted.items():
        if not path.parent.is_dir():
            continue
        if not is_in_tree(os.fspath(root), os.fspath(path.parent)):
            outside.append(path)
            continue
        if not force and (link.is_foreign(path, places) or _is_of_another(root, path, places)):
            left.append(path)
            continue
        new = not os.path.lexists(path)
        if as_directories:
            put = link.make_mountable(path, places, force=force, shown=shown)
            aside += [put] if put is not None else []
        put = link.link(path, places, manifest.id, force=force, shown=shown)
        if new:
            hide(os.fspath(path))
        if put is not None:
            aside.append(put)
    return Linked(tuple(left), tuple(aside), tuple(outside))


def _is_of_this(root: Path, path: Path, places: Places) -> bool:
    """Whether it is in the project's own tree, and in no other project there."""
    inside = is_in_tree(os.fspath(root), os.fspath(path.parent))
    return inside and not _is_of_another(root, path, places)


def _is_of_another(root: Path, path: Path, places: Places) -> bool:
    """Whether it is in a project that is known by itself, below this one."""
    for directory in parents(os.fspath(path)):
        if directory == os.fspath(root):
            break
        if resolved.load(places.state / "projects", directory).view_for(None, NODE) is not None:
            return True
    return False


def mounts_of(root: Path, places: Places, manifest: Manifest) -> tuple[Bind, ...]:
    """What is to be mounted for a project's commands, where there are directories of ours for it.

    Where a link in one of them leads has no say in what is mounted there.
    """
    name = link_of(manifest.kind)
    shown_at = {root / name: shown_of(name)} | {
        path: shown
        for path, shown in member_links(root, manifest).items()
        if _is_of_this(root, path, places)
    }
    written = writable_of(places, os.fspath(root))
    return tuple(
        one
        for path, shown in shown_at.items()
        if mountable.is_mountable(path) and link.is_ours(path, places)
        for one in mountable.binds(
            path,
            link.target(places, manifest.id, shown),
            written / shown.removeprefix(f"{mountable.OWN}/"),
        )
    )


def unlink_members(root: Path, places: Places) -> list[Path]:
    """Take away those of all views that the project has; which these were."""
    record = resolved.load(places.state / "projects", os.fspath(root))
    found: dict[Path, str] = {}
    for manifest in _manifests(places, record):
        found |= member_links(root, manifest)
    return _unlink(root, found, places)


def _unlink(root: Path, paths: Mapping[Path, str] | set[Path], places: Places) -> list[Path]:
    return [
        path
        for path in sorted(paths)
        if _is_of_this(root, path, places)
        and link.is_ours(path, places)
        and link.unlink(path, places)
    ]


def _manifests(places: Places, record: resolved.Resolved) -> Iterator[Manifest]:
    for view in record.views:
        try:
            yield read_manifest(places, view.view)
        except (OSError, PkgviewError):
            continue
