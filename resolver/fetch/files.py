"""Fetching the files of a lock: side by side, checked while they stream, resumed, shared.

    async with fetch(wanted, cache=..., settings=..., progress=..., offline=False) as arrivals:
        async for fetched in arrivals:      # as they complete; pack while others download
            pack(fetched.path)
            fetched.discard()               # or leave(), where it could not be packed

`discard` removes what lies in the cache (`resolver.fetch.partial` says how); until then a killed
process's work is found again.

Concurrency: one trio task for each of `limit` files (`resolver.fetch.transfer`). A file that
another process is at goes to the back of the queue.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING

import trio

from resolver.atomic import sweep
from resolver.errors import PkgviewError
from resolver.fetch.client import FetchSettings, Patience
from resolver.fetch.partial import SESSION, Session, unwritable
from resolver.fetch.transfer import Fetched, Transfer
from resolver.fetch.wanted import Download, NotHadError, key_of, local_path
from resolver.fetch.web import Web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from resolver.fetch.transfer import Progress

_POLL = 0.1


class Arrivals:
    """The files, as they complete. What came before the first failure comes, then the failure."""

    def __init__(self, channel: trio.MemoryReceiveChannel[Fetched]) -> None:
        self._channel = channel
        self.failure: PkgviewError | None = None
        self.missing: list[tuple[Download, PkgviewError]] = []
        """What is optional and could not be had, and why; complete when all else has come."""
        self.held = contextlib.ExitStack()
        """What must not be given up before the last file is packed."""

    def __aiter__(self) -> Arrivals:
        return self

    async def __anext__(self) -> Fetched:
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            if self.failure is not None:
                raise self.failure from None
            raise StopAsyncIteration from None


def forget(files: Iterable[Download], cache: Path) -> None:
    """Remove what killed processes have left, of these files, which nobody will fetch again.

    Whoever may be fetching one just now has a name of its own for it.
    """
    sweep(cache / "downloads", SESSION)
    for file in files:
        with contextlib.suppress(OSError):
            (cache / "downloads" / f"{key_of(file)}.part").unlink()


@contextlib.asynccontextmanager
async def fetch(  # noqa: PLR0913 - all but `wanted` by name
    wanted: Sequence[Download],
    *,
    cache: Path,
    settings: FetchSettings,
    progress: Progress,
    offline: bool = False,
    limit: int = 8,
    patience: Patience | None = None,
) -> AsyncIterator[Arrivals]:
    """Fetch all that is wanted; a file that is wanted twice comes once. See the module's example.

    `PkgviewError` at entry for what cannot even be tried, and out of the iteration for all else.
    Leaving the block ends what is still under way; it is resumed the next time. Leave it only
    when all that came is packed: what lies in the session's directory is then anybody's to sweep.
    """
    files = list({(file.filename, key_of(file)): file for file in wanted}.values())
    remote = [file for file in files if local_path(file) is None]
    needed = [file for file in remote if not file.optional]
    if offline and needed:
        names = [file.filename for file in needed]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""  # noqa: PLR2004 - a line
        raise PkgviewError(
            f"these files are needed and not in the store: {', '.join(names[:8])}{more}",
            remedy="Run the command again without --offline.",
        )
    left_out = remote if offline else []
    files = [file for file in files if file not in left_out]
    sizes = [file.size for file in files]
    known = [size for size in sizes if size is not None]
    progress.started(len(files), sum(known) if len(known) == len(sizes) else None)
    send, receive = trio.open_memory_channel[Fetched](math.inf)
    arrivals, failed = Arrivals(receive), None
    arrivals.missing += [(file, NotHadError("it is not in the store")) for file in left_out]
    with arrivals.held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                _fetch_all, files, cache, settings, progress, limit, patience or Patience(),
                send, arrivals,
            )  # fmt: skip
            try:
                yield arrivals
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, not in the nursery's group
                failed = error
            nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed


async def _fetch_all(  # noqa: PLR0913, PLR0917 - called once, above
    files: list[Download],
    cache: Path,
    settings: FetchSettings,
    progress: Progress,
    limit: int,
    patience: Patience,
    send: trio.MemorySendChannel[Fetched],
    arrivals: Arrivals,
) -> None:
    async with send, contextlib.AsyncExitStack() as stack:
        web = session = None
        try:
            if any(local_path(file) is None for file in files):
                web = await stack.enter_async_context(Web(settings, limit, patience))
                session = Session(cache / "downloads")
                arrivals.held.callback(session.release)
                stack.callback(session.close)
            transfers = [Transfer(file, session, web, progress, patience) for file in files]
        except OSError as error:
            arrivals.failure = unwritable(cache / "downloads", error)
            return
        except PkgviewError as error:
            arrivals.failure = error
            return
        # The largest first: they take longest to come, and then to pack.
        waiting = deque(sorted(transfers, key=lambda transfer: -(transfer.file.size or 0)))

        async def work(scope: trio.CancelScope) -> None:
            while waiting:
                transfer = waiting.popleft()
                try:
                    fetched = await transfer.attempt()
                except PkgviewError as error:
                    if transfer.file.optional and isinstance(error, NotHadError):
                        arrivals.missing.append((transfer.file, error))
                        continue
                    arrivals.failure = arrivals.failure or error
                    scope.cancel()
                    return
                if fetched is None:
                    waiting.append(transfer)
                    await trio.sleep(_POLL)
                else:
                    progress.finished(transfer.file.filename)
                    send.send_nowait(fetched)

        async with trio.open_nursery() as nursery:
            for _ in range(min(limit, len(waiting))):
                nursery.start_soon(work, nursery.cancel_scope)
