"""A mount that is served through `/dev/fuse` by ourselves: by one process, or by several."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from unionfs.kernel import gains, quiet
from unionfs.kernel.loop import Loop
from unionfs.kernel.protocol import Protocol

if TYPE_CHECKING:
    from collections import Counter

    from unionfs.kernel.gains import Gain
    from unionfs.kernel.session import Terms
    from unionfs.kernel.siblings import Siblings
    from unionfs.kernel.slots import Slots
    from unionfs.view.filesystem import Filesystem


async def answer(  # noqa: PLR0913 - what makes a live mount, each by its name
    filesystem: Filesystem,
    descriptor: int,
    terms: Terms,
    slots: Slots,
    *,
    requests: Counter[str],
    gained: dict[str, Gain] | None = None,
    draining: trio.Event | None = None,
    siblings: Siblings | None = None,
) -> None:
    """Serve a mount on its descriptor, beginning with what lies in `slots`.

    `gained` is filled with what the kernel is spared, by opcode. `siblings` are the other processes
    that do so, where there are any.

    Returns when it was unmounted; or, once `draining` is set, when all it had read is answered.
    Cancelled, it leaves what is in flight in the slots, for a successor.
    """
    kernel = os.uname()
    opens = gains.opens(terms.offered, kernel.release, kernel.version)
    opendirs = gains.opendirs(terms.offered)
    if gained is not None:
        gained.update(OPEN=opens, OPENDIR=opendirs)
    protocol = Protocol(
        filesystem, requests, opens=opens, opendirs=opendirs, shared=siblings is not None
    )
    if siblings is None:
        loop = Loop(filesystem, protocol, descriptor, slots)
    else:
        from unionfs.kernel.several import OneOfSeveral  # noqa: PLC0415 - trio.testing: 0.1 s, 9 MB

        loop = OneOfSeveral(filesystem, protocol, descriptor, slots, siblings)
    async with trio.open_nursery() as alongside:
        alongside.start_soon(quiet.tend, filesystem.catalog.store.frames)
        await loop.run(draining)
        alongside.cancel_scope.cancel()
