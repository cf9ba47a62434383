"""The process that holds a live mount, and starts those that serve it.

It keeps the descriptors (`handover`) and waits. It looks at no file, answers no request and
allocates next to nothing, so there is little that could end it. Servers are forked from it, with
all that they import already there: a successor answers within some 20 ms.

    a server dies             another is started on its slots: it answers what that one had read
    it is stopped             for `STOPPED_SECONDS`: it is killed, and so replaced
    it dies again and again   its successor refuses what lies in the slots, in case that is why;
                              the next ones are started ever more slowly (`respawn`), and after
                              `UNSERVED_SECONDS` refuse whatever waits, before they try to serve
    `pkgview upgrade`         this process becomes another program (execve), keeps pid, children and
                              descriptors, and replaces the server as below
    this process dies         a server starts another supervisor, which replaces it as below
    a worker dies             the same as for a server; where there are several processes that
                              answer, all but the server are workers
    SIGTERM, SIGINT, SIGHUP   unmount, end the servers, end

A server is replaced in three steps, so that the mount is served at every moment and no command's
effect is lost: it is told to leave the commands (SIGUSR1) and says that it has; its successor is
started and says that it serves; it is told to end once it has answered all that it had read
(SIGUSR2). One that does not get done in time is killed, and what it leaves is answered by another.
Workers are told to end at once, and others are started in their places when the successor serves.

Concurrency: one thread, one loop. Signal handlers only write to the wake-up pipe.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from resolver.errors import PkgviewError
from unionfs.control.daemons import write_down
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon import server, worker
from unionfs.daemon.children import ENDING, Children, send, tell
from unionfs.daemon.respawn import Running, Start, described, successor
from unionfs.kernel import slots
from unionfs.mounting import mounts, unmounting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from unionfs.daemon.handover import Handover

    Announce = Callable[[Mapping[str, Any]], None]

logger = logging.getLogger(__name__)

YIELD_SECONDS: Final = 5.0
"""How long a server may take to leave the commands to its successor before it is killed."""

DRAIN_SECONDS: Final = 30.0
"""How long a server that was replaced may take to answer what it had read. Nobody asks it any more,
and the next upgrade waits until it has ended."""

UNSERVED_SECONDS: Final = 30.0
"""How long requests wait for a server that comes up, where each one dies; then they get EIO."""


class Supervisor:
    """One mount's."""

    def __init__(self, held: Handover, announce: Announce = lambda _: None) -> None:
        """Go on with `held`; `announce` is told once, when its mount is served by one of ours."""
        self._held = held
        self._announce: Announce | None = announce
        self._endpoint = endpoint_of(held.places, held.places.mount)
        self._children = Children()
        self._starts: list[Start] = []
        self._served = False
        self._unserved: float | None = None
        self._upgrade: str | None = None
        self._over = False
        self._failure: PkgviewError | None = None
        self._adopted = bool(held.running)
        self._written = write_down(held.places, held.lock)
        os.set_blocking(held.supervisors, False)

    def run(self) -> None:
        """Until the mount is gone, or is to be."""
        if self._held.worker_slots:
            import unionfs.kernel.several  # noqa: F401, PLC0415 - 9 MB, few mounts need it
        gc.collect()
        gc.freeze()  # what is here now is shared with servers for as long as nobody touches it
        self._listen_to_signals()
        for pid, found in self._held.running:
            with contextlib.suppress(ProcessLookupError):
                self._children.adopt(pid, found).ready = time.monotonic()
        for pid, found in self._held.worker_slots:
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    former = self._children.adopt(pid, found, worker=True)
                    tell(former, signal.SIGUSR2, DRAIN_SECONDS)
        self._note_pids()
        for one in self._children.servers:
            tell(one, signal.SIGUSR1, YIELD_SECONDS)
        if not self._children.servers:
            left = [found for _, found in self._held.running]  # of one that died on the way here
            self._starts.append(Start(slots=left[0] if left else None))
        while not self._over:
            self._start_what_is_due()
            self._wait()
            self._hear()
            self._reap()
            self._children.look_for_the_late()
            self._become()
        self._end()
        if self._failure is not None:
            raise self._failure
        logger.info("ended")

    # Waiting

    def _listen_to_signals(self) -> None:
        self._woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (*ENDING, signal.SIGCHLD):
            signal.signal(number, self._heed)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*ENDING, signal.SIGCHLD))

    def _heed(self, number: int, _: FrameType | None) -> None:
        if number in ENDING:
            logger.info("ending: %s", signal.Signals(number).name)
            self._over = True

    def _wait(self) -> None:
        now = time.monotonic()
        moments = [start.due for start in self._starts] + list(self._children.moments())
        running = self._children.running
        poll = select.poll()
        for number in (self._woken, self._held.supervisors, *(one.pidfd for one in running)):
            poll.register(number, select.POLLIN)
        if not running:  # who else would see that it is unmounted?
            poll.register(self._held.mount, 0)
        if not self._over:
            found = poll.poll(max(min(moments) - now, 0) * 1000 + 1 if moments else None)
            self._over = self._over or (self._held.mount, select.POLLERR) in found
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _hear(self) -> None:
        """Do what servers say."""
        while True:
            try:
                said = json.loads(os.read(self._held.supervisors, 1 << 16))
            except BlockingIOError:
                return
            speaker = next((one for one in self._children.running if one.pid == said["pid"]), None)
            if speaker is not None:
                self._hear_from(speaker, said)

    def _hear_from(self, speaker: Running, said: Mapping[str, Any]) -> None:
        if "ready" in said:
            speaker.ready = time.monotonic()
            if speaker.told is None and not speaker.worker:
                self._is_served()
        elif "hushed" in said and speaker.told is signal.SIGUSR1 and not speaker.yielded:
            speaker.yielded, speaker.limit = True, None
            self._starts.append(Start())
        elif "failed" in said:
            self._failure = PkgviewError(**said["failed"])
        elif "let_go" in said:
            self._held = replace(self._held, holding=False)
        elif "stop" in said:
            self._over = True
        elif "upgrade" in said:
            self._upgrade = str(said["upgrade"])

    def _is_served(self) -> None:
        for one in self._children.servers:
            if one.told is signal.SIGUSR1:
                tell(one, signal.SIGUSR2, DRAIN_SECONDS)
        if not self._served:
            self._served = True
            there = {one.slots for one in self._children.workers}
            left = [found for _, found in self._held.worker_slots if found not in there]
            self._starts += [Start(slots=found, worker=True) for found in left]
        for one in self._children.workers:
            if one.ready is not None and one.told is None:
                send(one, signal.SIGUSR1)
        self._failure = self._unserved = None
        self._say_trouble(None)
        announce, self._announce = self._announce, None
        if announce is not None:
            announce({"pid": os.getpid()})

    # Servers and workers

    def _note_pids(self) -> None:
        """In the lock, for messages and `umount --force`.

        Where there is no room for the first ones, there is none for what follows: it ends.
        """
        if not self._held.holding:
            return
        running = self._children.servers + self._children.workers
        pids = "".join(f"{pid}\n" for pid in (os.getpid(), *(one.pid for one in running)))
        try:
            os.ftruncate(self._held.lock, os.pwrite(self._held.lock, pids.encode(), 0))
        except OSError as error:
            said = f"{self._endpoint.lock} cannot be written: {error.strerror}"
            logger.error("%s", said)  # noqa: TRY400 - says it all
            if not (running or self._adopted):
                self._over = True
                self._failure = PkgviewError(
                    said, remedy="Make room there, or set XDG_RUNTIME_DIR to another directory."
                )

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for start in [one for one in self._starts if one.due <= now]:
            self._starts.remove(start)
            try:
                self._start(start)
            except OSError as error:  # no more processes, no more memory: soon, perhaps
                kind = "worker" if start.worker else "server"
                logger.error("no %s can be started: %s", kind, error)  # noqa: TRY400 - says it all
                start.due = now + 0.2
                self._starts.append(start)

    def _start(self, start: Start) -> None:
        if start.slots is None:
            start.slots = slots.create()
        unserved = self._unserved is not None and time.monotonic() - self._unserved
        life = server.Life(
            supervisor=os.getpid(),
            slots=start.slots,
            restarts=self._held.restarts,
            died=start.died,
            leaving=start.leaving,
            suspect=start.suspect,
            refusing=start.suspect and not start.leaving and unserved > UNSERVED_SECONDS,
        )
        held = self._held
        kept = (held.mount, held.lock, held.servers, held.told, start.slots, *held.worker_channel)
        if self._written is not None:
            kept += (self._written,)
        if start.worker:
            serve = partial(worker.run, held, life)
        else:
            serve = partial(server.run, held, life)
            kept += (
                held.listener,
                held.supervisor_lock,
                *(found for _, found in held.worker_slots),
            )
        one = self._children.start(start.slots, serve, kept, worker=start.worker)
        self._note_pids()
        one.shortness = start.shortness
        if start.leaving:
            one.told, one.limit = signal.SIGUSR2, time.monotonic() + DRAIN_SECONDS

    def _reap(self) -> None:
        """See who has ended, and what follows from it."""
        for one, status in self._children.reap():
            if one.told is None and status == 0:
                self._over = True  # the mount is gone
            elif one.worker:
                self._worker_has_ended(one, status)
            elif one.told is not None:
                self._has_left(one, status)
            else:
                self._has_died(one, status)
            if not self._over:
                self._note_pids()

    def _worker_has_ended(self, one: Running, status: int | None) -> None:
        """Another goes on with its slots, now or as soon as the mount is served."""
        follower = Start(slots=one.slots, worker=True)
        if one.told is None or status != 0:
            follower = successor(one, status, time.monotonic())
            logger.warning("%s ended (%s): starting another", one, described(status))
        if self._served:
            self._starts.append(follower)

    def _has_left(self, one: Running, status: int | None) -> None:
        follower = successor(one, status, time.monotonic())
        if one.told is signal.SIGUSR1 and not one.yielded:
            self._starts.append(follower)  # nobody has come yet who could serve in its stead
            return
        if left := slots.in_flight(one.slots):
            logger.warning("server %d died and left %d requests: answering", one.pid, len(left))
            follower.leaving = True
            self._starts.append(follower)
        else:
            os.close(one.slots)

    def _has_died(self, one: Running, status: int | None) -> None:
        now = time.monotonic()
        follower = successor(one, status, now)
        if self._announce is not None and not self._adopted and (status == 1 or follower.suspect):
            if self._failure is None:
                self._failure = PkgviewError(
                    f"the server ended before it served anything ({described(status)})",
                    remedy="The log says why.",
                )
            self._over = True
            return
        if self._unserved is None and all(
            one.told is signal.SIGUSR2 for one in self._children.servers
        ):
            self._unserved = now
        self._held = replace(self._held, restarts=self._held.restarts + 1)
        pause = follower.due - now
        logger.warning(
            "server %d ended%s: starting another%s",
            one.pid,
            f" ({described(status)})",
            f" in {pause:.1f} s, since it dies again and again" if pause else "",
        )
        if pause:
            self._say_trouble(self._failure.what if self._failure else described(status))
        self._starts.append(follower)

    def _say_trouble(self, why: str | None) -> None:
        """Where commands find it that nobody answers."""
        if self._held.holding:
            with contextlib.suppress(OSError):  # it is in the log as well
                if why is None:
                    self._endpoint.trouble.unlink(missing_ok=True)
                else:
                    # Its paths may hold anything, and it goes to somebody's terminal.
                    told = why if why.isprintable() else ascii(why)
                    self._endpoint.trouble.write_text(told, "utf-8")

    # Becoming another version

    def _become(self) -> None:
        """Become another version of this program, if one is wanted and nothing else goes on.

        Where it cannot be started this one stays.
        """
        executable = self._upgrade
        servers = self._children.servers
        starting = any(not start.worker for start in self._starts)
        if executable is None or self._over or starting or len(servers) != 1:
            return
        self._upgrade = None
        workers = {one.slots: one.pid for one in self._children.workers}
        held = replace(
            self._held,
            running=tuple((one.pid, one.slots) for one in servers),
            worker_slots=tuple(
                (workers.get(found, 0), found) for _, found in self._held.worker_slots
            ),
            upgrades=self._held.upgrades + 1,
        )
        command = held.command(executable)
        for number in held.descriptors:
            os.set_inheritable(number, True)  # noqa: FBT003 - positional only
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            os.execv(executable, command)  # noqa: S606 - a supervisor starts programs
        except OSError as error:
            logger.error("not upgraded: %s: %s", executable, error.strerror)  # noqa: TRY400 - says it all
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    # The end

    def _end(self) -> None:
        """Unmount what is ours, end the servers, let go of lock and socket; what is open breaks."""
        path = self._held.places.mount
        os.close(self._held.listener)  # and one descriptor is free for what follows
        with contextlib.suppress(PkgviewError):
            mount = mounts.mounted_at(path)
            if mount is not None and mount.device == self._held.device:
                unmounting.unmount(path, lazy=True)
        self._children.end()
        if self._held.holding:
            self._say_trouble(None)
            self._endpoint.withdraw(self._held.lock)  # a server that cannot end has it, too
        os.close(self._held.lock)
