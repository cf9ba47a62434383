from __future__ import annotations

import os
import socket

import pytest

from unionfs.kernel import abi
from unionfs.kernel.slots import SLOT_SIZE, SLOTS, Slots, create


def message(unique: int, body: bytes = b"") -> bytes:
    size = abi.IN_HEADER.size + len(body)
    return abi.IN_HEADER.pack(size, abi.Opcode.READLINK, unique, 2, 0, 0, 0, 0, 0) + body


def unique(slots: Slots, number: int) -> int:
    return int(abi.IN_HEADER.unpack_from(slots.views[number])[2])


def test_what_is_not_answered_is_there_for_the_next() -> None:
    kernel, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, server, Slots(create()) as slots:
        assert slots.in_flight() == []
        numbers = []
        for number in range(5):
            kernel.send(message(number))
            numbers.append(slots.read(server.fileno()))
        assert [unique(slots, number) for number in numbers] == [0, 1, 2, 3, 4]
        slots.empty(numbers[3])
        with Slots(os.dup(slots.descriptor)) as successor:
            left = successor.in_flight()
            assert {unique(successor, number) for number in left} == {0, 1, 2, 4}
            # New requests do not overwrite what is in flight.
            kernel.send(message(9))
            assert successor.read(server.fileno()) not in left
            assert len(successor.in_flight()) == 5


def test_a_server_that_is_killed_leaves_its_requests() -> None:
    kernel, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, server, Slots(create()) as slots:
        kernel.send(message(77))
        pid = os.fork()
        if not pid:
            try:
                slots.read(server.fileno())
                os.kill(os.getpid(), 9)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
        with Slots(os.dup(slots.descriptor)) as successor:
            (number,) = successor.in_flight()
            assert unique(successor, number) == 77


def test_a_long_request_spills_and_the_next_is_whole() -> None:
    kernel, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kernel, server, Slots(create()) as slots:
        kernel.send(message(1, b"x" * 7000))
        first = slots.read(server.fileno())
        kernel.send(message(2, b"y" * 8))
        second = slots.read(server.fileno())
        assert bytes(slots.views[first]) == message(1, b"x" * 7000)[:SLOT_SIZE]
        assert bytes(slots.views[second][: len(message(2)) + 8]) == message(2, b"y" * 8)


def test_when_nothing_can_be_read_no_slot_is_taken() -> None:
    kernel, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.set_blocking(server.fileno(), False)
    with kernel, server, Slots(create()) as slots:
        for _ in range(3):
            with pytest.raises(BlockingIOError):
                slots.read(server.fileno())
        assert slots.in_flight() == []
        taken: list[int] = []
        while not slots.full:
            kernel.send(message(len(taken) + 1))
            taken.append(slots.read(server.fileno()))
        assert len(set(taken)) == SLOTS
        slots.empty(taken[7])
        assert not slots.full


def test_untouched_slots_take_no_memory() -> None:
    with Slots(create()) as slots:
        used = os.fstat(slots.descriptor).st_blocks * 512
        assert used <= 64 << 10
        with Slots(os.dup(slots.descriptor)):
            assert os.fstat(slots.descriptor).st_blocks * 512 == used
