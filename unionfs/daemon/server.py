"""A server of a supervised mount: answers the kernel and the commands until it is told or killed.

It may be killed at any moment. What it had read and not answered lies in its slots, which the
supervisor holds too; everything else it knows is in the state directory or found out again.

    SIGUSR1     a successor comes: answer no more commands, so that what they change is not lost;
                files are served on
    SIGUSR2     it is there: read no more requests, answer those that were read, end
    SIGTERM     end
    end of the channel
                the supervisor died: start another one, which takes the mount over from here; or, if
                there is one that another server has started, leave it all to that server

Exit status: 0 if the mount is gone, or all is answered after SIGUSR2; anything else is a death.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from resolver.errors import PkgviewError
from unionfs.archive import heap
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon.mount import assemble
from unionfs.daemon.mount_requests import MountRequests
from unionfs.daemon.service import SUPERVISED
from unionfs.daemon.worker_protocol import WorkerLinks
from unionfs.kernel import abi
from unionfs.kernel.session import Terms
from unionfs.kernel.siblings import Siblings
from unionfs.kernel.slots import Slots
from unionfs.view.nodeid import PACKING, PACKINGS
from unionfs.view.told import Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from unionfs.control.request import Request
    from unionfs.daemon.handover import Handover
    from unionfs.daemon.service import Service

logger = logging.getLogger(__name__)

MORE_KILLABLE = 200
"""Added to oom_score_adj, proc(5): where memory ends, a server goes before its supervisor."""

ORPHAN_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""How long a server waits before it starts another supervisor; the last for ever."""

REFUSING_SECONDS = 0.2
"""How long it is refused whatever waits, before it is tried to serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One server's: `supervisor` is a pid, `died` when its predecessor did (monotonic clock).

    `leaving`: only what lies in the slots is to be answered. `suspect`: what lies there has ended
    servers again and again, so it is answered with EIO. `refusing`: there has been no server for so
    long that whatever waits is answered like that, before it is tried to serve again.
    """

    supervisor: int
    slots: int
    restarts: int = 0
    died: float | None = None
    leaving: bool = False
    suspect: bool = False
    refusing: bool = False


def run(held: Handover, life: Life) -> int:
    """Serve in this process, which does nothing else: its exit status."""
    slots = begin(held, life)
    if life.refusing:
        _refuse_whatever_waits(held.mount, slots)
    try:
        service = assemble(held.places, SUPERVISED, PACKINGS[held.packing], Told(held.told))
    except PkgviewError as error:
        tell(held.servers, failed={"what": error.what, "remedy": error.remedy})
        raise
    return trio.run(Server(held, life, service, slots).run)


def begin(held: Handover, life: Life) -> Slots:
    """What servers and workers begin with: the slots, without what may be what ends them."""
    _be_killed_first()
    heap.share_one()
    slots = Slots(life.slots)
    if life.suspect:
        for number in slots.in_flight():
            _, opcode, unique, *_ = abi.IN_HEADER.unpack_from(slots.views[number])
            logger.error(
                "request %d (opcode %d) ended servers again and again: refused", unique, opcode
            )
            _refuse(held.mount, slots, number)
    return slots


def _be_killed_first() -> None:
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):
        path.write_text(str(min(int(path.read_text("ascii")) + MORE_KILLABLE, 1000)), "ascii")


def _refuse(mount: int, slots: Slots, number: int) -> None:
    """Answer what lies in a slot with EIO."""
    unique = abi.IN_HEADER.unpack_from(slots.views[number])[2]
    with contextlib.suppress(OSError):  # it has no reply, or its caller is gone
        os.write(mount, abi.OUT_HEADER.pack(abi.OUT_HEADER.size, -errno.EIO, unique))
    slots.empty(number)


def _refuse_whatever_waits(mount: int, slots: Slots) -> None:
    """For a moment: whoever is refused may ask again at once."""
    until, refused = time.monotonic() + REFUSING_SECONDS, 0
    while time.monotonic() < until:
        try:
            _refuse(mount, slots, slots.read(mount))
            refused += 1
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.EINTR}:  # taken back meanwhile
                raise
    logger.error("nobody has served for long: %d requests are refused", refused)


def channel() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end, and the servers'. It ends for them when the supervisor does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    return ours, theirs


def tell(channel: int, **words: object) -> None:
    """Tell the supervisor; one that has died meanwhile is found out elsewhere."""
    with contextlib.suppress(OSError):
        os.write(channel, json.dumps({"pid": os.getpid(), **words}).encode())


async def heed_signals(
    turn: Callable[[], None],
    drain: Callable[[], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Do what the supervisor signals, as long as this process serves: SIGUSR1, SIGUSR2, SIGTERM."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with trio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGUSR1:
                turn()
            elif number == signal.SIGUSR2:
                drain()
            elif number == signal.SIGTERM:
                os._exit(1)
            # SIGINT, SIGHUP of a terminal reach the supervisor too, which decides.


def _is_taken(lock: int) -> bool:
    """Whether there is a supervisor."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.lockf(lock, fcntl.LOCK_UN)
    return False


class Server:
    """One life. Everything runs in one trio task tree, so no method needs a lock."""

    def __init__(self, held: Handover, life: Life, service: Service, slots: Slots) -> None:
        self._held = held
        self._life = life
        self._service = service
        self._slots = slots
        self._requests: Counter[str] = Counter()
        self._pause: float | None = None
        self._supervisor = life.supervisor
        self._channel = held.servers
        self._yielding = trio.Event()
        self._draining = trio.Event()
        self._workers: WorkerLinks | None = None
        self._siblings: Siblings | None = None
        if held.worker_slots and service.view_of is not None:
            self._siblings = Siblings()
            self._workers = WorkerLinks(
                held.worker_channel[1], self._siblings,
                current=service.view_of, look_into=service.look_into,
            )  # fmt: skip

    async def run(self) -> int:
        """Until the mount is gone, or all is answered after SIGUSR2."""
        answer = self._service.answer
        if answer is None:
            raise RuntimeError(f"{self._service.transport} cannot be supervised")
        if self._life.leaving:
            self._draining.set()
        async with trio.open_nursery() as nursery:
            await nursery.start(heed_signals, self._yielding.set, self._draining.set)
            if not self._life.leaving:
                nursery.start_soon(self._heed_supervisor)
                nursery.start_soon(self._converse)
                if self._workers is not None:
                    nursery.start_soon(self._workers.hold, self._draining)
            if self._life.died is not None:
                self._pause = time.monotonic() - self._life.died
            tell(self._channel, ready=True)
            await answer(
                self._held.mount, Terms.from_json(self._held.terms), self._slots,
                requests=self._requests, draining=self._draining, siblings=self._siblings,
            )  # fmt: skip
            nursery.cancel_scope.cancel()
        return 0

    # Commands

    async def _converse(self) -> None:
        """Answer commands, and do what goes alongside, until a successor does."""
        conversation = MountRequests(
            self._service,
            self._held.places.mount,
            device=lambda: self._held.device,
            life=self._processes,
            requests=self._requests,
            let_go=self._let_go,
            stop=lambda: tell(self._channel, stop=True),
            operations={"upgrade": self._upgrade},
            others=self._workers,
        )
        with socket.socket(fileno=os.dup(self._held.listener)) as listener:
            async with trio.open_nursery() as alongside:
                for work in self._service.alongside:
                    alongside.start_soon(work)
                await conversation.hold(listener, self._yielding)
                alongside.cancel_scope.cancel()
        tell(self._channel, hushed=True)

    def _processes(self) -> dict[str, Any]:
        return {
            "pid": self._supervisor,
            "server": os.getpid(),
            "supervised": True,
            "workers": self._held.workers,
            "pids": [os.getpid(), *(self._workers.pids if self._workers else ())],
            "restarts": self._life.restarts,
            "upgrades": self._held.upgrades,
            "begun_before": self._held.packing != PACKING.number,
            "pause": self._pause,
            "uptime": time.monotonic() - self._held.born,
        }

    def _let_go(self) -> None:
        """Let another daemon be the one of this mount point.

        The lock belongs to the open file, which the supervisor has too: it is released for both.
        """
        if self._held.holding:
            self._held = replace(self._held, holding=False)
            endpoint_of(self._held.places, self._held.places.mount).withdraw(self._held.lock)
            tell(self._channel, let_go=True)

    async def _upgrade(self, request: Request) -> None:
        executable = request.arguments.get("executable")
        if (
            not isinstance(executable, str)
            or not executable.startswith("/")
            or "\0" in executable
            or not os.access(executable, os.X_OK)
        ):
            raise PkgviewError(f"{executable!r} is no interpreter that could be started")
        logger.info("upgrading: to %s", executable)
        tell(self._channel, upgrade=executable)

    # The supervisor's death

    async def _heed_supervisor(self) -> None:
        orphaned = 0
        while True:
            await trio.lowlevel.wait_readable(self._channel)  # nobody writes: it has ended
            seconds = ORPHAN_SECONDS[min(orphaned, len(ORPHAN_SECONDS) - 1)]
            orphaned += 1
            await trio.sleep(seconds)
            if _is_taken(self._held.supervisor_lock):
                self._yielding.set()
                self._draining.set()
                return
            logger.error("the supervisor (pid %d) died: starting another", self._supervisor)
            try:
                self._start_supervisor()
            except OSError as error:
                logger.error("no supervisor can be started: %s", error)  # noqa: TRY400 - says it all

    def _start_supervisor(self) -> None:
        theirs, ours = channel()
        with theirs:
            held = replace(
                self._held,
                supervisors=theirs.fileno(),
                servers=ours.detach(),
                running=((os.getpid(), self._slots.descriptor),),
                worker_slots=tuple((0, slots) for _, slots in self._held.worker_slots),
                restarts=self._life.restarts,
            )
            os.close(self._channel)
            self._channel = held.servers
            process = subprocess.Popen(
                held.command(), stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                pass_fds=held.descriptors,
            )  # fmt: skip
        self._supervisor = process.pid
        process.returncode = 0  # it outlives us, and is not waited for
