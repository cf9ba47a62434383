"""uv workspaces: the members that a root's `[tool.uv.workspace]` counts, by their directories.

What a member asks for is in the one `uv.lock` that all of them share, so an edit of any outdates it
(https://docs.astral.sh/uv/concepts/projects/workspaces/).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_MEMBERS = 1000
"""Directories that are looked at, at most: it is asked as programs start."""


def members(root: Path, document: Mapping[str, Any]) -> tuple[Path, ...]:
    """The directories of its members, in order; `document` is the root's pyproject.toml.

    A pattern's `*` stays within one part of a path. Those that lead out of the root, or through
    any depth (`**`), are left out.
    """
    table: Any = document
    for key in ("tool", "uv", "workspace"):
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return ()
    excluded = set(_matching(root, table.get("exclude")))
    found = dict.fromkeys(_matching(root, table.get("members")))
    return tuple(
        sorted(
            one
            for one in list(found)[:MOST_MEMBERS]
            if one not in excluded and (one / "pyproject.toml").is_file()
        )
    )


def _matching(root: Path, patterns: object) -> Iterator[Path]:
    for pattern in patterns if isinstance(patterns, list) else []:
        if isinstance(pattern, str) and pattern and not pattern.startswith("/"):
            parts = Path(pattern).parts
            if parts and not {"..", "**"} & set(parts):
                yield from root.glob(pattern)
