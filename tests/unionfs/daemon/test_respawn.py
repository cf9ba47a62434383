"""Pauses between servers that die, and when their requests become suspect."""

from __future__ import annotations

import signal

import pytest

from unionfs.daemon import respawn
from unionfs.daemon.respawn import Running, Start, successor


def followed(start: Start, status: int | None, *, served: float | None) -> Start:
    """Who follows after a server that had served for so long; None: it had not come to that."""
    now = 1000.0
    ready = None if served is None else now - served
    one = Running(pid=1, pidfd=2, slots=3, shortness=start.shortness, ready=ready)
    return successor(one, status, now)


def line(status: int, deaths: int, *, served: float | None) -> list[Start]:
    starts = [Start(slots=3)]
    for _ in range(deaths):
        starts.append(followed(starts[-1], status, served=served))
    return starts[1:]


@pytest.mark.parametrize("served", [None, 0.01, 0.9])
def test_crashes_are_answered_ever_more_slowly(served: float | None) -> None:
    starts = line(-signal.SIGSEGV, 12, served=served)
    assert [one.suspect for one in starts[:5]] == [False, False, False, True, True]
    pauses = [one.due - 1000 for one in starts]
    assert pauses[:3] == [0, 0, 0]
    assert pauses[3:] == sorted(pauses[3:])
    assert pauses[3] == pytest.approx(0.1)
    assert pauses[-1] == respawn.LONGEST_PAUSE


def test_for_days() -> None:
    assert line(1, 20_000, served=None)[-1].due == 1000 + respawn.LONGEST_PAUSE


def test_one_that_served_is_no_reason_for_suspicion() -> None:
    worst = line(-signal.SIGSEGV, 10, served=None)[-1]
    assert not followed(worst, -signal.SIGSEGV, served=2.0).suspect
    assert followed(worst, -signal.SIGKILL, served=0.1).due == 1000


def test_kills_count_little() -> None:
    starts = line(-signal.SIGKILL, 70, served=0.01)
    assert [one.suspect for one in starts].index(True) == 63
    assert not any(one.suspect for one in line(-signal.SIGKILL, 500, served=0.06))


def test_what_was_not_done_in_time_twice_is_suspect() -> None:
    one = Running(pid=1, pidfd=2, slots=3, ready=1.0, overdue=True)
    first = successor(one, -signal.SIGKILL, 100.0)
    assert not first.suspect
    one.shortness = first.shortness
    assert successor(one, -signal.SIGKILL, 200.0).suspect
