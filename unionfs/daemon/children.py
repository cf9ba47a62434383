"""The processes that a supervisor has started or adopted: forked, told, watched, and buried.

What follows from a death is the supervisor's to say.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from unionfs.daemon.respawn import Running, has_ended, is_dead, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

logger = logging.getLogger(__name__)

STOPPED_SECONDS: Final = 2.0
"""How long one may be stopped (SIGSTOP) before it is killed."""

LOOK_SECONDS: Final = 5.0
"""How often is looked for one that is dead and has not ended. A thread of it that waits for
another file system (a look at a directory there that hangs) keeps the process, and with it every
message of its death, until that one answers; but it never runs again."""

THREADS_SECONDS: Final = 0.1
"""How long the threads of a killed one may take to end."""

STOP_SECONDS: Final = 5.0
"""How long all of them may take to end."""

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What ends a supervisor."""


class Children:
    """One supervisor's: its servers, and workers."""

    def __init__(self) -> None:
        self.running: list[Running] = []
        self._unended: list[int] = []

    @property
    def servers(self) -> list[Running]:
        """Those that answer commands, or did."""
        return [one for one in self.running if not one.worker]

    @property
    def workers(self) -> list[Running]:
        """The others."""
        return [one for one in self.running if one.worker]

    def adopt(self, pid: int, of: int, *, worker: bool = False) -> Running:
        """Watch a process that is there, with the slots that it has."""
        one = Running(pid=pid, pidfd=os.pidfd_open(pid), slots=of, worker=worker)
        self.running.append(one)
        return one

    def start(
        self, of: int, serve: Callable[[], int], kept: Collection[int], *, worker: bool
    ) -> Running:
        """Fork one that does nothing but `serve`, with the descriptors `kept`. `OSError`."""
        pid = os.fork()
        if pid == 0:
            _be_child(serve, kept)
        try:
            return self.adopt(pid, of, worker=worker)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # a child that nobody has reaped: it is this one
            os.waitpid(pid, 0)
            raise

    def moments(self) -> Iterator[float]:
        """When something may have to be done."""
        for one in self.running:
            if one.stopped:
                yield one.stopped + STOPPED_SECONDS
            if one.limit is not None:
                yield one.limit
        if self.running:
            yield time.monotonic() + LOOK_SECONDS

    def reap(self) -> Iterator[tuple[Running, int | None]]:
        """Each one that has ended, and how, which is None where it cannot be known."""
        self._unended = [one for one in self._unended if not has_ended(one)]
        for one in list(self.running):
            if not _ends(one, 0):
                # A killed one's threads end one after the other; then how it ended can be known.
                if not is_dead(one.pid):
                    continue
                _ends(one, THREADS_SECONDS)
            status = status_of(one)
            self.running.remove(one)
            os.close(one.pidfd)
            if status is None:
                self._unended.append(one.pid)
            yield one, status

    def look_for_the_late(self) -> None:
        """Kill who is stopped for too long, or does not do in time what it was told."""
        now = time.monotonic()
        for one in self.running:
            with contextlib.suppress(ChildProcessError):  # another's child: who adopted it sees it
                flags = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
                change = os.waitid(os.P_PID, one.pid, flags)
                if change is not None:
                    one.stopped = now if change.si_code == os.CLD_STOPPED else None
            if one.stopped is not None and now - one.stopped >= STOPPED_SECONDS:
                logger.error("%s was stopped for %.0f s: killed", one, STOPPED_SECONDS)
                one.stopped = None
                send(one, signal.SIGKILL)
            if one.limit is not None and now >= one.limit:
                left = "leave" if one.told is signal.SIGUSR1 else "get done with what it had read"
                logger.error("%s does not %s: killed", one, left)
                one.limit, one.overdue = None, True
                send(one, signal.SIGKILL)

    def end(self) -> None:
        """End them all."""
        for one in self.running:
            send(one, signal.SIGTERM)
            send(one, signal.SIGCONT)
        deadline = time.monotonic() + STOP_SECONDS
        for one in self.running:
            if not _ends(one, max(deadline - time.monotonic(), 0)):
                logger.error("%s does not end: killed", one)
                send(one, signal.SIGKILL)
                _ends(one, 1.0)
            status_of(one)


def _ends(one: Running, seconds: float) -> bool:
    """Whether it has ended within so long."""
    return bool(select.select([one.pidfd], [], [], seconds)[0])


def tell(one: Running, number: signal.Signals, seconds: float) -> None:
    """Tell one to leave the commands, or to end, and how long it may take."""
    one.told, one.limit = number, time.monotonic() + seconds
    send(one, number)


def send(one: Running, number: signal.Signals) -> None:
    """Send a signal, if there is anybody to get it."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(one.pidfd, number)


def _be_child(serve: Callable[[], int], kept: Collection[int]) -> None:
    """In the forked process; does not return."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (*ENDING, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for other in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, *kept}:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(other)
        status = serve()
    except PkgviewError as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
    except BaseException:
        logger.exception("it failed")
    finally:
        logging.shutdown()
        os._exit(status)
