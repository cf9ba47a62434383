"""Workers ask the server: both ends, in one process."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

from resolver.manifest import ViewId
from unionfs.daemon import worker_protocol
from unionfs.daemon.worker_protocol import ServerLink, WorkerLinks
from unionfs.kernel.siblings import Siblings
from unionfs.view.attributes import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEW = ViewId("a" * 32)


class Channel:
    """The channel, and what servers are made of."""

    def __init__(self, theirs: socket.socket, ours: socket.socket) -> None:
        self.theirs = theirs.fileno()
        self.ours = ours.fileno()
        self.opened: list[ViewId] = []
        self.leaving = trio.Event()

    def worker(self, siblings: Siblings | None = None, **requests: int) -> ServerLink:
        return ServerLink(self.theirs, Counter(requests), siblings or Siblings())

    async def view_of(self, tid: int) -> ViewId:
        if tid == 13:
            raise FileSystemError(errno.EIO)
        if tid == 14:
            await trio.sleep_forever()
        return ViewId(f"{tid:032}")

    def server(self, siblings: Siblings | None = None) -> WorkerLinks:
        return WorkerLinks(
            self.ours, siblings or Siblings(), current=self.view_of, look_into=self.opened.append
        )


@pytest.fixture
def channel() -> Iterator[Channel]:
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
    theirs, ours = socket.socketpair(socket.AF_UNIX, kind)
    with theirs, ours:
        yield Channel(theirs, ours)


async def test_each_is_told_its_own(channel: Channel) -> None:
    worker, server = channel.worker(), channel.server()

    async def ask(tid: int) -> None:
        assert await worker(tid) == f"{tid:032}"

    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(worker.tend)
            async with trio.open_nursery() as asking:
                asking.start_soon(ask, 99)  # before anybody is there
                await trio.sleep(0.05)
                tasks.start_soon(server.hold, channel.leaving)
                for tid in range(20, 520):
                    asking.start_soon(ask, tid)
            with pytest.raises(FileSystemError) as caught:
                await worker(13)
            assert caught.value.errno == errno.EIO
            # One that is never answered is let go of.
            with trio.move_on_after(0.05) as scope:
                await worker(14)
            assert scope.cancelled_caught
            assert await worker(15)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["leaves", "dead"])
async def test_the_next_server_is_asked(channel: Channel, how: str) -> None:
    """Also where the last one is dead, and its end of the connection is still open."""
    worker, first = channel.worker(), channel.server()
    found: list[ViewId] = []
    told = trio.Event()

    async def ask() -> None:
        found.append(await worker(14))
        told.set()

    async def answers(_: int) -> ViewId:
        return VIEW

    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(worker.tend)
            with trio.CancelScope() as frozen:
                async with trio.open_nursery() as dead:
                    dead.start_soon(first.hold, channel.leaving)
                    tasks.start_soon(ask)
                    await trio.sleep(0.1)
                    assert first.pids
                    if how == "leaves":
                        channel.leaving.set()
                    else:
                        kept = socket.socket(fileno=_last_descriptor(first))
                        frozen.cancel()
            second = WorkerLinks(
                channel.ours, Siblings(), current=answers, look_into=channel.opened.append
            )
            tasks.start_soon(second.hold, trio.Event())
            if how == "dead":
                await trio.sleep(0.1)
                assert found == []
                worker.turn()
            await told.wait()
            assert found == [VIEW]
            tasks.cancel_scope.cancel()
    if how == "dead":
        kept.close()


def _last_descriptor(server: WorkerLinks) -> int:
    """A copy of a server's end, as a thread that cannot end keeps it."""
    (end,) = server._workers
    return end._socket.dup().detach()


async def test_what_is_counted_and_opened(channel: Channel) -> None:
    worker, other, server = channel.worker(READ=2), channel.worker(READ=3), channel.server()
    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            worker.opened(VIEW)
            for one in (worker, other):
                tasks.start_soon(one.tend)
            tasks.start_soon(server.hold, channel.leaving)
            assert await worker(15)
            assert await other(16)
            assert await server.counted() == {"READ": 5}
            assert len(server.pids) == 2
            assert channel.opened == [VIEW]
            other.opened(VIEW)
            assert await other(15)
            await trio.sleep(0.1)
            assert channel.opened == [VIEW, VIEW]
            tasks.cancel_scope.cancel()


async def test_an_interrupt_finds_who_waits(channel: Channel) -> None:
    told: list[tuple[str, int]] = []

    def siblings(name: str, own: int) -> Siblings:
        def interrupt(unique: int) -> bool:
            told.append((name, unique))
            return unique == own

        return Siblings(interrupt=interrupt)

    first, second, serving = siblings("first", 2), siblings("second", 4), siblings("server", 6)
    workers = [channel.worker(first), channel.worker(second)]
    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            for worker in workers:
                tasks.start_soon(worker.tend)
            tasks.start_soon(channel.server(serving).hold, channel.leaving)
            for worker in workers:
                await worker(15)
            first.tell(4)
            await trio.sleep(0.05)
            assert told == [("server", 4), ("second", 4)]
            told.clear()
            second.tell(6)
            await trio.sleep(0.05)
            assert told == [("server", 6)]
            told.clear()
            serving.tell(2)
            await trio.sleep(0.05)
            assert sorted(told) == [("first", 2), ("second", 2)]
            tasks.cancel_scope.cancel()


async def test_without_a_server_it_is_an_error_after_a_while(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_protocol, "ABSENT_SECONDS", 0.1)
    monkeypatch.setattr(worker_protocol, "TRIED_SECONDS", 0.1)
    worker = channel.worker()
    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(worker.tend)
            for _ in range(2):
                with pytest.raises(FileSystemError) as caught:
                    await worker(15)
                assert caught.value.errno == errno.EIO
            tasks.start_soon(channel.server().hold, channel.leaving)
            await trio.sleep(0.1)
            assert await worker(15)
            tasks.cancel_scope.cancel()
