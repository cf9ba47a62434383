"""Looks: what may be touched and read of a project that nobody has asked for by name.

The daemon looks at a project when a program starts in it, which may be a stranger's clone. Whatever
reads a project's files asks here first, so that all that a look may not do is decided in one place:

* nothing inside the mount is touched: it would be the daemon that waits for itself;
* of text that would have to be understood, `LARGEST` bytes a file are read and `MOST` in all:
  others wait meanwhile. A file's digest is taken of all of it;
* a variable of the environment has no value before the project's user has said yes to it.

A command that means its project is no look, and nothing of this holds there. A look is over before
its thread does something else. `pkgview up` with nothing to do imports this: it loads nothing.
"""

from __future__ import annotations

import os
import stat

from resolver.errors import PkgviewError
from resolver.inputs import current_look, set_look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    Name = str | Path

LARGEST = 1024 * 1024
"""Bytes of a file that is understood in a look."""

MOST = 8 * 1024 * 1024
"""Bytes of all of them: a workspace has hundreds, and some are read more than once."""


class Look:
    """A context within which this thread looks.

    `is_inside` says whether an absolute path leads into the mount, without going there.
    `may_know` says whether the project at a root may have the value of a variable. `limited`: the
    sizes count.
    """

    def __init__(
        self,
        is_inside: Callable[[str], bool],
        may_know: Callable[[str, str], bool],
        *,
        limited: bool = True,
    ) -> None:
        self.is_inside = is_inside
        self.may_know = may_know
        self.limited = limited
        self.left = MOST

    def __enter__(self) -> Self:
        """From here on."""
        self._outer = current_look()
        set_look(self)
        self.left = MOST
        return self

    def __exit__(self, *_: object) -> None:
        """Until here."""
        set_look(self._outer)

    def refuse(self, path: Name) -> None:
        """`PkgviewError` where that path may not be touched."""
        if self.is_inside(os.fspath(path)):
            raise PkgviewError(
                f"{path} leads into pkgview's own mount, and is not looked at",
                remedy="Put a file in its place, or take its name out of the project.",
            )

    def count(self, path: Name, size: int) -> None:
        """`PkgviewError` where so many bytes of a file may not be understood."""
        if not self.limited:
            return
        self.left -= size
        if size > LARGEST or self.left < 0:
            all_of_it = "" if size > LARGEST else ", with all that the project names,"
            raise PkgviewError(
                f"{path}{all_of_it} is too large to look at ({size} bytes)",
                remedy="Name the project: `pkgview run` and `pkgview up` read it.",
            )


def refuse(path: Name) -> None:
    """`Look.refuse`, in a look."""
    if (look := current_look()) is not None:
        look.refuse(path)


def count(path: Name, size: int) -> None:
    """`Look.count`, in a look."""
    if (look := current_look()) is not None:
        look.count(path, size)


def knows(root: Name, variable: str) -> bool:
    """Whether the project may have the value of a variable of the environment."""
    look = current_look()
    return look is None or look.may_know(os.fspath(root), variable)


def is_file(path: Name) -> bool:
    """Whether it is a regular file, in the end; no for what may not be touched."""
    return _is(path, stat.S_ISREG)


def is_directory(path: Name) -> bool:
    """Whether it is a directory, in the end; no for what may not be touched."""
    return _is(path, stat.S_ISDIR)


def has_file(directory: str, name: str) -> bool:
    """`is_file` of a name in a directory without links; as fast as can be."""
    path = f"{directory}/{name}"
    if current_look() is None:
        return os.path.isfile(path)  # noqa: PTH113 - a Path takes as long as the stat
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and is_file(path))


def _is(path: Name, kind: Callable[[int], bool]) -> bool:
    look = current_look()
    try:
        if look is not None and look.is_inside(os.fspath(path)):
            return False
        return kind(os.stat(path).st_mode)  # noqa: PTH116 - the same
    except (OSError, ValueError):
        return False
