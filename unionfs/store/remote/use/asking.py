"""What remote stores say of package files, and the archives that are had by their word.

For the files of a lock that no store here knows: each remote store is asked in the order of
`config.toml`, of all files side by side. What is believed (`vouching`) is begun as a partial
archive, and only then written down (`Store.vouch`): no file of the lock is fetched for it, no index
asked. What is not had in this way is derived from the file, as always.

A store that does not answer costs `SILENCE` seconds, and one that refuses, or says what does not
count, is named with one sentence (`Asked.said`): it is no error, for the files are elsewhere, too.

Concurrency: one trio task a file, `SIDE_BY_SIDE` at once; the transport bounds its connections.
What waits for the disk does so in threads.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from resolver import config
from resolver.errors import PkgviewError
from resolver.failures import single_failure
from resolver.fetch.client import Patience
from unionfs.archive.frames import ZSTD
from unionfs.archive.layer import LayerError
from unionfs.archive.tail import TAIL
from unionfs.store.remote import stores as remotes
from unionfs.store.remote import vouching
from unionfs.store.remote.addresses import address
from unionfs.store.remote.believing import trust_in
from unionfs.store.remote.lazy.beginning import MOST_FRAMES
from unionfs.store.remote.lazy.counts import Counts
from unionfs.store.remote.lazy.filling import begin, begin_with
from unionfs.store.remote.transport import RemoteError, Transient
from unionfs.store.remote.use import traces
from unionfs.store.sources import is_of_this_machine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from resolver.places import Places
    from unionfs.store.ordered import Stores
    from unionfs.store.remote.transport import Blob, Transport
    from unionfs.store.remote.vouching import Trust, Vouched

logger = logging.getLogger(__name__)

SILENCE: Final = 10.0
"""Seconds without any answer after which a store is passed over."""

SIDE_BY_SIDE: Final = 12
"""Files asked for at once. A store has fewer connections; what they wait for is not the disk."""

ATTEMPTS: Final = 3
"""How often an archive's tables are asked for."""

PATIENCE: Final = Patience(attempts=2, connect=4.0, stall=SILENCE)
"""With a store whose answer is not needed."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """What came of it: the archives that are here now, and what a person should know."""

    archives: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


async def ask_for(
    places: Places,
    stores: Stores,
    keys: Iterable[str],
    further: Callable[[Sequence[str]], Iterable[str]] = lambda _: (),
) -> Asked:
    """Have what remote stores know of these keys; `further` are the keys that belong to archives.

    These are of what only a listed key can say (`sources.MADE_HERE`); others are not asked for it.
    """
    asked = Asked()
    left = [key for key in dict.fromkeys(keys) if not is_of_this_machine(key)]
    for one in config.load(places).remotes if left else ():
        try:
            trust = trust_in(places, one.url)
            if not (trust.whole or trust.signers):
                continue  # nothing that it says would count
            remote = remotes.transport(address(one.url), insecure=one.insecure, patience=PATIENCE)
            async with remote:
                here = _Store(places, remote, trust, stores)
                await here.ask(left)
                if trust.signers and here.archives:
                    await here.ask(list(further(here.archives)), is_needed=False)
        except PkgviewError as error:
            asked.said.append(f"{error}.")
            continue
        asked.archives += here.archives
        asked.said += here.said()
        left = [key for key in left if key not in here.known]
    return asked


class _Store:
    """One store that is asked. `known`: the keys for which it has given an archive."""

    def __init__(self, places: Places, remote: Transport, trust: Trust, stores: Stores) -> None:
        self._places = places
        self._remote = remote
        self._trust = trust
        self._stores = stores
        self._refused: PkgviewError | None = None
        self._count = 0
        self._silent = False
        self.known: set[str] = set()
        self.archives: list[str] = []

    def said(self) -> list[str]:
        """What was wrong with it: a sentence, or none."""
        if self._silent:
            return [f"{self._trust.store} does not answer: what it has is had from elsewhere."]
        if self._refused is None:
            return []
        more = f" (and {self._count - 1} more like that)" if self._count > 1 else ""
        remedy = f" {self._refused.remedy}" if self._refused.remedy else ""
        return [f"{self._refused.what}{more}.{remedy}"]

    async def ask(self, keys: Collection[str], *, is_needed: bool = True) -> None:
        """Ask it for these. What is wrong is of no interest where it `is_needed` by nobody."""
        believed: list[Vouched] = []
        with trio.CancelScope(deadline=trio.current_time() + SILENCE) as silence:

            def heard() -> None:
                silence.deadline = trio.current_time() + SILENCE

            async def one(key: str) -> None:
                try:
                    vouched = await self._known(key, heard)
                except LayerError as error:
                    self._refuse(RemoteError(str(error)), is_needed=is_needed)
                except vouching.NotBelievedError as error:
                    self._refuse(error, is_needed=is_needed)
                else:
                    if vouched is not None:
                        believed.append(vouched)
                heard()

            try:
                await each(keys, one)
            except PkgviewError as error:  # it refuses, or is not there: no other file is asked for
                self._refuse(error, is_needed=is_needed)
        self._silent = self._silent or (silence.cancelled_caught and is_needed)
        await trio.to_thread.run_sync(self._write_down, believed)

    async def _known(self, key: str, heard: Callable[[], None]) -> Vouched | None:
        statements = await self._remote.derived(key)
        vouched = vouching.derived(statements, key, self._trust, time.time())
        if vouched is not None:
            await have_begun(
                self._places, self._remote, self._stores, vouched.sources.values(), heard
            )
        return vouched

    def _write_down(self, believed: Sequence[Vouched]) -> None:
        for vouched in believed:
            self._stores.vouch(vouched.sources, vouched.word)
            self.known.update(vouched.sources)
            self.archives += vouched.sources.values()

    def _refuse(self, error: PkgviewError, *, is_needed: bool) -> None:
        if is_needed:
            self._refused = self._refused or error
            self._count += 1


async def have_begun(
    places: Places,
    remote: Transport,
    stores: Stores,
    names: Iterable[str],
    heard: Callable[[], None] = lambda: None,
) -> None:
    """Have these archives here, those that are lacking as partial ones, with their traces.

    `heard` is called whenever something has come.

    `RemoteError` where that store has one of them not, or gives it to nobody; `LayerError` where
    what it has is none.
    """

    async def one(name: str) -> None:
        if await trio.to_thread.run_sync(stores.has, name):
            return
        blob = await remote.find(name)
        if blob is None:
            raise LayerError(f"{remote.url} speaks of {name}, and does not have it")
        if blob.size > TAIL and await _begun_with(places, remote, stores, blob, heard):
            return
        if blob.size >= traces.SMALLEST and not traces.load(places, name):
            await _trace(places, remote, name)
        for vain in range(1, ATTEMPTS + 1):
            try:
                await begin(stores.partials, remote, blob)
            except Transient as error:
                if vain == ATTEMPTS:
                    raise RemoteError(f"{remote.url}: {name}: {error.why}") from error
                await trio.sleep(PATIENCE.pause(vain, min(error.wait, SILENCE)))
            else:
                return

    await each(list(dict.fromkeys(names)), one)


async def _begun_with(
    places: Places, remote: Transport, stores: Stores, blob: Blob, heard: Callable[[], None]
) -> bool:
    """Have it begun with all that its first programs will touch, if the store has that."""
    name = blob.name
    try:
        start = await remote.beginning(name, ZSTD)
        if start is None:
            return False
        frames = await begin_with(stores.partials, remote, blob, start, heard)
    except (LayerError, Transient, RemoteError) as error:  # it is as good without
        logger.info("%s: %s", remote.url, error)
        return False
    if not frames:
        return True  # by another process
    counts = Counts(stores.partials)
    counts.add(remote.url, start.size)
    await trio.to_thread.run_sync(counts.write)
    if len(frames) >= MOST_FRAMES and not traces.load(places, name):
        await _trace(places, remote, name)  # which has more
    traces.keep(places, name, frames)
    return True


async def _trace(places: Places, remote: Transport, name: str) -> None:
    """Have what the store knows of which frames are touched first; nothing is as good."""
    with suppress(PkgviewError, traces.TraceError):
        for statement in await remote.derived(traces.trace_key(name)):
            traces.keep(places, name, traces.from_bytes(statement.said, name))


async def each(items: Collection[str], do: Callable[[str], Awaitable[None]]) -> None:
    """Do it for each, some at once; the first failure ends all."""
    waiting = deque(items)

    async def work() -> None:
        while waiting:
            await do(waiting.popleft())

    with single_failure():
        async with trio.open_nursery() as nursery:
            for _ in range(min(SIDE_BY_SIDE, len(items))):
                nursery.start_soon(work)
