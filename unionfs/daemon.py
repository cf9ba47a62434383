"""The daemon of one mount point: how a command starts it, how it lives, how it ends.

A command (`ensure_mounted`) does everything that can fail for a reason a person can mend: it takes
the lock, mends a stale mount, prepares the mount point, and only then starts the daemon, which
inherits the *held* lock. So there is no moment at which two can start, and however many commands
come at once, one daemon is started and the others wait for it: they connect to its socket, which
is bound before the mount and accepted from after it.

    command                             daemon
    lock, mend, prepare
    start ---- lock, pipe ------------> bind the socket
    wait on the pipe                    mount
         <---- "ready", or why not ---- accept from the socket
    exit                                serve, until SIGTERM, `stop`, or the mount is gone
                                        unmount, remove the socket, release the lock by exiting

If the mount is taken away while programs use it (`umount -l`), the daemon lets go of lock and
socket as soon as anybody asks for it, and serves what is open until it is closed; a new daemon may
mount meanwhile. It must then not unmount anything when it ends: what is at its path is not its.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs import control, mounts

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Mapping, Sequence

    import trio

logger = logging.getLogger("unionfs.daemon")  # it runs as __main__

COMMAND = (sys.executable, "-P", "-m", "unionfs.daemon")
"""-P: a directory that happens to be the current one must not shadow our modules."""

PATIENCE = 10.0
"""Seconds a command waits for a daemon that starts, ends or hangs."""

START_SECONDS = 60.0
"""Seconds a daemon may take from its start to its mount."""

STOP_SECONDS = 5.0
"""Seconds a daemon may take to end before it leaves without ceremony."""

MAX_LOG = 1 << 20
"""Bytes after which the log is turned; one older log is kept."""

ONE_PROJECT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PKGVIEW_PROJECT",
               "PKGVIEW_VIEW")  # fmt: skip
"""Variables of whoever happened to start the daemon, which serves all projects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A mount that is there: `how` is "already", "new", or "mended" after a daemon that died."""

    mountpoint: Path
    pid: int
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to serve a mount point, which is ready to be mounted: `lock` is held."""

    mountpoint: Path
    meeting: control.Rendezvous
    lock: int
    mended: bool


class Serve(Protocol):
    """Mounts, answers until unmounted or cancelled, and unmounts; calls `ready` once mounted."""

    async def __call__(
        self,
        mountpoint: Path,
        *,
        options: set[str],
        ready: Callable[[], None],
        requests: Counter[str],
    ) -> None:
        """Count every request in `requests`, by opcode."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a daemon serves. `gauges` adds to `status`, `operations` to the control socket."""

    serve: Serve
    transport: str
    gauges: Callable[[], Mapping[str, Any]]
    operations: Mapping[str, control.Operation]


# The command's side


def ensure_mounted(
    places: Places, *, command: Sequence[str] = COMMAND, patience: float = PATIENCE
) -> Mounted:
    """See that `places.mount` is mounted and answers; costs two small reads and one ping if so."""
    claimed = claim(places, patience=patience)
    if isinstance(claimed, Mounted):
        return claimed
    try:
        pid = _start(places, claimed, command)
    finally:
        os.close(claimed.lock)
    return Mounted(
        mountpoint=claimed.mountpoint, pid=pid, how="mended" if claimed.mended else "new"
    )


def claim(places: Places, *, patience: float = PATIENCE) -> Claim | Mounted:
    """Become the one who may serve `places.mount`, unless somebody serves it."""
    table = mounts.table()
    mountpoint = mounts.canonical(places.mount, table)
    mount = mounts.mounted_at(mountpoint, table)
    meeting = control.rendezvous(places, mountpoint)
    deadline = time.monotonic() + patience
    while True:
        if mount is not None and not mount.ours:
            raise foreign(mount)
        live = running(places, meeting)
        if live is None and (lock := meeting.acquire()) is not None:
            return _prepare(mountpoint, meeting, lock)
        if live is not None:
            mounted = _greet(live, mountpoint, deadline - time.monotonic())
            if mounted is not None:
                return mounted
        if time.monotonic() > deadline:
            raise control.silent(live or meeting, patience)
        time.sleep(0.02)
        mount = mounts.mounted_at(mountpoint)


def running(places: Places, meeting: control.Rendezvous) -> control.Rendezvous | None:
    """Where the live daemon is to be met, if there is one."""
    if meeting.held():
        return meeting
    return next((other for other in control.elsewhere(places, meeting) if other.held()), None)


def _greet(live: control.Rendezvous, mountpoint: Path, seconds: float) -> Mounted | None:
    """Ask a daemon that holds its lock; None if it is on its way in or out."""
    try:
        said = control.ask(live, "ping", seconds=max(seconds, 0.1))
    except control.DaemonAbsentError:
        return None
    if not said["mounted"]:
        return None  # it has let go of its lock, and serves what is still open
    if mounts.mounted_at(mountpoint) is None:
        raise PkgviewError(
            f"{mountpoint} is mounted by pid {said['pid']}, but not visible here: "
            "this process is in another mount namespace",
            remedy="Run the command outside the container or sandbox, or bind the mount into it.",
        )
    return Mounted(mountpoint=mountpoint, pid=said["pid"], how="already")


def foreign(mount: mounts.Mount) -> PkgviewError:
    """The error for a mount point that somebody else uses."""
    if mount.fstype == mounts.FSTYPE:
        return PkgviewError(
            f"{mount.path} is mounted by a pkgview of uid {mount.owner}",
            remedy="Name a mount point of your own: `pkgview mount MOUNTPOINT`, or PKGVIEW_MOUNT.",
        )
    return PkgviewError(
        f"{mount.path} has something else mounted: {mount.source} ({mount.fstype})",
        remedy=f"Unmount it, `umount {mount.path}`, or name another mount point with "
        "PKGVIEW_MOUNT.",
    )


def _prepare(mountpoint: Path, meeting: control.Rendezvous, lock: int) -> Claim:
    """Mend and check, holding the lock: a mount of ours that is there now has no daemon."""
    try:
        mounts.preflight()
        mended = _mend(mountpoint)
        _refuse_inside(mountpoint)
        mounts.prepare(mountpoint)
    except BaseException:
        os.close(lock)
        raise
    return Claim(mountpoint=mountpoint, meeting=meeting, lock=lock, mended=mended)


def _mend(mountpoint: Path) -> bool:
    """Take dead mounts of ours away; whether there was one."""
    mended = False
    while (mount := mounts.mounted_at(mountpoint)) is not None:
        if not mount.ours:
            raise foreign(mount)
        mounts.unmount(mountpoint, lazy=True)
        mended = True
    return mended


def _refuse_inside(mountpoint: Path) -> None:
    """A daemon whose own modules lie below its mount would wait for itself."""
    if Path(os.path.realpath(sys.prefix)).is_relative_to(mountpoint):
        raise PkgviewError(
            f"this pkgview lies inside the mount it would serve: {sys.prefix}",
            remedy="Run a pkgview that is installed elsewhere, "
            "e.g. with `uv tool install pkgview`.",
        )


def log_path(places: Places) -> Path:
    """The log of this user's daemons."""
    return places.state / "daemon.log"


def _start(places: Places, claimed: Claim, command: Sequence[str]) -> int:
    """Start the daemon in a session of its own and wait until it has mounted: its pid."""
    log = _open_log(log_path(places))
    before = os.fstat(log).st_size
    readable, writable = os.pipe()
    where = [
        f"--{place.name}={os.fspath(getattr(places, place.name))}"
        for place in fields(places)
        if place.name != "mount"
    ]
    try:
        process = subprocess.Popen(
            [*command, "--background", f"--lock={claimed.lock}", f"--ready={writable}", *where,
             f"--mount={os.fspath(claimed.mountpoint)}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            start_new_session=True, pass_fds=(claimed.lock, writable),
        )  # fmt: skip
        os.close(writable)
        writable = -1
        said = _read_until_closed(readable, START_SECONDS)
        if said is None:
            process.kill()
            if pid := claimed.meeting.pid():
                os.kill(pid, signal.SIGKILL)
        process.wait()
    finally:
        for number in (log, readable, writable):
            if number >= 0:
                os.close(number)
    if said:
        message = json.loads(said)
        if "pid" in message:
            return int(message["pid"])
        reasons = "; ".join(_lines_of_fuse(log_path(places), before))
        raise PkgviewError(
            message["what"] + (f" ({reasons})" if reasons else ""), remedy=message["remedy"]
        )
    raise PkgviewError(
        f"the daemon for {claimed.mountpoint} "
        + ("ended before it had mounted" if said is not None else "did not mount in time"),
        remedy=f"Its log says why: {log_path(places)}",
    )


def _read_until_closed(number: int, seconds: float) -> bytes | None:
    """All that comes through a pipe, None if it is still open after `seconds`."""
    import select  # noqa: PLC0415 - only a start needs it

    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(number, select.POLLIN)
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            parts.append(os.read(number, 1 << 16))
            if not parts[-1]:
                return b"".join(parts)
    return None


def _lines_of_fuse(log: Path, offset: int) -> list[str]:
    """What libfuse and fusermount3 said since: they write their reasons nowhere else."""
    try:
        with log.open("rb") as stream:
            stream.seek(offset)
            lines = stream.read(1 << 16).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith(("fuse", "mount:"))][-3:]


def _open_log(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > MAX_LOG:
                path.replace(path.with_suffix(".log.1"))
        return os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise PkgviewError(
            f"{path} cannot be written: {error.strerror}",
            remedy="Set XDG_STATE_HOME to a directory you may write to.",
        ) from error


# The daemon's side


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
        import trio  # noqa: PLC0415 - a command that starts a daemon does without

        os.pwrite(self._claim.lock, f"{os.getpid()}\n".encode(), 0)
        listener = control.listen(self._claim.meeting)
        self._serving = trio.CancelScope()
        self._stopping = trio.Event()
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._heed_signals)
                nursery.start_soon(self._heed_stop)
                try:
                    with self._serving:
                        await self._service.serve(
                            self._claim.mountpoint,
                            options=set(mounts.OPTIONS),
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
        mount = mounts.mounted_at(self._claim.mountpoint)
        self._device = mount.device if mount else None
        nursery.start_soon(self._converse, listener)
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
        import trio  # noqa: PLC0415 - a command that starts a daemon does without

        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                logger.info("ending: %s", signal.Signals(number).name)
                self._end()

    def _end(self) -> None:
        """Unmount and stop serving; what is open breaks. Idempotent."""
        import threading  # noqa: PLC0415 - a command that starts a daemon does without

        mount = mounts.mounted_at(self._claim.mountpoint)
        if self._device and mount and mount.device != self._device:
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
            mount = mounts.mounted_at(self._claim.mountpoint)
            if mount and mount.device == self._device:
                mounts.unmount(self._claim.mountpoint, lazy=True)
        _leave(1)

    def _let_go(self) -> None:
        """Remove the socket and release the lock, in this order: it is ours while we hold it."""
        if self._holding:
            self._holding = False
            self._claim.meeting.socket.unlink(missing_ok=True)
            fcntl.flock(self._claim.lock, fcntl.LOCK_UN)

    # The control socket

    async def _converse(self, listener: socket.socket) -> None:
        """Serve the control socket; whatever goes wrong there, the mount goes on."""
        import trio  # noqa: PLC0415 - a command that starts a daemon does without

        server = control.Server(
            operations={
                "ping": self._ping,
                "status": self._status,
                "stop": self._stop,
                **self._service.operations,
            }
        )
        while True:
            try:
                await server.serve(listener)
            except Exception:
                logger.exception("the control socket failed")
                await trio.sleep(1)

    async def _ping(self, _: control.Request) -> dict[str, Any]:
        mount = mounts.mounted_at(self._claim.mountpoint)
        mounted = mount is not None and mount.device == self._device
        if not mounted:
            logger.info("%s was unmounted: serving what is open", self._claim.mountpoint)
            self._let_go()
        return {"pid": os.getpid(), "version": version(), "mounted": mounted}

    async def _status(self, _: control.Request) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": version(),
            "mountpoint": os.fspath(self._claim.mountpoint),
            "transport": self._service.transport,
            "uptime": time.monotonic() - self._born,
            "memory": _memory(),
            "requests": dict(sorted(self._requests.items())),
            **self._service.gauges(),
        }

    async def _stop(self, _: control.Request) -> None:
        logger.info("ending: asked to stop")
        self._stopping.set()

    async def _heed_stop(self) -> None:
        import trio  # noqa: PLC0415 - a command that starts a daemon does without

        await self._stopping.wait()
        await trio.sleep(0.05)  # for the reply to go out
        self._end()


def _memory() -> int:
    """Resident set of this process, bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def version() -> str:
    """The version of the installed pkgview."""
    from importlib.metadata import version as of  # noqa: PLC0415 - 20 ms that few commands need

    return of("pkgview")


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
                log = _open_log(self._path)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.close(log)


def _settle(mountpoint: Path) -> None:
    """Become independent of whoever started us."""
    import faulthandler  # noqa: PLC0415 - a command that starts a daemon does without
    import resource  # noqa: PLC0415 - the same

    os.chdir("/")
    os.umask(0o077)
    faulthandler.enable()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for variable in ONE_PROJECT:
        os.environ.pop(variable, None)
    # An import through our own mount would wait for ourselves.
    sys.path[:] = [
        entry for entry in sys.path if not Path(os.path.realpath(entry)).is_relative_to(mountpoint)
    ]


def serve(
    claimed: Claim,
    places: Places,
    *,
    assemble: Callable[[Places], Service],
    announce: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> None:
    """Serve a claimed mount point in this process until it is unmounted; releases the claim."""
    import trio  # noqa: PLC0415 - a command that starts a daemon does without

    try:
        _settle(claimed.mountpoint)
        service = assemble(replace(places, mount=claimed.mountpoint))
        trio.run(Daemon(claimed, service, announce).run)
    finally:
        os.close(claimed.lock)


def serve_here(places: Places) -> None:
    """Serve in the foreground until unmounted or interrupted."""
    claimed = claim(places)
    if isinstance(claimed, Mounted):
        raise PkgviewError(
            f"{claimed.mountpoint} is mounted already, by pid {claimed.pid}",
            remedy="Run `pkgview umount` first.",
        )
    _log_through(logging.StreamHandler())
    serve(claimed, places, assemble=assemble_filesystem)


def _log_through(stream: logging.Handler) -> None:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
        handlers=[stream],
    )


def assemble_filesystem(places: Places) -> Service:
    """What pkgview really serves."""
    from functools import partial  # noqa: PLC0415 - a command that starts a daemon does without

    from unionfs.kernel import libfuse  # noqa: PLC0415 - the same
    from unionfs.mount import build_filesystem  # noqa: PLC0415 - the same

    filesystem, current = build_filesystem(places)
    catalog, binder = filesystem.catalog, current.binder

    def gauges() -> dict[str, Any]:
        frames = catalog.store.frames
        return {
            "views": catalog.loaded_views,
            "bindings": len(binder.bindings),
            "frames": {"bytes": frames.size, "hits": frames.hits, "misses": frames.misses},
        }

    async def bindings(_: control.Request) -> list[dict[str, Any]]:
        return [
            {
                "pid": bound.identity.tgid,
                "command": os.fsdecode(bound.command),
                "rule": bound.binding.rule.name.lower(),
                "project": bound.binding.project,
                "view": bound.binding.view,
                "why": bound.binding.why,
            }
            for bound in binder.bindings
        ]

    async def refresh(_: control.Request) -> None:
        binder.refresh()

    return Service(
        serve=partial(libfuse.serve, filesystem),
        transport="libfuse",
        gauges=gauges,
        operations={"bindings": bindings, "refresh": refresh},
    )


def main(
    argv: Sequence[str] | None = None,
    *,
    assemble: Callable[[Places], Service] = assemble_filesystem,
) -> int:
    """`python -m unionfs.daemon`: the exit status. What is not given follows the environment."""
    import argparse  # noqa: PLC0415 - a command that starts a daemon does without

    parser = argparse.ArgumentParser(prog="unionfs.daemon", description=main.__doc__)
    places = Places.from_environ()
    for place in fields(places):
        parser.add_argument(f"--{place.name}", type=Path, default=getattr(places, place.name))
    parser.add_argument("--lock", type=int, help="descriptor of the held lock")
    parser.add_argument("--ready", type=int, help="descriptor to say the outcome on")
    parser.add_argument("--background", action="store_true", help="leave the parent process")
    given = vars(parser.parse_args(argv))
    places = replace(places, **{place.name: given[place.name] for place in fields(places)})
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
            claim(places)
            if given["lock"] is None
            else Claim(
                mountpoint=places.mount,
                meeting=control.rendezvous(places, places.mount),
                lock=given["lock"],
                mended=False,
            )
        )
        if isinstance(claimed, Mounted):
            logger.info("%s is mounted already, by pid %d", claimed.mountpoint, claimed.pid)
            announce({"pid": claimed.pid})
        else:
            serve(claimed, places, assemble=assemble, announce=announce)
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
