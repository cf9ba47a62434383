"""Who could lead a path elsewhere: by a directory on the way to it, or by a link.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat

from resolver.ownership import Fault, faults_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

MOST_LINKS = 40
"""Links on one way, path_resolution(7)."""


def way_faults(path: str, uid: int, mounted: Container[str] = ()) -> Iterator[Fault]:
    """All that lets others than `uid` and root decide what a process finds at an absolute path.

    Each directory that a walk passes, and each link, must belong to `uid` or root, and nobody else
    may write to the directories, but for sticky ones, where nobody can replace what is another's.
    The directory at the end may not be written to even then. What is missing has yet to be made.
    Where the walk ends at one of `mounted`, that is not touched: it might never answer.
    """
    current, rest, links = "/", path.split("/")[::-1], 0
    found = os.lstat(current)
    while rest:
        name = rest.pop()
        if name in {"", "."}:
            continue
        yield from _faults_of(current, found, uid, between=True)
        if name == "..":
            current = os.path.dirname(current)
            found = os.lstat(current)
            continue
        here = os.path.join(current, name)
        if here in mounted and not any(rest):
            return
        try:
            found = os.lstat(here)
            target = os.readlink(here) if stat.S_ISLNK(found.st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            yield Fault("unseen", -1, f"{here} cannot be examined: {error.strerror}")
            return
        if target is None:
            current = here
            continue
        # A link has no mode. In a sticky directory its owner could make another of it.
        yield from (
            one for one in _faults_of(here, found, uid, between=True) if one.kind == "owner"
        )
        links += 1
        if links > MOST_LINKS:
            yield Fault("unseen", -1, f"{path} is a loop of symbolic links")
            return
        rest += target.split("/")[::-1]
        current = "/" if target.startswith("/") else current
        found = os.lstat(current)
    yield from _faults_of(current, found, uid, between=False)


def _faults_of(path: str, found: os.stat_result, uid: int, *, between: bool) -> Iterator[Fault]:
    for fault in faults_of(path, found, uid, between=between):
        if fault.kind != "owner" or not _is_unmapped(fault.who):
            yield fault


def _is_unmapped(uid: int) -> bool:
    """Whether that is whom a user namespace calls everybody else, root outside of it included."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
            nobody = int(file.read())
        with open("/proc/self/uid_map", encoding="ascii") as file:
            everybody = file.read().split() == ["0", "0", str(2**32 - 1)]
    except (OSError, ValueError):
        return False
    return uid == nobody and not everybody
