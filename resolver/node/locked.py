"""The lock that counts: the project's own where it fits its package.json, else one that npm makes.

Whether it fits is found out as `npm ci` does it: for all that is asked for, something is there that
will do. What only npm can compare (`overrides`, tags, addresses, peers that are missing) npm is
asked, by making the lock in a copy: where the same packages come out the lock is left as it is.
A lock of version 1 is converted by npm, and the result kept in the state.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import make_private, write_atomically
from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.naming import project_key
from resolver.node import scratch as copies
from resolver.node.lock import OldLockError, dependencies, read
from resolver.node.npm import run_npm
from resolver.node.project import MANIFEST, is_workspace, project_at, read_manifest
from resolver.node.tree import Tree, meets
from resolver.project.changes import changes
from resolver.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.node.lock import Lock
    from resolver.node.npmrc import Settings
    from resolver.node.project import NodeProject
    from resolver.places import Places
    from resolver.project.changes import Change

COPIES = "npm-"
"""How the directories below `<cache>/builds` begin in which npm makes locks."""

LOCK = "package-lock.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for; as in `unionfs.formats.kind.Wish`.

    `beside`: the directory is another kind's project, too, which may have what is to be upgraded.
    """

    beside: bool = False
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    offline: bool = False
    frozen: bool = False
    locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The lock, and the project as its files are now.

    `renewed`: what is otherwise in a lock that was made anew.
    """

    lock: Lock
    project: NodeProject
    said: str = ""
    renewed: tuple[Change, ...] = ()


async def current_lock(
    project: NodeProject, settings: Settings, asked: Asked, places: Places
) -> Found:
    """The project's lock; `PkgviewError` where there is none that may be used."""
    if project.lock is None:
        if asked.frozen or asked.locked:
            raise PkgviewError(
                f"{project.root} has no lock",
                remedy="Run `pkgview up` without --frozen and --locked: npm makes one.",
            )
        return await _made(project, None, asked, places)
    data = read_input(project.lock)
    try:
        own = read(project.lock, data)
    except OldLockError as error:
        return Found(lock=await _converted(project, data, asked, places, error), project=project)
    if asked.upgrade or asked.upgrade_packages:
        return await _made(project, own, asked, places)
    doubt = None if asked.frozen else next(_doubts(project, own, settings), None)
    if doubt is None:
        return Found(lock=own, project=project)
    text, lock = await _by_npm(project, asked, places, own, doubt)
    if _places(lock) == _places(own):
        return Found(lock=own, project=project)
    if asked.locked:
        raise PkgviewError(
            f"{project.lock} is outdated: {doubt}",
            remedy="Run `pkgview up` without --locked: npm makes it anew.",
        )
    return _written(project, own, text, lock)


async def _made(project: NodeProject, before: Lock | None, asked: Asked, places: Places) -> Found:
    text, lock = await _by_npm(project, asked, places, before)
    known = {*_versions(before), *_versions(lock)}
    missing = [] if asked.beside else [one for one in asked.upgrade_packages if one not in known]
    if missing:
        raise PkgviewError(
            f"{project.root} has no {', '.join(missing)}, which is to be upgraded",
            remedy="Name a package as the lock does, without a version; `pkgview list` shows them.",
        )
    if before is not None and _places(lock) == _places(before):
        return Found(lock=before, project=project)
    return _written(project, before, text, lock)


def _written(project: NodeProject, before: Lock | None, text: bytes, lock: Lock) -> Found:
    write_atomically(lock.path, text)
    lock.path.chmod(0o644)
    found = project_at(project.root)
    if found is None:
        raise PkgviewError(f"{project.root} is no project any more")
    renewed = changes(_versions(before), _versions(lock)) if before is not None else ()
    said = "" if before is not None else f"npm made {lock.path}."
    return Found(lock=lock, project=found, said=said, renewed=renewed)


async def _by_npm(
    project: NodeProject, asked: Asked, places: Places, own: Lock | None, doubt: str = ""
) -> tuple[bytes, Lock]:
    """The lock that npm makes now, and its text; nothing is written into the project.

    `own`: the one that is there; `doubt`: what is wrong with it.
    """
    name = project.lock.name if project.lock else LOCK
    doing = f"cannot lock {project.root}"
    why = f"The lock that is there does not do: {doubt}." if doubt else ""
    with scratch(places.cache / "builds", COPIES) as within:
        root = copies.copy(project, within)
        if own is not None and (unfit := set(_unfit(project, own))):
            copies.take_out(root / name, unfit)
        words = ["--package-lock-only", "--ignore-scripts"]
        if asked.upgrade or asked.upgrade_packages:
            command = ["update", *words, "--", *asked.upgrade_packages]
        else:
            command = ["install", *words]
        await run_npm(command, cwd=root, doing=doing, why=why, offline=asked.offline)
        text = read_input(root / name)
        if bytes(within) in text:
            raise PkgviewError(
                f"{doing}: the lock would name places of this machine",
                remedy="Make it yourself: `npm install --package-lock-only`.",
            )
    path = project.root / name
    return text, read(path, text)


async def _converted(
    project: NodeProject, data: bytes, asked: Asked, places: Places, error: OldLockError
) -> Lock:
    """What npm makes of a lock of version 1, kept by its bytes."""
    assert project.lock is not None  # noqa: S101 - it is what was read
    digest = hashlib.sha256(data + read_input(project.root / MANIFEST)).hexdigest()[:32]
    directory = places.state / "locks" / project_key(str(project.root))
    kept = directory / f"{LOCK}.{digest}"
    if kept.is_file():
        return read(project.lock, kept.read_bytes())
    if asked.frozen:
        raise PkgviewError(
            error.what, remedy="Run `pkgview up` without --frozen: npm converts it."
        ) from error
    with scratch(places.cache / "builds", COPIES) as within:
        root = copies.copy(project, within)
        await run_npm(
            ["install", "--package-lock-only", "--ignore-scripts", "--lockfile-version=3"],
            cwd=root,
            doing=f"cannot convert {project.lock}",
            offline=asked.offline,
        )
        text = read_input(root / project.lock.name)
    lock = read(project.lock, text)
    make_private(directory)
    write_atomically(kept, text)
    return lock


def _doubts(project: NodeProject, lock: Lock, settings: Settings) -> Iterator[str]:
    """Why the lock may not be what package.json asks for."""
    tree = Tree(lock)
    peers = not (settings.says("legacy-peer-deps") or settings.says("force"))
    for inside in ("", *project.members):
        if inside in lock.entries:
            yield from _of_one(project, tree, inside, peers=peers)
        else:
            yield f"{inside} is not in it"
    yield from _of_members(project, lock, tree)
    if project.manifest.get("overrides"):
        yield f"{MANIFEST} has overrides"
        return
    for edge in tree.problems(peers=False):
        there = "nothing" if edge.to is None else lock.entries[edge.to].title
        yield f"{edge.by or 'the project'} needs {edge.name} {edge.wanted}, and it has {there}"


def _of_members(project: NodeProject, lock: Lock, tree: Tree) -> Iterator[str]:
    """The same of links to members: one that is gone, one that is called otherwise now."""
    links = {
        (target, entry.name)
        for place, entry in lock.entries.items()
        if entry.link and (target := tree.target(place)) is not None
    }
    for target, name in sorted(links):
        if target not in project.members:
            yield f"it has {name}, and {target} is no member"
    for inside in project.members:
        name = read_manifest(project.root / inside / MANIFEST).get("name") or Path(inside).name
        if is_workspace(project, inside) and (inside, name) not in links:
            yield f"{inside} is not in it as {name}"


def _of_one(project: NodeProject, tree: Tree, inside: str, *, peers: bool) -> Iterator[str]:
    """The same of what the package.json of the project, or of a member, asks for."""
    entry = tree.entries[inside]
    where = f"{inside}/{MANIFEST}" if inside else MANIFEST
    manifest = read_manifest(project.root / where) if inside else project.manifest
    wanted = dependencies(manifest, root=True)
    for name, (spec, sort) in wanted.items():
        found = tree.found(inside, name)
        if found is None:
            if sort not in {"optional", "peerOptional"} and (sort != "peer" or peers):
                yield f"it has no {name}, which {where} lists"
            continue
        same = entry.dependencies.get(name, ("",))[0] == spec
        if not same and meets(tree.entries, found, spec) is not True:
            yield f"its {name} is not known to be {spec}, which {where} lists"
    if gone := sorted(entry.dependencies.keys() - wanted.keys()):
        yield f"it has {gone[0]}, which {where} does not list"


def _unfit(project: NodeProject, lock: Lock) -> Iterator[str]:
    """Places in members' own node_modules of what they have in another range now.

    npm leaves these as they are, since it compares what a lock has with the root's list only.
    """
    tree = Tree(lock)
    for inside in project.members:
        manifest = read_manifest(project.root / inside / MANIFEST)
        for name, (spec, _) in dependencies(manifest, root=True).items():
            found = tree.found(inside, name)
            if found is None or found != f"{inside}/node_modules/{name}":
                continue
            if meets(tree.entries, found, spec) is False:
                yield found


def _places(lock: Lock) -> dict[str, tuple[object, ...]]:
    """What of a lock decides what is installed."""
    return {
        place: (entry.version, entry.integrity, entry.link, entry.resolved, entry.bundled)
        for place, entry in lock.entries.items()
        if entry.is_package
    }


def _versions(lock: Lock | None) -> dict[str, str]:
    """By name; of several versions all."""
    found: dict[str, set[str]] = {}
    for entry in lock.entries.values() if lock else ():
        if entry.is_package and entry.version:
            found.setdefault(entry.name, set()).add(entry.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}
