"""What else decides a project's packages than files at fixed names: those of its members.

As `resolver.python.declared.further` has it for Python: who has understood the project lists where
others have to look who only compare bytes, what is not there yet included.
"""

from __future__ import annotations

import os
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.node import start
from resolver.node.lock import commands
from resolver.node.project import MANIFEST, SORTS, patterns, read_manifest
from resolver.remembered import MOST_LISTED, further_line, note_further

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from resolver.node.project import NodeProject
    from resolver.remembered import Situation

_GLOB = frozenset("*?[")


def situation_of(project: NodeProject, state: Path, omit: Sequence[str]) -> Situation | None:
    """What a start that looks at bytes alone would find; None where it would not do."""
    root = str(project.root)
    try:
        note_further(str(state), root, _lines(project), start.KIND)
        found = start.situation(root, str(state), os.environ, omit)
    except (OSError, PkgviewError, _UnknownError):
        return None
    if found is None:
        return None
    return found if set(map(str, project.inputs)) <= set(found.files) else None


class _UnknownError(Exception):
    """No list would do."""


def _lines(project: NodeProject) -> list[str]:
    """All that counts beside what is looked at in every project, sorted."""
    root = project.root
    directories: list[Path] = []
    files = [root / one / MANIFEST for one in project.members]
    bins: list[Path] = []
    for pattern in patterns(project.manifest):
        if not pattern.startswith(("!", "/")) and ".." not in pattern.split("/"):
            files += (place / MANIFEST for place in _places(root, pattern, directories))
    for inside in ("", *project.members):
        manifest = project.manifest if not inside else read_manifest(root / inside / MANIFEST)
        if inside:
            found = commands(manifest.get("bin"), inside)
            bins += (root / inside / path for path in found.values())
        files += (
            root / inside / wanted.removeprefix("file:") / MANIFEST
            for sort in SORTS
            for wanted in _texts(manifest.get(sort))
            if wanted.startswith("file:")
        )
    lines = {further_line(str(root), str(path)) for path in files}
    lines |= {further_line(str(root), str(path), what="d") for path in directories}
    lines |= {further_line(str(root), str(path), what="x") for path in bins}
    if len(lines) > MOST_LISTED or any("\n" in line for line in lines):
        raise _UnknownError
    return sorted(lines)


def _texts(listed: object) -> list[str]:
    values = listed.values() if isinstance(listed, dict) else ()
    return [one for one in values if isinstance(one, str)]


def _places(root: Path, pattern: str, directories: list[Path]) -> Iterator[Path]:
    """Where members of that pattern are, or may come; whose names say so is listed."""
    found = [root]
    for part in pattern.split("/"):
        if part == "**":
            raise _UnknownError
        if not _GLOB & set(part):
            found = [place / part for place in found]
            continue
        directories += found
        found = [
            place / name
            for place in found
            for name in os.listdir(place)
            if fnmatch(name, part) and (place / name).is_dir()
        ]
        if len(found) > MOST_LISTED:
            raise _UnknownError
    yield from found
