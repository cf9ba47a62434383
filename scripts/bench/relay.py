"""A slow link: what goes through it is delayed, and all of it together is limited.

Every connection has two threads a direction. A piece that was read has its turn on the link, which
all connections share in each direction, and is written once it has crossed it. What a connection
has under way is bounded, as by a window.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE: Final = 16 << 10
WINDOW: Final = 32
"""Pieces under way of one connection."""


@dataclass(slots=True)
class Direction:
    """One of a link's. `passed`: bytes so far."""

    free: float = 0.0
    passed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arrival(self, size: int, rate: float, delay: float) -> float:
        """When so many bytes, which are sent now, are on the other side."""
        with self.lock:
            self.passed += size
            if not rate:
                return 0.0
            self.free = max(self.free, time.monotonic()) + size / rate
            return self.free + delay


class Relay:
    """A link to `there`, at `port` of this machine. `rate` in bytes a second, 0 for no limit.

    `delay` is the seconds there and back; a connection takes as long to be made.
    """

    def __init__(self, there: int) -> None:
        self._there = there
        self.rate = 0.0
        self.delay = 0.0
        self.up, self.down = Direction(), Direction()
        self.connections = 0
        self.port = 0

    def serve(self, listener: socket.socket) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, here: socket.socket) -> None:
        with here, socket.create_connection(("127.0.0.1", self._there)) as there:
            for end in (here, there):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(self.delay if self.rate else 0.0)
            back = threading.Thread(target=self._cross, args=(there, here, self.down), daemon=True)
            back.start()
            self._cross(here, there, self.up)
            back.join()

    def _cross(self, one: socket.socket, other: socket.socket, way: Direction) -> None:
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(WINDOW)
        arriving = threading.Thread(target=self._arrive, args=(under_way, other), daemon=True)
        arriving.start()
        data = b"-"
        while data:
            try:
                data = one.recv(PIECE)
            except OSError:
                data = b""
            under_way.put((way.arrival(len(data), self.rate, self.delay / 2), data))
        arriving.join()

    @staticmethod
    def _arrive(under_way: queue.Queue[tuple[float, bytes]], other: socket.socket) -> None:
        broken = False
        while True:
            moment, data = under_way.get()
            time.sleep(max(0.0, moment - time.monotonic()))
            if not data:
                break
            if not broken:
                try:
                    other.sendall(data)
                except OSError:
                    broken = True
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextmanager
def relay(there: int) -> Iterator[Relay]:
    """A link to a port of this machine, without limits at first."""
    found = Relay(there)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        found.port = listener.getsockname()[1]
        threading.Thread(target=found.serve, args=(listener,), daemon=True).start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
