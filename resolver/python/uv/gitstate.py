"""Which commit is checked out, and where the tags are: read from git's files, as uv reads them.

No git is run: these are looked at without being asked for. Formats: gitrepository-layout(5).
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from resolver.errors import PkgviewError
from resolver.inputs import read_text

_COMMIT = re.compile(r"[0-9a-fA-F]{40}")


def commit_of(directory: Path) -> str | None:
    """The commit of the work tree that a directory is in; None where there is none."""
    own = _git_directory(directory)
    if own is None:
        return None
    head = _read(own / "HEAD").split()
    if len(head) == 1:
        return _commit(head[0])
    if len(head) != 2 or ".." in Path(head[1]).parts:  # noqa: PLR2004 - "ref:" and its name
        return None
    common = _common(own)
    found = (_commit(_read(place / head[1])) for place in (own, common))
    return next(filter(None, found), None) or _packed(common).get(head[1])


def tags_of(directory: Path) -> dict[str, str] | None:
    """The tags of its repository, by name; None where there is none."""
    own = _git_directory(directory)
    if own is None:
        return None
    common, prefix = _common(own), "refs/tags/"
    tags = {
        name.removeprefix(prefix): commit
        for name, commit in _packed(common).items()
        if name.startswith(prefix)
    }
    loose = common / "refs/tags"
    for path in sorted(loose.rglob("*")):
        if path.is_file() and (commit := _commit(_read(path))):
            tags[str(path.relative_to(loose))] = commit
    return tags


def _git_directory(directory: Path) -> Path | None:
    """`.git`, or where the file of that name leads, of the nearest directory upwards with one."""
    for at in (directory, *directory.parents):
        found = at / ".git"
        if found.is_dir():
            return found
        if found.is_file():
            named = _read(found)
            return at / named.removeprefix("gitdir:").strip() if named[:7] == "gitdir:" else None
    return None


def _common(own: Path) -> Path:
    """The repository that a linked work tree shares with others."""
    return own / (_read(own / "commondir").strip() or ".")


def _packed(common: Path) -> dict[str, str]:
    lines = (line.split() for line in _read(common / "packed-refs").splitlines())
    return {
        words[1]: words[0]
        for words in lines
        if len(words) == 2 and _commit(words[0])  # noqa: PLR2004 - a commit and its name
    }


def _commit(text: str) -> str | None:
    text = text.strip()
    return text if _COMMIT.fullmatch(text) else None


def _read(path: Path) -> str:
    """A file's text; "" where there is none."""
    with suppress(PkgviewError, OSError, ValueError):
        if path.is_file():
            return read_text(path)
    return ""
