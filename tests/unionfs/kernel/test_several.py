"""The loop of one of several processes, with a socket in the kernel's place."""

from __future__ import annotations

import os
import select
from collections import Counter
from typing import TYPE_CHECKING

import trio

from resolver.manifest import ViewId
from tests.unionfs.kernel.test_devfuse import TERMS, Gate, Kernel, kernel
from tests.unionfs.kernel.test_protocol import UNIQUE
from unionfs.kernel import abi, devfuse
from unionfs.kernel.abi import Opcode
from unionfs.kernel.gains import Gain
from unionfs.kernel.protocol import Protocol
from unionfs.kernel.siblings import Siblings
from unionfs.view.catalog import manifest_path

if TYPE_CHECKING:
    from tests.conftest import Served
    from unionfs.view.filesystem import Filesystem

__all__ = ["kernel"]


async def serve(
    kernel: Kernel, filesystem: Filesystem, siblings: Siblings, draining: trio.Event | None = None
) -> None:
    await devfuse.answer(
        filesystem, kernel.device, TERMS, kernel.slots, requests=kernel.requests,
        draining=draining, siblings=siblings,
    )  # fmt: skip


async def test_requests_and_tasks_take_turns(kernel: Kernel, served: Served) -> None:
    """It sleeps for both: what the kernel asks, and what trio waits for."""
    gate = Gate(served)
    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(serve, kernel, gate.filesystem, Siblings())
            for unique in range(2, 20, 2):
                await trio.sleep(0.005)  # longer than it lingers
                await kernel.send(Opcode.READLINK, served.node("lib"), unique=unique)
                assert await kernel.receive() == (unique, 0, b"current/lib")
            await kernel.send(Opcode.READLINK, served.node("current"), unique=30)
            await trio.sleep(0.05)
            gate.opened.set()
            assert await kernel.receive() == (30, 0, f"views/{served.view}".encode())
            tasks.cancel_scope.cancel()


async def test_tasks_that_are_always_busy_do_not_keep_the_kernel_waiting(
    kernel: Kernel, served: Served
) -> None:
    async def busy() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(busy)
            tasks.start_soon(serve, kernel, served.filesystem, Siblings())
            for unique in range(2, 20, 2):
                await kernel.send(Opcode.READLINK, served.node("lib"), unique=unique)
                assert (await kernel.receive())[0] == unique
            tasks.cancel_scope.cancel()


async def test_who_was_interrupted_is_found_by_all(kernel: Kernel, served: Served) -> None:
    told: list[int] = []
    siblings, gate = Siblings(tell=told.append), Gate(served)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(serve, kernel, gate.filesystem, siblings)
        for unique in (2, 4):
            await kernel.send(Opcode.READLINK, served.node("current"), unique=unique)
        await kernel.send(Opcode.READLINK, served.node("lib"), unique=6)
        assert (await kernel.receive())[0] == 6
        # By another process; by the kernel; and one that waits elsewhere.
        assert siblings.interrupt(2)
        assert not siblings.interrupt(8)
        for unique in (4, 8):
            body = abi.INTERRUPT_IN.pack(unique)
            await kernel.send(Opcode.INTERRUPT, 0, body, unique=unique + 1)
        assert {(await kernel.receive())[:2] for _ in range(2)} == {(2, 4), (4, 4)}  # EINTR
        assert told == [8]
        tasks.cancel_scope.cancel()


async def test_it_drains(kernel: Kernel, served: Served) -> None:
    gate, draining = Gate(served), trio.Event()
    with trio.fail_after(30):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(serve, kernel, gate.filesystem, Siblings(), draining)
            await kernel.send(Opcode.READLINK, served.node("current"), unique=2)
            await trio.sleep(0.05)
            draining.set()
            await trio.sleep(0.05)
            await kernel.send(Opcode.READLINK, served.node("lib"), unique=4)
            gate.opened.set()
        assert (await kernel.receive())[:2] == (2, 0)
    assert kernel.slots.in_flight() == []
    assert select.select([kernel.device], [], [], 0)[0]  # it has left the last one to others


def test_pages_of_a_directory_that_grows_are_never_older_than_the_first(served: Served) -> None:
    """The first page came from another process, which knew more than this one did before."""
    gain = Gain(on=True, why="")
    protocol = Protocol(served.filesystem, Counter(), opens=gain, opendirs=gain, shared=True)
    registry = served.filesystem.catalog.registry

    def page(offset: int) -> bytes:
        body = abi.READ_IN.pack(0, offset, 1 << 20) + bytes(20)
        header = abi.IN_HEADER.pack(
            abi.IN_HEADER.size + len(body), Opcode.READDIR, UNIQUE, served.node("views"),
            0, 0, os.getpid(), 0, 0,
        )  # fmt: skip
        answer = protocol.answer(memoryview(header + body))
        assert isinstance(answer, list)
        return answer[1]

    before = len(served.filesystem.catalog.views())
    assert page(0)
    manifest_path(served.filesystem.catalog.places, ViewId("f" * 32)).touch()
    registry.register_view(ViewId("f" * 32))
    assert b"f" * 32 in page(before)
