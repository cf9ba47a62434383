"""The place where commands find a daemon: a lock and a socket in a private directory.

Which directory depends on the environment (XDG_RUNTIME_DIR), and one mount point has one daemon,
whatever the environment of whoever looks for it: cron, su and `env -i` have none. The lock is named
after the mount point, and all processes of a daemon have it open. So where it is in none of the
usual directories, `/proc` says where it is. What is found so counts no more than the rest: the
directory must be the user's alone, the lock held, and the socket served by this user or root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import make_private
from resolver.errors import PkgviewError
from resolver.where import check_private, endpoint_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from resolver.places import Places


_SUFFIX = ".lock"
_DELETED = " (deleted)"
"""What proc(5) adds to the name of a file that has none any more."""


class DaemonAbsentError(PkgviewError):
    """No daemon listens for this mount point."""


class DaemonSilentError(PkgviewError):
    """A daemon is there, and does not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the daemon of one mount point keeps its lock and its socket.

    The lock (flock(2)) is held for as long as the daemon lives: it *is* the answer to "does it
    run?"; its content, its processes' pids in decimal, one a line, is for messages.
    """

    directory: Path
    name: str

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.directory / f"{self.name}{_SUFFIX}"

    @property
    def socket(self) -> Path:
        """The socket."""
        return self.directory / f"{self.name}.sock"

    @property
    def trouble(self) -> Path:
        """Why nobody answers although a daemon lives; there while that is so."""
        return self.directory / f"{self.name}.trouble"

    def said_trouble(self) -> str | None:
        """What stands there, if anything does."""
        try:
            return self.trouble.read_text("utf-8", "replace") or None
        except OSError:
            return None

    @contextlib.contextmanager
    def opened(self, *, create: bool = False) -> Iterator[int]:
        """A descriptor of the directory, once it is known to be private and ours."""
        if create:
            _create_private(self.directory)
        try:
            number = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise DaemonAbsentError(f"no daemon was started here: no {self.directory}") from error
        except OSError as error:
            raise PkgviewError(
                f"{self.directory} cannot be opened: {error.strerror}",
                remedy="Move it away, or set XDG_RUNTIME_DIR to a directory of your own.",
            ) from error
        try:
            check_private(self.directory, os.fstat(number))
            yield number
        finally:
            os.close(number)

    def acquire(self) -> int | None:
        """Take the lock: its descriptor, or None while another process has it, or removes it."""
        with self.opened(create=True) as directory:
            try:
                number = os.open(
                    self.lock.name,
                    os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
                    0o600,
                    dir_fd=directory,
                )
            except FileNotFoundError:
                return None  # the directory has been removed meanwhile (`unionfs.upkeep.unused`)
            except OSError as error:
                raise PkgviewError(
                    f"{self.lock} cannot be written: {error.strerror}",
                    remedy="Set XDG_RUNTIME_DIR to a directory you may write to.",
                ) from error
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)
            return None
        if not self._is_lock(number):
            os.close(number)
            return None
        os.ftruncate(number, 0)
        return number

    def withdraw(self, lock: int) -> None:
        """Remove the socket and release the lock, in this order: it is ours while we hold it.

        Where the lock's file was replaced by another, so was the socket, which is not ours then.
        """
        with contextlib.suppress(OSError):
            if self._is_lock(lock):
                self.socket.unlink(missing_ok=True)
        fcntl.flock(lock, fcntl.LOCK_UN)

    def _is_lock(self, number: int) -> bool:
        """Whether what is open there is still the lock, which may have been removed or replaced."""
        try:
            return os.path.samestat(os.fstat(number), self.lock.stat())
        except FileNotFoundError:
            return False

    def held(self) -> bool:
        """Whether a daemon has the lock. Probes with a shared lock, so probes do not meet."""
        try:
            with self.opened() as directory:
                number = os.open(
                    self.lock.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory
                )
        except (OSError, PkgviewError):
            return False
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(number)
        return False

    def pids(self) -> list[int]:
        """The daemon's processes, its supervisor first, that really have the lock file open."""
        try:
            pids = [int(pid) for pid in self.lock.read_bytes()[:1024].split()]
            ours = self.lock.stat()
        except (OSError, ValueError):
            return []
        return [pid for pid in pids if _has_open(pid, ours)]

    def pid(self) -> int | None:
        """The pid that the daemon is known by."""
        return next(iter(self.pids()), None)


def _has_open(pid: int, file: os.stat_result) -> bool:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in numbers:
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), file):  # noqa: PTH116 - through the link
                return True
    return False


def endpoint_of(places: Places, mountpoint: Path) -> Endpoint:
    """Where to meet the daemon of `mountpoint` (canonical)."""
    return Endpoint(directory=places.runtime, name=endpoint_name(mountpoint))


def standing_socket(places: Places, endpoint: Endpoint) -> Path:
    """Where the socket of a mount point's daemon is met, whichever runtime directory that has.

    A link in the state directory, for those who are told once and for all (`pkgview enable`). Made
    by whoever has mounted: it leads to that daemon from now on. `OSError` where it cannot be made.
    """
    standing = replace(endpoint, directory=places.state / "run").socket
    if standing != endpoint.socket:
        _create_private(standing.parent)
        fresh = standing.with_suffix(f".{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(endpoint.socket)
        fresh.replace(standing)
    return standing


def elsewhere(places: Places, primary: Endpoint) -> Iterator[Endpoint]:
    """Where the daemon may be if it was started with another XDG_RUNTIME_DIR (cron, ssh, su)."""
    for directory in (places.state / "run", Path(f"/run/user/{os.geteuid()}/pkgview")):
        if directory != primary.directory:
            yield replace(primary, directory=directory)


def acquire_alone(endpoint: Endpoint) -> int | None:
    """The lock, unless somebody with another runtime directory has one of that mount point, too.

    Two that find each other let go, and come back after pauses that differ.
    """
    lock = endpoint.acquire()
    if lock is not None and any(
        other.directory != endpoint.directory and other.held()
        for other in opened_anywhere({endpoint.name})
    ):
        os.close(lock)
        time.sleep(os.urandom(1)[0] / 5000)
        return None
    return lock


def opened_anywhere(names: Container[str]) -> Iterator[Endpoint]:
    """Where processes have the lock of an endpoint of one of these names open, each place once.

    This user's, as far as this pid namespace has them.
    """
    for path in _open_locks():
        directory, _, file = path.rpartition("/")
        name = file.removesuffix(_SUFFIX)
        if name in names:
            yield Endpoint(directory=Path(directory), name=name)


def is_out_of_reach(name: str) -> bool:
    """Whether a daemon's lock was removed under it, and its socket too: nobody can find it again.

    The end of a login does that to `/run/user/UID`.
    """
    return any(path.endswith(f"/{name}{_SUFFIX}{_DELETED}") for path in _open_locks())


def _open_locks() -> set[str]:
    """The paths of all lock files that this user's processes have open, as proc(5) has them."""
    found = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.geteuid():  # noqa: PTH116 - hundreds of them
                continue  # root could look, and nobody else's counts
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:  # it has ended
            continue
        for number in numbers:
            with contextlib.suppress(OSError):  # closed meanwhile
                path = os.readlink(f"/proc/{pid}/fd/{number}")
                if path.removesuffix(_DELETED).endswith(_SUFFIX):
                    found.add(path)
    return found


def _create_private(directory: Path) -> None:
    try:
        make_private(directory)
    except OSError as error:
        raise PkgviewError(
            f"{directory} cannot be created: {error.strerror}",
            remedy="Set XDG_RUNTIME_DIR to a directory you may write to.",
        ) from error
