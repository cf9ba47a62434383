"""What the fetcher knows of remote stores, of archives that it writes to, and of who waits."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from unionfs.store.remote.lazy.filling import Filling
    from unionfs.store.remote.lazy.plan import Piece
    from unionfs.store.remote.transport import Blob, Transport

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 2.0
LONGEST_ASKED: Final = 300.0
"""Seconds before a server that fails is asked again: at first, at most, and if it says so."""


@dataclass(slots=True, eq=False)
class Waiting:
    """Somebody who waits: for which frames of which archives, and what is in the way."""

    left: dict[str, set[int]] = field(default_factory=dict)
    trouble: str = "no answer"
    refused: str = ""
    ended: trio.Event = field(default_factory=trio.Event)

    def came(self, archive: str, frames: Collection[int]) -> None:
        """Frames are here."""
        left = self.left.get(archive)
        if left is not None:
            left.difference_update(frames)
            if not left:
                del self.left[archive]
        if not self.left:
            self.ended.set()

    def refuse(self, why: str) -> None:
        """It will not get them."""
        self.refused = self.refused or why
        self.ended.set()


class Remote:
    """A remote store, and whether it can be asked just now."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.failures = 0
        self.until = 0.0
        self._tries = 0

    def may(self, now: float) -> bool:
        """Whether it may be asked now."""
        return now >= self.until and not self._tries

    def begin(self) -> bool:
        """A request begins: whether it is a try. There is one at a time after a failure."""
        self._tries += self.failures > 0
        return self.failures > 0

    def end(self, *, tried: bool) -> None:
        """It ends, of which `begin` said so."""
        self._tries -= tried

    def failed(self, asked: float) -> None:
        """A request brought nothing; `asked`: the seconds of pause that it asks for."""
        pause = min(FIRST_PAUSE * 2**self.failures, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self.failures = min(self.failures + 1, 10)
        self.until = trio.current_time() + max(pause, min(asked, LONGEST_ASKED))

    def succeeded(self) -> None:
        """A request brought something."""
        self.failures, self.until = 0, 0.0


@dataclass(slots=True)
class Source:
    """Where one archive may come from."""

    remote: Remote
    blob: Blob
    until: float = 0.0
    said: str = ""
    looked: bool = False


class Work:
    """An archive that is written to."""

    def __init__(self, filling: Filling, sources: list[Source]) -> None:
        self.filling = filling
        self.sources = sources
        self.lock = trio.Lock()
        self.waiting: set[Waiting] = set()
        self.written: list[int] = []
        self.wrong: dict[int, int] = {}
        self.barred: dict[int, tuple[float, str]] = {}
        self.late: dict[int, tuple[float, str]] = {}
        self.idle_since = trio.current_time()
        self.gone = False

    @property
    def name(self) -> str:
        """The archive's."""
        return self.filling.name

    def is_gone(self) -> bool:
        """Whether it was closed."""
        return self.gone

    def source(self, now: float) -> Source | None:
        """The first that may be asked now."""
        return next((s for s in self.sources if now >= s.until and s.remote.may(now)), None)

    def refusal(self, now: float) -> str:
        """Why it is not to be had from anybody for a while, "" if it may be."""
        if all(now < source.until for source in self.sources):
            return "; ".join(source.said for source in self.sources)
        return ""


class Cut:
    """What comes of a piece, cut into frames."""

    def __init__(self, offsets: Sequence[int], piece: Piece) -> None:
        self._offsets = offsets
        self._last = piece.last
        self._received = bytearray()
        self._frames: list[tuple[int, bytes]] = []
        self.frame = piece.first
        """The next one."""
        self.size = 0
        """Bytes of those that are not taken yet."""
        self.come = 0
        """Bytes that have come at all."""

    @property
    def is_complete(self) -> bool:
        """Whether all has come."""
        return self.frame == self._last

    def take(self, part: bytes) -> bool:
        """More has come; whether it completes a frame."""
        self._received += part
        self.come += len(part)
        begin, before = 0, self.frame
        while self.frame < self._last:
            end = begin + self._offsets[self.frame + 1] - self._offsets[self.frame]
            if end > len(self._received):
                break
            self._frames.append((self.frame, bytes(self._received[begin:end])))
            self.frame, begin = self.frame + 1, end
        del self._received[:begin]
        self.size += begin
        return self.frame > before

    def taken(self) -> list[tuple[int, bytes]]:
        """The frames that are complete, once."""
        frames, self._frames, self.size = self._frames, [], 0
        return frames
