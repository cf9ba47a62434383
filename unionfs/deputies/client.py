"""The daemon's side of deputies: looks at other users' processes that root's mount lets in.

**What is asked of whom.** Which process it is, its user, its ancestors and its cgroups the daemon
reads itself: nobody can forge them. All else is a deputy's to say (`unionfs.deputies.deputy`), who
sees what its user may see. Root's daemon opens no file and follows no link for another user.

**Nothing is believed** (`resolver.binding.answers`), and nothing is waited for longer than a look
may take: a deputy that is killed, stopped, or says nonsense costs its own user the default view,
and nobody else anything. `Binder` limits how many looks of one user hang.

Concurrency: any thread may call any method; `_lock` is held for what cannot block.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from resolver.binding.answers import Answer, AnsweredState, read
from resolver.binding.observer import TIME_LIMIT, OwnEyes, Seen
from resolver.caller.owners import Owners
from resolver.caller.process import Caller, ancestors, as_view
from resolver.caller.procfs import Absence, Account, Tid, read_cgroup, read_status

if TYPE_CHECKING:
    from resolver.caller.process import Identity
    from resolver.manifest import ViewId

logger = logging.getLogger(__name__)

START_LIMIT = 15.0
"""Seconds for a user's first answer: the nursery has to begin, perhaps on a machine that boots."""

MOST_DEPUTIES = 256
"""At a time, each a few MiB of its own; beyond that the one that began first has to go."""

MOST_OF_ONE = 8
"""The same of one user: its group or, in user namespaces, its number may be another each time."""

LONGEST_ANSWER = 256 * 1024

COMMAND = (sys.executable, "-P", "-m", "unionfs.deputies.deputy")


class DeputyError(Exception):
    """There is no answer, for that reason."""


class Deputies:
    """An `Observer` for the daemon of root's mount."""

    def __init__(self, own: OwnEyes) -> None:
        self._own = own
        self._owners = Owners()
        self._user = os.geteuid()
        self._lock = threading.Lock()
        self._nursery: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._channels: dict[Account, socket.socket] = {}
        self._answered: dict[int, Account] = {}

    def see(self, tid: Tid, who: Identity) -> Seen | Absence:
        """Look at a process with its own user's eyes."""
        status = read_status(tid)
        if isinstance(status, Absence):
            return status
        account = status.account
        if account.uid == self._user:
            return self._own.see(tid, who, status)
        try:
            answer = read(self.ask(account, {"look": tid}), who)
        except (DeputyError, ValueError) as error:
            logger.warning("user %d, process %d: %s", account.uid, who.tgid, error)
            answer = Answer()
        line = ancestors(who, status)
        cgroups = read_cgroup(tid)
        caller = answer.caller(
            Caller(
                identity=who,
                uid=account.uid,
                ancestors=tuple(ancestor for ancestor, _ in line),
                images=tuple(image for _, image in line),
                cgroups=() if isinstance(cgroups, Absence) else cgroups,
            )
        )

        def view_of(project: str, python: str | None) -> ViewId | None:
            try:
                said = self.ask(account, {"root": project, "python": python})
            except DeputyError:
                return None
            view = said.get("view") if isinstance(said, dict) else None
            return as_view(view) if isinstance(view, str) else None

        return Seen(caller, AnsweredState(answer, self._own.state, view_of))

    def patience(self, uid: int) -> float:
        """Longer for the first of a user's: whoever is early waits instead of seeing nothing."""
        known = uid == self._user or uid in self._answered
        return TIME_LIMIT if known else START_LIMIT

    def ask(self, account: Account, question: dict[str, Any]) -> Any:  # noqa: ANN401 - nothing is known of it
        """One question, one answer. `DeputyError`."""
        until = time.monotonic() + self.patience(account.uid)
        for _ in range(2):  # it may have ended a moment ago, with nothing to do
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours:
                self.put(account, question, theirs)
                ours.settimeout(max(0.001, until - time.monotonic()))
                try:
                    data = ours.recv(LONGEST_ANSWER)
                except TimeoutError as error:
                    raise DeputyError("its deputy does not answer in time") from error
                except OSError:
                    continue
            if data:
                self._answered[account.uid] = account
                return _parsed(data)
        raise DeputyError("its deputy has ended, or has too much to do")

    def hand(self, uid: int, view: ViewId, end: socket.socket) -> None:
        """Have that user's deputy hand over what a view is made of, on `end`. `DeputyError`."""
        account = self._answered.get(uid)
        if account is None:
            end.close()
            raise DeputyError("no deputy of its has named that view")
        self.put(account, {"hand": view}, end)

    def put(self, account: Account, question: dict[str, Any], end: socket.socket) -> None:
        """Send a question with the end to answer on, which is closed here. Never blocks."""
        data = json.dumps(question).encode()
        with end, self._lock:
            for _ in range(2):
                channel = self._channels.get(account) or self._begin(account)
                try:
                    socket.send_fds(channel, [data], [end.fileno()])
                except BlockingIOError as error:
                    raise DeputyError("its deputy has stopped") from error
                except OSError:
                    self._forget(account)
                    continue
                return
        raise DeputyError("its deputy cannot be asked")

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for account in list(self._channels):
                self._forget(account)
            self._end_nursery()

    # Below, with the lock held

    def _forget(self, account: Account) -> None:
        self._channels.pop(account).close()
        self._answered.pop(account.uid, None)

    def _begin(self, account: Account) -> socket.socket:
        owner = self._owners.of(account.uid)
        same = [one for one in self._channels if self._owners.of(one.uid) == owner]
        if len(same) >= MOST_OF_ONE:
            self._forget(same[0])
        while len(self._channels) >= MOST_DEPUTIES:
            self._forget(next(iter(self._channels)))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as undone:
            undone.enter_context(ours)
            ours.settimeout(0)  # `send_fds` of Python 3.11 drops its flags
            order = json.dumps(account._asdict()).encode()
            for _ in range(2):
                nursery = self._nursery or self._begin_nursery()
                try:
                    socket.send_fds(nursery[1], [order], [theirs.fileno()])
                except OSError:
                    self._end_nursery()
                    continue
                undone.pop_all()
                self._channels[account] = ours
                return ours
        raise DeputyError("deputies cannot be started")

    def _begin_nursery(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        with theirs:
            try:
                process = subprocess.Popen(
                    [*COMMAND, json.dumps(sorted(self._own.mount))],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    # Nothing of root's environment; our modules are found as we were.
                    env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.defpath},
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise DeputyError(f"deputies cannot be started: {error}") from error
        self._nursery = process, ours
        return self._nursery

    def _end_nursery(self) -> None:
        if self._nursery is None:
            return
        process, channel = self._nursery
        self._nursery = None
        channel.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # it has nothing to tidy up
        process.wait()


def _parsed(data: bytes) -> Any:  # noqa: ANN401 - as above
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DeputyError("its deputy talks nonsense") from error
