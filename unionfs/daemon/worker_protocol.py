"""The connection between a worker and the server: what each asks and tells the other.

Each worker makes a pair of sockets and sends one end through a channel that all workers and servers
have from the supervisor. It lies there until a server takes it. When that server ends, or is
replaced, so does the connection, or the supervisor says so (SIGUSR1): the worker makes another, and
asks again what was not answered. A message is one JSON object:

    worker    {"pid": N}                            the first one, with the server's end
              {"ask": N, "tid": T}                  where does `current` lead for this thread?
              {"opened": [VIEW, …]}                 looked into for the first time
              {"interrupt": UNIQUE}                 for another process: a caller was interrupted
              {"counted": {OPCODE: N, …}, "remote": {…}}    requests so far; reads that waited for
                                                    the network
    server    {"here": true}                        it has taken the connection
              {"asked": N, "view": VIEW}, or {"asked": N, "errno": E}
              {"interrupt": UNIQUE}
              {"count": true}

Concurrency: both ends belong to the trio thread of their process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from resolver.manifest import ViewId
from unionfs.cancelling import cancel_when
from unionfs.view.attributes import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from unionfs.kernel.siblings import Siblings

logger = logging.getLogger(__name__)

ABSENT_SECONDS: Final = 30.0
"""How long a question waits where there is no server; then it gets EIO."""

TRIED_SECONDS: Final = 5.0
"""The same where there has been none for longer than that already."""

LEAVING_SECONDS: Final = 2.0
"""The same where the supervisor has died: the server may have died with it."""

PAUSE: Final = 0.02
"""Seconds before a worker tries to be heard again."""

COUNT_SECONDS: Final = 0.5
"""How long workers may take to say what they have counted; one may be stopped."""

LONGEST: Final = 1 << 16


class _Connection:
    """One end. Whatever cannot be said any more is not: the other end has gone."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self._socket = trio.socket.from_stdlib_socket(end)
        self._turn = trio.Lock()

    async def say(self, **words: object) -> None:
        with contextlib.suppress(OSError, trio.ClosedResourceError):
            async with self._turn:
                await self._socket.send(json.dumps(words).encode())

    async def hear(self) -> dict[str, Any]:
        """The next message; an empty one where the other end has gone."""
        with contextlib.suppress(OSError):
            if data := await self._socket.recv(LONGEST):
                found: dict[str, Any] = json.loads(data)
                return found
        return {}

    def close(self) -> None:
        self._socket.close()


class _Question:
    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Mapping[str, Any] = {}


class ServerLink:
    """A worker's end: to be called as `Current` is in a server."""

    def __init__(self, channel: int, requests: Counter[str], siblings: Siblings) -> None:
        self._channel = channel
        self._requests = requests
        self._siblings = siblings
        self._server: _Connection | None = None
        self._met = trio.Event()
        self._gone_since = 0.0
        self._questions: dict[int, _Question] = {}
        self._asked = 0
        self._opened: list[ViewId] = []
        self.remote: Callable[[], Mapping[str, Any]] = dict
        self._last = False
        self._conversing = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    async def __call__(self, tid: int) -> ViewId:
        """The view of a thread's process, as the server says."""
        while True:
            server = await self._found()
            self._asked += 1
            number, question = self._asked, _Question()
            self._questions[number] = question
            try:
                await server.say(ask=number, tid=tid)
                await question.answered.wait()
            finally:
                self._questions.pop(number, None)
            if "view" in question.answer:
                return ViewId(question.answer["view"])
            if "errno" in question.answer:
                raise FileSystemError(question.answer["errno"])

    def opened(self, view: ViewId, _: object = None) -> None:
        """Have the server know that somebody looks into a view, which it may have compiled."""
        self._opened.append(view)
        self._report()

    def turn(self) -> None:
        """Ask the next server.

        The last one may be dead, and its end of the connection still open: a thread of it that
        waits for another file system keeps all that it had.
        """
        self._conversing.cancel()

    def ending(self) -> None:
        """From now on a server that is not there is not waited for as long."""
        self._last = True

    async def tend(self) -> None:
        """Be connected; never returns."""
        self._gone_since = trio.current_time()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._siblings.tell = lambda unique: self._say(interrupt=unique)
            while True:
                with contextlib.suppress(OSError):  # no descriptor is left: there may be soon
                    await self._converse()
                await trio.sleep(PAUSE)

    async def _converse(self) -> None:
        """With one server, until it has gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection = _Connection(ours)
        try:
            with theirs:
                _hand(self._channel, theirs, pid=os.getpid())
            with trio.CancelScope() as self._conversing:
                while message := await connection.hear():
                    await self._heed(connection, message)
        finally:
            connection.close()
            self._leave()

    def _say(self, **words: object) -> None:
        """Say it, if there is anybody; nobody waits for it."""
        if self._nursery is not None and self._server is not None:
            self._nursery.start_soon(partial(self._server.say, **words))

    def _report(self) -> None:
        if self._opened and self._server is not None:
            self._say(opened=self._opened)
            self._opened = []

    async def _heed(self, server: _Connection, message: Mapping[str, Any]) -> None:
        if "here" in message:
            self._server = server
            self._met.set()
            self._report()
            self._siblings.step_back()  # it reads from the kernel already
        elif "asked" in message:
            question = self._questions.get(message["asked"])
            if question is not None:  # else its caller was interrupted
                question.answer = message
                question.answered.set()
        elif "interrupt" in message:
            self._siblings.interrupt(message["interrupt"])
        elif "count" in message:
            await server.say(counted=self._requests, remote=self.remote())

    def _leave(self) -> None:
        """Its server has gone: all questions are for the next one."""
        if self._server is not None:
            self._server, self._met = None, trio.Event()
            self._gone_since = trio.current_time()
        for question in self._questions.values():
            question.answered.set()

    async def _found(self) -> _Connection:
        """A server, or EIO where there is none for too long."""
        now = trio.current_time()
        until = max(self._gone_since + ABSENT_SECONDS, now + TRIED_SECONDS)
        if self._last:
            until = now + LEAVING_SECONDS
        with trio.move_on_at(until):
            while True:
                if self._server is not None:
                    return self._server
                await self._met.wait()
        logger.error("no server says where `current` leads")
        raise FileSystemError(errno.EIO)


class WorkerLinks:
    """The server's end, of all workers.

    `current` says which view is a thread's, `look_into` opens one.
    """

    def __init__(
        self,
        channel: int,
        siblings: Siblings,
        *,
        current: Callable[[int], Awaitable[ViewId]],
        look_into: Callable[[ViewId], None],
    ) -> None:
        self._channel = channel
        self._siblings = siblings
        self._current = current
        self._look_into = look_into
        self._workers: dict[_Connection, _Worker] = {}

    @property
    def pids(self) -> list[int]:
        """Those who are there."""
        return sorted(worker.pid for worker in self._workers.values())

    async def hold(self, leaving: trio.Event) -> None:
        """Answer all that come until `leaving`; what is not answered then is asked again."""
        with socket.socket(fileno=os.dup(self._channel)) as channel:
            async with trio.open_nursery() as nursery:
                self._siblings.tell = lambda unique: self._pass_on(nursery, None, unique)
                nursery.start_soon(cancel_when, leaving, nursery.cancel_scope)
                while True:
                    await trio.lowlevel.wait_readable(channel)
                    try:
                        data, ends, _, _ = socket.recv_fds(channel, LONGEST, 1)
                    except BlockingIOError:  # another server was faster
                        continue
                    if ends:  # else there was no descriptor left for it; it will come again
                        end = _Connection(socket.socket(fileno=ends[0]))
                        nursery.start_soon(self._attend, end, json.loads(data)["pid"])

    async def counted(self) -> Counter[str]:
        """The requests that workers have answered, by opcode, as far as they say so in time."""
        asked = list(self._workers.values())
        with trio.move_on_after(COUNT_SECONDS):
            async with trio.open_nursery() as nursery:
                for worker in asked:
                    nursery.start_soon(worker.count)
        return sum((worker.requests for worker in asked), Counter())

    @property
    def remote(self) -> list[Mapping[str, Any]]:
        """What each had to say then of reads that waited for the network."""
        return [worker.remote for worker in self._workers.values() if worker.remote]

    async def _attend(self, end: _Connection, pid: int) -> None:
        worker = self._workers[end] = _Worker(end, pid)
        try:
            await end.say(here=True)
            async with trio.open_nursery() as nursery:
                while message := await end.hear():
                    if "ask" in message:
                        nursery.start_soon(self._answer, end, message["ask"], message["tid"])
                    elif "opened" in message:
                        for view in message["opened"]:
                            self._look_into(ViewId(view))
                    elif "interrupt" in message:
                        self._pass_on(nursery, end, message["interrupt"])
                    elif "counted" in message:
                        worker.requests = Counter(message["counted"])
                        worker.remote = message.get("remote", {})
                        worker.counted.set()
                nursery.cancel_scope.cancel()
        finally:
            del self._workers[end]
            end.close()

    async def _answer(self, end: _Connection, number: int, tid: int) -> None:
        try:
            view = await self._current(tid)
        except FileSystemError as error:
            await end.say(asked=number, errno=error.errno)
        except Exception:
            logger.exception("a worker could not be answered")
            await end.say(asked=number, errno=errno.EIO)
        else:
            await end.say(asked=number, view=view)

    def _pass_on(self, nursery: trio.Nursery, source: _Connection | None, unique: int) -> None:
        """Find the process that has the request of an interrupted caller."""
        if source is not None and self._siblings.interrupt(unique):
            return
        for end in self._workers:
            if end is not source:
                nursery.start_soon(partial(end.say, interrupt=unique))


class _Worker:
    """A worker as the server knows it."""

    def __init__(self, end: _Connection, pid: int) -> None:
        self.pid = pid
        self.requests: Counter[str] = Counter()
        self.remote: Mapping[str, Any] = {}
        self.counted = trio.Event()
        self._end = end

    async def count(self) -> None:
        """Have it say what it has counted."""
        self.counted = trio.Event()
        await self._end.say(count=True)
        await self.counted.wait()


def _hand(channel: int, end: socket.socket, **words: object) -> None:
    """Send one end of a pair through the channel. `OSError` where it is full."""
    with socket.socket(fileno=os.dup(channel)) as sending:
        sending.settimeout(0)
        socket.send_fds(sending, [json.dumps(words).encode()], [end.fileno()])
