"""uv, and all that it starts, reaches nobody before it is known that no settings have come.

A file that comes while uv runs is noticed (`watch`), but a moment later: by then uv may have read
it, and asked the server that it names. The kernel notes the file before anybody can open it. So
here each connect(2) waits until these notes were read: it is a question to us, seccomp_unotify(2),
which goes on in the kernel where we say so.

That takes Linux 5.5, and a process that can gain no privileges afterwards (PR_SET_NO_NEW_PRIVS: a
build cannot use sudo). Where it cannot be had nothing waits.

Run as a program, by its path, this becomes another one: gate.py DESCRIPTOR COMMAND …; it sends what
the questions are read from through that descriptor, a socket.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Machine(NamedTuple):
    """Numbers of a machine: what audit(7) calls it, and of two system calls."""

    arch: int
    connect: int
    seccomp: int


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 42, 317),
    "aarch64": _Machine(0xC00000B7, 203, 277),
}

_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_QUESTION, _ANSWER = struct.Struct("QII64x"), struct.Struct("QqiI")
_GO_ON: Final = 1
_EACCES: Final = 13


class Gate:
    """For one run of uv, in the process that starts it."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.settimeout(0)
        self._questions = -1

    def command(self, command: Sequence[str]) -> list[str]:
        """What is to be started in its place, with `theirs`."""
        # -S, -I: nothing of the environment, which is uv's.
        return [sys.executable, "-IS", __file__, str(self.theirs.fileno()), *command]

    async def keep(self, is_closed: Callable[[], bool]) -> None:
        """Let connections through unless `is_closed`; a system task, until `end`."""
        import trio  # noqa: PLC0415 - not in the program that becomes uv

        with suppress(trio.ClosedResourceError, OSError):
            await trio.lowlevel.wait_readable(self._ours)
            _, numbers, _, _ = socket.recv_fds(self._ours, 1, 1)
            if not numbers:
                return
            self._questions = numbers[0]
            poll = select.poll()
            poll.register(self._questions, select.POLLIN)
            while True:
                await trio.lowlevel.wait_readable(self._questions)
                if any(event & select.POLLHUP for _, event in poll.poll(0)):
                    return  # all that could ask have ended
                self._answer(is_closed)

    def end(self) -> None:
        """No more questions are answered: all have ended."""
        import trio  # noqa: PLC0415 - as above

        self.theirs.close()
        trio.lowlevel.notify_closing(self._ours)
        self._ours.close()
        if self._questions >= 0:
            trio.lowlevel.notify_closing(self._questions)
            os.close(self._questions)

    def _answer(self, is_closed: Callable[[], bool]) -> None:
        asked = bytearray(_QUESTION.size)
        with suppress(FileNotFoundError):  # who asked has ended
            fcntl.ioctl(self._questions, _RECEIVE, asked)
            which, _, _ = _QUESTION.unpack(asked)
            answer = (which, 0, -_EACCES, 0) if is_closed() else (which, 0, 0, _GO_ON)
            fcntl.ioctl(self._questions, _SEND, bytearray(_ANSWER.pack(*answer)))


def _filter(machine: _Machine) -> bytes:
    """A program of classic BPF: connect(2) asks, all else is as ever."""
    lines = (
        (_LOAD, 0, 0, 4),  # struct seccomp_data: arch
        (_EQUAL, 0, 3, machine.arch),
        (_LOAD, 0, 0, 0),  # the number of the call
        (_EQUAL, 0, 1, machine.connect),
        (_RETURN, 0, 0, _NOTIFY),
        (_RETURN, 0, 0, _ALLOW),
    )
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _close(machine: _Machine) -> int:
    """From now on connections ask; the descriptor to read that from, -1 where it cannot be had."""
    libc = ctypes.CDLL(None)
    lines = ctypes.create_string_buffer(program := _filter(machine), len(program))
    described = struct.pack("H6xP", len(program) // 8, ctypes.addressof(lines))
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return -1
    return int(libc.syscall(machine.seccomp, _SET_MODE_FILTER, _NEW_LISTENER, described))


def main() -> None:
    """Become the command."""
    machine, end = _MACHINES.get(os.uname().machine), int(sys.argv[1])
    questions = -1 if machine is None else _close(machine)
    if questions >= 0:
        with socket.socket(fileno=os.dup(end)) as told:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [questions]))
            told.sendmsg([b"1"], [rights])
        os.close(questions)
    os.close(end)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - that is its work


if __name__ == "__main__":
    main()
