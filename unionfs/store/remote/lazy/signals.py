"""Whether a thread that waits for the network shall not wait any longer.

A program that reads a file waits for a page, and the kernel tells a file system only of signals to
a thread that waits for its answer itself (FUSE_INTERRUPT), which read-ahead is not; and then of any
signal, also of one that is not to end anything (SIGCHLD). A signal that kills ends the wait without
us. But one that the program catches, as Python does SIGINT, waits until the read has ended. So
while a read waits for the network, `/proc/<tid>/status` is looked at (spin locks only, it never
blocks), and if a signal is pending by which programs are ended, the read fails with EINTR:

* in a system call that is what the program sees, and Python raises KeyboardInterrupt;
* in a page fault the kernel runs the signal's handler and tries the fault again. For Python, whose
  handler only notes the signal, that is not the end. A second signal within `TWICE_SECONDS` is: the
  fault fails with EIO, a SIGBUS, instead of after `remote.timeout`;
* if the thread is gone, others may wait for the same page, as whom nobody knows. They ask for
  themselves once this read has failed.

Formats: proc(5). One thread only.
"""

from __future__ import annotations

import signal
import time
from typing import Final

import trio

LOOK_SECONDS: Final = 0.2
"""Seconds between looks at a thread that waits."""

TWICE_SECONDS: Final = 10.0
ENDED_SECONDS: Final = 2.0
"""How long every fault of a thread fails that was told twice: the kernel asks three times."""

KILL: Final = 1 << (signal.SIGKILL - 1)
ENDING: Final = KILL | sum(
    1 << (number - 1) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
)
"""Signals by which people and programs have others end."""

MOST_KEPT: Final = 1000


class Signals:
    """What threads were told that wait, or waited a moment ago."""

    def __init__(self) -> None:
        self._told: dict[int, float] = {}
        self._ended: dict[int, float] = {}

    async def ends(self, tid: int) -> None:
        """Return when a thread that waits shall not wait any more, or is gone."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            pending = _pending(tid)
            if pending is None or pending & KILL:
                return
            if pending:
                self._tell(tid)
                return

    def is_ended(self, tid: int) -> bool:
        """Whether it was told twice while it waited in a page fault."""
        return bool(self._ended) and self._ended.get(tid, 0) > time.monotonic()

    def _tell(self, tid: int) -> None:
        now = time.monotonic()
        if _in_page_fault(tid):
            if now - self._told.get(tid, float("-inf")) < TWICE_SECONDS:
                self._ended[tid] = now + ENDED_SECONDS
            self._told[tid] = now
        for kept, limit in ((self._told, now - TWICE_SECONDS), (self._ended, now)):
            if len(kept) > MOST_KEPT:
                for one in [one for one, moment in kept.items() if moment < limit]:
                    del kept[one]


def _pending(tid: int) -> int | None:
    """The `ENDING` signals of a thread that it neither blocks nor ignores; None if it is gone."""
    try:
        with open(f"/proc/{tid}/status", "rb") as file:  # noqa: PTH123 - as text
            lines = file.read(1 << 14).splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return 0
    masks = {}
    for line in lines:
        name, _, value = line.partition(b":")
        if name in {b"SigPnd", b"ShdPnd", b"SigBlk", b"SigIgn"}:
            masks[name] = int(value, 16)
    pending = masks.get(b"SigPnd", 0) | masks.get(b"ShdPnd", 0)
    return pending & ~masks.get(b"SigBlk", 0) & ~masks.get(b"SigIgn", 0) & ENDING


def _in_page_fault(tid: int) -> bool:
    """Whether it certainly waits in one; not everybody may look."""
    try:
        with open(f"/proc/{tid}/syscall", "rb") as file:  # noqa: PTH123 - as text
            return file.read(64).startswith(b"-1 ")
    except OSError:
        return False
