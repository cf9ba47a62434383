"""Which view a caller gets: the seven rules, and the memory that two of them need.

* `decide` is the rules: a caller and what is known go in, a binding comes out.
* `Bindings` is the memory behind rule 2 and rule 6: who got what, bounded, honest about pids.

Both are pure; `binder` asks them in time. The rules and the reasons for each choice below them are
in docs/bindings.md.
"""

from __future__ import annotations

import enum
import itertools
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from resolver.caller import Ancestor, Caller, Identity, as_view
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.manifest import ViewId
    from resolver.procfs import Pid, StartTime

log = logging.getLogger(__name__)

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
