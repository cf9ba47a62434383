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
that change marks at once (`_Work.lock`).
"""

from __future__ import annotations

import logging
import math
import random
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from resolver.errors import PkgviewError
from unionfs.archive.layer import LayerError
from unionfs.store.remote.lazy.filling import Filling
from unionfs.store.remote.lazy.plan import Order, Piece, Plan
from unionfs.store.remote.transport import Blob, Transient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
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

WRITTEN_AT_ONCE: Final = 256 << 10
"""Bytes after which what came of a piece is written, and who waits for it need wait no longer."""

FRAME_SECONDS: Final = 10.0
"""How long one frame may take: a server that sends less than 13 KB/s is asked again."""

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 2.0
LONGEST_ASKED: Final = 300.0
"""Seconds before a server that fails is asked again: at first, at most, and if it says so."""

REFUSED_SECONDS: Final = 2.0
"""How long a refusal is repeated without asking again."""

MOST_FAILURES: Final = 6
"""How often in a row a server may fail before it is asked for nothing that nobody waits for."""

ATTEMPTS: Final = 2
"""How often a frame may come wrong."""

LATE_SECONDS: Final = 1.0
"""How long it is repeated that something did not come in time."""

FOREIGN_PAUSE: Final = 0.05
"""Seconds between looks at what another fetcher does."""

LET_GO_SECONDS: Final = 2.0
"""Seconds after which an archive of which nothing is wanted is left to others."""


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


class _Remote:
    """A remote store, and whether it can be asked just now."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.failures = 0
        self.until = 0.0
        self._tries = 0

    def may(self, now: float) -> bool:
        return now >= self.until and not self._tries

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Around each request; while it fails there is one at a time, beside those from before."""
        trying = self.failures > 0
        self._tries += trying
        try:
            yield
        finally:
            self._tries -= trying

    def failed(self, asked: float) -> None:
        pause = min(FIRST_PAUSE * 2**self.failures, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self.failures = min(self.failures + 1, 10)
        self.until = trio.current_time() + max(pause, min(asked, LONGEST_ASKED))

    def succeeded(self) -> None:
        self.failures, self.until = 0, 0.0


@dataclass(slots=True)
class _Source:
    """Where one archive may come from."""

    remote: _Remote
    blob: Blob
    until: float = 0.0
    said: str = ""
    looked: bool = False


class _Work:
    """An archive that is written to."""

    def __init__(self, filling: Filling, sources: list[_Source]) -> None:
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
        return self.filling.name

    def is_gone(self) -> bool:
        """Whether it was closed."""
        return self.gone

    def source(self, now: float) -> _Source | None:
        """The first that may be asked now."""
        return next((s for s in self.sources if now >= s.until and s.remote.may(now)), None)

    def refusal(self, now: float) -> str:
        """Why it is not to be had from anybody for a while, "" if it may be."""
        if all(now < source.until for source in self.sources):
            return "; ".join(source.said for source in self.sources)
        return ""


class Fetching:
    """Fetches for one store. `transport_for` opens a remote store by its URL."""

    def __init__(
        self,
        partials: Partials,
        transport_for: Callable[[str], AbstractAsyncContextManager[Transport]],
    ) -> None:
        self._partials = partials
        self._transport_for = transport_for
        self._plan = Plan()
        self._works: dict[str, _Work] = {}
        self._remotes: dict[str, _Remote] = {}
        self._opening = trio.Lock()
        self._transports = AsyncExitStack()
        self._flying: set[Piece] = set()
        self._more = trio.Event()
        self.fetched = 0
        """Bytes that came."""

    @property
    def busy(self) -> bool:
        """Whether anything is wanted or on its way."""
        return bool(self._flying) or any(not self._plan.is_idle(name) for name in self._works)

    async def run(self) -> None:
        """Fetch whatever is wanted; never returns."""
        async with self._transports, trio.open_nursery() as self._nursery:
            try:
                while True:
                    self._more = trio.Event()
                    now = trio.current_time()
                    while self._has_room() and (piece := self._plan.next(self._may)):
                        work = self._works[piece.archive]
                        source = work.source(now) or work.sources[0]
                        self._flying.add(piece)
                        asked = ExitStack()
                        asked.enter_context(source.remote.asked())
                        self._nursery.start_soon(self._fetch, piece, work, source, asked)
                    self._let_go(now)
                    with trio.move_on_at(self._next_moment(now)):
                        await self._more.wait()
            finally:
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
                    self._spare(work)
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

    async def _recheck(self, work: _Work, frames: Collection[int]) -> None:
        """Somebody could not read frames that are marked."""
        async with work.lock:
            if not work.is_gone():
                wrong = await trio.to_thread.run_sync(work.filling.recheck, frames)
                logger.warning("%s: frames %s were damaged: fetched again", work.name, wrong)
                self._plan.lost(work.name, wrong)

    def _refusal(self, work: _Work, frames: set[int]) -> str:
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

    def _spare(self, work: _Work) -> None:
        """Forget what nobody waits for any more."""
        lefts = (one.left.get(work.name, ()) for one in work.waiting if not one.refused)
        self._plan.asked_only(work.name, set().union(*lefts))

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

    async def _work_or_whole(self, waiting: Waiting, name: str) -> _Work | None:
        try:
            return await self._work(name)
        except (LayerError, PkgviewError) as error:
            if self._partials.has(name):  # else it became an ordinary one
                waiting.refuse(str(error))
            return None

    async def _work(self, name: str) -> _Work | None:
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
                    _Source(
                        await self._remote(one.store),
                        Blob(name=name, size=origin.size, address=one.address),
                    )
                    for one in origin.sources
                ]
            except BaseException:
                filling.close()
                raise
            work = _Work(filling, sources)
            known = set(filling.archive.here())
            lacking = (one for one in range(contents.frame_count) if one not in known)
            self._plan.add(name, filling.archive.seek.offsets, lacking)
            self._works[name] = work
            return work

    async def _remote(self, url: str) -> _Remote:
        found = self._remotes.get(url)
        if found is None:
            transport = await self._transports.enter_async_context(self._transport_for(url))
            found = self._remotes[url] = _Remote(transport)
        return found

    def _let_go(self, now: float) -> None:
        """Close archives of which nothing has been wanted for a moment."""
        for name, work in list(self._works.items()):
            if work.waiting or work.lock.locked() or not self._plan.is_idle(name):
                work.idle_since = now
            elif now - work.idle_since >= LET_GO_SECONDS:
                self._drop(work)

    def _drop(self, work: _Work) -> None:
        work.gone = True
        del self._works[work.name]
        self._plan.remove(work.name)
        work.filling.close()

    # -- pieces ----------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return len(self._flying) < CONNECTIONS and (
            sum(one.end - one.start for one in self._flying) < MOST_BYTES
        )

    def _may(self, archive: str, order: Order) -> bool:
        if order is Order.REST and len(self._flying) >= IN_BACKGROUND:
            return False
        return self._works[archive].source(trio.current_time()) is not None

    def _next_moment(self, now: float) -> float:
        """When to look again although nothing happened."""
        moments = [remote.until for remote in self._remotes.values() if remote.until > now]
        return min([now + LET_GO_SECONDS if self._works else float("inf"), *moments])

    async def _fetch(self, piece: Piece, work: _Work, source: _Source, asked: ExitStack) -> None:
        remote, before = source.remote, self.fetched
        try:
            transport, blob = remote.transport, source.blob
            async with aclosing(transport.read(blob, piece.start, piece.end)) as parts:
                await self._receive(work, source, piece, parts)
            remote.succeeded()
        except Transient as error:
            if self.fetched > before:  # something came: it is worth going on at once
                remote.succeeded()
            else:
                remote.failed(error.wait)
                if remote.failures > MOST_FAILURES and not work.waiting:
                    self._plan.forget(work.name)
            logger.info("%s: %s", remote.transport.url, error.why)
            for one in work.waiting:
                one.trouble = error.why
        except PkgviewError as error:
            await self._lost(work, source, error.what)
        except OSError as error:
            self._refuse(work, f"{work.name} cannot be written: {error.strerror}")
        except Exception as error:
            logger.exception("a piece of %s failed", work.name)
            self._refuse(work, f"{work.name}: {error!r}")
        finally:
            asked.close()
            self._flying.discard(piece)
            if not work.gone:
                self._plan.failed(piece)
                self._spare(work)
            self._more.set()

    async def _receive(
        self, work: _Work, source: _Source, piece: Piece, parts: AsyncIterator[bytes]
    ) -> None:
        """Write what comes; all of it is on the disk in the end."""
        cut: Transient | None = None
        left = _Cut(work.filling.archive.seek.offsets, piece)
        with trio.CancelScope(deadline=trio.current_time() + FRAME_SECONDS) as patience:
            try:
                async for part in parts:
                    if left.take(part):
                        patience.deadline = trio.current_time() + FRAME_SECONDS
                    if left.size >= WRITTEN_AT_ONCE or left.frame == piece.last:
                        patience.deadline = float("inf")  # the disk is no fault of the server's
                        await self._write(work, source, left.taken())
                        self._nursery.start_soon(self._commit, work)
                        patience.deadline = trio.current_time() + FRAME_SECONDS
            except Transient as error:
                cut = error
        await self._write(work, source, left.taken())
        await self._commit(work)
        if patience.cancelled_caught:
            raise Transient(f"{source.remote.transport.url} sends too slowly")
        if cut is not None:
            raise cut

    async def _write(self, work: _Work, source: _Source, batch: list[tuple[int, bytes]]) -> None:
        wrong = await trio.to_thread.run_sync(work.filling.put, batch)
        self.fetched += sum(len(data) for frame, data in batch if frame not in wrong)
        work.written += [frame for frame, _ in batch if frame not in wrong]
        for frame, why in wrong.items():
            self._came_wrong(work, source, frame, f"{why} ({source.remote.transport.url})")

    def _came_wrong(self, work: _Work, source: _Source, frame: int, why: str) -> None:
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

    async def _commit(self, work: _Work) -> None:
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
        self._more.set()

    async def _promote(self, work: _Work) -> None:
        try:
            await trio.to_thread.run_sync(work.filling.promote)
        except (LayerError, PkgviewError, OSError) as error:
            logger.error("%s stays a partial archive: %s", work.name, error)  # noqa: TRY400 - says it all
        else:
            logger.info("%s is whole", work.name)
        self._drop(work)

    # -- what goes wrong -------------------------------------------------------------------------

    async def _lost(self, work: _Work, source: _Source, why: str) -> None:
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

    def _refuse(self, work: _Work, why: str) -> None:
        """Nobody who waits for that archive gets it."""
        for one in list(work.waiting):
            one.refuse(why)
        if not work.gone:
            self._plan.forget(work.name)


class _Cut:
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

    def take(self, part: bytes) -> bool:
        """More has come; whether it completes a frame."""
        self._received += part
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
