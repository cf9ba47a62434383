"""Which view a caller gets: the seven rules, what they remember, and the front that asks in time.

Three parts, each knowing nothing of the next:

* `decide` is the rules: a caller and what is known go in, a binding comes out.
* `Bindings` is the memory behind rule 2 and rule 6: who got what, bounded, honest about pids.
* `Binder` is what the daemon awaits: fast where the memory has the answer, in a thread with a time
  limit where a process must be looked at, and never without an answer.

The rules and the reasons for each choice below them are in docs/bindings.md.

Concurrency: the table and all of `Binder` belong to the trio thread and change only between
awaits. Threads run `observe` and `decide`, which read the table with single lookups (atomic under
the GIL) and call the `BindingState`; what they found comes back through `run_sync_soon`.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import itertools
import logging
import os
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import trio

from resolver.caller import Ancestor, Caller, Identity, as_view, identity, mount_names, observe
from resolver.errors import PkgviewError
from resolver.procfs import PROC, Absence, Pid, StartTime, Tid, read_cwd, read_stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import outcome

    from resolver.manifest import ViewId

log = logging.getLogger(__name__)

TIME_LIMIT = 1.0
"""Seconds that a request waits for its caller to be looked at. A look takes 0.3 ms where nothing
is wrong; a second is still a pause and not yet a hang."""

FRESH = 1.0
"""Seconds that a shell's or an editor's binding is taken for granted while its directory stays the
same. Editors walk through `current` hundreds of times a second."""

MOST_LOOKS = 8
"""Looks at one time. They are short and share one interpreter lock: more would not be faster."""

MOST_HUNG = 128
"""Given-up looks that may still hold a thread. Beyond that nobody new is looked at."""

MOST_BOUND = 1 << 16
"""Entries of the table, a few hundred bytes each, whatever happens."""


class Rule(enum.IntEnum):
    """The rules, in the order they are tried; the first that says something holds."""

    BY_HAND = 1
    EARLIER = 2
    ENVIRONMENT = 3
    SCRIPT = 4
    CWD = 5
    ANCESTOR = 6
    DEFAULT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a caller gets. `why` is a clause for `pkgview status` and the log.

    `view` is None where `project` has no view yet, where it cannot be read (`why` says so), or
    where there is no default either: what to show then is the daemon's business.
    """

    rule: Rule
    view: ViewId | None
    project: str | None
    why: str


class Candidate(NamedTuple):
    """A project that a path belongs to; `refused` says why it must not count ("" if it may)."""

    root: str
    refused: str = ""


class BindingState(Protocol):
    """What the rules ask. All but `default_view` may block, and are called from several threads."""

    def by_hand(self, caller: Caller) -> Binding | None:
        """What `pkgview run` or `pkgview bind` said of this process or of one of its cgroups."""
        ...

    def knows(self, view: ViewId) -> bool:
        """Whether there is such a view."""
        ...

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        """The nearest project upwards, and whether a process of `uid` may act on it.

        `PkgviewError` where there is one that cannot be read: its caller is then told so.
        """
        ...

    def script_project(self, script: str, uid: int) -> Candidate | None:
        """The script's own project (PEP 723), else its directory's; the rest as `project_of`."""
        ...

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        """The project's view for that Python ("3.11"; None: whichever is the newest)."""
        ...

    def default_view(self, python: str | None) -> ViewId | None:
        """The user's default. Never blocks: it is the answer where all else takes too long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One entry of the table: which process (and which `execve` of it) got which binding.

    `lasting`: it is kept for life. `cwd` and `since` (trio's clock, seconds) say for how long any
    other may be taken for granted.
    """

    identity: Identity
    binding: Binding
    lasting: bool
    uid: int | None = None
    exe: str | None = None
    python: str | None = None
    command: bytes = b""
    cwd: str | None = None
    since: float = 0.0

    @classmethod
    def of(cls, caller: Caller, binding: Binding, *, cwd: str | None, since: float) -> Bound:
        """Interpreters keep a view that they were shown; nobody keeps the want of one."""
        lasting = caller.is_interpreter and binding.view is not None and bool(caller.identity.image)
        return cls(
            identity=caller.identity,
            binding=binding,
            lasting=lasting,
            uid=caller.uid,
            exe=caller.exe,
            python=caller.python,
            command=caller.command,
            cwd=cwd,
            since=since,
        )

    def again(self) -> Binding:
        """The same binding, by rule 2."""
        if self.binding.rule is Rule.EARLIER:
            return self.binding
        return replace(self.binding, rule=Rule.EARLIER, why=f"as before: {self.binding.why}")


class Earlier(Protocol):
    """The memory, as the rules see it."""

    def of(self, tgid: Pid, start_time: StartTime) -> Bound | None:
        """What that process was bound to last."""
        ...


def decide(caller: Caller, state: BindingState, earlier: Earlier) -> Binding:
    """Try the rules in order. Whatever is not known of the caller just skips a rule."""
    skipped: list[str] = []
    binding = (
        state.by_hand(caller)
        or _earlier(caller, earlier)
        or _environment(caller, state, skipped)
        or _script(caller, state, skipped)
        or _cwd(caller, state, skipped)
        or _ancestor(caller, state, earlier)
        or Binding(
            rule=Rule.DEFAULT,
            view=state.default_view(caller.python),
            project=None,
            why="no project",
        )
    )
    # What was passed over is said even where another rule held: it is what people look for.
    return replace(binding, why="; ".join((binding.why, *skipped))) if skipped else binding


def _earlier(caller: Caller, earlier: Earlier) -> Binding | None:
    """Rule 2: the same program in the same process, or in the process it was forked from."""
    who = caller.identity
    if not caller.is_interpreter:
        return None
    for tgid, start_time in (Ancestor(who.tgid, who.start_time), *caller.ancestors):
        bound = earlier.of(tgid, start_time)
        if bound is None or not bound.lasting or bound.identity.image != who.image:
            continue
        if tgid == who.tgid:
            return bound.again()
        # Only a fork has its ancestor's memory layout. Where addresses are not randomised others
        # may have it too, so the program and its arguments must also be the same.
        if (bound.exe, bound.command, bound.uid) == (caller.exe, caller.command, caller.uid):
            return bound.again()
    return None


def _environment(caller: Caller, state: BindingState, skipped: list[str]) -> Binding | None:
    """Rule 3: PKGVIEW_VIEW, which says more, before PKGVIEW_PROJECT."""
    if caller.view:
        view = as_view(caller.view)
        if view and state.knows(view):
            why = "PKGVIEW_VIEW in its environment"
            return Binding(rule=Rule.ENVIRONMENT, view=view, project=None, why=why)
        skipped.append(f"PKGVIEW_VIEW names no view: {_shown(caller.view)}")
    if caller.project:
        if not caller.project.startswith("/"):
            skipped.append(f"PKGVIEW_PROJECT is no absolute path: {_shown(caller.project)}")
            return None
        why = "PKGVIEW_PROJECT in its environment"
        found = _project(Rule.ENVIRONMENT, caller, state, caller.project, why, skipped)
        if found is None:
            skipped.append(f"PKGVIEW_PROJECT names no project: {_shown(caller.project)}")
        return found
    return None


def _script(caller: Caller, state: BindingState, skipped: list[str]) -> Binding | None:
    """Rule 4: the view it was started from, else its main script's project."""
    if caller.runs_from and state.knows(caller.runs_from):
        why = "started from that view"
        return Binding(rule=Rule.SCRIPT, view=caller.runs_from, project=None, why=why)
    if caller.script is None:
        return None
    return _project(Rule.SCRIPT, caller, state, caller.script, "its main script", skipped)


def _cwd(caller: Caller, state: BindingState, skipped: list[str]) -> Binding | None:
    """Rule 5: the project of the directory it is in."""
    if caller.cwd is None:
        return None
    return _project(Rule.CWD, caller, state, caller.cwd, "its working directory", skipped)


def _project(  # noqa: PLR0913, PLR0917 - the three rules that end in a project, once
    rule: Rule, caller: Caller, state: BindingState, path: str, why: str, skipped: list[str]
) -> Binding | None:
    if caller.uid is None:
        return None
    ask = state.script_project if rule is Rule.SCRIPT else state.project_of
    try:
        found = ask(path, caller.uid)
    except PkgviewError as error:
        return Binding(rule=rule, view=None, project=None, why=f"{why}: {error.what}")
    if found is None:
        return None
    if found.refused:
        note = f"{found.root} was passed over: {found.refused}"
        if note not in skipped:
            skipped.append(note)
        return None
    view = state.view_of(found.root, caller.python)
    return Binding(rule=rule, view=view, project=found.root, why=f"{why}: {_shown(path)}")


def _ancestor(caller: Caller, state: BindingState, earlier: Earlier) -> Binding | None:
    """Rule 6: the nearest one whose binding lasts, and was not just the default."""
    for pid, start_time in caller.ancestors:
        bound = earlier.of(pid, start_time)
        if bound is None or not bound.lasting or bound.uid != caller.uid:
            continue
        if bound.binding.rule is Rule.DEFAULT:
            continue
        view, project = bound.binding.view, bound.binding.project
        if project and caller.python not in {None, bound.python}:
            view = state.view_of(project, caller.python)
        return Binding(
            rule=Rule.ANCESTOR,
            view=view,
            project=project,
            why=f"process {pid} above it: {bound.binding.why}",
        )
    return None


def _shown(text: str) -> str:
    """Another process's text, fit for one line of a log or a terminal."""
    return text if text.isprintable() else ascii(text)


class Bindings:
    """Who got what. Lookups and insertions are O(1); dead processes go as new ones come.

    Why no pidfd for each: ten thousand processes would take ten thousand descriptors. A pid's
    start time, compared at each lookup, tells its first owner from the next one just as well: a
    pid would have to come round again within one tick of 10 ms.

    Why no sweep: it would stop the daemon for the length of the table. Instead each insertion
    asks after the two entries that were asked after longest ago, so the table stays below about
    twice the number of live processes in it.
    """

    def __init__(self, alive: Callable[[Pid, StartTime], bool], *, most: int = MOST_BOUND) -> None:
        self._alive = alive
        self._most = most
        self._entries: dict[Pid, Bound] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Bound]:
        return iter(list(self._entries.values()))

    def of(self, tgid: Pid, start_time: StartTime) -> Bound | None:
        """The process's entry; None for another process that had the same pid."""
        bound = self._entries.get(tgid)
        return bound if bound and bound.identity.start_time == start_time else None

    def put(self, bound: Bound) -> None:
        """Remember a binding in place of the process's last one."""
        self._entries.pop(bound.identity.tgid, None)
        for tgid in list(itertools.islice(self._entries, 2)):
            oldest = self._entries.pop(tgid)
            if self._alive(tgid, oldest.identity.start_time):
                self._entries[tgid] = oldest
        while len(self._entries) >= self._most:
            del self._entries[next(iter(self._entries))]
        self._entries[bound.identity.tgid] = bound


@dataclass(eq=False, slots=True, kw_only=True)
class _Look:
    """One look at one process, shared by all who wait for it."""

    identity: Identity
    tid: Tid
    done: trio.Event = field(default_factory=trio.Event)
    bound: Bound | None = None
    running: bool = False
    hung: bool = False


class Binder:
    """Answers every request in bounded time; belongs to one trio run.

    A request costs one read of `/proc/<tid>/stat` inline, since that never blocks and a thread
    costs ten times as much (7 µs against 90 µs). Where that is not enough, one look is made for
    all threads of the process, in a thread. A look that takes longer than the limit is given up:
    the requests get the process's earlier binding, or the default, at once until it comes back,
    and what it brings then counts from there on.
    """

    def __init__(
        self, state: BindingState, *, mount: Path, limit: float = TIME_LIMIT, root: Path = PROC
    ) -> None:
        self._state = state
        self._mount = mount_names(mount)
        self._limit = limit
        self._root = root
        self._own = os.getpid()
        self.bindings = Bindings(self._is_alive)
        self._looks: dict[Identity, _Look] = {}
        self._pending: deque[_Look] = deque()
        self._running = 0
        self._hung = 0
        self._stale_before = 0.0

    async def binding_for(self, tid: Tid) -> Binding:
        """The binding of the process that thread `tid` belongs to; never raises, never hangs."""
        bound, who = self._recognise(tid)
        if isinstance(who, Absence):
            return self._default(who.value if tid > 0 else "its process cannot be seen from here")
        known = self._known(bound, who, tid)
        if known is not None:
            return known
        look = self._looks.get(who) or self._begin(who, tid)
        if look is not None and not look.hung:
            with trio.move_on_after(self._limit):
                await look.done.wait()
            if look.bound is not None:
                return look.bound.binding
            if not look.done.is_set():
                self._give_up(look)
        return bound.again() if bound else self._default("it could not be looked at")

    def refresh(self) -> None:
        """Something about projects or views has changed: look again at all that is not lasting."""
        self._stale_before = trio.current_time()

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
        if bound.lasting:
            return bound.again()
        fresh = trio.current_time() - bound.since < FRESH and bound.since > self._stale_before
        if fresh and bound.cwd is not None and read_cwd(tid, self._root) == bound.cwd:
            return bound.binding
        return None

    def _begin(self, who: Identity, tid: Tid) -> _Look | None:
        if self._hung >= MOST_HUNG:
            return None  # better a wrong answer at once than one after the limit, each time
        look = _Look(identity=who, tid=tid)
        self._looks[who] = look
        self._pending.append(look)
        self._start_pending()
        return look

    def _start_pending(self) -> None:
        while self._pending and self._running < MOST_LOOKS and self._hung < MOST_HUNG:
            self._start(self._pending.popleft())

    def _start(self, look: _Look) -> None:
        look.running = True
        self._running += 1
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
        cwd = read_cwd(look.tid, self._root)
        caller = observe(look.tid, self._mount, self._root, known=look.identity)
        if isinstance(caller, Absence):
            return None
        binding = decide(caller, self._state, self.bindings)
        return Bound.of(caller, binding, cwd=cwd if isinstance(cwd, str) else None, since=now)

    def _land(self, look: _Look, result: outcome.Outcome[Bound | None]) -> None:
        """Back in the trio thread, in time or late."""
        try:
            look.bound = result.unwrap()
        except Exception:
            log.exception("process %d could not be bound", look.identity.tgid)
        if look.hung:
            self._hung -= 1
        else:
            self._running -= 1
        if self._looks.get(look.identity) is look:
            del self._looks[look.identity]
        if look.bound is not None:
            self.bindings.put(look.bound)
        look.done.set()
        self._start_pending()

    def _give_up(self, look: _Look) -> None:
        """Its thread no longer counts as one of the `MOST_LOOKS`, so others are not held up."""
        if look.hung or not look.running:
            return
        look.hung = True
        self._running -= 1
        self._hung += 1
        log.warning(
            "process %d could not be looked at within %.1f s", look.identity.tgid, self._limit
        )
        self._start_pending()

    def _default(self, why: str) -> Binding:
        view = self._state.default_view(None)
        return Binding(rule=Rule.DEFAULT, view=view, project=None, why=why)

    def _is_alive(self, tgid: Pid, start_time: StartTime) -> bool:
        stat = read_stat(tgid, self._root)
        return not isinstance(stat, Absence) and stat.start_time == start_time and not stat.dead
