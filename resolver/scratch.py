"""Temporary directories and files that live as long as the process that made them, and no longer.

A process that is killed cannot tidy up, so each is locked (flock(2), on the directory or file
itself) by whoever made it, and the next process that makes one there removes those whose lock is
free. Where the file system knows no locks, those go that are older than a day.

Why not below /tmp: what is left there nobody would find again, and it is often too small for a
build, or memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which something without a usable lock has no owner any more."""


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
    sweep(parent, prefix)
    while True:
        path = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # a sweeper was faster
        if _is_locked(lock):
            return path, lock


def claim_file(parent: Path, prefix: str) -> tuple[Path, int]:
    """The same for a file: empty, mode 0600, and its descriptor can be written to."""
    sweep(parent, prefix)
    while True:
        descriptor, name = tempfile.mkstemp(dir=parent, prefix=prefix)
        if _is_locked(descriptor):
            return Path(name), descriptor


def _is_locked(descriptor: int) -> bool:
    """Lock what was just made; False, and closed, if a sweeper got hold of it in between."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:
        return True  # no locks here: the age decides
    if os.fstat(descriptor).st_nlink:
        return True
    os.close(descriptor)
    return False


def sweep(parent: Path, prefix: str) -> None:
    """Remove what dead processes left. Whatever cannot be removed now is left for the next time."""
    try:
        with os.scandir(parent) as listing:
            found = [Path(item.path) for item in listing if item.name.startswith(prefix)]
    except FileNotFoundError:
        return
    for path in found:
        with contextlib.suppress(OSError):
            lock = _opened(path)
            try:
                if _is_abandoned(lock):
                    _remove(path, lock)
            finally:
                os.close(lock)


def _opened(path: Path) -> int:
    """For its lock. Never through a link, and never waiting for the other end of a pipe.

    A network file system wants a descriptor that can write for an exclusive lock. A directory, and
    a file that is read-only already, cannot have one: where that is no lock, the age decides.
    """
    flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)
    except (PermissionError, IsADirectoryError):
        return os.open(path, os.O_RDONLY | flags)


def _is_abandoned(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(lock).st_mtime > ABANDONED_AFTER
    return True


def _remove(path: Path, lock: int) -> None:
    if stat.S_ISDIR(os.fstat(lock).st_mode):
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
