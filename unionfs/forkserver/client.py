"""Having a command done by a process that is forked for it, and leaving one behind for the next.

The process that is forked is in the caller's session and process group, so the terminal, Ctrl-C and
Ctrl-Z reach it as they reach the caller, who waits for its end and hands on what else it is sent.

`pkgview up` imports this before it knows whether there is such a process: nothing here takes time.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from resolver.atomic import make_private
from resolver.errors import PkgviewError
from resolver.where import check_private, where
from unionfs.forkserver import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812 - it is imported late
    from collections.abc import Mapping, Sequence

DIRECTORY = "forkserver"
"""Where their sockets and locks are: below the runtime directory, whose own are of daemons."""

BEGIN_SECONDS = 2.0
"""How long it may take until the process is there that was asked for."""

MOST = 4
"""How many a user may have."""

END_SECONDS = 1.0
"""How long their ends are waited for."""

GO = b"!"
"""What that process waits for: only who has heard of it says so, and does not do the work too."""

_STDERR = 2
_RIGHTS = 1
"""SCM_RIGHTS, unix(7)."""

_FROM_TERMINAL = 128
"""SI_KERNEL, sigaction(2): the terminal sent it to the whole process group."""


class Forkserver:
    """The one for this process, as it was started, if there is one or may be one.

    `served` is the module that it imports, and whose `serve` takes a command's arguments. `OSError`
    and `PkgviewError` mean that nothing was begun.
    """

    def __init__(self, served: str, environ: Mapping[str, str]) -> None:
        self._served = served
        self._environ = environ
        runtime = where(environ)["runtime"]
        check_private(runtime, os.stat(runtime))
        self._directory = f"{runtime}/{DIRECTORY}"
        self._name = context.name(served, environ)

    def run(self, arguments: Sequence[str]) -> int | None:
        """Its exit status, negative for the signal that ended it; None: nothing was begun."""
        if not os.path.exists(f"{self._directory}/{self._name}.sock"):
            return None
        from _socket import SO_PEERCRED, SOL_SOCKET  # noqa: PLC0415 - only where there is one

        connection = _connected(self._directory, f"{self._name}.sock")
        try:
            peer = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
            if int.from_bytes(peer[4:8], sys.byteorder) != os.geteuid():
                return None
            self._ask(connection, SOL_SOCKET, arguments)
            pid = connection.recv(32)
            if not pid:
                return None
            return _done(connection, int(pid))
        finally:
            connection.close()

    def leave(self) -> None:
        """See that there is one for the next command, without waiting for it."""
        # Not inside of a `pkgview run`, whose cgroup goes when the last process in it has ended.
        if "PKGVIEW_VIEW" in self._environ or not _has_company():
            return
        make_private(self._directory)
        if sum(name.endswith(".lock") for name in os.listdir(self._directory)) >= MOST:
            return
        lock_path = f"{self._directory}/{self._name}.lock"
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # there is one, or will be
            if os.stat(lock_path).st_ino != os.fstat(lock).st_ino:
                return  # one has just ended and taken its lock away
            # Whoever reads to the end of a pipe of ours shall not wait for it.
            others = [
                (os.POSIX_SPAWN_CLOSE, number)
                for number in map(int, os.listdir("/proc/self/fd"))
                if number > _STDERR and number != lock and _is_inherited(number)
            ]
            os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", "unionfs.forkserver.server", self._directory,
                 self._name, self._served, str(lock)],
                {**self._environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2),
                    (os.POSIX_SPAWN_DUP2, lock, lock), *others,
                ],
                setpgroup=0,
            )  # fmt: skip
        finally:
            os.close(lock)

    def _ask(self, connection: Socket, level: int, arguments: Sequence[str]) -> None:
        environ = [f"{name}={value}" for name, value in self._environ.items()]
        said = os.fsencode("\0".join((sys.argv[0], str(len(arguments)), *arguments, *environ)))
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            given = b"".join(one.to_bytes(4, sys.byteorder) for one in (0, 1, 2, here))
            connection.sendmsg([len(said).to_bytes(4, "big")], [(level, _RIGHTS, given)])
        finally:
            os.close(here)
        connection.sendall(said)


def end_all(environ: Mapping[str, str]) -> None:
    """End all that are there; one whose commands still work ends after them."""
    directory = f"{where(environ)['runtime']}/{DIRECTORY}"
    there = os.listdir(directory) if os.path.isdir(directory) else []
    deadline = time.monotonic() + END_SECONDS
    for name in there:
        if not name.endswith(".sock"):
            continue
        try:
            _connected(directory, name).close()  # who asks for nothing ends it
        except OSError:
            os.unlink(f"{directory}/{name}")  # it was killed
    while os.path.isdir(directory) and time.monotonic() < deadline:
        time.sleep(0.005)


def _connected(directory: str, name: str) -> Socket:
    """A connection to it; by a short path, since an address holds 108 bytes (unix(7))."""
    from _socket import AF_UNIX, SOCK_STREAM, socket  # noqa: PLC0415 - only where there is one

    connection = socket(AF_UNIX, SOCK_STREAM)
    number = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.settimeout(BEGIN_SECONDS)
        connection.connect(f"/proc/self/fd/{number}/{name}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(number)
    return connection


def _has_company() -> bool:
    """Whether others of this session may follow: it is led by another one, who is where we are.

    In a mount namespace of its own it would keep busy what is mounted there.
    """
    leader = os.getsid(0)
    if leader in {0, os.getpid()}:
        return False
    try:
        return os.readlink(f"/proc/{leader}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except PermissionError:
        # Another user's, as of `su`; or our own, out of a user namespace that this one is in.
        return os.stat(f"/proc/{leader}").st_uid != os.geteuid()
    except OSError:
        return False


def _is_inherited(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        return False  # it was that of the listing


def _done(connection: Socket, pid: int) -> int:
    """Have the work done by a process that waits for that, handing on what this one is sent."""
    signals = __import__("_signal")  # `signal` itself takes longer to import than all else here
    handed_on = {signals.SIGINT, signals.SIGTERM, signals.SIGHUP, signals.SIGQUIT}
    waited_for = {*handed_on, signals.SIGIO}
    signals.pthread_sigmask(signals.SIG_BLOCK, waited_for)
    signals.signal(signals.SIGIO, signals.SIG_IGN)  # of one that comes last
    process = os.pidfd_open(pid)
    try:
        connection.sendall(GO)
        number = connection.fileno()
        fcntl.fcntl(number, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        while True:
            try:
                said = os.read(number, 32)
            except BlockingIOError:
                got = signals.sigwaitinfo(waited_for)
                if got.si_signo in handed_on and got.si_code != _FROM_TERMINAL:
                    signals.pidfd_send_signal(process, got.si_signo)
                continue
            if not said:
                signals.pidfd_send_signal(process, signals.SIGKILL)
                raise EndedError
            return int(said)
    finally:
        os.close(process)
        signals.pthread_sigmask(signals.SIG_UNBLOCK, waited_for)


class EndedError(PkgviewError):
    """Nobody says how the command ended."""

    def __init__(self) -> None:
        super().__init__(
            "the process that the command was forked from was killed, and the command with it",
            remedy="Run the command again.",
        )
