"""Servers that follow one another on the same slots: when the next one begins, and how wary it is.

A death costs its line of servers something (`shortness`), unless it ended a life that was worth
the name. So one that is killed now and then is replaced at once, for ever; where each dies as soon
as it is there, the requests that they leave behind become `suspect`, and the next ones come ever
more slowly.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

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
    """A server. `ready`: since when it serves; `stopped`: since when it does not run (SIGSTOP).

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
    hushed: bool = False
    limit: float | None = None
    overdue: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Start:
    """A server to be started; `died`: when its predecessor did, `leaving`: for the slots only.

    `slots` is None where they have to be made.
    """

    slots: int | None = None
    due: float = 0.0
    died: float | None = None
    leaving: bool = False
    shortness: int = 0

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
    return Start(slots=one.slots, due=now + pause, died=now, shortness=shortness)
