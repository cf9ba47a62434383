"""Versions to go on with where a lock in the state is made anew.

There is a lock for each set of options, and an edit or an option shall change no more than it has
to: so of each distribution the version counts that the git branch's last lock has, whatever extras
and groups that was made for. A branch goes on with those of the one that it was begun from. Another
Python's lock does not count: what it holds may have no wheel here.

The `.json` beside a lock says of which branch and Python it is. Earlier releases did not write
that: their locks are known by their names, which the same options have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resolver.python.lockfile import note_at, readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PACKAGE = re.compile(r"(?m)^(?=\[\[packages\]\]$)")
_NAME = re.compile(r'(?m)^name = "([^"]+)"$')


def kept_versions(directory: Path, branches: Sequence[str], names: Sequence[str], of: str) -> bytes:
    """One lock with the versions of all that count; b"" where there is none.

    `branches`, and the `names` that these options have in each, are in their order; `of` is the
    Python, as it is noted.
    """
    kept = ""
    had: set[str] = set()
    for path in _counting(directory, branches, names, of):
        head, *packages = _PACKAGE.split(readable(path).decode())
        named = [(found[1] if (found := _NAME.search(one)) else "", one) for one in packages]
        more = "".join(f"{one.rstrip()}\n\n" for name, one in named if name not in had)
        kept += more if kept else f"{head.rstrip()}\n\n{more}"
        had.update(name for name, _ in named)
    return kept.encode() if had else b""


def outdate_others(path: Path, branch: str, of: str) -> None:
    """After an upgrade: what the branch's other locks hold is not what was asked for last."""
    for note in path.parent.glob("pylock.*.json"):
        found = note_at(note)
        if note.stem != path.stem and (found.get("branch"), found.get("python")) == (branch, of):
            note.unlink(missing_ok=True)


def other_branches(directory: Path, branches: Sequence[str]) -> bool:
    """Whether there are locks of branches that are none of these."""
    found = [note_at(note).get("branch") for note in directory.glob("pylock.*.json")]
    return any(branch and branch not in branches for branch in found)


def _counting(
    directory: Path, branches: Sequence[str], names: Sequence[str], of: str
) -> Iterator[Path]:
    """Those of the first branch that has any come first, in each the last one made."""
    notes = {path: note_at(path) for path in directory.glob("pylock.*.json")}
    for branch, name in zip(branches, names, strict=True):
        locks = {
            path.with_suffix(".toml")
            for path, note in notes.items()
            if (note.get("branch"), note.get("python")) == (branch, of)
        }
        locks = {path for path in {*locks, directory / name} if readable(path)}
        yield from sorted(locks, key=lambda path: path.stat().st_mtime_ns, reverse=True)
