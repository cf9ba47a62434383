"""Requests in flight, in memory that outlives the process which read them.

Theory. Once the kernel has handed a request out, it waits for the answer; if the reader dies, the
request is lost unless somebody remembers it. So a server reads each request *straight into* a slot
of shared memory (a memfd, memfd_create(2), which whoever supervises servers holds too) and empties
the slot only after the answer was written. Killed at any instruction in between, it leaves the
request for its successor: the kernel marks a request as handed out after it has copied it, and a
slot counts as taken as soon as its `fuse_in_header.len` is not 0. What was answered just before the
end is answered again; the kernel refuses that with ENOENT, since a `unique` is never used twice.
This works on every kernel; FUSE_NOTIFY_RESEND, which asks the kernel itself to repeat, came with
Linux 6.9.

The kernel wants 8 KiB of room for every read, and requests that matter take less than a tenth:
what does not fit a slot goes to a buffer that all share and that nobody looks at. Only
BATCH_FORGET and what a read-only file system refuses (SETXATTR, ioctls with data) is ever longer.
"""

from __future__ import annotations

import mmap
import os
from typing import Final, Self

from unionfs.kernel import abi

SLOT_SIZE: Final = 2048
"""Bytes. The longest request that is answered from its body: LOOKUP, with FUSE_NAME_MAX (1024)."""

SLOTS: Final = 2048
"""How many callers may wait for an answer (all of them below `current`) before others have to
wait too. Untouched slots take no memory; the last one emptied is used next."""

_LOOK: Final = 32
"""Slots that are looked at together."""

_EMPTY: Final = bytes(4)


class Slots:
    """The slots of one server. Never two live processes on one memfd."""

    def __init__(self, descriptor: int) -> None:
        """Map what `create` made here or in another process; owns `descriptor` from now on."""
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, SLOTS * SLOT_SIZE)
        self._whole = memoryview(self._map)
        self.views = [
            self._whole[number * SLOT_SIZE : (number + 1) * SLOT_SIZE] for number in range(SLOTS)
        ]
        rest = bytearray(abi.READ_BUFFER)
        self._buffers: list[list[memoryview | bytearray]] = [[view, rest] for view in self.views]
        taken = set(in_flight(descriptor))
        self._free = [number for number in reversed(range(SLOTS)) if number not in taken]

    def close(self) -> None:
        """Let go of the memory in this process."""
        self._buffers.clear()
        for view in self.views:
            view.release()
        self._whole.release()
        self._map.close()
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def full(self) -> bool:
        """Whether nothing can be read before something is answered."""
        return not self._free

    def read(self, device: int) -> int:
        """Take a request from the kernel: the number of its slot. `OSError` as its errno says."""
        number = self._free[-1]
        # The page must be there before: one that is missing would be fetched inside read(2), and a
        # SIGKILL which interrupts that makes the kernel fail the request.
        self.views[number][:4] = _EMPTY
        os.readv(device, self._buffers[number])
        self._free.pop()
        return number

    def empty(self, number: int) -> None:
        """The request in this slot is answered."""
        self.views[number][:4] = _EMPTY
        self._free.append(number)

    def in_flight(self) -> list[int]:
        """The slots whose requests are not answered; also in the middle of another's work."""
        return in_flight(self.descriptor)


def in_flight(descriptor: int) -> list[int]:
    """The same for slots that are another's, by their memfd.

    Read, not looked at through a map: that would give every untouched slot its memory. And not all
    at once: what malloc(3) had for that, it would keep.
    """
    room = _LOOK * SLOT_SIZE
    return [
        first + number
        for first in range(0, SLOTS, _LOOK)
        for content in [os.pread(descriptor, room, first * SLOT_SIZE)]
        for number in range(_LOOK)
        if content[number * SLOT_SIZE : number * SLOT_SIZE + 4] != _EMPTY
    ]


def create() -> int:
    """The memfd of new slots, all empty."""
    descriptor = os.memfd_create("pkgview-slots", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SLOTS * SLOT_SIZE)
    return descriptor
