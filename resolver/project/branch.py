"""Which git branch a directory's files are from, read without running git.

A lock that is kept outside of the project is one branch's: what another branch asks for must not
decide it. HEAD names the branch, and the log of HEAD says from which one it was begun, so that an
edit in a new branch changes no more than in the old one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.inputs import read_text

if TYPE_CHECKING:
    from pathlib import Path

MOST = 20
"""Branches that one is followed back through."""

_REF = "ref: refs/heads/"
_MOVED = re.compile(r"(?m)^(\w+) (\w+) .*\tcheckout: moving from (\S+) to (\S+)$")


def branches(directory: Path) -> tuple[str, ...]:
    """The branch that is checked out, the one that it was begun from, and so on.

    () where there is no git repository, or no branch is checked out.
    """
    place = _git_directory(directory)
    head = _text(place / "HEAD").strip() if place else ""
    if place is None or not head.startswith(_REF):
        return ()
    begun = _begun(_text(place / "logs/HEAD"))
    found = [head.removeprefix(_REF)]
    while (before := begun.get(found[-1])) and before not in found and len(found) < MOST:
        found.append(before)
    return tuple(found)


def _begun(log: str) -> dict[str, str]:
    """Branches that were begun here, and the one that was checked out then.

    That is one which is named for the first time when it is changed to, without another commit.
    """
    known: set[str] = set()
    begun = {}
    for before, after, left, entered in _MOVED.findall(log):
        known.add(left)
        if entered not in known and before == after:
            begun[entered] = left
        known.add(entered)
    return begun


def _git_directory(directory: Path) -> Path | None:
    for parent in (directory, *directory.parents):
        git = parent / ".git"
        if git.is_dir():
            return git
        if git.is_file():  # a worktree's
            said = _text(git).strip()
            named = said.removeprefix("gitdir: ")
            return parent / named if named != said else None
    return None


def _text(path: Path) -> str:
    """What is in it; "" where it cannot be read."""
    try:
        return read_text(path)
    except PkgviewError:
        return ""
