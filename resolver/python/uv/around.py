"""Which files uv takes settings from for a directory, its user's and the system's aside.

uv looks in the directory, or in the root of the workspace or project that it is in, and goes
upwards from there until it finds a `uv.toml` or a `[tool.uv]`; sources and indexes come from the
workspace's root besides (https://docs.astral.sh/uv/concepts/configuration-files/). All of these are
inputs of a project: they decide its packages as its own files do, and so are whoever may write
them. What uv takes in doubt is among them: a file too many costs no more than a look at it.

It is asked as programs start: it looks for two names in each directory above.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resolver import toml
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.ownership import parents
from resolver.python.uv.above import lies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class _Level(NamedTuple):
    """What one directory has: a `uv.toml`; what is known of its pyproject.toml, if it has one."""

    place: str
    own: bool
    document: dict[str, Any] | None
    readable: bool = True


def settings_files(*directories: Path) -> tuple[Path, ...]:
    """Those for uv in these directories, the nearest first: a project's, and its source trees.

    A file that cannot be understood counts; `PkgviewError` for what is no file.
    """
    level = functools.cache(_level)
    found: dict[str, None] = {}
    for directory in map(os.fspath, directories):
        levels = [level(place) for place in (directory, *parents(directory))]
        for start in _starts(levels):
            found |= dict.fromkeys(_nearest(levels[start:]))
    return tuple(map(Path, found))


def _nearest(levels: Sequence[_Level]) -> Iterator[str]:
    """The first of them that has settings, and what may be some on the way."""
    for level in levels:
        uv = _uv(level)
        if level.own:
            yield f"{level.place}/uv.toml"
        if uv or not level.readable:
            yield f"{level.place}/pyproject.toml"
        if level.own or uv:
            return


def _starts(levels: Sequence[_Level]) -> Iterator[int]:
    """Where uv may begin: here, at the nearest pyproject.toml, at a workspace's root above that."""
    nearest = next((at for at, one in enumerate(levels) if one.document is not None), 0)
    yield from {0, nearest}
    for at, level in enumerate(levels):
        if at >= nearest and "workspace" in _uv(level):
            yield at
            return


def _uv(level: _Level) -> dict[str, Any]:
    """`[tool.uv]` there."""
    tool = (level.document or {}).get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    return uv if isinstance(uv, dict) else {}


def _level(place: str) -> _Level:
    own = lies(place, "uv.toml")
    if not lies(place, "pyproject.toml"):
        return _Level(place, own, None)
    found = _document(Path(place, "pyproject.toml"))
    # Where it is none, uv goes on upwards with a warning, or reads more than we do.
    return _Level(place, own, found or {}, readable=found is not None)


def settings_in(path: Path) -> dict[str, Any]:
    """The settings in one of the files; {} where they cannot be understood."""
    found = _document(path) or {}
    return found if path.name == "uv.toml" else _uv(_Level("", own=False, document=found))


def _document(path: Path) -> dict[str, Any] | None:
    try:
        return toml.document(read_text(path), str(path))
    except PkgviewError:
        return None
