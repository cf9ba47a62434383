"""Files of the state, written in one step, and temporaries that nobody forgets.

A process that is killed cannot tidy up, so each temporary is locked (flock(2), on the file or
directory itself) by whoever made it, and the next process that makes one there removes those
whose lock is free. Where the file system knows no locks, those go that are older than a day.

Whoever may read a file or a directory may lock it, another user too: so no lock is waited for
without a limit (`Patience`), and who has it is said.

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

NO_REPLACE, EXCHANGE = 1, 2
"""How to rename: never over what is there; both take the other's name (linux/fs.h)."""

_AT_FDCWD = -100
"""fcntl.h"""


def make_private(directory: Name) -> None:
    """A directory and all above it that are missing, each the user's alone, as XDG has it."""
    if os.path.isdir(directory):
        return
    parent = os.path.dirname(directory)
    if parent != directory:
        make_private(parent)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        if not os.path.isdir(directory):
            raise


def write_atomically(path: Name, data: bytes, *, lasting: bool = True) -> None:
    """Temporary file in the same directory, fsync, rename, fsync of the directory.

    Temporaries that killed processes left there are removed. Not `lasting`: nothing is waited for,
    and after a crash of the machine the file may be missing, empty or cut off.
    """
    parent = os.path.dirname(path)
    try:
        make_private(parent)
        temporary, descriptor = claim_file(parent, ".tmp-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
                os.replace(temporary, path)  # still locked: nobody takes it for abandoned
        except BaseException:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
        if not lasting:
            return
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


def renamed(old: Name, new: Name, flags: int) -> bool:
    """Rename as renameat2(2) does with `EXCHANGE` or `NO_REPLACE`; False where that is not known.

    That is the file system's, the kernel's or the C library's (before glibc 2.28) to know.
    """
    import ctypes  # noqa: PLC0415 - few rename so, and it takes longer than all else here
    import errno  # noqa: PLC0415 - the same

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if not call(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags):
        return True
    number = ctypes.get_errno()
    if number in {errno.ENOSYS, errno.EINVAL}:
        return False
    raise OSError(number, os.strerror(number), os.fspath(new))


SAID_AFTER = 2.0
"""Seconds of waiting for a lock after which a person is told who has it."""

WAIT_LIMIT = 60.0
"""Seconds of waiting for a lock that is held for moments: one file written, some removed."""

TIMEOUT_VARIABLE = "PKGVIEW_LOCK_TIMEOUT"
"""The same of every lock, by the environment: what a slow network file system may need."""

_PAUSE = 0.05


class Patience:
    """Waits for one lock, of an open file or directory called `named`: told of, and not for ever.

    patience = Patience(descriptor, path)
    while not patience.locked(fcntl.LOCK_EX):
        time.sleep(patience.pause)
    """

    def __init__(self, descriptor: int, named: Name, limit: float | None = None) -> None:
        self.pause = 0.001
        self._descriptor = descriptor
        self._named = named
        self._limit = _wait_limit(WAIT_LIMIT if limit is None else limit)
        self._began = time.monotonic()
        self._told = False

    def locked(self, how: int) -> bool:
        """Try once. True, too, where the file system has no locks: files are replaced whole.

        `PkgviewError` once the limit is over.
        """
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            self._waited()
            return False
        except OSError:
            return True
        return True

    def _waited(self) -> None:
        waited = time.monotonic() - self._began
        self.pause = min(2 * self.pause, _PAUSE)
        if waited >= self._limit:
            copied = f"{self._named}.new"
            raise PkgviewError(
                f"{self._named} has been locked for {waited:.0f} s by {holder(self._descriptor)}",
                remedy="End that process. If it is another user's, put a copy in its place, which "
                f"nobody has open: `cp -a {self._named} {copied} && mv {self._named} "
                f"{self._named}.old && mv {copied} {self._named}`.",
            )
        if waited >= SAID_AFTER and not self._told:
            self._told = True
            import logging  # noqa: PLC0415 - only who waits pays for it

            # A command shows warnings on stderr as they are; a daemon has its log there.
            logging.getLogger(__name__).warning(
                "pkgview: waiting for %s, which is locked by %s",
                self._named,
                holder(self._descriptor),
            )


def _wait_limit(usual: float) -> float:
    try:
        asked = float(os.environ.get(TIMEOUT_VARIABLE, ""))
    except ValueError:
        return usual
    return asked if asked >= 0 else usual  # false for "nan", too


def holder(descriptor: int) -> str:
    """Who has locked (flock(2)) what is open here, in words, as far as proc(5) shows it."""
    found = os.fstat(descriptor)
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as lines:
            fields = [line.split() for line in lines]
    except (OSError, ValueError):
        fields = []
    pids = [int(one[4]) for one in fields if one[1:2] == ["FLOCK"] and one[5] == device]
    for pid in pids:
        try:
            user = os.stat(f"/proc/{pid}").st_uid
            with open(f"/proc/{pid}/comm", "rb") as file:
                name = file.read().strip()
        except OSError:
            continue
        # The name is that process's to choose, and goes to a terminal.
        return f"process {pid} ({os.fsdecode(name)!a}) of user {user}"
    return "a process that cannot be seen from here"


class Alone:
    """`with Alone(directory)`: one process at a time; two would forget what the other wrote.

    `PkgviewError` if another has it for longer than any of ours would.
    """

    def __init__(self, directory: Name, limit: float | None = None) -> None:
        self._directory = directory
        self._limit = limit
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            make_private(self._directory)
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PkgviewError(
                f"cannot use {self._directory}: {error.strerror}",
                remedy="Make it writable, or set XDG_STATE_HOME to a directory that is.",
            ) from error
        _wait(self._descriptor, fcntl.LOCK_EX, self._directory, self._limit)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Held:
    """`with Held(directory)`: together with others, while nobody has it alone.

    `PkgviewError` if somebody has it for longer than any of ours would.
    """

    def __init__(self, directory: Name, limit: float | None = None) -> None:
        self._directory = directory
        self._limit = limit
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return  # no such directory: then nobody is alone either
        _wait(self._descriptor, fcntl.LOCK_SH, self._directory, self._limit)

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _wait(descriptor: int, how: int, named: Name, limit: float | None) -> None:
    """Lock what is open; closed where that fails."""
    patience = Patience(descriptor, named, limit)
    try:
        while not patience.locked(how):
            time.sleep(patience.pause)
    except BaseException:
        os.close(descriptor)
        raise


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
