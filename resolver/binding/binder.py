"""The front that is asked in time: from a thread id to a binding.

Fast where the table has the answer, in a thread with a time limit where a process must be looked
at, and never without an answer. What the answer is, `rules` decides.

Concurrency: the table and all of `Binder` belong to the trio thread and change only between
awaits. Threads run `observe` and `decide`, which read the table with single lookups (atomic under
the GIL) and call the `BindingState`; what they found comes back through `run_sync_soon`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from resolver.binding.observer import TIME_LIMIT, Observer, OwnEyes
from resolver.binding.rules import Binding, Bound, Finding, Rule, decide, findings
from resolver.binding.table import Bindings
from resolver.caller.owners import Owners
from resolver.caller.process import Caller, Identity, identity
from resolver.caller.procfs import (
    PROC,
    Absence,
    Pid,
    StartTime,
    Tid,
    is_newborn,
    read_cwd,
    read_serial,
    read_stat,
    read_status,
)
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from pathlib import Path

    import outcome

    from resolver.binding.rules import BindingState

log = logging.getLogger(__name__)

FRESH = 1.0
"""Seconds that a shell's or an editor's binding is taken for granted while its directory stays the
same. Editors walk through `current` hundreds of times a second."""

MOST_LOOKS = 8
"""Looks at one time. They are short and share one interpreter lock: more would not be faster."""

SLOW = 0.05
"""Seconds after which a look waits for something, and does not count as one of these any more.
A hundred hung processes that ask at one moment hold up a newcomer for 0.6 s, and not for ever."""

MOST_HUNG = 128
"""Slow or given-up looks at the daemon's own user's processes that may still hold a thread. Beyond
that nobody new of that user's is looked at."""

MOST_HUNG_OF_ANOTHER = 32
"""The same for each other user."""
MOST_WAITING_OF_ANOTHER = 512
"""Requests of another user that wait for looks: 2048 (`unionfs.kernel.slots`) are everybody's."""

NOBODY = -1
"""Stands for the user of a process that went before it could be told."""

MOST_EXPLAINED = 4
"""Processes explained at one time; looks that hang fill this and nothing else."""


@dataclass(eq=False, slots=True, kw_only=True)
class _Look:
    """One look at one process, shared by all who wait for it."""

    identity: Identity
    tid: Tid
    uid: int
    owner: int
    done: trio.Event = field(default_factory=trio.Event)
    bound: Bound | None = None
    fault: OSError | None = None
    began: float = math.inf
    slow: bool = False
    hung: bool = False
    took: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A process as it is now, what each rule finds, and what it was bound to last."""

    caller: Caller
    findings: tuple[Finding, ...]
    last: Bound | None


class Binder:
    """Answers every request in bounded time; belongs to one trio run.

    A request costs one read of `/proc/<tid>/stat` inline, since that never blocks and a thread
    costs ten times as much (7 µs against 90 µs). Where that is not enough, one look is made for
    all threads of the process, in a thread. A look that takes longer than the limit is given up:
    the requests get the process's earlier binding, or the default, at once until it comes back,
    and what it brings then counts from there on.
    """

    def __init__(
        self,
        state: BindingState,
        *,
        mount: Path,
        limit: float = TIME_LIMIT,
        root: Path = PROC,
        observer: Observer | None = None,
    ) -> None:
        self._state = state
        self._observer = observer or OwnEyes(state, mount, limit=limit, root=root)
        self._root = root
        self._own = os.getpid()
        self._user = os.geteuid()
        self.bindings = Bindings(self._is_alive)
        self._looks: dict[Identity, _Look] = {}
        self._owners = Owners()
        # By user, whose turn is next first: many looks at one user's processes delay no other's.
        self._pending: dict[int, deque[_Look]] = {}
        self._running: set[_Look] = set()
        self._hung: Counter[int] = Counter()
        self._waiting: Counter[int] = Counter()
        self._stale_before = -math.inf
        self._rebound = -math.inf
        self._explained = trio.CapacityLimiter(MOST_EXPLAINED)
        self._keep = math.inf
        self.looks = 0
        self.look_seconds = 0.0
        """Looks at processes, and the processor time that they took in their threads."""

    async def binding_for(self, tid: Tid) -> Binding:
        """The binding of the process that thread `tid` belongs to; never hangs.

        `OSError` where we have no descriptors or no memory left to look: nobody is taken for
        another because of that.
        """
        bound, who = self._recognise(tid)
        if isinstance(who, Absence):
            return self._default(who.value if tid > 0 else "its process cannot be seen from here")
        known = self._known(bound, who, tid)
        if known is not None:
            return known
        look = self._looks.get(who) or self._begin(who, tid)
        if look is not None and not look.hung:
            if not await self._has_waited(look):
                return bound.again() if bound else self._default("its user has too many that wait")
            if look.fault is not None:
                raise OSError(look.fault.errno, look.fault.strerror)
            if look.bound is not None:
                return look.bound.binding
            if not look.done.is_set():
                self._give_up(look)
        return bound.again() if bound else self._default("it could not be looked at")

    def bound(self, tid: Tid) -> Bound | None:
        """What was seen of a thread's process the last time it was looked at."""
        return self._recognise(tid)[0]

    def refresh(self) -> None:
        """Something about projects or views has changed: look again at all that is not lasting."""
        self._stale_before = trio.current_time()

    def rebind(self, *, keep: float) -> None:
        """Something was bound by hand, or is not any more: look again at all, running programs too.

        From here on these are looked at again every `keep` seconds (infinite: never): while a
        cgroup is bound, a process may enter it at any time.
        """
        self._rebound = self._stale_before = trio.current_time()
        self._keep = keep
        # Who asks from now on must not be told what a look from before finds.
        self._looks = {who: look for who, look in self._looks.items() if look.hung}

    def living(self) -> list[Bound]:
        """Every process in the table that has not ended, by pid. May be called in any thread."""
        alive = (b for b in self.bindings if self._is_alive(b.identity.tgid, b.identity.start_time))
        return sorted(alive, key=lambda bound: bound.identity.tgid)

    async def explain(self, pid: Pid) -> Explanation:
        """Look at a process as if it asked now, and at every rule; nothing of it is remembered.

        `PkgviewError` where there is no such process, or it cannot be looked at in time.
        """
        who = identity(Tid(pid), self._root)
        if isinstance(who, Absence):
            raise PkgviewError(
                f"there is no process {pid} that could be looked at: {who.value}",
                remedy="`pkgview ps` shows those that the daemon has seen.",
            )
        if who.tgid == self._own:
            raise PkgviewError(f"process {pid} is the daemon itself, which sees no view")

        def see() -> Explanation | Absence:
            seen = self._observer.see(Tid(pid), who)
            if isinstance(seen, Absence):
                return seen
            found = tuple(findings(seen.caller, seen.state, self.bindings))
            last = self.bindings.of(who.tgid, who.start_time)
            return Explanation(caller=seen.caller, findings=found, last=last)

        seen: Explanation | Absence | None = None
        limit = self._observer.patience(self._user_of(Tid(pid)))
        with trio.move_on_after(limit):
            seen = await trio.to_thread.run_sync(
                see, abandon_on_cancel=True, limiter=self._explained
            )
        if isinstance(seen, Explanation):
            return seen
        why = f"not within {limit:.0f} s" if seen is None else seen.value
        raise PkgviewError(f"process {pid} cannot be looked at: {why}")

    def _recognise(self, tid: Tid) -> tuple[Bound | None, Identity | Absence]:
        """The entry and the identity of a thread's process; inline, since nothing here blocks."""
        stat = read_stat(tid, self._root)
        if isinstance(stat, Absence):
            return None, stat
        # An entry under this very number: the thread is its process's first, as most are.
        bound = self.bindings.of(Pid(tid), stat.start_time)
        if bound is not None and stat.image:
            return bound, replace(bound.identity, image=stat.image)
        who = identity(tid, self._root)
        if not isinstance(who, Absence):
            bound = self.bindings.of(who.tgid, who.start_time)
        return bound, who

    def _known(self, bound: Bound | None, who: Identity, tid: Tid) -> Binding | None:
        """What can be said without a look."""
        if who.tgid == self._own:
            return self._default("it is the daemon itself")
        if bound is None or bound.identity != who:
            return None
        age = trio.current_time() - bound.since
        if bound.lasting:
            kept = age < self._keep and bound.since > self._rebound
            return bound.again() if kept else None
        fresh = age < FRESH and bound.since > self._stale_before
        if fresh and bound.cwd is not None and read_cwd(tid, self._root) == bound.cwd:
            return bound.binding
        return None

    async def _has_waited(self, look: _Look) -> bool:
        """Wait for it; False at once where its user's requests have no more room."""
        if self._is_crowded(look.owner):
            return False
        self._waiting[look.owner] += 1
        try:
            await self._landed(look)
        finally:
            self._waiting -= Counter((look.owner,))
        return True

    async def _landed(self, look: _Look) -> None:
        """Wait for it, within the limit, and see that it holds up no other."""
        until = trio.current_time() + self._observer.patience(look.uid)
        while not look.done.is_set() and (now := trio.current_time()) < until:
            # Whoever waits sees to all of them: for some nobody waits any more.
            for other in [one for one in self._running if now - one.began >= SLOW]:
                self._set_aside(other)
            pause = until if look.slow else min(until, max(now, look.began) + SLOW, now + SLOW)
            with trio.move_on_at(pause):
                await look.done.wait()

    def _begin(self, who: Identity, tid: Tid) -> _Look | None:
        owner = self._owners.of(uid := self._user_of(tid))
        if self._is_full(owner) or self._is_crowded(owner):
            return None  # better a wrong answer at once than one after the limit, each time
        look = _Look(identity=who, tid=tid, uid=uid, owner=owner)
        self._looks[who] = look
        self._pending.setdefault(owner, deque()).append(look)
        self._start_pending()
        return look

    def _start_pending(self) -> None:
        while len(self._running) < MOST_LOOKS and (look := self._next()) is not None:
            self._start(look)

    def _next(self) -> _Look | None:
        """The next look, of each user's in turn; None where all that there are have to wait."""
        owner = next((owner for owner in self._pending if not self._is_full(owner)), None)
        if owner is None:
            return None
        look = (looks := self._pending.pop(owner)).popleft()
        if looks:
            self._pending[owner] = looks  # behind the others
        return look

    def _is_full(self, owner: int) -> bool:
        return self._hung[owner] >= (MOST_HUNG if owner == self._user else MOST_HUNG_OF_ANOTHER)

    def _is_crowded(self, owner: int) -> bool:
        return owner != self._user and self._waiting[owner] >= MOST_WAITING_OF_ANOTHER

    def _user_of(self, tid: Tid) -> int:
        status = read_status(tid, self._root)
        return NOBODY if isinstance(status, Absence) else status.account.uid

    def _start(self, look: _Look) -> None:
        look.began = trio.current_time()
        self._running.add(look)
        token = trio.lowlevel.current_trio_token()

        def deliver(result: outcome.Outcome[Bound | None]) -> None:
            # Where the daemon has stopped nobody waits any more.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self._land, look, result)

        # Not `to_thread.run_sync`: a look outlives the request that began it.
        see = functools.partial(self._see, look, trio.current_time())
        trio.lowlevel.start_thread_soon(see, deliver, "pkgview look")

    def _see(self, look: _Look, now: float) -> Bound | None:
        """In a thread: look at the process and decide."""
        began = time.thread_time()
        try:
            return self._seen(look, now)
        finally:
            look.took = time.thread_time() - began

    def _seen(self, look: _Look, now: float) -> Bound | None:
        cwd = read_cwd(look.tid, self._root)
        seen = self._observer.see(look.tid, look.identity)
        if isinstance(seen, Absence):
            return None
        binding = decide(seen.caller, seen.state, self.bindings)
        who = look.identity
        return Bound.of(
            seen.caller,
            binding,
            cwd=cwd if isinstance(cwd, str) else None,
            since=now,
            serial=read_serial(who.tgid) if is_newborn(who.start_time) else 0,
        )

    def _land(self, look: _Look, result: outcome.Outcome[Bound | None]) -> None:
        """Back in the trio thread, in time or late."""
        self.looks += 1
        self.look_seconds += look.took
        try:
            look.bound = result.unwrap()
        except OSError as error:
            look.fault = error
        except Exception:
            log.exception("process %d could not be bound", look.identity.tgid)
        if look.slow:
            self._hung[look.owner] -= 1
            if not self._hung[look.owner]:
                del self._hung[look.owner]
        else:
            self._running.remove(look)
        if self._looks.get(look.identity) is look:
            del self._looks[look.identity]
        # A look from before something was bound by hand answers those who waited for it, no more.
        if look.bound is not None and look.bound.since > self._rebound:
            who = look.bound.identity
            last = self.bindings.of(who.tgid, who.start_time)
            self.bindings.put(look.bound.after(last))
        look.done.set()
        self._start_pending()

    def _set_aside(self, look: _Look) -> None:
        """Its thread no longer counts as one of the `MOST_LOOKS`, so others are not held up."""
        look.slow = True
        self._running.remove(look)
        self._hung[look.owner] += 1
        self._start_pending()

    def _give_up(self, look: _Look) -> None:
        """Nobody waits for it any more, nor does whoever comes before it is done."""
        if look.hung or look.began == math.inf:
            return
        if not look.slow:
            self._set_aside(look)
        look.hung = True
        log.warning("process %d could not be looked at in time", look.identity.tgid)

    def _default(self, why: str) -> Binding:
        view = self._state.default_view(None)
        return Binding(rule=Rule.DEFAULT, view=view, project=None, why=why)

    def _is_alive(self, tgid: Pid, start_time: StartTime) -> bool:
        try:
            stat = read_stat(tgid, self._root)
        except OSError:  # nobody is forgotten because we cannot look
            return True
        return not isinstance(stat, Absence) and stat.start_time == start_time and not stat.dead
