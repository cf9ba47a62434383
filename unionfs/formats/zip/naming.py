"""Names that a member of a Zip file may have.

A path is accepted only if every reader on every system takes it for the same plain relative path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from unionfs.archive.layer import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME_LIMIT: Final = 255
PATH_LIMIT: Final = 2048
"""Bytes of one name (NAME_MAX), and of a whole path: room is left for what it will lie below."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")


def decode(raw: bytes, *, utf8: bool) -> tuple[str, str | None]:
    """A member's path, and what is wrong with it (None if nothing is).

    Without the UTF-8 flag a name is in code page 437, or in whatever its writer had: only ASCII
    means the same to everybody. One "/" at the end, a directory's, stays; what leads nowhere on
    the way, as in `x.data/scripts/./run`, does not.
    """
    try:
        path = raw.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", "backslashreplace")
        return shown, "is not UTF-8" if utf8 else "is not ASCII, and not marked as UTF-8"
    path = plain(path)
    return path, fault(path)


def plain(path: str) -> str:
    """A path without empty and `.` components, which lead every reader nowhere.

    But for its first two, and the last: what lies there is looked up by its name (`.dist-info`).
    """
    names = path.removesuffix("/").split("/")
    between = [name for name in names[2:-1] if name not in {"", "."}]
    return "/".join((*names[:2], *between, *names[2:][-1:])) + "/" * path.endswith("/")


def fault(path: str) -> str | None:
    """Why a path is no plain relative path; None if it is one."""
    names = path.removesuffix("/").split("/")
    rules = (
        ("\0" in path, "has a NUL in it"),
        (_CONTROL.search(path), "has a control character in it"),
        ("\\" in path, "has a backslash in it"),
        (path.startswith("/"), "is absolute"),
        (_DRIVE.match(path), "names a drive"),
        (".." in names, "climbs out with '..'"),
        ("" in names or "." in names, "has an empty or '.' component"),
        (len(path.encode()) > PATH_LIMIT, f"has more than {PATH_LIMIT} bytes"),
        (
            max(len(name.encode()) for name in names) > NAME_LIMIT,
            f"has a name of more than {NAME_LIMIT} bytes",
        ),
    )
    return next((wrong for broken, wrong in rules if broken), None)


def collisions(members: Iterable[tuple[str, Kind]]) -> Iterator[str]:
    """Paths that are there twice, and files that would have to be directories too."""
    kinds: dict[str, Kind] = {}
    for path, kind in members:
        if path in kinds:
            yield f"{path!r} is there twice"
        kinds[path] = kind
    for path in kinds:
        above = path.rpartition("/")[0]
        while above:
            if kinds.get(above, Kind.DIRECTORY) is not Kind.DIRECTORY:
                yield f"{path!r} lies below {above!r}, which is a file"
            above = above.rpartition("/")[0]
