"""Servers that follow one another on the same slots: when the next one begins, and how wary it is.

A death costs its line of servers something (`shortness`), unless it ended a life that was worth
the name. So one that is killed now and then is replaced at once, for ever; where each dies as soon
as it is there, the requests that they leave behind become `suspect`, and the next ones come ever
more slowly. And how a death is seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import Final

from resolver.caller.procfs import Absence, read_stat

SHORT_KILLED: Final = 0.05
SHORT_CRASHED: Final = 1.0
"""Seconds of serving; a life that was shorter was none. What a server was asked first may have
ended it, by way of the disk; somebody's SIGKILL says little about it."""

_KILLED, _CRASHED, _OVERDUE = 1, 16, 32
"""What the end of a short life counts: SIGKILL from elsewhere, anything else, our own SIGKILL for
one that did not get done in time."""

_SUSPECT: Final = 64
"""The sum from which on a successor waits, and answers what lies in the slots with EIO."""

_MOST: Final = _SUSPECT + 6 * _CRASHED
"""It is remembered up to this, which is enough for the longest pause."""

LONGEST_PAUSE: Final = 5.0
"""Seconds before a server is started that dies again and again."""


@dataclass(slots=True, eq=False, kw_only=True)
class Running:
    """A server, or a `worker`.

    `ready`: since when it serves; `stopped`: since when it does not run (SIGSTOP).
    `told`: SIGUSR1, to leave the commands, or SIGUSR2, to end once all is answered: it is not
    replaced when it ends. `limit`: when it is killed unless it has done so.
    """

    pid: int
    pidfd: int
    slots: int
    shortness: int = 0
    ready: float | None = None
    stopped: float | None = None
    told: signal.Signals | None = None
    yielded: bool = False
    limit: float | None = None
    overdue: bool = False
    worker: bool = False

    def __str__(self) -> str:
        """As a log has it."""
        return f"{'worker' if self.worker else 'server'} {self.pid}"


@dataclass(slots=True, eq=False, kw_only=True)
class Start:
    """A server, or a `worker`, to be started.

    `died`: when its predecessor did; `leaving`: for the slots only.

    `slots` is None where they have to be made.
    """

    slots: int | None = None
    due: float = 0.0
    died: float | None = None
    leaving: bool = False
    shortness: int = 0
    worker: bool = False

    @property
    def suspect(self) -> bool:
        """Whether what lies in the slots may be what ended those before."""
        return self.shortness >= _SUSPECT


def successor(one: Running, status: int | None, now: float) -> Start:
    """Who follows one that has ended with that status."""
    killed = status == -signal.SIGKILL
    if one.overdue:
        shortness = one.shortness + _OVERDUE
    elif one.ready is not None and now - one.ready > (SHORT_KILLED if killed else SHORT_CRASHED):
        shortness = 0
    else:
        shortness = one.shortness + (_KILLED if killed else _CRASHED)
    shortness = min(shortness, _MOST)
    over = shortness - _SUSPECT
    pause = 0.0 if over < 0 else min(0.1 * 2 ** (over // _CRASHED), LONGEST_PAUSE)
    return Start(slots=one.slots, due=now + pause, died=now, shortness=shortness, worker=one.worker)


def status_of(one: Running) -> int | None:
    """The exit status of one that has ended, a signal's number negative.

    None where it cannot be had: of another's child, and of one that is dead and has not ended.
    """
    try:
        pid, status = os.waitpid(one.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None


def is_dead(pid: int) -> bool:
    """Whether its first thread has ended, without which none of it runs."""
    with contextlib.suppress(OSError):
        stat = read_stat(pid)
        return not isinstance(stat, Absence) and stat.dead
    return False


def has_ended(pid: int) -> bool:
    """Whether there is nothing left of a process of which only a waiting thread was left."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def described(status: int | None) -> str:
    """An exit status as a log has it."""
    if status is None:
        return "how is not known"
    return signal.Signals(-status).name if status < 0 else f"status {status}"
