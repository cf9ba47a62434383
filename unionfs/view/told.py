"""What a mount's kernel was told: what each number means, for as long as the mount lives.

The registry gives each number once. But it is a file, and an earlier one may come in its place: a
state is restored from a backup while something is mounted. That one gives numbers again which the
kernel remembers, with what it has read. So whoever serves a mount notes here what a number means
before the kernel is told of it, and the first meaning holds; another is refused. The registry goes
on above what is noted (`Registry.go_on_above`), so that hardly ever anything has to be.

It is a file without a name that goes from one supervisor to the next (`unionfs.daemon.handover`),
for all its servers and workers: records that are appended, and never changed. Who has appended some
reads what others had before. Records cross no page, so one who is killed leaves whole ones.
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.archive.layer import LayerError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_RECORD: Final = struct.Struct("<QQ16s")
"""Number and, in the lowest bits, its sort; time; what it means."""

_SORT_BITS: Final = 2


class Sort(enum.IntEnum):
    """Of which sort a number is; `REFUSED` ones are archives, views or projects."""

    ARCHIVES = 0
    VIEWS = 1
    PROJECTS = 2
    REFUSED = 3


class Meaning(NamedTuple):
    """What a number means, as `what_is` has it, and since when: nanoseconds (Epoch)."""

    what: bytes
    time: int


class Telling(NamedTuple):
    """A number with what it means, and how that is called in a message."""

    number: int
    what: bytes
    time: int
    name: str


def what_is(name: str) -> bytes:
    """An archive's name, or a project's link, in 16 bytes. A view's id has so many itself."""
    return hashlib.sha256(os.fsencode(name)).digest()[:16]


def begin() -> int:
    """A file for a new mount: a descriptor."""
    descriptor = os.memfd_create("pkgview-told", os.MFD_CLOEXEC)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


class Told:
    """One mount's, by the descriptor of its file; None: nobody else serves it. One thread only."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = begin() if descriptor is None else descriptor
        self._read = 0
        self._meanings: tuple[dict[int, Meaning], ...] = tuple({} for _ in Sort)
        self._highest = [0] * len(Sort)

    def get(self, sort: Sort, number: int) -> Meaning | None:
        """What the kernel was told of a number; None where it was told nothing."""
        found = self._meanings[sort].get(number)
        if found is None and self._hear():
            found = self._meanings[sort].get(number)
        return found

    def note(self, sort: Sort, meanings: Mapping[int, Meaning]) -> None:
        """The kernel is told of these from now on, unless it was told of them before."""
        known = self._meanings[sort]
        new = {number: it for number, it in meanings.items() if number not in known}
        if not new:
            return
        records = (_RECORD.pack(n << _SORT_BITS | sort, it.time, it.what) for n, it in new.items())
        with suppress(OSError):  # no memory: then this process alone knows of it
            os.write(self._descriptor, b"".join(records))
        self._hear()
        for number, meaning in new.items():
            self._learn(sort, number, meaning)

    def tell(self, sort: Sort, given: Collection[Telling]) -> None:
        """Note these; `LayerError` where the kernel was told something else of one."""
        self.note(sort, {one.number: Meaning(one.what, one.time) for one in given})
        for number, what, _, name in given:
            known = self.get(sort, number)
            if known is not None and known.what != what:
                self.note(Sort.REFUSED, {number << _SORT_BITS | sort: Meaning(what, 0)})
                raise LayerError(
                    f"{name} has number {number}, which means something else to this mount: "
                    "the registry was replaced under a live mount; "
                    "unmount (`pkgview umount`) and mount again"
                )

    @property
    def highest(self) -> dict[str, int]:
        """The highest number of each table of the registry."""
        self._hear()
        return {sort.name.lower(): self._highest[sort] for sort in Sort if sort is not Sort.REFUSED}

    @property
    def refused(self) -> int:
        """How many numbers mean something else by now."""
        self._hear()
        return len(self._meanings[Sort.REFUSED])

    def _hear(self) -> bool:
        """Read what was appended; whether there was any."""
        size = os.fstat(self._descriptor).st_size - self._read
        size -= size % _RECORD.size
        if not size:
            return False
        data = os.pread(self._descriptor, size, self._read)
        self._read += len(data)
        for number, time, what in _RECORD.iter_unpack(data):
            sort = Sort(number & (1 << _SORT_BITS) - 1)
            self._learn(sort, number >> _SORT_BITS, Meaning(what, time))
        return True

    def _learn(self, sort: Sort, number: int, meaning: Meaning) -> None:
        self._meanings[sort].setdefault(number, meaning)
        self._highest[sort] = max(self._highest[sort], number)
