"""Scratch directories: each lives as long as the process that made it, and no longer.

A process that is killed cannot tidy up, so each directory is locked (flock(2), on the directory
itself) by whoever made it, and the next process that makes one removes those whose lock is free.
Where the file system knows no locks, those go that are older than a day.

Why not below /tmp: what is left there nobody would find again, and it is often too small for a
build, or memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a directory without a usable lock has no owner any more."""


@contextlib.contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory below `parent`, removed at the end; `PkgviewError` if it cannot be made."""
    try:
        path, lock = claim(parent, prefix)
    except OSError as error:
        raise PkgviewError(
            f"cannot make a directory in {parent}: {error.strerror}",
            remedy="Make room there, or make it writable, or name another place in XDG_CACHE_HOME.",
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def claim(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new directory and the descriptor whose closing gives it up; sweeps first."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(parent, prefix)
    while True:
        path = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)  # a sweeper has just got hold of it
            continue
        except OSError:
            return path, lock  # no locks here: the age decides
        if os.fstat(lock).st_nlink:
            return path, lock
        os.close(lock)  # swept between the two calls


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what dead processes left. Whatever cannot be removed now is left for the next time."""
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _abandoned(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _abandoned(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(lock).st_mtime > ABANDONED_AFTER
    return True
