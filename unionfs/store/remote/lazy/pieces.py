"""One piece after the other: received, verified, written, marked; and what follows if it fails.

`unionfs.store.remote.lazy.fetching` says what that is, and which pieces are fetched.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from resolver.errors import PkgviewError
from unionfs.archive.layer import LayerError
from unionfs.store.remote.lazy.works import Cut
from unionfs.store.remote.transport import Transient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from unionfs.store.remote.lazy.counts import Counts
    from unionfs.store.remote.lazy.plan import Piece, Plan
    from unionfs.store.remote.lazy.works import Source, Work

logger = logging.getLogger(__name__)

WRITTEN_AT_ONCE: Final = 256 << 10
"""Bytes after which what came of a piece is written, and who waits for it need wait no longer."""

FRAME_SECONDS: Final = 10.0
"""How long one frame may take: a server that sends less than 13 KB/s is asked again."""

REFUSED_SECONDS: Final = 2.0
"""How long a refusal is repeated without asking again."""

MOST_FAILURES: Final = 6
"""How often in a row a server may fail before it is asked for nothing that nobody waits for."""

ATTEMPTS: Final = 2
"""How often a frame may come wrong."""


class Pieces:
    """Those that are on their way (`flying`).

    `drop` closes an archive that is whole. `changed` is called when there may be more to fetch.
    """

    def __init__(
        self, plan: Plan, drop: Callable[[Work], None], changed: Callable[[], None], counts: Counts
    ) -> None:
        self._plan = plan
        self._drop = drop
        self._changed = changed
        self._counts = counts
        self.flying: set[Piece] = set()

    def begin(self, piece: Piece, work: Work, source: Source, nursery: trio.Nursery) -> None:
        """Have a piece fetched, in a task that lets no exception out."""
        self.flying.add(piece)
        nursery.start_soon(self._fetch, piece, work, source, nursery, source.remote.begin())

    async def _fetch(
        self,
        piece: Piece,
        work: Work,
        source: Source,
        nursery: trio.Nursery,
        tried: bool,  # noqa: FBT001 - a task gets it by its place
    ) -> None:
        remote, cut = source.remote, Cut(work.filling.archive.seek.offsets, piece)
        try:
            transport, blob = remote.transport, source.blob
            async with aclosing(transport.read(blob, piece.start, piece.end)) as parts:
                await self._receive(work, source, cut, parts, nursery)
            remote.succeeded()
        except Transient as error:
            if cut.frame > piece.first:  # something came: it is worth going on at once
                remote.succeeded()
            else:
                remote.failed(error.wait)
                if remote.failures > MOST_FAILURES and not work.waiting:
                    self._plan.forget(work.name)
            logger.info("%s: %s", remote.transport.url, error.why)
            frames = range(piece.first, piece.last)
            for one in work.waiting:
                if not one.left.get(work.name, set()).isdisjoint(frames):
                    one.trouble = error.why
        except PkgviewError as error:
            await self._lost(work, source, error.what)
        except OSError as error:
            self._refuse(work, f"{work.name} cannot be written: {error.strerror}")
        except Exception as error:
            logger.exception("a piece of %s failed", work.name)
            self._refuse(work, f"{work.name}: {error!r}")
        finally:
            remote.end(tried=tried)
            self._counts.add(remote.transport.url, cut.come)
            self.flying.discard(piece)
            if not work.gone:
                self._plan.failed(piece)
                self.spare(work)
            self._changed()

    async def _receive(
        self,
        work: Work,
        source: Source,
        left: Cut,
        parts: AsyncIterator[bytes],
        nursery: trio.Nursery,
    ) -> None:
        """Write what comes; all of it is on the disk in the end."""
        broken: Transient | None = None
        with trio.CancelScope(deadline=trio.current_time() + FRAME_SECONDS) as patience:
            try:
                async for part in parts:
                    if left.take(part):
                        patience.deadline = trio.current_time() + FRAME_SECONDS
                    if left.size >= WRITTEN_AT_ONCE or left.is_complete:
                        patience.deadline = float("inf")  # the disk is no fault of the server's
                        await self._write(work, source, left.taken())
                        nursery.start_soon(self._commit, work)
                        patience.deadline = trio.current_time() + FRAME_SECONDS
            except Transient as error:
                broken = error
        await self._write(work, source, left.taken())
        await self._commit(work)
        if patience.cancelled_caught:
            raise Transient(f"{source.remote.transport.url} sends too slowly")
        if broken is not None:
            raise broken

    async def _write(self, work: Work, source: Source, batch: list[tuple[int, bytes]]) -> None:
        wrong = await trio.to_thread.run_sync(work.filling.put, batch)
        work.written += [frame for frame, _ in batch if frame not in wrong]
        for frame, why in wrong.items():
            self._came_wrong(work, source, frame, f"{why} ({source.remote.transport.url})")

    def _came_wrong(self, work: Work, source: Source, frame: int, why: str) -> None:
        logger.error("%s", why)
        work.wrong[frame] = work.wrong.get(frame, 0) + 1
        if len(work.sources) > 1 and work.sources[0] is source:
            work.sources.append(work.sources.pop(0))
        if work.wrong[frame] >= max(ATTEMPTS, len(work.sources)):
            work.barred[frame] = (trio.current_time() + REFUSED_SECONDS, why)
            self._plan.bar(work.name, frame)
            for one in list(work.waiting):
                if frame in one.left.get(work.name, ()):
                    one.refuse(why)

    async def _commit(self, work: Work) -> None:
        """Have what was written marked, and tell who waits."""
        async with work.lock:
            frames, work.written = work.written, []
            if not frames or work.gone:
                return
            try:
                await trio.to_thread.run_sync(work.filling.commit, frames)
            except OSError as error:
                self._refuse(work, f"{work.name} cannot be written: {error.strerror}")
                return
            self._plan.came(work.name, frames)
            for one in list(work.waiting):
                one.came(work.name, frames)
                if work.name not in one.left:
                    work.waiting.discard(one)
            if not self._plan.lacking(work.name):
                await self._promote(work)
        self._changed()

    async def _promote(self, work: Work) -> None:
        try:
            await trio.to_thread.run_sync(work.filling.promote)
        except (LayerError, PkgviewError, OSError) as error:
            logger.error("%s stays a partial archive: %s", work.name, error)  # noqa: TRY400 - says it all
        else:
            logger.info("%s is whole", work.name)
        self._drop(work)

    # -- what goes wrong -------------------------------------------------------------------------

    async def _lost(self, work: Work, source: Source, why: str) -> None:
        """A source does not have the file, or not there any more."""
        if not source.looked:
            source.looked = True
            try:
                found = await source.remote.transport.find(work.name)
            except (Transient, PkgviewError):
                found = None
            if found is not None and found.size == source.blob.size and found != source.blob:
                logger.info("%s is elsewhere in %s", work.name, source.remote.transport.url)
                source.blob = found
                return
        logger.error("%s", why)
        source.until, source.said = trio.current_time() + REFUSED_SECONDS, why
        source.looked = False
        if refusal := work.refusal(trio.current_time()):
            self._refuse(work, refusal)

    def _refuse(self, work: Work, why: str) -> None:
        """Nobody who waits for that archive gets it."""
        for one in list(work.waiting):
            one.refuse(why)
        if not work.gone:
            self._plan.forget(work.name)

    def spare(self, work: Work) -> None:
        """Forget what nobody waits for any more."""
        lefts = (one.left.get(work.name, ()) for one in work.waiting if not one.refused)
        self._plan.asked_only(work.name, set().union(*lefts))
