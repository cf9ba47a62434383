"""A directory of a store: made for whom the store is, synced; what goes wrong with it explained."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from resolver.atomic import make_private
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY_PREFIX: Final = ".tmp-"
"""What the name of anything begins with that is not whole yet."""

_REMEDIES = {
    errno.ENOSPC: "Make room on that file system and run the command again.",
    errno.EDQUOT: "Your quota there is used up: make room and run the command again.",
    errno.EROFS: "That file system is read-only: set XDG_DATA_HOME to a directory you may write.",
    errno.EACCES: "Make it writable for you, or set XDG_DATA_HOME to a directory you may write.",
    errno.EPERM: "Make it writable for you, or set XDG_DATA_HOME to a directory you may write.",
}


def make(directory: Path, root: Path) -> None:
    """A directory of the store at `root`, open to whom the store is: it may be a team's.

    A root that is missing is made its user's alone.
    """
    if not directory.is_dir():
        make_private(root)
        directory.mkdir(exist_ok=True)
        with suppress(PermissionError):  # another was faster
            directory.chmod(stat.S_IMODE(root.stat().st_mode))


def sync(directory: Path) -> None:
    """Have its names on the disk, too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says about the store into a sentence with a remedy."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        raise PkgviewError(
            f"the store at {path} cannot be used: {error.strerror or error}",
            remedy=_REMEDIES.get(number, "Look at that directory, then run the command again."),
        ) from error
