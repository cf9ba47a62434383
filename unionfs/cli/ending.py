"""Being ended from outside (`kill`, `timeout`, a closed terminal) as Ctrl-C ends it."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupted_by_all() -> Iterator[None]:
    """SIGTERM and SIGHUP raise within as SIGINT does, so that what was begun is undone.

    Then the process ends with 128 + the signal's number, as shells have it. A signal that is
    ignored (nohup) stays so. trio has a handler for SIGINT of its own, which raises where that does
    no harm; so it is asked, and not circumvented.
    """
    got: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        got.append(number)
        handler = signal.getsignal(signal.SIGINT)
        if len(got) == 1 and callable(handler):
            handler(signal.SIGINT, frame)

    before = {
        number: signal.signal(number, interrupt)
        for number in _ENDING
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        with _handled():
            yield
    except BaseException:
        if got:
            raise SystemExit(128 + got[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _handled() -> Iterator[None]:
    """With Python's handler for SIGINT, which trio builds upon, though that signal be ignored.

    A shell has what it starts by `&` ignore it: then it is blocked.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
