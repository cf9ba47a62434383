"""What of a lock this machine needs: each place, and the tarball that goes there."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.wanted import LONGEST_NAME, Download
from resolver.node.lock import dependencies
from resolver.node.project import MANIFEST, read_manifest
from resolver.node.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from resolver.node.lock import Entry, Lock
    from resolver.node.machine import Machine
    from resolver.node.npmrc import Settings
    from resolver.node.project import NodeProject
    from resolver.node.tree import Asked

READ: Final = "npm1"
"""Raised where the same tarball shall become another archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One place of the tree, and what goes there.

    `packed`: what npm has to pack first (a git repository at a commit, a directory), as it takes
    it; then there is no `download`. `key` as in `Package`.
    """

    entry: Entry
    key: str | None
    download: Download | None = None
    packed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`kept` is all that lies in some node_modules, links and bundled packages included."""

    kept: Mapping[str, Entry]
    choices: tuple[Choice, ...]


def asked_by(project: NodeProject) -> Asked:
    """What a project and its members ask for, by place."""
    asked = {"": dependencies(project.manifest, root=True)}
    for inside in project.members:
        asked[inside] = dependencies(read_manifest(project.root / inside / MANIFEST), root=True)
    return asked


def select(  # noqa: PLR0913, PLR0917 - what decides
    lock: Lock,
    machine: Machine,
    omitted: Collection[str],
    settings: Settings,
    forgone: Collection[str] = (),
    asked: Asked | None = None,
) -> Selection:
    """For this machine, without what is omitted; `PkgviewError` for what cannot be had.

    `forgone`: places of what is optional and cannot be fetched. `asked`: what somebody asks for;
    None: all that there is.
    """
    kept = Tree(lock, asked).kept(machine, omitted, forgone)
    chosen = [
        _choice(entry, lock.path.parent, settings)
        for entry in kept.values()
        if not entry.link and not entry.bundled
    ]
    return Selection(kept=kept, choices=tuple(chosen))


def local_path(entry: Entry, directory: Path) -> Path | None:
    """Where on this machine an entry's package is; `directory` is the lock's."""
    if not entry.resolved.startswith("file:"):
        return None
    return Path(os.path.normpath(directory / unquote(entry.resolved.removeprefix("file:"))))


def _choice(entry: Entry, directory: Path, settings: Settings) -> Choice:
    resolved = entry.resolved or _usual(entry, settings)
    scheme = resolved.partition(":")[0]
    if scheme in {"http", "https"}:
        return _fetched(entry, settings.address(resolved, entry.package))
    if (path := local_path(entry, directory)) is not None:
        if path.is_dir():
            return Choice(entry=entry, key=None, packed=str(path))
        return _fetched(entry, str(path))
    if scheme.startswith("git") and (commit := resolved.partition("#")[2]):
        if not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", commit):
            raise _unusable(entry, f"{resolved!a} names no commit")
        return Choice(entry=entry, key=_key(entry, "git", resolved), packed=resolved)
    raise _unusable(entry, f"{resolved!a} is no address" if resolved else "it says not where from")


def _fetched(entry: Entry, url: str) -> Choice:
    hashes = entry.integrity
    strong = len(hashes) == 1 and hashes[0][0].startswith("sha") and hashes[0][0] != "sha1"
    download = Download(
        url=url,
        filename=_filename(entry),
        hashes=dict(hashes) if strong else {},
        stated=() if strong else hashes,
    )
    key = _key(entry, *(f"{name}-{digest}" for name, digest in sorted(hashes))) if hashes else None
    return Choice(entry=entry, key=key, download=download)


def _key(entry: Entry, *parts: str) -> str:
    """With the package's name and version: its archive says them, in the lock's words."""
    words = "\0".join((entry.package, entry.version, *parts))
    return f"{READ}-{hashlib.sha256(words.encode()).hexdigest()}"


def _usual(entry: Entry, settings: Settings) -> str:
    """Where a registry has it, for a lock that does not say (`omit-lockfile-registry-resolved`)."""
    if not (entry.package and entry.version and entry.integrity):
        return ""
    last = entry.package.rpartition("/")[2]
    return f"{settings.registry_of(entry.package)}{entry.package}/-/{last}-{entry.version}.tgz"


def _filename(entry: Entry) -> str:
    """For a file's name in the cache, and for people."""
    name = f"{entry.package}-{entry.version}".removeprefix("@").replace("/", "-")
    return f"{name[: LONGEST_NAME - 4]}.tgz"


def _unusable(entry: Entry, why: str) -> PkgviewError:
    return PkgviewError(
        f"the lock does not say where {entry.title} ({entry.location}) comes from: {why}",
        remedy="Have npm write it anew: remove the lock, and run `pkgview up`.",
    )


def host(url: str) -> str:
    """The host of an address, for a message."""
    return urlsplit(url).netloc.rpartition("@")[2]
