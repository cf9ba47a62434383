"""The fetcher: a process that has frames of partial archives fetched for whoever waits for them.

There is one for a store in a runtime directory, which the servers of all mounts and commands ask
(`unionfs.store.remote.lazy.asking`); the first that needs it starts it: `python -P -m
unionfs.store.remote.lazy.fetcher PLACES`, PLACES being JSON. It returns once the process that stays
can be asked. That one ends when it has been idle for a while. It knows nothing that is not in the
store: killed, it is started again, and what is waited for is asked again.

A connection is one question, a line of JSON,

    {"want": {ARCHIVE: [FRAME, …] or null for all, …}, "order": "asked", "within": 60.0,
     "again": false}

and its answer is one, `{"done": true}` or `{"refused": WHY}`. Who closes the connection does not
wait any more. `order`: see `plan.Order`. `within`: seconds; without it, as long as it takes.
`again`: frames that are marked could not be read.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.archive.layer import LayerError
from unionfs.control.request import peer_of
from unionfs.control.server import listen
from unionfs.store.partial import Partials
from unionfs.store.remote.lazy.fetching import Fetching
from unionfs.store.remote.lazy.filling import promote
from unionfs.store.remote.lazy.meeting import endpoint_of, trace_path
from unionfs.store.remote.lazy.opening import transport_for
from unionfs.store.remote.lazy.plan import Order

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 30.0
"""Seconds without anybody who waits, and without work, after which it ends."""

BEGIN_SECONDS: Final = 10.0
"""Seconds that archives may take to be opened of which something is wanted by nobody who waits."""

QUESTION_SECONDS: Final = 5.0
LONGEST_QUESTION: Final = 1 << 20

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Fetcher:
    """One life."""

    def __init__(self, places: Places, listener: socket.socket) -> None:
        self._partials = Partials(places.store)
        self._fetching = Fetching(
            self._partials,
            partial(transport_for, places),
            lambda name: trace_path(places, name).exists(),
        )
        self._listener = trio.socket.from_stdlib_socket(listener)
        self._attended = 0
        self._idle_since = 0.0

    async def run(self) -> None:
        """Until it has been idle for long enough."""
        self._idle_since = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fetching.run)
            nursery.start_soon(self._accept, nursery)
            nursery.start_soon(self._tidy)
            while trio.current_time() < self._idle_since + IDLE_SECONDS:
                await trio.sleep(IDLE_SECONDS / 10)
                await trio.to_thread.run_sync(self._fetching.counts.write)
                if self._attended or self._fetching.busy:
                    self._idle_since = trio.current_time()
            nursery.cancel_scope.cancel()

    async def _accept(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                connection, _ = await self._listener.accept()
            except OSError as error:  # no descriptor is left: who waits goes on waiting
                logger.error("nobody can be answered: %s", error)  # noqa: TRY400 - says it all
                await trio.sleep(0.1)
                continue
            if peer_of(connection).uid not in {os.geteuid(), 0}:
                connection.close()
                continue
            nursery.start_soon(self._attend, trio.SocketStream(connection))

    async def _attend(self, stream: trio.SocketStream) -> None:
        self._attended += 1
        try:
            async with stream:
                with trio.fail_after(QUESTION_SECONDS):
                    question = await _question(stream)
                await self._answer(stream, question)
        except (*_GONE, trio.TooSlowError):
            pass
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            logger.error("a question that is none: %s", error)  # noqa: TRY400 - says it all
        except Exception:
            logger.exception("a question could not be answered")
        finally:
            self._attended -= 1
            self._idle_since = trio.current_time()

    async def _answer(self, stream: trio.SocketStream, question: Mapping[str, Any]) -> None:
        order = Order[question["order"].upper()]
        wanted = {
            str(name): None if frames is None else [int(frame) for frame in frames]
            for name, frames in question["want"].items()
        }
        within, again = float(question.get("within", math.inf)), question.get("again") is True
        if question.get("goes") is True:  # nobody waits: it is wanted, and given up if it fails
            with trio.move_on_after(BEGIN_SECONDS), suppress(LayerError, PkgviewError):
                await self._fetching.wait(wanted, order)
            return

        async with trio.open_nursery() as nursery:

            async def heed() -> None:
                with suppress(*_GONE):
                    while await stream.receive_some(1 << 10):
                        pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(heed)
            try:
                await self._fetching.wait(wanted, order, within=within, again=again)
                answer = _line(done=True)
            except (LayerError, PkgviewError) as error:
                answer = _line(refused=str(error))
            await stream.send_all(answer)
            nursery.cancel_scope.cancel()

    async def _tidy(self) -> None:
        """What fetchers that were killed have left."""
        try:
            await trio.to_thread.run_sync(tidy, self._partials)
        except (OSError, PkgviewError) as error:
            logger.error("%s", error)  # noqa: TRY400 - says it all


def tidy(partials: Partials) -> None:
    """Remove what nobody goes on with, and make whole what only lacks that."""
    from unionfs.archive.framecache import FrameCache  # noqa: PLC0415

    partials.tidy()
    for name in partials.names():
        with suppress(LayerError, OSError):
            archive = partials.open(name, FrameCache(0))
            if len(archive.here()) == archive.contents.frame_count:
                with partials.locked(name) as held:
                    if held is not None:
                        promote(partials, name)


async def _question(stream: trio.SocketStream) -> Mapping[str, Any]:
    line = bytearray()
    while not line.endswith(b"\n"):
        part = await stream.receive_some(1 << 16)
        line += part
        if not part or len(line) > LONGEST_QUESTION:
            raise ValueError("it has no end")
    question = json.loads(line)
    if not isinstance(question, dict):
        raise TypeError("it is no object")
    return question


def _line(**said: object) -> bytes:
    return json.dumps(said).encode() + b"\n"


def main() -> int:
    """Begin, and return to who started it as soon as the process that stays can be asked."""
    places = Places(**{name: Path(path) for name, path in json.loads(sys.argv[1]).items()})
    os.umask(0o077)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    endpoint = endpoint_of(places)
    lock = endpoint.acquire()
    if lock is None:
        return 0  # there is one
    listener = listen(endpoint)
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    trio.run(Fetcher(places, listener).run)
    endpoint.withdraw(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
