"""The daemon of one mount point: how it lives, and how it ends. `launch` says how it starts.

If the mount is taken away while programs use it (`umount -l`), the daemon lets go of lock and
socket as soon as anybody asks for it, and serves what is open until it is closed; a new daemon may
mount meanwhile. It must then not unmount anything when it ends: what is at its path is not its.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import fcntl
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.control.endpoint import endpoint_of
from unionfs.control.server import listen
from unionfs.daemon import mount, supervisor
from unionfs.daemon.handover import Handover
from unionfs.daemon.launch import MAX_LOG, Claim, Mounted, claim, log_path, open_log
from unionfs.daemon.mount_requests import MountRequests
from unionfs.daemon.service import SUPERVISED
from unionfs.mounting import mounts, unmounting

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from unionfs.daemon.service import Service

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Seconds a daemon may take to end before it leaves without ceremony."""

ONE_PROJECT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PKGVIEW_PROJECT",
               "PKGVIEW_VIEW")  # fmt: skip
"""Variables of whoever happened to start the daemon, which serves all projects."""


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
        """Remove the socket and release the lock, in this order: it is ours while we hold it."""
        if self._holding:
            self._holding = False
            self._claim.endpoint.socket.unlink(missing_ok=True)
            fcntl.flock(self._claim.lock, fcntl.LOCK_UN)

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


class BoundedLog(logging.StreamHandler[Any]):
    """Writes to stderr, and turns the log under it, libfuse's words included, once it is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(sys.stderr)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        super().emit(record)
        if os.fstat(2).st_size > MAX_LOG:
            with contextlib.suppress(OSError, PkgviewError):
                log = open_log(self._path)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.close(log)


def _settle(mountpoint: Path) -> None:
    """Become independent of whoever started us."""
    os.chdir("/")
    os.umask(0o077)
    faulthandler.enable()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for variable in ONE_PROJECT:
        os.environ.pop(variable, None)

    def outside(entry: str) -> bool:
        return not Path(os.path.realpath(entry)).is_relative_to(mountpoint)

    # An import through our own mount would wait for ourselves, and so might a command that we run.
    sys.path[:] = filter(outside, sys.path)
    commands = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(filter(outside, commands))


def serve(
    claimed: Claim,
    places: Places,
    *,
    assemble: Callable[[Places], Service] | None = None,
    announce: Callable[[Mapping[str, Any]], None] = lambda _: None,
    background: bool = False,
) -> None:
    """Serve a claimed mount point until it is unmounted; releases the claim.

    By supervised servers where the transport allows it; all in this process where it does not, or
    where something else than packages is served (`assemble`).
    """
    try:
        _settle(claimed.mountpoint)
        here = replace(places, mount=claimed.mountpoint)
        transport = "" if assemble else mount.chosen_transport(claimed.transport)
        workers = 1 if assemble else mount.chosen_workers(transport, claimed.workers)
        if transport == SUPERVISED:
            supervisor.mount(claimed, here, announce, background=background, workers=workers)
        else:
            service = assemble(here) if assemble else mount.assemble(here, transport)
            trio.run(Daemon(claimed, service, announce).run)
    finally:
        os.close(claimed.lock)


def serve_here(places: Places, *, shared: bool = False) -> None:
    """Serve in the foreground until unmounted or interrupted; `shared`: with `allow_other`."""
    claimed = claim(places, shared=shared)
    if isinstance(claimed, Mounted):
        raise PkgviewError(
            f"{claimed.mountpoint} is mounted already, by pid {claimed.pid}",
            remedy="Run `pkgview umount` first.",
        )
    _log_through(logging.StreamHandler())
    serve(claimed, places)


def _go_on(held: Handover) -> int:
    """Supervise a mount that is live, after an upgrade or another supervisor's death."""
    path = log_path(held.places)
    _log_through(BoundedLog(path) if held.background else logging.StreamHandler())
    _settle(held.places.mount)
    try:
        supervisor.Supervisor(held).run()
    except PkgviewError as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return error.status
    return 0


def _log_through(stream: logging.Handler) -> None:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
        handlers=[stream],
    )


def _arguments(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="unionfs.daemon", description=main.__doc__)
    places = Places.from_environ()
    for place in fields(places):
        parser.add_argument(f"--{place.name}", type=Path, default=getattr(places, place.name))
    parser.add_argument("--lock", type=int, help="descriptor of the held lock")
    parser.add_argument("--ready", type=int, help="descriptor to say the outcome on")
    parser.add_argument("--background", action="store_true", help="leave the parent process")
    parser.add_argument("--allow-other", action="store_true", help="let other users in")
    parser.add_argument("--transport", default="", help="how the mount was made that is mended")
    parser.add_argument("--workers", type=int, default=1, help="the same")
    parser.add_argument("--held", type=Handover.from_json, help="the live mount to go on with")
    return vars(parser.parse_args(argv))


def main(
    argv: Sequence[str] | None = None,
    *,
    assemble: Callable[[Places], Service] | None = None,
) -> int:
    """`python -m unionfs.daemon`: the exit status. What is not given follows the environment."""
    given = _arguments(argv)
    places = Places(**{place.name: given[place.name] for place in fields(Places)})
    if given["held"] is not None:
        return _go_on(given["held"])
    for inherited in (given["lock"], given["ready"]):
        if inherited is not None:
            os.set_inheritable(inherited, False)  # noqa: FBT003 - positional only
    if given["background"] and os.fork():
        os._exit(0)
    _log_through(BoundedLog(log_path(places)) if given["background"] else logging.StreamHandler())

    def announce(message: Mapping[str, Any]) -> None:
        number, given["ready"] = given["ready"], None
        if number is not None:
            with contextlib.suppress(BrokenPipeError):  # the command was ended meanwhile
                os.write(number, json.dumps(message).encode())
            os.close(number)

    try:
        claimed = (
            claim(places, shared=given["allow_other"])
            if given["lock"] is None
            else Claim(
                mountpoint=places.mount,
                endpoint=endpoint_of(places, places.mount),
                lock=given["lock"],
                mended=False,
                shared=given["allow_other"],
                transport=given["transport"],
                workers=given["workers"],
            )
        )
        if isinstance(claimed, Mounted):
            logger.info("%s is mounted already, by pid %d", claimed.mountpoint, claimed.pid)
            announce({"pid": claimed.pid})
        else:
            serve(
                claimed, places, assemble=assemble, announce=announce,
                background=given["background"],
            )  # fmt: skip
    except PkgviewError as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
        announce({"what": error.what, "remedy": error.remedy})
        return error.status
    except Exception as error:
        logger.exception("the daemon failed")
        announce(
            {
                "what": f"the daemon failed: {error!r}",
                "remedy": f"Its log says more: {log_path(places)}",
            }
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
