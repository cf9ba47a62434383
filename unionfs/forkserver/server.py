"""The process that is forked: `python -P -m unionfs.forkserver.server DIRECTORY NAME SERVED LOCK`.

It listens at `NAME.sock` in `DIRECTORY`, imports the module `SERVED`, and forks for
whoever asks from the same context. `LOCK` is the descriptor of `NAME.lock`, locked: so there is
one. It ends when nothing was asked of it for a while, when the leader of its session has ended, so
that nobody can ask any more, when anything that it has imported changed, and when somebody of the
same user connects and asks for nothing.

A request is a length (4 bytes, big-endian) with four descriptors, the standard streams and the
working directory; then so many bytes, with NUL between them: `argv[0]`, the number of arguments,
these, and the environment. The answer is the pid of the process that will do it; none: nothing was
begun. It waits for `GO`. Then comes its exit status, negative for a signal. A caller that is gone
ends it.

Between two requests there is one that is forked already and waits to be given the next (`_Spare`):
a fork shares its memory page by page until one is written to, and to count who uses an object is to
write to it, so the first steps of a forked process take as long as its work.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from unionfs.forkserver import IDLE_SECONDS, context
from unionfs.forkserver.client import GO
from unionfs.forkserver.ending import end_with

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

REQUEST_SECONDS = 2.0
LONGEST_REQUEST = 8 * 1024 * 1024
_RIGHTS = 4


class _Stamp:
    """All files that were imported from, as they were: code that changed is not run any more."""

    def __init__(self) -> None:
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        self._paths = sorted(filter(None, files))
        self._as_imported = list(self._now())

    def is_current(self) -> bool:
        return list(self._now()) == self._as_imported

    def _now(self) -> Iterator[tuple[int, int, int]]:
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError:
                yield 0, 0, 0
                continue
            yield found.st_ino, found.st_size, found.st_mtime_ns


class _Spare:
    """A forked process that waits for a request: a length (8 bytes), a process group (8), `said`.

    With them come five descriptors, the caller's connection first. It ends when this is closed.
    """

    def __init__(self, work: Callable[[socket.socket], NoReturn]) -> None:
        self._ours, its = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            self._ours.close()
            work(its)
        its.close()

    def give(self, connection: socket.socket, said: bytes, given: list[int], group: int) -> None:
        """Have it do that; `OSError` where it has ended."""
        head = b"".join(number.to_bytes(8, "big") for number in (len(said), group))
        socket.send_fds(self._ours, [head], [connection.fileno(), *given])
        self._ours.sendall(said)

    def close(self) -> None:
        """It has nothing more to wait for."""
        self._ours.close()


class Server:
    """The socket in the working directory, what was forked and who waits for it."""

    def __init__(self, name: str, served: str, lock: int) -> None:
        self._name = name
        self._lock = lock
        self._context = context.of_process(os.getpid())
        self._module = importlib.import_module(served)
        self._stamp = _Stamp()
        self._listener = socket.socket(socket.AF_UNIX)
        self._callers: dict[int, tuple[socket.socket, int]] = {}
        """Descriptor of a forked process -> its caller's connection, its pid."""
        self._spare: _Spare | None = None
        self._poll = select.poll()
        self._leader = os.pidfd_open(os.getsid(0))
        self._until = time.monotonic() + IDLE_SECONDS

    def serve(self) -> None:
        """Until it is idle, or out of date."""
        self._module.warm()
        gc.collect()
        gc.freeze()  # what is here now stays shared with all that are forked
        temporary = f"{self._name}.{os.getpid()}"
        self._listener.bind(temporary)
        self._listener.listen(64)
        os.rename(temporary, f"{self._name}.sock")
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._leader, select.POLLIN)
        listening = True
        while listening or self._callers:
            if listening and not self._callers and self._spare is None:
                self._spare = _Spare(self._wait)
            left = None if self._callers else max(self._until - time.monotonic(), 0.0) * 1000
            events = {number for number, _ in self._poll.poll(left)}
            if not events and not self._callers:
                break
            for number in events - {self._listener.fileno(), self._leader}:
                self._ended_or_left(number)
            # Last: who comes now may get a number that was just given back.
            if listening and (self._leader in events or self._is_to_end(events)):
                listening = False
                self._poll.unregister(self._listener)
                self._poll.unregister(self._leader)
                os.unlink(f"{self._name}.sock")
        if self._spare is not None:
            self._spare.close()
            os.waitpid(self._spare.pid, 0)

    def _wait(self, its: socket.socket) -> NoReturn:
        """In a spare process: touch what commands do, and wait for one."""
        try:
            self._module.warm()
            head, (number, *given), _, _ = socket.recv_fds(its, 16, _RIGHTS + 1)
            size, group = (int.from_bytes(head[at : at + 8], "big") for at in (0, 8))
            said = _received(its, size)
        except (OSError, ValueError):
            os._exit(0)  # nobody needs it
        its.close()
        connection = socket.socket(fileno=number)
        connection.settimeout(REQUEST_SECONDS)
        self._become(said, given, group, connection)

    def _is_to_end(self, events: Container[int]) -> bool:
        """Answer who has come; whether nobody shall be answered any more."""
        return self._listener.fileno() in events and not self._accept()

    def _accept(self) -> bool:
        """Answer one caller; False: nobody shall be answered any more."""
        connection, _ = self._listener.accept()
        connection.settimeout(REQUEST_SECONDS)
        try:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            pid, uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
            if uid != os.geteuid():
                connection.close()
                return True
            head, given, _, _ = socket.recv_fds(connection, 4, _RIGHTS)
        except OSError:
            connection.close()
            return True
        try:
            if not head or not self._stamp.is_current():
                connection.close()
                return False
            if context.of_process(pid) == self._context:
                self._fork(connection, pid, head, given)
            else:
                connection.close()
        except OSError:
            connection.close()
        finally:
            for number in given:
                os.close(number)
        return True

    def _fork(self, connection: socket.socket, caller: int, head: bytes, given: list[int]) -> None:
        size = int.from_bytes(head, "big")
        if len(given) != _RIGHTS or size > LONGEST_REQUEST:
            raise OSError(errno.EINVAL, "no request")
        said = _received(connection, size)
        pid = self._given(connection, said, given, os.getpgid(caller))
        number = os.pidfd_open(pid)
        self._callers[number] = self._callers[connection.fileno()] = connection, pid
        self._poll.register(number, select.POLLIN)
        self._poll.register(connection, select.POLLRDHUP)
        connection.sendall(str(pid).encode())
        self._until = time.monotonic() + IDLE_SECONDS

    def _given(self, connection: socket.socket, said: bytes, given: list[int], group: int) -> int:
        """Have it done by the process that waits, or by another one: its pid."""
        spare, self._spare = self._spare, None
        if spare is not None:
            try:
                spare.give(connection, said, given, group)
            except OSError:
                os.waitpid(spare.pid, 0)  # it was killed
            else:
                return spare.pid
            finally:
                spare.close()
        pid = os.fork()
        if not pid:
            self._become(said, given, group, connection)
        return pid

    def _ended_or_left(self, number: int) -> None:
        """A forked process has ended, or its caller has."""
        if number not in self._callers:
            return
        connection, pid = self._callers[number]
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)  # the caller was, or it would have waited
            _, status = os.waitpid(pid, 0)
        self._until = time.monotonic() + IDLE_SECONDS
        with suppress(OSError):  # nobody waits any more
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        for other in [one for one, (kept, _) in self._callers.items() if kept is connection]:
            self._poll.unregister(other)
            del self._callers[other]
            if other != connection.fileno():
                os.close(other)
        connection.close()

    def _become(
        self, said: bytes, given: list[int], group: int, connection: socket.socket
    ) -> NoReturn:
        """Be what was asked for, once the caller says so."""
        end_with(partial(self._do, said, given, group, connection))

    def _do(self, said: bytes, given: list[int], group: int, connection: socket.socket) -> None:
        os.setpgid(0, group)
        if connection.recv(1) != GO:
            sys.exit(1)
        for number in (self._lock, self._leader, *self._callers):
            os.close(number)
        self._listener.close()
        connection.close()
        os.fchdir(given[3])
        for wanted, number in enumerate(given[:3]):
            os.dup2(number, wanted)
        for number in given:
            os.close(number)
        name, count, *rest = os.fsdecode(said).split("\0")
        arguments, environ = rest[: int(count)], rest[int(count) :]
        os.environ.clear()
        os.environ.update(one.partition("=")[::2] for one in environ)
        time.tzset()
        sys.argv = [name, *arguments]
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=os.isatty(1))
        self._module.serve(arguments)


def _received(connection: socket.socket, size: int) -> bytes:
    """So many bytes; `OSError` where there are not."""
    said = b""
    while len(said) < size:
        part = connection.recv(size - len(said))
        if not part:
            raise OSError(errno.EINVAL, "no request")
        said += part
    return said


def main() -> None:
    """Begin; who started it does not wait."""
    directory, name, served, lock = sys.argv[1:]
    os.chdir(directory)  # an address holds 108 bytes, unix(7)
    try:
        Server(name, served, int(lock)).serve()
    finally:
        for suffix in (".sock", ".lock"):
            if os.path.lexists(name + suffix):
                os.unlink(name + suffix)
        with suppress(OSError):  # others are there
            os.rmdir(directory)


if __name__ == "__main__":
    main()
