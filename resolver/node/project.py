"""A project of Node's: its package.json, npm's lock, its settings, and the members it has.

Members are the directories that `workspaces` names, and those that a dependency names by `file:`:
Node's view has links to them, and their own package.json counts.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.node.lock import NAMES, no_json
from resolver.node.npmrc import NAME as NPMRC
from resolver.node.start import MANIFEST as MANIFEST  # noqa: PLC0414 - others have it from here
from resolver.node.start import OTHERS
from resolver.ownership import parents
from resolver.project.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KIND: Final = "node"

SORTS = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")

WRITABLE: Final = (".cache", ".vite", ".vite-temp", ".vitest", ".prisma")
"""Names in node_modules into which tools write. A project adds to them by `writable` of the
`pkgview` of its package.json."""

_MOST_MEMBERS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProject(Project):
    """`manifest` is its package.json; `members` are relative to it, with "/"."""

    manifest: Mapping[str, Any] = field(repr=False)
    members: tuple[str, ...] = ()
    lock: Path | None = None

    @property
    def prefer(self) -> tuple[str, ...]:
        """Nothing: in Node's view no two packages have one place."""
        return ()

    @property
    def holding(self) -> set[Path]:
        """Where a file could be put that counts."""
        return {self.root, *(self.root / one for one in self.members)}

    @property
    def mounted(self) -> bool:
        """Whether its view is to be mounted at node_modules, for commands that are run by us.

        Then there is a directory in the place of the link (`unionfs.publishing.mountable`).
        """
        modules = self.root / "node_modules"
        own = self.manifest.get("pkgview")
        said = own.get("mount-modules", False) if isinstance(own, dict) else False
        if not isinstance(said, bool):
            raise PkgviewError(
                f"{self.root / MANIFEST}: pkgview.mount-modules is {said!a}",
                remedy="Write true or false.",
            )
        return said or (not modules.is_symlink() and (modules / ".pkgview").is_symlink())

    @property
    def writable(self) -> tuple[str, ...]:
        """The names in node_modules that lead to a directory for tools to write into."""
        own = self.manifest.get("pkgview")
        listed = own.get("writable", []) if isinstance(own, dict) else []
        if not isinstance(listed, list) or not all(map(_is_writable, listed)):
            raise PkgviewError(
                f"{self.root / MANIFEST}: pkgview.writable lists {listed!a}",
                remedy='Write names of directories, as in {"pkgview": {"writable": [".parcel"]}}.',
            )
        return tuple(dict.fromkeys((*WRITABLE, *listed)))


def _is_writable(name: object) -> bool:
    if not isinstance(name, str) or name in {".", "..", ".bin", ".package-lock.json"}:
        return False
    return name.startswith(".") and "/" not in name and name.isprintable() and "\\" not in name


def refuse_none(directory: Path) -> None:
    """Say of a directory that has a package.json why it is no project, if that can be mended."""
    other = other_manager(directory)
    if other is not None:
        name, whose = other
        raise PkgviewError(
            f"{directory} belongs to no project: {name} is a lock of {whose}'s, which pkgview "
            "does not read",
            remedy="With a package-lock.json beside it, it is npm's, too: `npm install "
            "--package-lock-only` makes one.",
        )
    if (directory / MANIFEST).is_file() and not is_member(directory):
        raise PkgviewError(
            f"{directory / MANIFEST} lists no dependencies yet, and no lock is beside it",
            remedy="`pkgview add NAME` there adds the first one.",
        )


def project_at(directory: Path, *, begun: bool = False) -> NodeProject | None:
    """The project whose root is that directory; `PkgviewError` where its files are broken.

    `begun`: also one that lists nothing yet.
    """
    path = directory / MANIFEST
    if not path.is_file() or "node_modules" in directory.parts:
        return None
    lock = next((directory / name for name in NAMES if (directory / name).is_file()), None)
    manifest = read_manifest(path)
    listed = begun or _lists_any(manifest)
    if lock is None and (not listed or other_manager(directory) is not None):
        return None
    if is_member(directory):
        return None
    members = tuple(_members(directory, manifest))
    settings = directory / NPMRC
    inputs = [path, *([lock] if lock else []), *([settings] if settings.is_file() else [])]
    inputs += [directory / one / MANIFEST for one in members]
    return NodeProject(
        root=directory,
        origin=lock.name if lock else MANIFEST,
        inputs=tuple(inputs),
        manifest=manifest,
        members=members,
        lock=lock,
    )


def other_manager(directory: Path) -> tuple[str, str] | None:
    """Whose lock is there instead of npm's: its file's name, and the program's."""
    return next(
        ((name, whose) for name, whose in OTHERS.items() if (directory / name).is_file()), None
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """A package.json; `PkgviewError` for what is none."""
    try:
        found = json.loads(read_input(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise PkgviewError(f"{path} is no JSON: {no_json(error)}", remedy="Mend it.") from error
    if not isinstance(found, dict):
        raise PkgviewError(f"{path} is no package.json: it holds no object", remedy="Mend it.")
    for sort in SORTS:
        listed = found.get(sort) or {}
        if not isinstance(listed, dict) or not all(isinstance(one, str) for one in listed.values()):
            raise PkgviewError(
                f"{path}: {sort} is no object of names with their ranges",
                remedy=f'Write {{"{sort}": {{"name": "^1.0.0"}}}}.',
            )
    return found


def _lists_any(manifest: Mapping[str, Any]) -> bool:
    return any(manifest.get(one) for one in (*SORTS, "workspaces"))


def is_member(directory: Path) -> bool:
    """Whether a project above has it among its workspaces: then it is a part of that one."""
    for above in parents(os.fspath(directory)):
        path = Path(above, MANIFEST)
        if path.is_file():
            with suppress(PkgviewError):
                inside = os.path.relpath(directory, above)
                if _matches(inside, patterns(read_manifest(path))):
                    return True
    return False


def is_workspace(project: NodeProject, inside: str) -> bool:
    """Whether a member is one by `workspaces`, and not by a dependency that names it."""
    return _matches(inside, patterns(project.manifest))


def patterns(manifest: Mapping[str, Any]) -> list[str]:
    """The patterns of `workspaces`, which may be in an object of its own (Yarn's form)."""
    listed = manifest.get("workspaces")
    if isinstance(listed, dict):
        listed = listed.get("packages")
    if not isinstance(listed, list):
        return []
    return [one.removeprefix("./").rstrip("/") for one in listed if isinstance(one, str) and one]


def _matches(inside: str, listed: list[str]) -> bool:
    matched = False
    for pattern in listed:
        if pattern.startswith("!"):
            matched = matched and not _match(inside, pattern[1:].removeprefix("./"))
        else:
            matched = matched or _match(inside, pattern)
    return matched


def _match(inside: str, pattern: str) -> bool:
    """A pattern's `*` stands for one name, `**` for any number of them."""
    names, parts = inside.split("/"), pattern.split("/")

    def rest(at: int, part: int) -> bool:
        if part == len(parts):
            return at == len(names)
        if parts[part] == "**":
            return any(rest(step, part + 1) for step in range(at, len(names) + 1))
        return at < len(names) and fnmatch(names[at], parts[part]) and rest(at + 1, part + 1)

    return rest(0, 0)


def _members(root: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Directories with a package.json of their own that count, without repeating one."""
    seen: set[str] = set()
    listed = patterns(manifest)
    for pattern in listed:
        if pattern.startswith("!"):
            continue
        if pattern.startswith("/") or ".." in pattern.split("/"):
            continue
        for path in sorted(root.glob(pattern)):
            inside = os.path.relpath(path, root)
            if (
                inside in seen
                or "node_modules" in inside.split("/")
                or not (path / MANIFEST).is_file()
                or not _matches(inside, listed)
            ):
                continue
            seen.add(inside)
            if len(seen) > _MOST_MEMBERS:
                raise PkgviewError(f"{root / MANIFEST} has too many workspaces")
            yield inside
    for inside in _named_directories(root, root, manifest, seen):
        yield inside


def _named_directories(
    root: Path, directory: Path, manifest: Mapping[str, Any], seen: set[str]
) -> Iterator[str]:
    """Those that dependencies name by `file:`, and those that these name."""
    for sort in SORTS:
        listed = manifest.get(sort)
        for wanted in listed.values() if isinstance(listed, dict) else ():
            if not isinstance(wanted, str) or not wanted.startswith("file:"):
                continue
            path = Path(os.path.normpath(directory / wanted.removeprefix("file:")))
            inside = os.path.relpath(path, root)
            if inside in seen or inside == "." or not (path / MANIFEST).is_file():
                continue
            seen.add(inside)
            yield inside
            yield from _named_directories(root, path, read_manifest(path / MANIFEST), seen)
