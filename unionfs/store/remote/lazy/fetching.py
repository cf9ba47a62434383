"""What the fetcher does: pieces of archives, from who has them, to who waits for them.

Each archive that something is wanted of is open for writing (`filling`) until that is here.
`plan` says what comes next; at most `CONNECTIONS` pieces of together `MOST_BYTES` are on their way.
Frames are verified and written while a piece comes, and whoever waits is told once they are on the
disk: one wait for the disk marks all that came meanwhile.

What can go wrong, and what follows:

* the connection breaks, the server is busy or too slow (`Transient`): what came counts, the rest is
  asked for again, after a pause that grows, or after the one that the server asks for. Who waits is
  told why once its time is over. A server that fails gets one request at a time until one
  succeeds;
* it does not have the file, or lets us not have it (`RemoteError`): it is asked once where the file
  is now, then the next source is. After the last everybody who waits is refused;
* the bytes are wrong: the frame is asked for again, of the next source first, and then refused, for
  `REFUSED_SECONDS`. What came with it counts;
* the disk is full, or broken: everybody who waits for that archive is refused;
* another fetcher writes to the archive (of another environment, or another machine): what it marks
  counts, and it is waited for until it is done.

Concurrency: all in one trio thread; writing and verifying in others, and of one archive never two
that change marks at once (`Work.lock`).
"""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import trio

from resolver.errors import PkgviewError
from unionfs.archive.layer import LayerError
from unionfs.store.remote.lazy.counts import Counts
from unionfs.store.remote.lazy.filling import Filling
from unionfs.store.remote.lazy.pieces import Pieces
from unionfs.store.remote.lazy.plan import Order, Plan
from unionfs.store.remote.lazy.works import Remote, Source, Waiting, Work
from unionfs.store.remote.transport import Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractAsyncContextManager

    from unionfs.store.partial import Partials
    from unionfs.store.remote.transport import Transport

logger = logging.getLogger(__name__)

CONNECTIONS: Final = 8
"""Requests at once; more only share the same link."""

MOST_BYTES: Final = 24 << 20
"""Bytes asked for and not yet here."""

IN_BACKGROUND: Final = 2
"""Of these requests, how many may be for what nobody has touched yet."""

LATE_SECONDS: Final = 1.0
"""How long it is repeated that something did not come in time."""

FOREIGN_PAUSE: Final = 0.05
"""Seconds between looks at what another fetcher does."""

LET_GO_SECONDS: Final = 2.0
"""Seconds after which an archive of which nothing is wanted is left to others."""


class Fetching:
    """Fetches for one store. `transport_for` opens a remote store by its URL.

    `is_traced`: whether it is known what of an archive is touched first.
    """

    def __init__(
        self,
        partials: Partials,
        transport_for: Callable[[str], AbstractAsyncContextManager[Transport]],
        is_traced: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._is_traced = is_traced
        self._partials = partials
        self._transport_for = transport_for
        self.counts = Counts(partials)
        self._plan = Plan()
        self._works: dict[str, Work] = {}
        self._remotes: dict[str, Remote] = {}
        self._opening = trio.Lock()
        self._transports = AsyncExitStack()
        self._more = trio.Event()
        self._pieces = Pieces(self._plan, self._drop, self._look_again, self.counts)

    @property
    def busy(self) -> bool:
        """Whether anything is wanted or on its way."""
        return bool(self._pieces.flying) or any(
            not self._plan.is_idle(name) for name in self._works
        )

    def _look_again(self) -> None:
        self._more.set()

    async def run(self) -> None:
        """Fetch whatever is wanted; never returns."""
        try:
            async with self._transports, trio.open_nursery() as nursery:
                while True:
                    self._more = trio.Event()
                    now = trio.current_time()
                    while self._has_room() and (piece := self._plan.next(self._may)):
                        work = self._works[piece.archive]
                        source = work.source(now) or work.sources[0]
                        self._pieces.begin(piece, work, source, nursery)
                    self._let_go(now)
                    with trio.move_on_at(self._next_moment(now)):
                        await self._more.wait()
        finally:  # no task writes any more
            for work in self._works.values():
                work.filling.close()

    # -- who waits -------------------------------------------------------------------------------

    async def wait(
        self,
        wanted: Mapping[str, Collection[int] | None],
        order: Order,
        *,
        within: float = math.inf,
        again: bool = False,
    ) -> None:
        """Until these frames (None: all) of these archives are here.

        `LayerError` if they cannot be had, or not `within` so many seconds. `again`: who asks could
        not read what is marked.
        """
        waiting = Waiting()
        try:
            with trio.move_on_after(within) as limit:
                for name, frames in wanted.items():
                    await self._want(waiting, name, frames, order, again=again)
                if waiting.left:
                    await waiting.ended.wait()
            if limit.cancelled_caught:
                self._be_late(waiting, within)
        finally:
            for name in waiting.left:
                work = self._works.get(name)
                if work is not None and waiting in work.waiting:
                    work.waiting.discard(waiting)
                    self._pieces.spare(work)
        if waiting.refused:
            raise LayerError(waiting.refused)

    async def _want(
        self,
        waiting: Waiting,
        name: str,
        frames: Collection[int] | None,
        order: Order,
        *,
        again: bool,
    ) -> None:
        while (work := await self._work_or_whole(waiting, name)) is None:
            if not self._partials.has(name) or waiting.refused:
                return
            if self._is_here(name, frames) and not again:
                return
            waiting.trouble = "another process fetches it"
            await trio.sleep(FOREIGN_PAUSE)
        if again and frames:
            await self._recheck(work, frames)
        if work.is_gone():
            return
        lacking = self._plan.lacking(name)
        left = {one for one in (lacking if frames is None else frames) if one in lacking}
        if left and (why := self._refusal(work, left)):
            waiting.refuse(why)
        elif left:
            waiting.left[name] = left
            work.waiting.add(waiting)
            self._plan.want(name, sorted(left), order)
            self._more.set()

    def _be_late(self, waiting: Waiting, within: float) -> None:
        """Refuse it, and who asks for the same at once: the kernel asks twice for a page."""
        waiting.refuse(f"it did not come within {within:.0f} s: {waiting.trouble}")
        until = trio.current_time() + LATE_SECONDS
        for name, left in waiting.left.items():
            if (work := self._works.get(name)) is not None:
                sources = " or ".join(one.remote.transport.url for one in work.sources)
                waiting.refused = (
                    f"{name}: frame {min(left)} did not come from {sources} within {within:.0f} s: "
                    f"{waiting.trouble}"
                )
                work.late.update(dict.fromkeys(left, (until, waiting.refused)))

    async def _recheck(self, work: Work, frames: Collection[int]) -> None:
        """Somebody could not read frames that are marked."""
        async with work.lock:
            if not work.is_gone():
                wrong = await trio.to_thread.run_sync(work.filling.recheck, frames)
                logger.warning("%s: frames %s were damaged: fetched again", work.name, wrong)
                self._plan.lost(work.name, wrong)

    def _refusal(self, work: Work, frames: set[int]) -> str:
        """Why these are not to be had for now, "" if they may be."""
        now = trio.current_time()
        for frame in frames & work.late.keys():
            until, why = work.late[frame]
            if now < until:
                return why
            del work.late[frame]
        for frame in frames & work.barred.keys():
            until, why = work.barred[frame]
            if now < until:
                return why
            del work.barred[frame]
            work.wrong.pop(frame, None)
            self._plan.unbar(work.name, frame)
        return work.refusal(now)

    def _is_here(self, name: str, frames: Collection[int] | None) -> bool:
        from unionfs.archive.framecache import FrameCache  # noqa: PLC0415

        try:
            archive = self._partials.open(name, FrameCache(0))
            return not archive.absent_of(
                range(archive.contents.frame_count) if frames is None else frames
            )
        except LayerError:
            return not self._partials.has(name)  # it became an ordinary one

    # -- archives --------------------------------------------------------------------------------

    async def _work_or_whole(self, waiting: Waiting, name: str) -> Work | None:
        try:
            return await self._work(name)
        except (LayerError, PkgviewError) as error:
            if self._partials.has(name):  # else it became an ordinary one
                waiting.refuse(str(error))
            return None

    async def _work(self, name: str) -> Work | None:
        """The archive, open for writing; None while another writes to it."""
        async with self._opening:
            work = self._works.get(name)
            if work is not None:
                return work
            filling = await trio.to_thread.run_sync(Filling.of, self._partials, name)
            if filling is None:
                return None
            try:
                contents = filling.archive.contents
                origin = filling.origin
                sources = [
                    Source(
                        await self._remote(one.store),
                        Blob(name=name, size=origin.size, address=one.address),
                    )
                    for one in origin.sources
                ]
            except BaseException:
                filling.close()
                raise
            work = Work(filling, sources)
            known = set(filling.archive.here())
            lacking = (one for one in range(contents.frame_count) if one not in known)
            traced = self._is_traced(name)
            self._plan.add(name, filling.archive.seek.offsets, lacking, traced=traced)
            self._works[name] = work
            return work

    async def _remote(self, url: str) -> Remote:
        found = self._remotes.get(url)
        if found is None:
            transport = await self._transports.enter_async_context(self._transport_for(url))
            found = self._remotes[url] = Remote(transport)
        return found

    def _let_go(self, now: float) -> None:
        """Close archives of which nothing has been wanted for a moment."""
        for name, work in list(self._works.items()):
            if work.waiting or work.lock.locked() or not self._plan.is_idle(name):
                work.idle_since = now
            elif now - work.idle_since >= LET_GO_SECONDS:
                self._drop(work)

    def _drop(self, work: Work) -> None:
        work.gone = True
        del self._works[work.name]
        self._plan.remove(work.name)
        work.filling.close()

    # -- pieces ----------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return len(self._pieces.flying) < CONNECTIONS and (
            sum(one.end - one.start for one in self._pieces.flying) < MOST_BYTES
        )

    def _may(self, archive: str, order: Order) -> bool:
        if order is Order.REST and len(self._pieces.flying) >= IN_BACKGROUND:
            return False
        return self._works[archive].source(trio.current_time()) is not None

    def _next_moment(self, now: float) -> float:
        """When to look again although nothing happened."""
        moments = [remote.until for remote in self._remotes.values() if remote.until > now]
        return min([now + LET_GO_SECONDS if self._works else float("inf"), *moments])
