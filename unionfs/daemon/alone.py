"""A daemon that is one process: for libfuse, which owns what it has mounted.

If the mount is taken away while programs use it (`umount -l`), the daemon lets go of lock and
socket as soon as anybody asks for it, and serves what is open until it is closed; a new daemon may
mount meanwhile. It must then not unmount anything when it ends: what is at its path is not its.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from resolver.errors import PkgviewError
from unionfs.control.server import listen
from unionfs.daemon.mount_requests import MountRequests
from unionfs.mounting import mounts, unmounting

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from unionfs.daemon.launch import Claim
    from unionfs.daemon.service import Service

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Seconds a daemon may take to end before it leaves without ceremony."""


class Daemon:
    """One life. Everything runs in one trio task tree, so no method needs a lock."""

    def __init__(
        self, claimed: Claim, service: Service, announce: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._claim = claimed
        self._service = service
        self._announce = announce
        self._requests: Counter[str] = Counter()
        self._device: tuple[int, int] | None = None
        self._holding = True
        self._watchdog: threading.Timer | None = None
        self._born = time.monotonic()

    async def run(self) -> None:
        """Serve until told to stop or unmounted; raises what kept it from it."""
        os.pwrite(self._claim.lock, f"{os.getpid()}\n".encode(), 0)
        listener = listen(self._claim.endpoint)
        serve = self._service.serve
        if serve is None:
            raise RuntimeError(f"{self._service.transport} is served by supervised servers")
        self._serving = trio.CancelScope()
        self._stopping = trio.Event()
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._heed_signals)
                nursery.start_soon(self._heed_stop)
                try:
                    with self._serving:
                        await serve(
                            self._claim.mountpoint,
                            options=mounts.options(
                                self._service.transport, shared=self._claim.shared
                            ),
                            ready=lambda: self._mounted(nursery, listener),
                            requests=self._requests,
                        )
                except Exception as error:  # noqa: BLE001 - raised again below, once all is closed
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            listener.close()
            self._let_go()
            if self._watchdog:
                self._watchdog.cancel()
        if failure is not None:
            raise self._explained(failure) from failure
        logger.info("ended")

    def _mounted(self, nursery: trio.Nursery, listener: socket.socket) -> None:
        mounted = mounts.mounted_at(self._claim.mountpoint)
        self._device = mounted.device if mounted else None
        conversation = MountRequests(
            self._service,
            self._claim.mountpoint,
            device=lambda: self._device,
            life=self._life,
            requests=self._requests,
            let_go=self._let_go,
            stop=self._stopping.set,
        )
        nursery.start_soon(conversation.hold, listener)
        for work in self._service.alongside:
            nursery.start_soon(work)
        logger.info("mounted %s", self._claim.mountpoint)
        self._announce({"pid": os.getpid()})

    def _explained(self, failure: Exception) -> Exception:
        if self._device is not None or isinstance(failure, PkgviewError):
            return failure
        return PkgviewError(
            f"{self._claim.mountpoint} cannot be mounted: {failure}",
            remedy="A container needs `--device /dev/fuse --cap-add SYS_ADMIN`; "
            "elsewhere the log says more.",
        )

    async def _heed_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                logger.info("ending: %s", signal.Signals(number).name)
                self._end()

    def _end(self) -> None:
        """Unmount and stop serving; what is open breaks. Idempotent."""
        mounted = mounts.mounted_at(self._claim.mountpoint)
        if self._device and mounted and mounted.device != self._device:
            # Ours was taken away and another stands in its place, which the transport would
            # unmount by its path. The kernel tidies up after us without being asked.
            logger.info("ended: %s is served by another", self._claim.mountpoint)
            self._let_go()
            _leave(0)
        if self._watchdog is None:
            self._watchdog = threading.Timer(STOP_SECONDS, self._give_up)
            self._watchdog.daemon = True
            self._watchdog.start()
        self._serving.cancel()

    def _give_up(self) -> None:
        """Called in a thread: something that cannot be cancelled keeps the loop from ending."""
        logger.error("does not end within %.0f seconds: leaving", STOP_SECONDS)
        with contextlib.suppress(PkgviewError):
            mounted = mounts.mounted_at(self._claim.mountpoint)
            if mounted and mounted.device == self._device:
                unmounting.unmount(self._claim.mountpoint, lazy=True)
        _leave(1)

    def _let_go(self) -> None:
        """Let another daemon be the one of this mount point."""
        if self._holding:
            self._holding = False
            self._claim.endpoint.withdraw(self._claim.lock)

    def _life(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "server": os.getpid(),
            "supervised": False,
            "workers": 1,
            "pids": [os.getpid()],
            "uptime": time.monotonic() - self._born,
        }

    async def _heed_stop(self) -> None:
        await self._stopping.wait()
        await trio.sleep(0.05)  # for the reply to go out
        self._end()


def _leave(status: int) -> NoReturn:
    logging.shutdown()
    os._exit(status)
