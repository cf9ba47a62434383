"""A lock file that is there, and what to select from it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.inputs import read_input
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from resolver.python.project import PythonProject


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock file that is there. Relative paths in it are relative to its directory.

    `extras` and `groups` are what to select from it (PEP 751); both are empty where the file was
    made for one choice of them. `said` is a sentence about how it was made, "" where there is
    nothing to say.
    """

    path: Path
    project: PythonProject
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    said: str = ""


def readable(path: Path) -> bytes:
    """The lock that is there; b"" where there is none, or a damaged one, which uv would refuse."""
    if not path.exists():
        return b""
    data = read_input(path)
    with contextlib.suppress(ValueError, RecursionError):
        if parse(data.decode()).keys() & {"lock-version", "version"}:
            return data
    return b""


def current_lock_in(path: Path, wanted: Mapping[str, str]) -> Path | None:
    """A lock that was made from the same: this one, or that of another branch beside it.

    `wanted` is what the note beside it has to say.
    """
    others = (note.with_suffix(".toml") for note in path.parent.glob("pylock.*.json"))
    return next((one for one in (path, *others) if _is_current(one, wanted)), None)


def _is_current(path: Path, wanted: Mapping[str, str]) -> bool:
    try:
        note = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return False
    if not (path.is_file() and isinstance(note, dict)):
        return False
    return all(note.get(key, "") == said for key, said in wanted.items())
