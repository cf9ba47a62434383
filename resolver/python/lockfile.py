"""A lock file that is there, what to select from it, and who may write it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from resolver.atomic import Patience
from resolver.inputs import read_input
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from resolver.python.project import PythonProject

WAIT_LIMIT = 600.0
"""Seconds for which another one may resolve the same project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock file that is there. Relative paths in it are relative to its directory.

    `extras` and `groups` are what to select from it (PEP 751); both are empty where the file was
    made for one choice of them. `said` is a sentence about how it was made, "" where there is
    nothing to say. `indexes` says from which it was made (`resolver.python.locks.indexes`).
    """

    path: Path
    project: PythonProject
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    said: str = ""
    indexes: str = ""


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


def note_at(path: Path) -> dict[str, Any]:
    """What a note beside a lock says; nothing where it is missing or damaged."""
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _is_current(path: Path, wanted: Mapping[str, str]) -> bool:
    note = note_at(path.with_suffix(".json"))
    if not (note and path.is_file()):
        return False
    # Earlier versions did not say which directory it was.
    had = {"directory": wanted.get("directory"), **note}
    return all(had.get(key, "") == said for key, said in wanted.items())


@contextlib.asynccontextmanager
async def only_one(directory: Path) -> AsyncIterator[None]:
    """Let one process at a time in here for that directory; waiting can be cancelled, and ends.

    The directory itself is locked, so nothing is left behind and nothing can go stale.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    patience = Patience(descriptor, directory, WAIT_LIMIT)
    try:
        while not patience.locked(fcntl.LOCK_EX):  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(patience.pause)
        yield
    finally:
        os.close(descriptor)
