"""The loop, with a socket in the kernel's place: messages in, messages out."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from unionfs.kernel import abi, devfuse, loop
from unionfs.kernel.abi import Init, Opcode
from unionfs.kernel.session import Terms, negotiate
from unionfs.kernel.slots import Slots, create
from unionfs.view.filesystem import Filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.manifest import ViewId
    from tests.conftest import Served

TERMS = Terms(minor=abi.MINOR, offered=Init.NO_OPEN_SUPPORT | Init.NO_OPENDIR_SUPPORT)


class Kernel:
    """One end of a socket, whose other end a server takes for `/dev/fuse`."""

    def __init__(self, own: socket.socket, device: socket.socket) -> None:
        self.socket = trio.socket.from_stdlib_socket(own)
        self.device = device.fileno()
        os.set_blocking(self.device, False)
        self.slots = Slots(create())
        self.requests: Counter[str] = Counter()

    async def send(self, opcode: Opcode, node: int, body: bytes = b"", *, unique: int) -> None:
        size = abi.IN_HEADER.size + len(body)
        header = abi.IN_HEADER.pack(size, opcode, unique, node, 0, 0, os.getpid(), 0, 0)
        await self.socket.send(header + body)

    async def receive(self) -> tuple[int, int, bytes]:
        """(unique, errno, payload)."""
        with trio.fail_after(30):
            whole = await self.socket.recv(1 << 21)
        size, error, unique = abi.OUT_HEADER.unpack_from(whole)
        assert size == len(whole)
        return unique, -error, whole[abi.OUT_HEADER.size :]

    async def serve(
        self, filesystem: Filesystem, slots: Slots, draining: trio.Event | None = None
    ) -> None:
        await devfuse.answer(
            filesystem, self.device, TERMS, slots, requests=self.requests, draining=draining
        )


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    own, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with own, device:
        made = Kernel(own, device)
        yield made
        made.slots.close()


class Gate:
    """A `current` that waits."""

    def __init__(self, served: Served) -> None:
        self.view = served.view
        self.opened = trio.Event()
        self.filesystem = Filesystem(served.filesystem.catalog, self, uid=1, gid=2)

    async def __call__(self, tid: int) -> ViewId:
        del tid
        await self.opened.wait()
        return self.view


async def test_who_has_to_wait_holds_nobody_up(kernel: Kernel, served: Served) -> None:
    gate = Gate(served)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(kernel.serve, gate.filesystem, kernel.slots)
        waiting = range(2, 202, 2)
        for unique in waiting:
            await kernel.send(Opcode.READLINK, served.node("current"), unique=unique)
        await kernel.send(Opcode.READLINK, served.node("lib"), unique=1000)
        assert await kernel.receive() == (1000, 0, b"current/lib")
        gate.opened.set()
        answers = {await kernel.receive() for _ in waiting}
        assert answers == {(unique, 0, f"views/{served.view}".encode()) for unique in waiting}
        assert kernel.slots.in_flight() == []
        tasks.cancel_scope.cancel()


async def test_an_interrupted_caller_is_let_go(kernel: Kernel, served: Served) -> None:
    gate = Gate(served)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(kernel.serve, gate.filesystem, kernel.slots)
        for unique in (2, 4):
            await kernel.send(Opcode.READLINK, served.node("current"), unique=unique)
        # The first is interrupted twice; 99 is nobody.
        for unique in (99, 2, 2):
            body = abi.INTERRUPT_IN.pack(unique)
            await kernel.send(Opcode.INTERRUPT, 0, body, unique=unique + 1)
        assert await kernel.receive() == (2, 4, b"")  # EINTR
        gate.opened.set()
        assert (await kernel.receive())[:2] == (4, 0)
        assert kernel.requests["INTERRUPT"] == 3
        tasks.cancel_scope.cancel()


async def test_an_answer_in_time_beats_the_interrupt(
    kernel: Kernel, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "GRACE", 60)
    gate = Gate(served)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(kernel.serve, gate.filesystem, kernel.slots)
        await kernel.send(Opcode.READLINK, served.node("current"), unique=2)
        await kernel.send(Opcode.INTERRUPT, 0, abi.INTERRUPT_IN.pack(2), unique=3)
        await kernel.send(Opcode.READLINK, served.node("lib"), unique=4)
        assert (await kernel.receive())[0] == 4
        gate.opened.set()
        assert (await kernel.receive())[:2] == (2, 0)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [0.1, 0.0], ids=["soon", "never"])
async def test_a_reply_that_the_kernel_does_not_take_is_not_the_last(
    kernel: Kernel, served: Served, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """It had no memory for it; with "never" it only takes what is small."""
    written, until = os.writev, trio.current_time() + seconds

    def write(descriptor: int, parts: list[bytes]) -> int:
        small = sum(map(len, parts)) == abi.OUT_HEADER.size
        if (
            descriptor == kernel.device
            and not small
            and (trio.current_time() < until or not seconds)
        ):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return written(descriptor, parts)

    monkeypatch.setattr(os, "writev", write)
    monkeypatch.setattr(loop, "AGAIN_SECONDS", 0.5)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(kernel.serve, served.filesystem, kernel.slots)
        await kernel.send(Opcode.READLINK, served.node("lib"), unique=2)
        answer = await kernel.receive()
        assert answer == ((2, 0, b"current/lib") if seconds else (2, errno.EIO, b""))
        await wait_all_tasks_blocked()
        assert kernel.slots.in_flight() == []
        tasks.cancel_scope.cancel()


async def test_what_one_server_leaves_the_next_answers(kernel: Kernel, served: Served) -> None:
    gate = Gate(served)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(kernel.serve, gate.filesystem, kernel.slots)
        await kernel.send(Opcode.READLINK, served.node("current"), unique=2)
        await kernel.send(Opcode.READLINK, served.node("lib"), unique=4)
        assert (await kernel.receive())[0] == 4
        tasks.cancel_scope.cancel()
    with Slots(os.dup(kernel.slots.descriptor)) as slots:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(kernel.serve, served.filesystem, slots)
            assert await kernel.receive() == (2, 0, f"views/{served.view}".encode())
            tasks.cancel_scope.cancel()
        assert slots.in_flight() == []


async def test_a_server_that_drains_answers_what_it_has_read(
    kernel: Kernel, served: Served
) -> None:
    gate = Gate(served)
    draining = trio.Event()
    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(kernel.serve, gate.filesystem, kernel.slots, draining)
            await kernel.send(Opcode.READLINK, served.node("current"), unique=2)
            await kernel.send(Opcode.READLINK, served.node("lib"), unique=4)
            assert (await kernel.receive())[0] == 4
            draining.set()
            await trio.testing.wait_all_tasks_blocked()
            await kernel.send(Opcode.READLINK, served.node("lib"), unique=6)
            gate.opened.set()
        # It has ended by itself, and left what it had not read to others.
        assert (await kernel.receive())[:2] == (2, 0)
        assert kernel.slots.in_flight() == []
        async with trio.open_nursery() as tasks:
            tasks.start_soon(kernel.serve, served.filesystem, kernel.slots)
            assert (await kernel.receive())[0] == 6
            tasks.cancel_scope.cancel()


async def test_a_large_read_comes_from_another_thread(kernel: Kernel, served: Served) -> None:
    node = served.node(f"views/{served.view}/large")
    content = served.files["large"]
    async with trio.open_nursery() as tasks:
        tasks.start_soon(kernel.serve, served.filesystem, kernel.slots)
        body = abi.READ_IN.pack(0, 0, 1 << 20) + bytes(20)
        await kernel.send(Opcode.READ, node, body, unique=2)
        # The socket takes less at once than the kernel does; a lost answer is a logged error.
        body = abi.READ_IN.pack(0, 1000, 50_000) + bytes(20)
        await kernel.send(Opcode.READ, node, body, unique=4)
        answers = {}
        while 4 not in answers:
            unique, error, payload = await kernel.receive()
            assert error == 0
            answers[unique] = payload
        assert answers[4] == content[1000:51_000]
        assert answers.get(2, content) == content
        tasks.cancel_scope.cancel()


async def test_a_failure_is_one_callers(
    kernel: Kernel, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(tid: int) -> ViewId:
        raise RuntimeError(tid)

    filesystem = Filesystem(served.filesystem.catalog, failing, uid=1, gid=2)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(kernel.serve, filesystem, kernel.slots)
        await kernel.send(Opcode.READLINK, served.node("current"), unique=2)
        assert await kernel.receive() == (2, 5, b"")  # EIO
        assert "RuntimeError" in caplog.text
        await kernel.send(Opcode.READLINK, served.node("lib"), unique=4)
        assert (await kernel.receive())[:2] == (4, 0)
        tasks.cancel_scope.cancel()


# INIT


@contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    own, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with own, device:
        yield own, device


def init(major: int, minor: int, flags: int) -> bytes:
    body = abi.INIT_IN.pack(major, minor, 131_072, flags) + bytes(48)
    size = abi.IN_HEADER.size + len(body)
    return abi.IN_HEADER.pack(size, Opcode.INIT, 2, 0, 0, 0, 0, 0, 0) + body


def test_init_agrees_on_what_both_know() -> None:
    with sockets() as (own, device):
        own.send(init(7, 45, 0xFFFF_FFFF))
        terms = negotiate(device.fileno())
        assert terms == Terms(minor=38, offered=0xFFFF_FFFF)
        assert Terms.from_json(terms.to_json()) == terms
        said = own.recv(1000)
        assert len(said) == abi.OUT_HEADER.size + 64
        major, minor, readahead, flags, *_ = abi.INIT_OUT.unpack_from(said, abi.OUT_HEADER.size)
        assert (major, minor, readahead) == (7, 38, 131_072)
        assert flags & Init.DO_READDIRPLUS
        assert not flags & Init.CACHE_SYMLINKS


def test_init_of_other_versions() -> None:
    with sockets() as (own, device):
        own.send(init(8, 0, 0))
        own.send(init(7, 31, 0))
        assert negotiate(device.fileno()) == replace(TERMS, minor=31, offered=0)
        assert abi.INIT_OUT.unpack_from(own.recv(1000), abi.OUT_HEADER.size)[0] == 7
    with sockets() as (own, device):
        own.send(init(7, 12, 0))
        with pytest.raises(Exception, match=r"7\.12 .* needs 7\.28"):
            negotiate(device.fileno())
