"""Our own loop on `/dev/fuse`: reads requests, answers them, waits.

Theory. One thread does all that memory can answer, one request after the other, and goes on reading
until the kernel has no more (EAGAIN): a wake-up costs more than ten answers. Before it sleeps it
polls for a moment, since who was just answered often asks next, and where requests follow each
other closely it does not even sleep for that. What has to wait for something
(`current`: another process's /proc; a frame that is not in memory: the disk; one that is not in the
store either: the network) is a task of its own, so it never holds others up. Only the disk is
waited for in a thread.

Rules:

* A request lies in its slot until its reply was written (`slots`), so it is answered exactly once
  by whoever lives then.
* Every task ends in a reply. An exception that leaves one would end the mount for everybody.
* The kernel tells when a caller was sent a signal meanwhile (INTERRUPT). A killed caller cannot end
  before its request does, so a task that is interrupted gives up after `GRACE` with EINTR; one that
  is answered already is left alone. A read that waits for the network looks for signals itself
  (`Filesystem.watches`): it may wait for long, and a signal like SIGCHLD shall not make it fail.

errno of the descriptor, by name: EAGAIN, nothing to read; ENODEV, unmounted or aborted: the end;
ENOENT on reading, a request that was taken back meanwhile; EINTR, read again. On writing: ENOENT,
the request was answered before, or its caller is gone; ENODEV, EPERM, unmounted. Whatever else it
is, the kernel has no memory for the reply (ENOMEM) or takes it for malformed (EINVAL), the caller
still waits: the reply is tried again for `AGAIN_SECONDS`, then EIO is, until it is taken.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from unionfs.cancelling import cancel_when
from unionfs.kernel import abi
from unionfs.kernel.protocol import Interrupt, Link, Protocol, Read, done, failed
from unionfs.view.attributes import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from unionfs.kernel.protocol import Reply
    from unionfs.kernel.slots import Slots
    from unionfs.view.filesystem import Filesystem

logger = logging.getLogger(__name__)

READERS: Final = 4
"""Threads that read and decompress; more only compete for the interpreter and the disk."""

BATCH: Final = 64
"""Requests that are answered before other tasks get their turn."""

LINGER: Final = 1
"""Milliseconds of polling before the thread sleeps; trio's way there and back costs 60 µs."""

SPIN: Final = 50e-6
"""Seconds that the thread stays awake for the next request, as long as they follow each other so
closely. To wake a processor that sleeps takes about as long: a cold tar takes a seventh less time,
for the same processor time. Where requests come further apart it would only be in the way."""

GRACE: Final = 0.5
"""Seconds that a request goes on after its caller was interrupted: a signal that does not end the
caller (SIGCHLD, SIGWINCH) should not make its system call fail."""

AGAIN: Final = 0.02
"""Seconds before a reply is tried again that the kernel did not take."""

AGAIN_SECONDS: Final = 2.0
"""How long the same reply is tried; the one that says EIO needs much less memory."""

_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.EPERM})


class Loop:
    """One server's loop. All in one trio thread, so nothing needs a lock."""

    def __init__(
        self, filesystem: Filesystem, protocol: Protocol, descriptor: int, slots: Slots
    ) -> None:
        self._filesystem = filesystem
        self._protocol = protocol
        self._descriptor = descriptor
        self._slots = slots
        self._waiting: dict[int, tuple[trio.CancelScope, Link | Read]] = {}
        self._tasks: trio.Nursery | None = None
        self._emptied = trio.Event()
        self._brisk = False
        self._readers = trio.CapacityLimiter(READERS)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    async def run(self, draining: trio.Event | None = None) -> None:
        """Answer until unmounted; or, once `draining` is set, until all that was read is."""
        async with trio.open_nursery() as tasks:
            self._tasks = tasks
            for slot in self._slots.in_flight():
                self._answer(slot, tasks)
            reading = trio.CancelScope()
            if draining is not None:
                tasks.start_soon(cancel_when, draining, reading)
            with reading:
                await self._read(tasks)
            if draining is None or not draining.is_set():
                tasks.cancel_scope.cancel()

    async def _read(self, tasks: trio.Nursery) -> None:
        """Read and answer until the mount is gone."""
        slots, descriptor = self._slots, self._descriptor
        while True:
            for _ in range(BATCH):
                if slots.full:
                    break
                try:
                    slot = slots.read(descriptor)
                except BlockingIOError:
                    if self._waiting or not self._lingered():
                        break
                    continue
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        return
                    if error.errno in {errno.ENOENT, errno.EINTR}:
                        continue
                    raise
                self._answer(slot, tasks)
            else:
                await trio.lowlevel.checkpoint()
                continue
            if slots.full:
                self._emptied = trio.Event()
                await self._emptied.wait()
            else:
                await self._sleep()

    async def _sleep(self) -> None:
        """Wait for the next request."""
        await trio.lowlevel.wait_readable(self._descriptor)

    def _lingered(self) -> bool:
        """Whether a request came in the moment after there was none."""
        poll, clock = self._poll.poll, time.perf_counter
        awake = clock() + SPIN
        if self._brisk:
            while clock() < awake:
                if poll(0):
                    return True
        came = bool(poll(LINGER))
        self._brisk = came and clock() < awake
        return came

    def _answer(self, slot: int, tasks: trio.Nursery) -> None:
        """Answer a request, now or in a task."""
        answer = self._protocol.answer(self._slots.views[slot])
        match answer:
            case Link():
                self._begin(slot, answer, partial(self._link, answer), tasks)
            case Read():
                self._begin(slot, answer, partial(self._load, answer), tasks)
            case Interrupt():
                self._interrupted(answer.unique)
                self._slots.empty(slot)
            case _:
                self._reply(slot, answer)

    def _interrupted(self, unique: int) -> bool:
        """Have a request end soon whose caller was interrupted; whether it waits here."""
        waiting = self._waiting.get(unique)
        if waiting is None:
            return False
        scope, asked = waiting
        if not (isinstance(asked, Read) and self._filesystem.watches(asked.tid)):
            scope.deadline = min(scope.deadline, trio.current_time() + GRACE)
        return True

    def _begin(
        self,
        slot: int,
        asked: Link | Read,
        work: Callable[[], Awaitable[bytes]],
        tasks: trio.Nursery,
    ) -> None:
        """Known as waiting at once: the loop must not linger before the task had its turn."""
        self._waiting[asked.unique] = trio.CancelScope(), asked
        tasks.start_soon(self._wait, slot, asked, work)

    async def _wait(
        self, slot: int, asked: Link | Read, work: Callable[[], Awaitable[bytes]]
    ) -> None:
        """Answer what takes time, or EINTR."""
        unique = asked.unique
        scope, _ = self._waiting[unique]
        reply = failed(unique, errno.EINTR)
        try:
            with scope:
                reply = done(unique, await work())
        except FileSystemError as error:
            reply = failed(unique, error.errno)
        except Exception:
            logger.exception("%s failed", type(asked).__name__)
            reply = failed(unique, errno.EIO)
        finally:
            del self._waiting[unique]
        self._reply(slot, reply)

    async def _link(self, asked: Link) -> bytes:
        return await self._filesystem.followed(asked.node, asked.tid)

    async def _load(self, asked: Read) -> bytes:
        node, offset, size = asked.node, asked.offset, asked.size
        return await self._filesystem.load(node, offset, size, self._in_thread, asked.tid)

    async def _in_thread(self, read: Callable[[], bytes]) -> bytes:
        return await trio.to_thread.run_sync(read, limiter=self._readers, abandon_on_cancel=True)

    def _reply(self, slot: int, reply: Reply | None) -> None:
        if reply is None or (refused := self._refused(reply)) is None or self._tasks is None:
            self._slots.empty(slot)
            self._emptied.set()
        else:
            logger.error("the kernel refused a reply: %s", refused.strerror)
            self._tasks.start_soon(self._reply_again, slot, reply)

    async def _reply_again(self, slot: int, reply: Reply) -> None:
        """Until the kernel takes it; the request lies in its slot meanwhile."""
        _, _, unique = abi.OUT_HEADER.unpack_from(reply[0])
        until = trio.current_time() + AGAIN_SECONDS
        while self._refused(reply) is not None:
            await trio.sleep(AGAIN)
            if trio.current_time() > until:
                reply = failed(unique, errno.EIO)
        self._slots.empty(slot)
        self._emptied.set()

    def _refused(self, reply: Reply) -> OSError | None:
        """Why a caller still waits after his reply was written."""
        try:
            os.writev(self._descriptor, reply)
        except OSError as error:
            return None if error.errno in _GONE else error
        return None
