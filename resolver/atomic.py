"""Files of the state, written in one step, and temporaries that nobody forgets.

A process that is killed cannot tidy up, so each temporary is locked (flock(2), on the file or
directory itself) by whoever made it, and the next process that makes one there removes those
whose lock is free. Where the file system knows no locks, those go that are older than a day.

`pkgview up` with nothing to do imports this: nothing here loads `contextlib`, `pathlib` or
`tempfile`, which take longer than all that it has to do.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from resolver.errors import PkgviewError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    Name = str | Path

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which something without a usable lock has no owner any more."""


def write_atomically(path: Name, data: bytes) -> None:
    """Temporary file in the same directory, fsync, rename, fsync of the directory.

    Temporaries that killed processes left there are removed.
    """
    parent = os.path.dirname(path)
    try:
        os.makedirs(parent, exist_ok=True)
        temporary, descriptor = claim_file(parent, ".tmp-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)  # still locked: nobody takes it for abandoned
        except BaseException:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
        directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise PkgviewError(
            f"cannot write {path}: {error.strerror}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error


class Alone:
    """`with Alone(directory)`: one process at a time; two would forget what the other wrote."""

    def __init__(self, directory: Name) -> None:
        self._directory = directory
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            os.makedirs(self._directory, exist_ok=True)
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PkgviewError(
                f"cannot use {self._directory}: {error.strerror}",
                remedy="Make it writable, or set XDG_STATE_HOME to a directory that is.",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError:
            pass  # no locks on this file system: the file is still replaced whole
        except BaseException:
            os.close(self._descriptor)
            raise

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Held:
    """`with Held(directory)`: together with others, while nobody is `Alone` there."""

    def __init__(self, directory: Name) -> None:
        self._directory = directory
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        except OSError:
            pass  # no such directory, or no locks there: then nobody is alone either

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def claim_file(parent: Name, prefix: str) -> tuple[str, int]:
    """A new, empty file of mode 0600, and its descriptor, which can be written to; sweeps first."""
    sweep(parent, prefix)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = os.path.join(parent, prefix + os.urandom(8).hex())
        try:
            descriptor = os.open(name, flags, 0o600)
        except FileExistsError:
            continue
        if is_locked(descriptor):
            return name, descriptor


def is_locked(descriptor: int) -> bool:
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


def sweep(parent: Name, prefix: str) -> None:
    """Remove what dead processes left. Whatever cannot be removed now is left for the next time."""
    try:
        found = [name for name in os.listdir(parent) if name.startswith(prefix)]
    except FileNotFoundError:
        return
    for name in found:
        try:
            _remove_abandoned(os.path.join(parent, name))
        except OSError:
            continue


def _remove_abandoned(path: str) -> None:
    lock = _opened(path)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            if time.time() - os.fstat(lock).st_mtime <= ABANDONED_AFTER:
                return
        if stat.S_ISDIR(os.fstat(lock).st_mode):
            import shutil  # noqa: PLC0415 - only where a build or a resolution was killed

            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    finally:
        os.close(lock)


def _opened(path: str) -> int:
    """For its lock. Never through a link, and never waiting for the other end of a pipe.

    A network file system wants a descriptor that can write for an exclusive lock. A directory, and
    a file that is read-only already, cannot have one: where that is no lock, the age decides.
    """
    flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)
    except (PermissionError, IsADirectoryError):
        return os.open(path, os.O_RDONLY | flags)
