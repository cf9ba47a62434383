"""Asking the fetcher: how a read that lacks frames waits for them, and nothing else does.

Each wait is one connection to the fetcher (`unionfs.store.remote.lazy.fetcher`), which is started
where there is none. It may be killed at any moment: the connection ends, another one is started,
and the same is asked again. What it had fetched is in the store.

A wait ends with the frames; or with `LayerError`, because they cannot be had, or not within
`remote.timeout` of config.toml; or with `InterruptedError`, because the thread that reads was sent
a signal that is meant to end it.

`unionfs.store.remote.lazy.signals` says why it looks for these.

Concurrency: all in the trio thread of whoever serves.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from resolver import config
from resolver.errors import PkgviewError
from unionfs.archive.layer import LayerError
from unionfs.control.endpoint import DaemonAbsentError
from unionfs.control.request import peer_of
from unionfs.store.remote.lazy.meeting import endpoint_of
from unionfs.store.remote.lazy.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resolver.places import Places
    from unionfs.archive.reader import Archive

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 1.0
"""Seconds before the fetcher is asked again that has just ended."""

LONGER: Final = 1.0
"""Seconds that the fetcher has for saying that the time is over."""

_GONE: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(slots=True, kw_only=True)
class _Wait:
    """For frames of an archive, at most so many seconds; and what became of it."""

    archive: Archive
    frames: Sequence[int]
    seconds: float
    again: bool
    trouble: str = "the fetcher does not answer"
    refused: str = ""
    interrupted: bool = False


class Fetches:
    """All waits of one process. `log` is the descriptor that a new fetcher writes its log to."""

    def __init__(self, places: Places, *, log: int = 2, command: Sequence[str] = ()) -> None:
        self._places = places
        self._log = log
        self._command = command or (sys.executable, "-P", "-m", "unionfs.store.remote.lazy.fetcher")
        self._starting = trio.Lock()
        self._config: tuple[int, ...] | None = None
        self._timeout = config.TIMEOUT
        self._signals = Signals()
        self._watched: Counter[int] = Counter()
        self.here = 0
        self.waiting = 0
        self.answered = 0
        self.failed = 0
        self.last = ""

    def was_here(self) -> None:
        """A read of a partial archive lacked nothing."""
        self.here += 1

    def watches(self, tid: int) -> bool:
        """Whether a thread waits here, and it is seen if it is to end."""
        return self._watched[tid] > 0

    def gauges(self) -> dict[str, Any]:
        """For `pkgview status`: reads that lacked nothing, wait, got what they lacked, failed."""
        return {
            "here": self.here,
            "waiting": self.waiting,
            "answered": self.answered,
            "failed": self.failed,
            "last": self.last,
        }

    async def __call__(
        self, archive: Archive, frames: Sequence[int], tid: int = 0, *, again: bool = False
    ) -> None:
        """Wait until these frames of a partial archive are here, for a thread (0: unknown)."""
        if self._signals.is_ended(tid):
            raise LayerError(f"{archive.name}: who waited for frame {frames[0]} was told to end")
        wait = _Wait(archive=archive, frames=frames, seconds=self._patience(), again=again)
        self.waiting += 1
        self._watched[tid] += bool(tid)
        try:
            with trio.move_on_after(wait.seconds + LONGER) as limit:
                async with trio.open_nursery() as nursery:
                    if tid:
                        nursery.start_soon(self._watch, tid, wait, nursery.cancel_scope)
                    await self._fetched(wait)
                    nursery.cancel_scope.cancel()
        finally:
            self.waiting -= 1
            self._watched -= Counter({tid: 1})  # which keeps none that are 0
        if wait.interrupted:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        if limit.cancelled_caught:
            wait.refused = (
                f"{archive.name}: frame {frames[0]} did not come within {wait.seconds:.0f} s: "
                f"{wait.trouble}"
            )
        if wait.refused:
            self.failed += 1
            self.last = wait.refused
            raise LayerError(wait.refused)
        self.answered += 1

    async def _watch(self, tid: int, wait: _Wait, scope: trio.CancelScope) -> None:
        await self._signals.ends(tid)
        wait.interrupted = True
        scope.cancel()

    async def want(
        self, wanted: Mapping[str, Sequence[int] | None], order: str, *, wait: bool = True
    ) -> None:
        """Have frames (None: all) of partial archives fetched; `LayerError` if they cannot be.

        `order` is one of `plan.Order`. Without `wait` it is only said that they are wanted: the
        fetcher goes on by itself.
        """
        pause = FIRST_PAUSE
        question = {"want": wanted, "order": order, "goes": not wait}
        while (said := await self._ask(question, wait=wait)) is None:
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if "refused" in said:
            raise LayerError(said["refused"])

    async def ahead(self) -> None:
        """Have the fetcher started, which takes some tenths of a second."""
        with suppress(*_GONE, PkgviewError):
            (await self._connected()).close()

    async def _fetched(self, wait: _Wait) -> None:
        """Ask until it is answered, by one fetcher after the other if need be."""
        want = {wait.archive.name: list(wait.frames)}
        pause, until = FIRST_PAUSE, trio.current_time() + wait.seconds
        while True:
            within = max(0.1, until - trio.current_time())
            try:
                said = await self._ask(
                    {"want": want, "order": "asked", "within": within, "again": wait.again}
                )
            except _GONE as error:
                wait.trouble = f"the fetcher cannot be asked: {error}"
            except PkgviewError as error:
                wait.trouble = error.what
            else:
                wait.refused = "" if said is None else said.get("refused", "")
                if wait.refused or (said and not wait.archive.absent_of(wait.frames)):
                    return
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _ask(
        self, question: Mapping[str, Any], *, wait: bool = True
    ) -> dict[str, Any] | None:
        """The answer, None if the fetcher was killed. `OSError`, `PkgviewError` if there is none.

        Without `wait` it is not waited for.
        """
        received = bytearray()
        async with trio.SocketStream(await self._connected()) as stream:
            with suppress(*_GONE):
                await stream.send_all(json.dumps(question).encode() + b"\n")
                while wait and not received.endswith(b"\n"):
                    part = await stream.receive_some(1 << 16)
                    received += part
                    if not part:
                        return None
                answer: dict[str, Any] = json.loads(received) if wait else {}
                return answer
        return None

    async def _connected(self) -> trio.socket.SocketType:
        """A connection to the fetcher, which is started where there is none."""
        connection = await self._connection()
        if connection is None:
            async with self._starting:
                connection = await self._connection()
                if connection is None:
                    await self._start()
                    connection = await self._connection()
        if connection is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "it does not listen")
        return connection

    async def _connection(self) -> trio.socket.SocketType | None:
        endpoint = endpoint_of(self._places)
        connection = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        try:
            with endpoint.opened() as directory:
                await connection.connect(f"/proc/self/fd/{directory}/{endpoint.socket.name}")
            if peer_of(connection).uid not in {os.geteuid(), 0}:
                raise PermissionError(errno.EPERM, "somebody else answers")  # noqa: TRY301 - closed
        except (FileNotFoundError, ConnectionRefusedError, DaemonAbsentError):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
        return connection

    async def _start(self) -> None:
        """Start one; it goes on by itself."""
        places = {name: os.fspath(path) for name, path in asdict(self._places).items()}
        process = await trio.run_process(
            [*self._command, json.dumps(places)],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd="/", check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )  # fmt: skip
        if process.returncode:
            raise PkgviewError(f"the fetcher ended with status {process.returncode}")

    def _patience(self) -> float:
        """Seconds, as config.toml has them now."""
        try:
            status = os.stat(config.path(self._places))  # noqa: PTH116 - as text
            seen: tuple[int, ...] = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            seen = ()
        if seen != self._config:
            self._config = seen
            try:
                self._timeout = config.load(self._places).timeout
            except PkgviewError as error:
                logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return self._timeout
