"""What is fetched next, and in which pieces: the decisions of the fetcher, and no input or output.

Frames are wanted in an order: those that a program waits for; those that a trace says will be
touched; those that follow what is read in order; and the rest. A piece is one request for
neighbouring bytes of one archive, of whole frames:

* for a frame that is waited for, all that is lacking around it in its *block*, so many aligned
  bytes of the file: a request costs far more than a frame does (64 seconds by frames and 6 by
  blocks of 4 MiB, for one import at 20 ms and 100 MB/s). A block has 1 MiB; who goes on where the
  last one ended gets 2 and then 4 MiB, and the one after that ahead. Of what has a trace little
  else is expected to be asked for: the first block has 128 KiB, the next ones 256 and 512;
* for a trace, its frames with small gaps between them;
* for the rest, what is lacking next.

A frame is on its way once, whoever wants it. What a piece did not bring is wanted again.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

BLOCK: Final = 1 << 20
LARGEST_BLOCK: Final = 4 << 20
"""Bytes of the file in one request for a frame that is waited for, at first and at most."""

GAP: Final = 64 << 10
"""Bytes of frames that no trace has and that are fetched because those around them are."""


SMALLEST_BLOCK: Final = 128 << 10
"""The same for the first frame that somebody waits for although there was a trace."""

NEAR: Final = 4
"""Frames by which requests of who reads in order overtake each other."""


class Order(enum.IntEnum):
    """Why a frame is wanted; the first is fetched first."""

    ASKED = 0
    TRACED = 1
    FOLLOWING = 2
    REST = 3


class Piece(NamedTuple):
    """The frames from `first` until before `last` of an archive: bytes `start` to `end`."""

    archive: str
    first: int
    last: int
    start: int
    end: int
    order: Order


class _Frames:
    """What is known of one archive's frames. `offsets` are their beginnings, and the last's end."""

    def __init__(self, offsets: Sequence[int], lacking: Iterable[int], block: int) -> None:
        self.offsets = offsets
        self.block = block
        self.lacking = set(lacking)
        self.flying: dict[int, Order] = {}
        self.barred: set[int] = set()
        self.wanted: tuple[dict[int, int], ...] = tuple({} for _ in Order)
        """By order: a frame, and the number of the question that wants it."""
        self.goes_on = (-1, -1, BLOCK, 0)
        """Where the last block that somebody waited for ended, where what is ahead of it does
        (frames), its size, and the question. Who asks later for a frame between goes on in order.
        """

    def free(self, frame: int) -> bool:
        """Whether it may be fetched."""
        return frame in self.lacking and frame not in self.flying and frame not in self.barred


class Plan:
    """All that is wanted of some archives. One thread only."""

    def __init__(self) -> None:
        self._archives: dict[str, _Frames] = {}
        self._questions = 0

    def add(
        self,
        archive: str,
        offsets: Sequence[int],
        lacking: Iterable[int],
        *,
        traced: bool = False,
    ) -> None:
        """Know an archive: where its frames lie, and which of them are lacking.

        `traced`: there is a trace of it, so few others are expected to be asked for.
        """
        block = SMALLEST_BLOCK if traced else BLOCK
        self._archives[archive] = _Frames(offsets, lacking, block)

    def remove(self, archive: str) -> None:
        """Know it no longer."""
        del self._archives[archive]

    def __contains__(self, archive: str) -> bool:
        return archive in self._archives

    def lacking(self, archive: str) -> Collection[int]:
        """The frames that are not here."""
        return self._archives[archive].lacking

    def is_idle(self, archive: str) -> bool:
        """Whether nothing of it is wanted or on its way."""
        known = self._archives[archive]
        return not known.flying and not any(known.wanted)

    def want(self, archive: str, frames: Iterable[int], order: Order) -> None:
        """Frames are wanted; those that are here, or on their way, are passed over."""
        known = self._archives[archive]
        self._questions += 1
        for frame in frames:
            if frame in known.flying:
                known.flying[frame] = min(known.flying[frame], order)
            elif known.free(frame):
                for later in known.wanted[order + 1 :]:
                    later.pop(frame, None)
                if not any(frame in sooner for sooner in known.wanted[:order]):
                    known.wanted[order][frame] = self._questions

    def asked_only(self, archive: str, frames: Collection[int]) -> None:
        """Nobody waits for others than these frames; what is on its way comes all the same."""
        asked = self._archives[archive].wanted[Order.ASKED]
        for frame in asked.keys() - frames:
            del asked[frame]

    def forget(self, archive: str) -> None:
        """Nothing of it is wanted any more."""
        for wanted in self._archives[archive].wanted:
            wanted.clear()

    def lost(self, archive: str, frames: Iterable[int]) -> None:
        """Frames that were here are lacking."""
        self._archives[archive].lacking.update(frames)

    def bar(self, archive: str, frame: int) -> None:
        """A frame is not to be had: it is in no piece, and what wants it is forgotten."""
        known = self._archives[archive]
        known.barred.add(frame)
        for wanted in known.wanted:
            wanted.pop(frame, None)

    def unbar(self, archive: str, frame: int) -> None:
        """It may be tried again."""
        self._archives[archive].barred.discard(frame)

    def came(self, archive: str, frames: Iterable[int]) -> None:
        """Frames are here now."""
        known = self._archives[archive]
        for frame in frames:
            known.flying.pop(frame, None)
            known.lacking.discard(frame)
            for wanted in known.wanted:
                wanted.pop(frame, None)

    def failed(self, piece: Piece) -> None:
        """No more comes of a piece: what did not come is wanted as before."""
        known = self._archives[piece.archive]
        for frame in range(piece.first, piece.last):
            order = known.flying.pop(frame, None)
            if (
                order is not None
                and known.free(frame)
                and (order is not Order.FOLLOWING or piece.order is order)
            ):
                known.wanted[order][frame] = 0

    def next(self, may: Callable[[str, Order], bool]) -> Piece | None:
        """The most urgent piece of an archive that `may` be asked for now; it is on its way then.

        None where nothing is to be fetched.
        """
        for order in Order:
            for archive, known in self._archives.items():
                if known.wanted[order] and may(archive, order):
                    frame = next(iter(known.wanted[order]))
                    first, last = self._run(known, frame, order)
                    return self._fly(archive, known, first, last, order)
        return None

    def _fly(self, archive: str, known: _Frames, first: int, last: int, order: Order) -> Piece:
        for frame in range(first, last):
            # What nobody asked for and only lies beside it is not worth a second try.
            known.flying[frame] = next(
                (one for one in Order if frame in known.wanted[one]), Order.FOLLOWING
            )
            for wanted in known.wanted:
                wanted.pop(frame, None)
        offsets = known.offsets
        return Piece(archive, first, last, offsets[first], offsets[last], order)

    def _run(self, known: _Frames, frame: int, order: Order) -> tuple[int, int]:
        """The frames of one piece, from the first until before the last."""
        offsets, count = known.offsets, len(known.offsets) - 1
        if order is Order.ASKED:
            return self._block(known, frame)
        first = last = frame
        if order is Order.TRACED:
            wanted = known.wanted[order]
            after = frame + 1
            while after < count and known.free(after) and offsets[after] - offsets[last + 1] <= GAP:
                if offsets[after + 1] - offsets[first] > LARGEST_BLOCK:
                    break
                if after in wanted:
                    last = after
                after += 1
            return first, last + 1
        while (
            last + 1 < count
            and known.free(last + 1)
            and offsets[last + 2] - offsets[first] <= LARGEST_BLOCK
            and (order is Order.REST or last + 1 in known.wanted[order])
        ):
            last += 1
        return first, last + 1

    def _block(self, known: _Frames, frame: int) -> tuple[int, int]:
        """What is lacking around a frame in its block, which begins or ends between two frames."""
        offsets, count = known.offsets, len(known.offsets) - 1
        begin, end, size, before = known.goes_on
        question = known.wanted[Order.ASKED][frame]
        while 0 <= end < count and end not in known.lacking:
            end += 1  # had before
        later = question != before  # not the other part of one read
        in_order = later and begin >= 0 and begin - NEAR <= frame <= end + NEAR
        size = min(2 * size, LARGEST_BLOCK) if in_order else known.block
        known.block = min(2 * known.block, BLOCK)
        begin = offsets[frame] // size * size
        first, last = frame, frame + 1
        while first and known.free(first - 1) and offsets[first - 1] >= begin:
            first -= 1
        while last < count and known.free(last) and offsets[last] < begin + size:
            last += 1
        ahead = last
        if size > BLOCK:
            until = offsets[last] + size
            while ahead < count and known.free(ahead) and offsets[ahead] < until:
                known.wanted[Order.FOLLOWING].setdefault(ahead, 0)
                ahead += 1
        known.goes_on = (last, ahead, size, question)
        return first, last
