"""While uv runs, no other user brings settings of uv's.

Who may make files in a directory above a project, /tmp say, can have a `uv.toml` or a
`pyproject.toml` there for a moment. uv reads what it finds at a moment of its own, and has no
option that ends its search for a workspace below some directory. So these directories are watched,
inotify(7). The kernel notes a new name before anybody can open it: if one has come when uv is done,
nothing of that run counts. Mostly it is seen at once, and uv is killed with all that it started;
before that it reaches nobody (`gate`).

What the user's own processes do there, and in directories that are the user's alone, is not
watched: who is the same user can do what the user can.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import TYPE_CHECKING, Self

import trio

from resolver.errors import PkgviewError
from resolver.ownership import is_shared, parents
from resolver.python.uv.above import KEEP, NAMES, lies, refuse_anothers
from resolver.python.uv.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_EVENT = struct.Struct("iIII")
"""`struct inotify_event`: watch, mask, cookie, length of the name that follows."""

_NEW = 0x100 | 0x80
"""IN_CREATE, which links have too, and IN_MOVED_TO."""

_OVERFLOW = 0x4000


class Watch:
    """A context in which no other user's settings come to be above some absolute paths.

    `PkgviewError` where some are there at its beginning, or where they cannot be watched.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        places = (place for path in paths for place in (path, os.path.realpath(path)))
        above = dict.fromkeys(one for place in places for one in parents(place))
        self._shared = [one for one in above if is_shared(one)]
        self._number = -1
        self._places: dict[int, str] = {}
        self._running: trio.CancelScope | None = None
        self._gate: Gate | None = None
        self.came = ""
        """The first that came, or what is to be said of one."""

    def __enter__(self) -> Self:
        """From here on."""
        if not self._shared:
            return self
        try:
            self._begin()
            for place in self._shared:
                for name in NAMES:
                    if lies(place, name):
                        refuse_anothers(f"{place}/{name}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Until here."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    async def guard(self) -> None:
        """Notice as soon as one comes; a system task, until `end`."""
        try:
            while self._number >= 0 and not self._has_come():
                await trio.lowlevel.wait_readable(self._number)
        except trio.ClosedResourceError:
            return

    def begin(self, running: trio.CancelScope, *, gated: bool) -> Gate | None:
        """Have what runs cancelled as soon as one comes, and, `gated`, reach nobody from then on.

        None where none can come, or unless `gated`.
        """
        if self._number < 0:
            return None
        self._running = running
        trio.lowlevel.spawn_system_task(self.guard)
        if not gated:
            return None
        self._gate = Gate()
        trio.lowlevel.spawn_system_task(self._gate.keep, self._has_come)
        return self._gate

    def end(self) -> None:
        """`PkgviewError` if one has come; `guard` ends."""
        if self._number < 0:
            return
        trio.lowlevel.notify_closing(self._number)
        if self._gate is not None:
            self._gate.end()
        if self._has_come():
            raise PkgviewError(
                f"{self.came} came to be while uv ran, where other users may make files: nothing "
                "that follows from it counts",
                remedy=f"Run the command again. {KEEP}",
            )

    def _has_come(self) -> bool:
        for place, name, mask in self._events():
            if mask & _OVERFLOW:
                self.came = self.came or f"something in {', '.join(self._shared)}"
            elif name in NAMES:
                self.came = self.came or f"{place}/{name}"
        if self.came and self._running is not None:
            self._running.cancel()
        return bool(self.came)

    def _events(self) -> Iterator[tuple[str, str, int]]:
        while True:
            try:
                data = os.read(self._number, 1 << 16)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length
                yield self._places.get(watch, ""), name, mask

    def _begin(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._number = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._number < 0:
            raise _unwatched(self._shared[0])
        for place in self._shared:
            watch = libc.inotify_add_watch(self._number, os.fsencode(place), _NEW)
            if watch < 0:
                raise _unwatched(place)
            self._places[watch] = place


def _unwatched(place: str) -> PkgviewError:
    number = ctypes.get_errno()
    more = {
        errno.EMFILE: " Or raise fs.inotify.max_user_instances (sysctl).",
        errno.ENOSPC: " Or raise fs.inotify.max_user_watches (sysctl).",
    }
    return PkgviewError(
        f"every user may make files in {place}, and it cannot be watched: {os.strerror(number)}",
        remedy=f"{KEEP}{more.get(number, '')}",
    )
