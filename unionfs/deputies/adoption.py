"""Views of other users that root's mount takes over before it serves them.

`unionfs.deputies.adopt_job` does it, one process a view. A reader of `current` waits for it, within
a limit: what is copied once is there for good. What failed is not tried again for a while.

**Places are by user** (`resolver.caller.owners`): one process for each, whatever the others do, and
so many requests that wait. A user whose files hang, or whose deputy is stopped, takes that user's
place and nobody else's. Where so many users come at once that the processes would be too many, the
one that began first has to go: what it copied stays, and it is tried again.

Concurrency: everything belongs to one trio run.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio

from resolver.caller.owners import Owners
from unionfs.deputies.client import Deputies, DeputyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.manifest import ViewId
    from resolver.places import Places

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "unionfs.deputies.adopt_job")

TIME_LIMIT = 120.0
"""Seconds for one view: several GiB. As long a request waits, its turn included."""

REMEMBERED = 10.0
"""Seconds that a failure counts."""

END_LIMIT = 5.0
"""Seconds for a process to end that was killed. The kernel may keep it until a disk answers."""

MOST_AT_ONCE = 32
MOST_WAITING = 256
"""Requests of one user, of the 2048 that the kernel's have room for (`unionfs.kernel.slots`)."""

MOST_REMEMBERED = 1024

LONGEST_WORD = 64 * 1024


class Adoption:
    """Takes views over, one at a time for each user."""

    def __init__(self, places: Places, deputies: Deputies) -> None:
        self._places = places
        self._deputies = deputies
        self._owners = Owners()
        self._turns: dict[int, trio.Lock] = {}
        self._waiting: Counter[int] = Counter()
        self._running: dict[int, trio.Process] = {}
        self._failures: dict[tuple[int, ViewId], float] = {}

    async def adopt(self, uid: int, view: ViewId, shown: Callable[[ViewId], bool]) -> bool:
        """Whether the view is here now, within `TIME_LIMIT`; `shown` asks for it. Never fails."""
        owner = self._owners.of(uid)
        if self._waiting[owner] >= MOST_WAITING:
            return False
        self._waiting[owner] += 1
        turn = self._turns.setdefault(owner, trio.Lock())
        try:
            with trio.move_on_after(TIME_LIMIT):
                async with turn:
                    return await self._adopt(uid, owner, view, shown)
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner], self._turns[owner]
        return False

    async def _adopt(
        self, uid: int, owner: int, view: ViewId, shown: Callable[[ViewId], bool]
    ) -> bool:
        if shown(view):
            return True
        failed = self._failures.get((uid, view))
        if failed is not None and trio.current_time() - failed < REMEMBERED:
            return False
        fault = "it took too long"
        try:
            fault = await self._run(uid, owner, view)
        finally:
            if fault:
                logger.warning("view %s of user %d was not taken over: %a", view, uid, fault)
                if len(self._failures) >= MOST_REMEMBERED:
                    self._failures.clear()
                self._failures[uid, view] = trio.current_time()
        if not fault and shown(view):
            logger.info("view %s of user %d was taken over", view, uid)
            return True
        return False

    async def _run(self, uid: int, owner: int, view: ViewId) -> str:
        """What went wrong; "" if nothing."""
        last = self._running.get(owner)
        if last is not None and last.poll() is None:
            return "the process before this one cannot be ended: its files hang"
        while len(self._running) >= MOST_AT_ONCE:
            self._running.pop(next(iter(self._running))).kill()
        places = {name: os.fspath(path) for name, path in asdict(self._places).items()}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            try:
                self._deputies.hand(uid, view, theirs)
                process = await trio.lowlevel.open_process(
                    [*COMMAND, json.dumps(places), view, str(owner)],
                    stdin=ours.fileno(),
                    stdout=subprocess.PIPE,
                    cwd="/",
                    # Found as we are, however we were: the daemon has forgotten PYTHONPATH.
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            except (DeputyError, OSError) as error:
                return str(error)
        self._running[owner] = process
        try:
            return await _said(process)
        finally:
            await self._end(owner, process)

    async def _end(self, owner: int, process: trio.Process) -> None:
        """See that it ends; one that does not keeps its user's place."""
        if process.poll() is None:
            process.kill()
            with trio.move_on_after(END_LIMIT, shield=True):
                await process.wait()
        if process.poll() is not None and self._running.get(owner) is process:
            del self._running[owner]


async def _said(process: trio.Process) -> str:
    """What the job says was wrong."""
    if process.stdout is None:
        raise RuntimeError("it was started without a pipe")
    data = b""
    async with process.stdout:
        while len(data) < LONGEST_WORD and (part := await process.stdout.receive_some()):
            data += part
    try:
        return str(json.loads(data).get("what", ""))
    except ValueError:
        return f"it ended with status {await process.wait()}"
