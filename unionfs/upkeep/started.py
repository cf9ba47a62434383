"""Where an interpreter was started that does not say in which view it is.

Only its first argument tells: an absolute path, `X/bin/python3`, or a name that PATH leads to
there. A relative path was looked up where nobody knows any more; arguments that were written over
(setproctitle) say nothing; and a program that has Python inside may find it anywhere. Nor does X
tell if it is not there any more, or became what it is after the program began, like a `.venv` that
has been a view's and is another environment now: so a link on the way there, and X itself, have to
be older. The same is asked of what PATH has before it, and of the variables that name an
environment. (Not of PYTHONPATH: Python does not ask where a link there leads, so what it names is
the view that there is now; a standing path says which by itself.) What the program has mapped
besides says nothing: a view's may have mapped a system's modules, too.

The paths are looked at as the process sees them, which may be in a container.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from unionfs.upkeep.proc import VIEW, link

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERPRETER = re.compile(r"(python|pypy)[\d.]*[a-z]*( \(deleted\))?")
_MAPPED = re.compile(
    rb"/(lib)?(python|pypy)[\d.]*[a-z]*(\.so[\d.]*)?( \(deleted\))?$", re.MULTILINE
)
_VARIABLES = (b"VIRTUAL_ENV", b"PYTHONHOME")

_MOST_LINKS: Final = 40
"""On the way to a place; the kernel follows no more."""


def environments(  # noqa: PLR0913 - what /proc says of one process
    base: str, *, since: float, exe: str, cwd: str, cmdline: bytes, environ: bytes, maps: bytes
) -> frozenset[str] | None:
    """The environments in which an interpreter may be, all to which they lead, and where it works.

    None where that may be any. Of what looks like no interpreter, only the environments that are
    left in its variables: often nothing. `base` is its directory in /proc, `since` when it began
    (seconds since 1970).
    """
    variables = dict(entry.partition(b"=")[::2] for entry in environ.split(b"\0"))
    first = os.fsdecode(cmdline.partition(b"\0")[0])
    named = [os.fsdecode(variables[name]) for name in _VARIABLES if variables.get(name)]
    paths = os.fsdecode(variables.get(b"PATH", b""))
    found = set()
    # The file may be a copy of another name, or none at all (memfd): then it was started as one.
    if _is_interpreter(exe) or _is_interpreter(first) or _MAPPED.search(maps):
        began_in = _looked_in(first, paths, f"{base}/root") if _is_interpreter(first) else None
        if began_in is None:
            return None
        named += began_in
        found.add(cwd)
    else:
        found.update(_views_in(paths))
    for path in named:
        led = _led(f"{base}/root", path, since)
        if led is None:
            return None
        found |= led
    return frozenset(found)


def _is_interpreter(path: str) -> bool:
    return _INTERPRETER.fullmatch(path.rpartition("/")[2]) is not None


def _looked_in(name: str, paths: str, root: str) -> list[str] | None:
    """The environment of an interpreter that was started as `name`, and those before it in PATH.

    What is no environment is left out, if it is there; None where the name leads nowhere.
    """
    if "/" in name:
        return [os.path.dirname(os.path.dirname(name))]  # noqa: PTH120 - strings
    found: list[str] = []
    for path in paths.split(":"):
        if not path.startswith("/"):
            return None
        place = os.path.dirname(path.rstrip("/"))  # noqa: PTH120 - the same
        if os.path.lexists(f"{root}{path}/{name}"):
            return [*found, place]
        if not _is_no_environment(root + place):
            found.append(place)
    return None


def _is_no_environment(path: str) -> bool:
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
    return is_directory and not os.path.lexists(f"{path}/pyvenv.cfg")


def _views_in(paths: str) -> Iterator[str]:
    """Of PATH, which everybody has: the environments there that lead to a view, and those views."""
    for path in paths.split(":"):
        place = path.rstrip("/").removesuffix("/bin")
        if VIEW.search(view := link(place)):
            yield from (place, view)


def _led(root: str, path: str, since: float) -> set[str] | None:
    """A path and all to which its links lead; None where it may have led elsewhere at that time."""
    if not path.startswith("/"):
        return None
    found, links, done, left = {os.path.normpath(path)}, 0, "", path.split("/")[::-1]
    try:
        status = os.lstat(f"{root}/")
        while left:
            if (part := left.pop()) in {"", "."}:
                continue
            status = os.lstat(f"{root}{done}/{part}")
            if not stat.S_ISLNK(status.st_mode):
                done = f"{done}/{part}"
                continue
            links += 1
            if status.st_ctime >= since or links > _MOST_LINKS:
                return None
            target = os.readlink(f"{root}{done}/{part}")
            done = "" if target.startswith("/") else done
            left += target.split("/")[::-1]
            found.add(os.path.normpath("/".join((done, *left[::-1]))))
    except OSError:
        return None
    return found if status.st_ctime < since else None
