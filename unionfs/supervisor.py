"""The process that holds a live mount, and starts those that serve it.

It mounts, keeps the descriptors (`held`), and waits. It looks at no file, answers no request and
allocates next to nothing, so there is little that could end it. Servers are forked from it, with
all that they import already there: a successor answers within some 20 ms.

    a server dies             another is started on its slots: it answers what that one had read
    it is stopped             for `STOPPED_SECONDS`: it is killed, and so replaced
    it dies again and again   its successor refuses what lies in the slots, in case that is why;
                              the next ones are started ever more slowly (`lives`), and after
                              `UNSERVED_SECONDS` refuse whatever waits, before they try to serve
    `pkgview upgrade`         this process becomes another program (execve), keeps pid, children and
                              descriptors, and replaces the server as below
    this process dies         a server starts another supervisor, which replaces it as below
    SIGTERM, SIGINT, SIGHUP   unmount, end the servers, end

A server is replaced in three steps, so that the mount is served at every moment and no command's
effect is lost: it is told to leave the commands (SIGUSR1) and says that it has; its successor is
started and says that it serves; it is told to end once it has answered all that it had read
(SIGUSR2). One that does not get done in time is killed, and what it leaves is answered by another.

Concurrency: one thread, one loop. Signal handlers only write to the wake-up pipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import logging
import os
import select
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from resolver.errors import PkgviewError
from unionfs import control, mounts, server, unmounting
from unionfs.held import Held
from unionfs.kernel import session, slots
from unionfs.lives import Running, Start, described, has_ended, is_dead, status_of, successor
from unionfs.rendezvous import rendezvous

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from resolver.places import Places
    from unionfs.launch import Claim

    Announce = Callable[[Mapping[str, Any]], None]

logger = logging.getLogger(__name__)

STOPPED_SECONDS: Final = 2.0
"""How long a server may be stopped (SIGSTOP) before it is killed."""

HUSH_SECONDS: Final = 5.0
"""How long a server may take to leave the commands to its successor before it is killed."""

DRAIN_SECONDS: Final = 30.0
"""How long a server that was replaced may take to answer what it had read. Nobody asks it any more,
and the next upgrade waits until it has ended."""

LOOK_SECONDS: Final = 5.0
"""How often is looked for a server that is dead and has not ended. A thread of it that waits for
another file system (a look at a directory there that hangs) keeps the process, and with it every
message of its death, until that one answers; but it never runs again."""

STOP_SECONDS: Final = 5.0
"""How long servers may take to end."""

UNSERVED_SECONDS: Final = 30.0
"""How long requests wait for a server that comes up, where each one dies; then they get EIO."""

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def mount(claimed: Claim, places: Places, announce: Announce, *, background: bool) -> None:
    """Mount what is claimed and supervise its servers until it is unmounted.

    `PkgviewError` if it cannot be mounted, or its first server cannot serve it.
    """
    lock = os.dup(claimed.lock)
    listener = control.listen(claimed.meeting)
    try:
        descriptor = session.mount(claimed.mountpoint, mounts.options(shared=claimed.shared))
    except RuntimeError as error:
        listener.close()
        claimed.meeting.socket.unlink(missing_ok=True)
        raise PkgviewError(
            f"{claimed.mountpoint} cannot be mounted: {error}",
            remedy="A container needs `--device /dev/fuse --cap-add SYS_ADMIN`; "
            "elsewhere the log says more.",
        ) from error
    mounted = mounts.mounted_at(claimed.mountpoint)
    ours, theirs = server.channel()
    held = Held(
        places=places,
        device=mounted.device if mounted else (0, 0),
        terms=session.negotiate(descriptor).to_json(),
        mount=descriptor,
        listener=listener.detach(),
        lock=lock,
        seat=os.memfd_create("pkgview-seat", os.MFD_CLOEXEC),
        supervisors=ours.detach(),
        servers=theirs.detach(),
        background=background,
        born=time.monotonic(),
    )
    logger.info("mounted %s", claimed.mountpoint)
    Supervisor(held, announce).run()


class Supervisor:
    """One mount's."""

    def __init__(self, held: Held, announce: Announce = lambda _: None) -> None:
        """Go on with `held`; `announce` is told once, when its mount is served by one of ours."""
        self._held = held
        self._announce: Announce | None = announce
        self._meeting = rendezvous(held.places, held.places.mount)
        self._servers: list[Running] = []
        self._starts: list[Start] = []
        self._unended: list[int] = []
        self._unserved: float | None = None
        self._upgrade: str | None = None
        self._over = False
        self._failure: PkgviewError | None = None
        self._adopted = bool(held.running)
        os.set_blocking(held.supervisors, False)

    def run(self) -> None:
        """Until the mount is gone, or is to be."""
        gc.collect()
        gc.freeze()  # what is here now is shared with servers for as long as nobody touches it
        self._listen_to_signals()
        for pid, found in self._held.running:
            with contextlib.suppress(ProcessLookupError):
                self._add(pid, found).ready = time.monotonic()
        for one in self._servers:
            self._tell(one, signal.SIGUSR1, HUSH_SECONDS)
        if not self._servers:
            left = [found for _, found in self._held.running]  # of one that died on the way here
            self._starts.append(Start(slots=left[0] if left else None))
        while not self._over:
            self._start_what_is_due()
            self._wait()
            self._hear()
            self._bury()
            self._look_for_the_late()
            self._become()
        self._end()
        if self._failure is not None:
            raise self._failure
        logger.info("ended")

    # Waiting

    def _listen_to_signals(self) -> None:
        self._woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (*_ENDING, signal.SIGCHLD):
            signal.signal(number, self._heed)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_ENDING, signal.SIGCHLD))

    def _heed(self, number: int, _: FrameType | None) -> None:
        if number in _ENDING:
            logger.info("ending: %s", signal.Signals(number).name)
            self._over = True

    def _wait(self) -> None:
        now = time.monotonic()
        moments = [start.due for start in self._starts]
        moments += [one.stopped + STOPPED_SECONDS for one in self._servers if one.stopped]
        moments += [one.limit for one in self._servers if one.limit is not None]
        moments += [now + LOOK_SECONDS for _ in self._servers[:1]]
        poll = select.poll()
        for number in (self._woken, self._held.supervisors, *(one.pidfd for one in self._servers)):
            poll.register(number, select.POLLIN)
        if not self._servers:  # who else would see that it is unmounted?
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
            speaker = next((one for one in self._servers if one.pid == said["pid"]), None)
            if speaker is not None:
                self._hear_from(speaker, said)

    def _hear_from(self, speaker: Running, said: Mapping[str, Any]) -> None:
        if "ready" in said:
            speaker.ready = time.monotonic()
            if speaker.told is None:
                self._is_served()
        elif "hushed" in said and speaker.told is signal.SIGUSR1 and not speaker.hushed:
            speaker.hushed, speaker.limit = True, None
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
        for one in self._servers:
            if one.told is signal.SIGUSR1:
                self._tell(one, signal.SIGUSR2, DRAIN_SECONDS)
        self._failure = self._unserved = None
        self._say_trouble(None)
        announce, self._announce = self._announce, None
        if announce is not None:
            announce({"pid": os.getpid()})

    # Servers

    def _add(self, pid: int, of: int) -> Running:
        one = Running(pid=pid, pidfd=os.pidfd_open(pid), slots=of)
        self._servers.append(one)
        self._note_pids()
        return one

    def _note_pids(self) -> None:
        """In the lock, for messages and `umount --force`."""
        if self._held.holding:
            pids = "".join(f"{pid}\n" for pid in (os.getpid(), *(one.pid for one in self._servers)))
            os.ftruncate(self._held.lock, os.pwrite(self._held.lock, pids.encode(), 0))

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for start in [one for one in self._starts if one.due <= now]:
            self._starts.remove(start)
            try:
                self._start(start)
            except OSError as error:  # no more processes, no more memory: soon, perhaps
                logger.error("no server can be started: %s", error)  # noqa: TRY400 - says it all
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
        pid = os.fork()
        if pid == 0:
            self._be_server(life)
        try:
            one = self._add(pid, start.slots)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # a child that nobody has reaped: it is this one
            os.waitpid(pid, 0)
            raise
        one.shortness = start.shortness
        if start.leaving:
            one.told, one.limit = signal.SIGUSR2, time.monotonic() + DRAIN_SECONDS

    def _be_server(self, life: server.Life) -> None:
        """In the forked process; does not return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_ENDING, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            _close_all_but(self._held, life.slots)
            status = server.run(self._held, life)
        except PkgviewError as error:
            logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
        except BaseException:
            logger.exception("the server failed")
        finally:
            logging.shutdown()
            os._exit(status)

    def _bury(self) -> None:
        """See who has ended, and what follows from it."""
        self._unended = [one for one in self._unended if not has_ended(one)]
        for one in list(self._servers):
            if not (select.select([one.pidfd], [], [], 0)[0] or is_dead(one.pid)):
                continue
            status = status_of(one)
            self._servers.remove(one)
            os.close(one.pidfd)
            if status is None:
                self._unended.append(one.pid)
            if one.told is not None:
                self._has_left(one, status)
            elif status == 0:
                self._over = True  # the mount is gone
            else:
                self._has_died(one, status)
            if not self._over:
                self._note_pids()

    def _has_left(self, one: Running, status: int | None) -> None:
        follower = successor(one, status, time.monotonic())
        if one.told is signal.SIGUSR1 and not one.hushed:
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
        if self._unserved is None and all(one.told is signal.SIGUSR2 for one in self._servers):
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
                    self._meeting.trouble.unlink(missing_ok=True)
                else:
                    # Its paths may hold anything, and it goes to somebody's terminal.
                    told = why if why.isprintable() else ascii(why)
                    self._meeting.trouble.write_text(told, "utf-8")

    def _look_for_the_late(self) -> None:
        now = time.monotonic()
        for one in self._servers:
            with contextlib.suppress(ChildProcessError):  # another's child: who adopted it sees it
                flags = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
                change = os.waitid(os.P_PID, one.pid, flags)
                if change is not None:
                    one.stopped = now if change.si_code == os.CLD_STOPPED else None
            if one.stopped is not None and now - one.stopped >= STOPPED_SECONDS:
                logger.error("server %d was stopped for %.0f s: killed", one.pid, STOPPED_SECONDS)
                one.stopped = None
                self._signal(one, signal.SIGKILL)
            if one.limit is not None and now >= one.limit:
                left = "leave" if one.told is signal.SIGUSR1 else "get done with what it had read"
                logger.error("server %d does not %s: killed", one.pid, left)
                one.limit, one.overdue = None, True
                self._signal(one, signal.SIGKILL)

    def _tell(self, one: Running, number: signal.Signals, seconds: float) -> None:
        """Tell a server to leave the commands, or to end, and see that it does."""
        one.told, one.limit = number, time.monotonic() + seconds
        self._signal(one, number)

    @staticmethod
    def _signal(one: Running, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(one.pidfd, number)

    # Becoming another version

    def _become(self) -> None:
        """Become another version of this program, if one is wanted and nothing else goes on.

        Where it cannot be started this one stays.
        """
        executable = self._upgrade
        if executable is None or self._over or self._starts or len(self._servers) != 1:
            return
        self._upgrade = None
        running = tuple((one.pid, one.slots) for one in self._servers)
        held = replace(self._held, running=running, upgrades=self._held.upgrades + 1)
        command = held.command(executable)
        for number in held.descriptors:
            os.set_inheritable(number, True)  # noqa: FBT003 - positional only
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            os.execv(executable, command)  # noqa: S606 - a supervisor starts programs
        except OSError as error:
            logger.error("not upgraded: %s: %s", executable, error.strerror)  # noqa: TRY400 - says it all
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    # The end

    def _end(self) -> None:
        """Unmount what is ours, end the servers, let go of lock and socket; what is open breaks."""
        path = self._held.places.mount
        os.close(self._held.listener)  # and one descriptor is free for what follows
        with contextlib.suppress(PkgviewError):
            mount = mounts.mounted_at(path)
            if mount is not None and mount.device == self._held.device:
                unmounting.unmount(path, lazy=True)
        for one in self._servers:
            self._signal(one, signal.SIGTERM)
            self._signal(one, signal.SIGCONT)
        deadline = time.monotonic() + STOP_SECONDS
        for one in self._servers:
            if not select.select([one.pidfd], [], [], max(deadline - time.monotonic(), 0))[0]:
                logger.error("server %d does not end: killed", one.pid)
                self._signal(one, signal.SIGKILL)
                select.select([one.pidfd], [], [], 1.0)
            status_of(one)
        if self._held.holding:
            self._say_trouble(None)
            self._meeting.socket.unlink(missing_ok=True)
            fcntl.flock(self._held.lock, fcntl.LOCK_UN)  # a server that cannot end has it, too
        os.close(self._held.lock)


def _close_all_but(held: Held, own: int) -> None:
    """In a forked process: let go of what only a supervisor may have."""
    kept = {0, 1, 2, held.mount, held.listener, held.lock, held.seat, held.servers, own}
    for number in {int(name) for name in os.listdir("/proc/self/fd")} - kept:
        with contextlib.suppress(OSError):  # the listing's own
            os.close(number)
