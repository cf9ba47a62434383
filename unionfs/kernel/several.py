"""The same loop for several processes that read from one mount: they sleep in another way.

Theory. Whoever sleeps in poll(2) is woken by every request, and all but one find that another has
taken it. A descriptor that is in an epoll by EPOLLEXCLUSIVE (epoll_ctl(2), Linux 4.5) wakes one
process: the first that sleeps in epoll_wait(2) itself. One that is busy, or was stopped, is passed
over. But it wakes all again where that epoll lies in another one that is waited for, as trio would
do it. So it is done the other way round: once all of trio's tasks are blocked this thread sleeps in
an epoll of its own, which has the descriptor, and trio's epoll beside it.

The processes are woken in the order in which they put the descriptor there. So where there is
little to do nearly all of it is done by one, whose memory has what is asked for; and that is the
server, who needs nobody to say what `current` is: workers step back whenever there is a new one.
Nobody stays awake for the next request (`loop.SPIN`): the kernel would wake another one for it
all the same.

INTERRUPT may be read by another process than has the request; `Siblings` is how they tell each
other. And each page of a directory that grows is made anew: a list that is kept may be older than
what another process has begun with.
"""

from __future__ import annotations

import contextlib
import math
import select
from typing import TYPE_CHECKING, Final

import trio
from trio.testing import wait_all_tasks_blocked

from unionfs.kernel.loop import LINGER, Loop
from unionfs.kernel.session import descriptors_of

if TYPE_CHECKING:
    from unionfs.kernel.protocol import Protocol
    from unionfs.kernel.siblings import Siblings
    from unionfs.kernel.slots import Slots
    from unionfs.view.filesystem import Filesystem

QUIET: Final = 1e-3
"""Seconds after which the kernel is asked although tasks are still busy."""


class OneOfSeveral(Loop):
    """The loop of one of them."""

    def __init__(
        self,
        filesystem: Filesystem,
        protocol: Protocol,
        descriptor: int,
        slots: Slots,
        siblings: Siblings,
    ) -> None:
        super().__init__(filesystem, protocol, descriptor, slots)
        self._siblings = siblings
        self._busy = False
        siblings.interrupt, siblings.step_back = super()._interrupted, self._step_back
        of_trio = _epoll_of_trio()
        self._epoll = select.epoll()
        self._epoll.register(of_trio, select.EPOLLIN)
        self._step_back()

    async def run(self, draining: trio.Event | None = None) -> None:
        """As `Loop` does."""
        with self._epoll:
            await super().run(draining)

    def _step_back(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._epoll.unregister(self._descriptor)
        self._epoll.register(self._descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _lingered(self) -> bool:
        seconds, self._busy = 0.0 if self._busy else LINGER / 1000, False
        return self._comes(seconds)

    async def _sleep(self) -> None:
        while True:
            with trio.move_on_after(QUIET) as busy:
                await wait_all_tasks_blocked()
            self._busy = busy.cancelled_caught
            if self._busy:
                return
            seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if self._comes(None if math.isinf(seconds) else max(seconds, 0)):
                return

    def _comes(self, seconds: float | None) -> bool:
        """Whether a request comes, before trio has something to do."""
        return any(number == self._descriptor for number, _ in self._epoll.poll(seconds))

    def _interrupted(self, unique: int) -> bool:
        if super()._interrupted(unique):
            return True
        self._siblings.tell(unique)
        return False


def _epoll_of_trio() -> int:
    """The descriptor that trio waits for: the only epoll in this process."""
    (number,) = descriptors_of("anon_inode:[eventpoll]")
    return number
