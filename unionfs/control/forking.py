"""Jobs that are forked from a process which has imported what they need, from the daemon's side.

To import it takes ten times as long as most jobs. `unionfs.control.job.forked_for_each` is the
other side; what is forked belongs to that process, which tells how it has ended.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import trio

from unionfs.control.jobs import start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio.abc import ReceiveStream, SendStream

BEGIN_SECONDS = 5.0
"""How long it may take to be forked, by a process that has perhaps only just been started."""

TOLD_SECONDS = 1.0
"""How long it may take until it is told how one has ended that has."""


class Forked:
    """One job's process (`unionfs.control.jobs.Process`); a `pidfd`, and three pipes' ends."""

    def __init__(self, pid: int, pidfd: int, stdin: int, stdout: int, told: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: SendStream = trio.lowlevel.FdStream(stdin)
        self.stdout: ReceiveStream = trio.lowlevel.FdStream(stdout)
        self._told = trio.lowlevel.FdStream(told)
        self._pidfd = pidfd

    async def wait(self) -> int:
        """Until it has ended, which whoever started it has to wait for."""
        if self.returncode is not None:
            return self.returncode
        await trio.lowlevel.wait_readable(self._pidfd)
        said = b""
        with trio.CancelScope(shield=True), trio.move_on_after(TOLD_SECONDS):
            said = bytes(await self._told.receive_some(32))
        # Else who would know was killed itself.
        self.returncode = int(said) if said else -signal.SIGKILL
        os.close(self._pidfd)
        self._told.close()
        return self.returncode


class Template:
    """The process that jobs are forked from: it is there from the end of one to `seconds` later.

    All of it belongs to one trio thread.
    """

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._command = command
        self._seconds = seconds
        self._process: trio.Process | None = None
        self._asked: socket.socket | None = None
        self._asking = trio.Lock()
        self._forked: list[Forked] = []
        self._until = 0.0

    async def forked(self) -> Forked | None:
        """A process for a job; None where there is nobody who forks."""
        async with self._asking:
            if self._asked is None:
                return None
            theirs_in, stdin = os.pipe()
            stdout, theirs_out = os.pipe()
            told, tells = os.pipe()
            said, given = b"", list[int]()
            try:
                socket.send_fds(self._asked, [b"+"], [theirs_in, theirs_out, tells])
                with trio.move_on_after(BEGIN_SECONDS):
                    await trio.lowlevel.wait_readable(self._asked)
                    said, given, _, _ = socket.recv_fds(self._asked, 32, 1)
            except OSError:
                pass  # it has ended
            finally:
                for number in (theirs_in, theirs_out, tells):
                    os.close(number)
                if not given:
                    for number in (stdin, stdout, told):
                        os.close(number)
                    self._asked.close()  # which it hears
                    self._asked = None
            if not given:
                return None
            self._until = trio.current_time() + self._seconds
            self._forked = [one for one in self._forked if one.returncode is None]
            self._forked.append(Forked(int(said), given[0], stdin, stdout, told))
            return self._forked[-1]

    def _is_needed(self) -> bool:
        """Whether it forks, and will be asked to, or tells how one ends that it has forked."""
        waits = self._asked is not None and trio.current_time() < self._until
        return waits or any(one.returncode is None for one in self._forked)

    async def keep(self, environ: Mapping[str, str]) -> None:
        """Have it for the next job, unless there is one, and end it when none has come."""
        self._until = trio.current_time() + self._seconds
        if self._process is not None:
            return
        self._asked, theirs = socket.socketpair()
        try:
            self._process = await start(self._command, environ, theirs.fileno())
        except OSError:
            # There is no room: the next job says so, if it still is so.
            self._asked.close()
            self._asked = None
            return
        finally:
            theirs.close()
        self._asked.settimeout(0)
        try:
            while self._is_needed():  # noqa: ASYNC110 - until a moment that is moved on
                await trio.sleep(1)
        finally:
            if self._asked is not None:
                self._asked.close()
                self._asked = None
            process, self._process = self._process, None
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
                if process.stdout is not None:
                    await process.stdout.aclose()
