"""A program in a session of its own: all of it is ended with us, whatever it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

import trio

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

GRACE = 2.0
"""Seconds between asking it to end and ending it."""


async def run_session(  # noqa: PLR0913 - one by name each
    command: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    stdin: bytes = b"",
    umask: int = -1,
    at_once: Callable[[], bool] = lambda: False,
    passed: Sequence[int] = (),
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; nothing of it outlives us.

    May be cancelled: then it is asked to end before it is killed, unless it shall end `at_once`.
    `passed` are descriptors that it gets.
    """

    async def end(process: trio.Process) -> None:
        # trio calls it, shielded, when the wait is cancelled.
        if not at_once():
            kill_session(process.pid, signal.SIGTERM)
            with trio.move_on_after(GRACE):
                await process.wait()
        kill_session(process.pid, signal.SIGKILL)
        await process.wait()

    try:
        with ended_with_us():
            done = await trio.run_process(
                list(command),
                cwd=cwd,
                env=dict(environ),
                stdin=stdin,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                start_new_session=True,
                umask=umask,
                pass_fds=passed,
                deliver_cancel=end,
            )
    except OSError as error:
        raise PkgviewError(
            f"cannot run {command[0]}: {error.strerror}",
            remedy="Install it, and see that it is on PATH and may be executed.",
        ) from error
    return (
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


_running: list[None] = []
_handled: set[signal.Signals] = set()


@contextlib.contextmanager
def ended_with_us() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP interrupt us, instead of leaving the child to go on for nobody.

    As long as that is nobody else's, and an interrupt is heard.
    """
    interrupts = threading.current_thread() is threading.main_thread() and signal.getsignal(
        signal.SIGINT
    ) not in {signal.SIG_IGN, signal.SIG_DFL, None}
    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if interrupts and not _running and signal.getsignal(number) == signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    _handled.update(ours)
    _running.append(None)
    try:
        yield
    finally:
        _running.pop()
        while _handled and not _running:
            signal.signal(_handled.pop(), signal.SIG_DFL)


def kill_session(leader: int, number: signal.Signals) -> None:
    """Send a signal to all of a session that is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
