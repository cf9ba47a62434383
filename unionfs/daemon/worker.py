"""A worker of a supervised mount: answers the kernel beside the server, and does nothing else.

Where `current` leads it asks the server (`worker_protocol`). It may be killed at any moment, as a
server may: what it had read lies in its slots, and the next worker on these answers it.

    SIGUSR1     there is another server: ask that one
    SIGUSR2     read no more requests, answer those that were read, end
    SIGTERM     end
    end of the channel
                the supervisor died: the same as SIGUSR2; the next one starts other workers

Exit status: as a server's.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections import Counter
from typing import TYPE_CHECKING

import trio

from unionfs.daemon.mount import assemble_worker
from unionfs.daemon.server import begin, heed_signals, tell
from unionfs.daemon.worker_protocol import ServerLink
from unionfs.kernel.session import Terms
from unionfs.kernel.siblings import Siblings
from unionfs.view.nodeid import PACKINGS
from unionfs.view.told import Told

if TYPE_CHECKING:
    from unionfs.daemon.handover import Handover
    from unionfs.daemon.server import Life
    from unionfs.kernel.slots import Slots


def run(held: Handover, life: Life) -> int:
    """Answer in this process, which does nothing else: its exit status."""
    # One of a supervisor that died may still have them, to answer what it had read. One that is
    # known to be dead has nothing to do with them, even if its lock outlives it with a thread.
    with contextlib.suppress(BlockingIOError):
        fcntl.lockf(life.slots, fcntl.LOCK_EX | (fcntl.LOCK_NB if life.died else 0))
    return trio.run(_Worker(held, begin(held, life)).run)


class _Worker:
    """One life. Everything runs in one trio task tree, so no method needs a lock."""

    def __init__(self, held: Handover, slots: Slots) -> None:
        self._held = held
        self._slots = slots
        self._requests: Counter[str] = Counter()
        self._siblings = Siblings()
        self._server = ServerLink(held.worker_channel[0], self._requests, self._siblings)
        self._draining = trio.Event()

    async def run(self) -> int:
        """Until the mount is gone, or all is answered after SIGUSR2."""
        packing, told = PACKINGS[self._held.packing], Told(self._held.told)
        answer = assemble_worker(self._held.places, self._server, packing, told)
        async with trio.open_nursery() as nursery:
            await nursery.start(heed_signals, self._server.turn, self._draining.set)
            nursery.start_soon(self._heed_supervisor)
            nursery.start_soon(self._server.tend)
            tell(self._held.servers, ready=True)
            await answer(
                self._held.mount, Terms.from_json(self._held.terms), self._slots,
                requests=self._requests, draining=self._draining, siblings=self._siblings,
            )  # fmt: skip
            nursery.cancel_scope.cancel()
        return 0

    async def _heed_supervisor(self) -> None:
        await trio.lowlevel.wait_readable(self._held.servers)  # nobody writes: it has ended
        self._server.ending()
        self._draining.set()
