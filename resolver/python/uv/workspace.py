"""uv workspaces: the members that a root's `[tool.uv.workspace]` counts, by their directories.

What a member asks for is in the one `uv.lock` that all of them share, so an edit of any outdates it
(https://docs.astral.sh/uv/concepts/projects/workspaces/).
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver import looks, toml
from resolver.inputs import read_text
from resolver.python.uv.above import lies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_MEMBERS = 1000
"""Directories that are looked at, at most: it is asked as programs start."""

MOST_NAMES = 20_000
"""Names of files and directories among which they are looked for."""

LONGEST = 4096
"""Characters of a pattern, as of a path."""


def members(root: Path, document: Mapping[str, Any]) -> tuple[Path, ...]:
    """The directories of its members, in order; `document` is the root's pyproject.toml.

    A pattern's `*` stays within one part of a path, and links are followed, out of the root, too:
    uv does both. (Where a link leads nowhere or in a circle uv refuses the workspace; here it is no
    member.) Patterns that lead out of the root, or through any depth (`**`), are left out.
    """
    table: Any = document
    for key in ("tool", "uv", "workspace"):
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return ()
    excluded = set(directories(root, table.get("exclude"), counter()))
    found = dict.fromkeys(directories(root, table.get("members"), counter()))
    return tuple(
        sorted(
            one
            for one in list(found)[:MOST_MEMBERS]
            if one not in excluded and lies(str(one), "pyproject.toml")
        )
    )


def counts(parent: Path, directory: Path) -> bool:
    """Whether the pyproject.toml of `parent` counts a directory below among its uv workspace."""
    inside = directory.relative_to(parent)
    return any(_globs(inside, one) for one in member_patterns(parent)) and not any(
        _globs(inside, one) for one in member_patterns(parent, "exclude")
    )


def member_patterns(root: Path, key: str = "members") -> list[str]:
    """Which directories the pyproject.toml there says are of its uv workspace, or are not."""
    place = str(root / "pyproject.toml")
    uv = toml.table(toml.table(document_at(root), "tool", place), "uv", place)
    return toml.listed(toml.table(uv, "workspace", place), key, place)[:MOST_MEMBERS]


def document_at(root: Path) -> dict[str, Any]:
    """The pyproject.toml there; {} where there is none."""
    place = root / "pyproject.toml"
    return toml.document(read_text(place), str(place)) if looks.is_file(place) else {}


def _globs(path: Path, pattern: str) -> bool:
    """Whether all of `path` matches; `*` stays within one part, as in uv's member patterns."""
    parts = Path(pattern).parts
    return len(parts) == len(path.parts) and path.match(os.path.normpath(pattern))


def counter() -> Iterator[int]:
    """What lasts for as many names as are looked at for one workspace."""
    return iter(range(MOST_NAMES))


def directories(root: Path, patterns: object, names: Iterator[int]) -> Iterator[Path]:
    """Those below a root that any of some patterns matches, as long as `names` lasts.

    So it ends however many files there are.
    """
    for pattern in patterns[:MOST_MEMBERS] if isinstance(patterns, list) else []:
        if isinstance(pattern, str) and pattern and not pattern.startswith("/"):
            parts = Path(pattern).parts if len(pattern) <= LONGEST else ()
            if parts and not {"..", "**"} & set(parts):
                yield from _matching(root, parts, names)


def _matching(directory: Path, parts: tuple[str, ...], names: Iterator[int]) -> Iterator[Path]:
    here, *rest = parts
    if not set("*?[") & set(here):
        found = [here] if next(names, None) is not None else []
    else:
        found = fnmatch.filter(_names(directory, names), here)
    for name in found:
        place = directory / name
        if looks.is_directory(place):
            yield from _matching(place, tuple(rest), names) if rest else (place,)


def _names(directory: Path, names: Iterator[int]) -> Iterator[str]:
    """Those of the directories and links there, as long as `names` lasts."""
    try:
        with os.scandir(directory) as entries:
            for _, entry in zip(names, entries, strict=False):
                if entry.is_symlink() or entry.is_dir():
                    yield entry.name
    except OSError:
        return  # not to be read
