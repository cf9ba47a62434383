"""Which view a caller gets: the seven rules.

`findings` is the rules, one after the other: a caller and what is known go in, and what each rule
found comes out. The first binding holds: `decide` stops there, `pkgview explain` goes on.

All of it is pure; `binder` asks in time, and `table` is the memory that rules 2 and 6 need. The
rules and the reasons for each choice below them are in docs/bindings.md.
"""

from __future__ import annotations

import enum
import itertools
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from resolver.caller.process import Ancestor, Caller, Identity, as_view
from resolver.errors import PkgviewError
from resolver.naming import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.caller.procfs import Pid, StartTime
    from resolver.manifest import ViewId

log = logging.getLogger(__name__)


class Rule(enum.IntEnum):
    """The rules, in the order they are tried; the first that says something holds."""

    BY_HAND = 1
    EARLIER = 2
    ENVIRONMENT = 3
    SCRIPT = 4
    DIRECTORY = 5
    ANCESTOR = 6
    DEFAULT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a caller gets. `why` is a clause for `pkgview ps` and the log.

    `view` is None where `project` has no view yet, where it cannot be read (`why` says so), or
    where there is no default either: what to show then is the daemon's business. `hand` is the
    number of the binding by hand that it came from, None where it came from none. `refused` is, in
    the default's case, the first project that would have counted if it could be trusted.
    """

    rule: Rule
    view: ViewId | None
    project: str | None
    why: str
    hand: int | None = None
    refused: Candidate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule found: a binding, or None and `said`, a clause that says why.

    `skipped` are the things that it had to pass over, which people look for where they miss them;
    `refused` is a project among them.
    """

    rule: Rule
    binding: Binding | None = None
    said: str = ""
    skipped: tuple[str, ...] = ()
    refused: Candidate | None = None


class Candidate(NamedTuple):
    """A project that a path belongs to; `refused` says why it must not count ("" if it may).

    `told`: whether its program is told so. `root` is the path itself where nothing was looked at.
    `agreed`: its user has said yes to it once (`resolver.project.trust`).
    """

    root: str
    refused: str = ""
    told: bool = True
    agreed: bool = True


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

    `lasting`: it is kept for life. `cwd` and `since` (trio's clock, seconds: when it was looked at
    last) say for how long any other may be taken for granted. `given` (the same clock) is when it
    got this view by this rule, and `program` what people know it by. `serial` is that of a process
    that was looked at in the very tick in which it began, else 0.
    """

    identity: Identity
    binding: Binding
    lasting: bool
    uid: int | None = None
    exe: str | None = None
    python: str | None = None
    command: bytes = b""
    program: str = ""
    cwd: str | None = None
    since: float = 0.0
    given: float = 0.0
    serial: int = 0

    @classmethod
    def of(
        cls, caller: Caller, binding: Binding, *, cwd: str | None, since: float, serial: int = 0
    ) -> Bound:
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
            program=caller.program,
            cwd=cwd,
            since=since,
            given=since,
            serial=serial,
        )

    def after(self, last: Bound | None) -> Bound:
        """The same, where `last` is what the process was bound to until now.

        A program that was looked at again and keeps its view by rule 2 keeps its first rule, too.
        """
        if last is None or last.identity != self.identity:
            return self
        if self.binding.rule is Rule.EARLIER and self.binding.view == last.binding.view:
            return replace(self, binding=last.binding, given=last.given)
        now, then = self.binding, last.binding
        same = (now.rule, now.view, now.hand) == (then.rule, then.view, then.hand)
        return replace(self, given=last.given) if same else self

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
    """The first binding that the rules find. What is not known of the caller just skips a rule."""
    skipped: list[str] = []
    refused: Candidate | None = None
    for finding in findings(caller, state, earlier):
        skipped += (note for note in finding.skipped if note not in skipped)
        refused = refused or finding.refused
        if finding.binding is not None:
            binding = finding.binding
            if binding.rule is Rule.DEFAULT and refused:
                binding = replace(binding, refused=refused)
            # What was passed over is said even where another rule held: people look for it.
            return replace(binding, why="; ".join((binding.why, *skipped))) if skipped else binding
    raise AssertionError("the last rule always holds")


def findings(caller: Caller, state: BindingState, earlier: Earlier) -> Iterator[Finding]:
    """What each rule says, in order, and each only when it is asked for; the last always binds."""
    yield _by_hand(caller, state, earlier)
    yield _earlier(caller, earlier)
    yield _environment(caller, state)
    yield _script(caller, state)
    yield _directory(caller, state)
    yield _ancestor(caller, state, earlier)
    view = state.default_view(caller.python)
    default = Binding(rule=Rule.DEFAULT, view=view, project=None, why="no project")
    yield Finding(rule=Rule.DEFAULT, binding=default)


def _by_hand(caller: Caller, state: BindingState, earlier: Earlier) -> Finding:
    """Rule 1: what was said of the process. A running program keeps the view it got by it."""
    said = state.by_hand(caller)
    if said is None:
        return Finding(rule=Rule.BY_HAND, said="nobody bound it, a process above it, or its cgroup")
    kept = _earlier(caller, earlier).binding
    if kept is not None and said.hand is not None and kept.hand == said.hand:
        said = replace(said, view=kept.view)
    return Finding(rule=Rule.BY_HAND, binding=said)


def _earlier(caller: Caller, earlier: Earlier) -> Finding:
    """Rule 2: the same program in the same process, or in the process it was forked from."""
    who = caller.identity
    if not caller.is_interpreter:
        return Finding(rule=Rule.EARLIER, said="it is no interpreter, so it is looked at afresh")
    for tgid, start_time in (Ancestor(who.tgid, who.start_time), *caller.ancestors):
        bound = earlier.of(tgid, start_time)
        if bound is None or not bound.lasting or bound.identity.image != who.image:
            continue
        # Only a fork has its ancestor's memory layout. Where addresses are not randomised others
        # may have it too, so the program and its arguments must also be the same.
        same = (bound.exe, bound.command, bound.uid) == (caller.exe, caller.command, caller.uid)
        if tgid == who.tgid or same:
            return Finding(rule=Rule.EARLIER, binding=bound.again())
    return Finding(rule=Rule.EARLIER, said="this program was shown no view before")


def _environment(caller: Caller, state: BindingState) -> Finding:
    """Rule 3: PKGVIEW_VIEW, which says more, before PKGVIEW_PROJECT."""
    rule = Rule.ENVIRONMENT
    skipped: tuple[str, ...] = ()
    if caller.view:
        view = as_view(caller.view)
        if view and state.knows(view):
            why = "PKGVIEW_VIEW in its environment"
            return Finding(rule=rule, binding=Binding(rule=rule, view=view, project=None, why=why))
        skipped = (f"PKGVIEW_VIEW names no view: {_shown(caller.view)}",)
    if not caller.project:
        said = (
            "" if caller.view else "it had neither PKGVIEW_VIEW nor PKGVIEW_PROJECT to start with"
        )
        return Finding(rule=rule, said=said, skipped=skipped)
    if not caller.project.startswith("/"):
        fault = f"PKGVIEW_PROJECT is no absolute path: {_shown(caller.project)}"
        return Finding(rule=rule, skipped=(*skipped, fault))
    why = "PKGVIEW_PROJECT in its environment"
    found = _project(rule, caller, state, caller.project, why)
    skipped += found.skipped
    if found.binding is None:
        skipped += (f"PKGVIEW_PROJECT names no project: {_shown(caller.project)}",)
    return replace(found, skipped=skipped)


def _script(caller: Caller, state: BindingState) -> Finding:
    """Rule 4: the view it was started from, else its main script's project."""
    rule = Rule.SCRIPT
    if caller.runs_from and state.knows(caller.runs_from):
        why = "started from that view"
        return Finding(
            rule=rule, binding=Binding(rule=rule, view=caller.runs_from, project=None, why=why)
        )
    if caller.script is None:
        return Finding(rule=rule, said="it was not started from a view, and runs no script")
    return _project(rule, caller, state, caller.script, "its main script")


def _directory(caller: Caller, state: BindingState) -> Finding:
    """Rule 5: the project of the directory it is in.

    Where a program was started says little about whose code it wants. An interpreter with a script
    imports from the script's place, as Python itself has it, and its directory says nothing. All
    others get what is around them if their user has said yes to that; without a yes only who was
    started as the mount's own Python, by its path, and imports from its working directory anyway.
    """
    if caller.cwd is None:
        return Finding(
            rule=Rule.DIRECTORY, said="its working directory cannot be seen, or is a view's"
        )
    if caller.runs_script:
        return Finding(rule=Rule.DIRECTORY, said="it runs a script, whose place counts instead")
    return _project(Rule.DIRECTORY, caller, state, caller.cwd, "its working directory")


def _project(rule: Rule, caller: Caller, state: BindingState, path: str, why: str) -> Finding:
    """What the three rules that end in a project have in common."""
    if caller.uid is None:
        return Finding(rule=rule, said="its user is not known")
    ask = state.script_project if rule is Rule.SCRIPT else state.project_of
    here = caller.started_here and caller.by_path and caller.imports_here
    try:
        found = ask(path, caller.uid)
    except PkgviewError as error:
        unreadable = Binding(
            rule=rule, view=None, project=None, why=f"{why}: {visible(error.what, path)}"
        )
        return Finding(rule=rule, binding=unreadable)
    if found is None:
        return Finding(rule=rule, said=f"{why} belongs to no project: {_shown(path)}")
    if found.refused:
        note = f"{found.root} was passed over: {found.refused}"
        return Finding(rule=rule, skipped=(note,), refused=found if found.told else None)
    if rule is Rule.DIRECTORY and not found.agreed and not here:
        note = f"{found.root} was passed over: its user has not said yes to it"
        return Finding(rule=rule, skipped=(note,), refused=found if caller.started_here else None)
    view = state.view_of(found.root, caller.python)
    binding = Binding(rule=rule, view=view, project=found.root, why=f"{why}: {_shown(path)}")
    return Finding(rule=rule, binding=binding)


def _ancestor(caller: Caller, state: BindingState, earlier: Earlier) -> Finding:
    """Rule 6: the nearest one whose binding lasts, and was not just the default."""
    for ancestor, image in itertools.zip_longest(caller.ancestors, caller.images):
        pid, start_time = ancestor
        bound = earlier.of(pid, start_time)
        if bound is None or not bound.lasting or bound.uid != caller.uid:
            continue
        if image and bound.identity.image != image:
            continue  # what was bound is gone: another program runs in its process
        if bound.binding.rule is Rule.DEFAULT:
            continue
        view, project = bound.binding.view, bound.binding.project
        if project and caller.python not in {None, bound.python}:
            view = state.view_of(project, caller.python)
        why = f"process {pid} above it: {bound.binding.why}"
        return Finding(
            rule=Rule.ANCESTOR,
            binding=Binding(rule=Rule.ANCESTOR, view=view, project=project, why=why),
        )
    return Finding(rule=Rule.ANCESTOR, said="no interpreter of the same user above it has a view")


def _shown(text: str) -> str:
    """Another process's text, fit for one line of a log or a terminal."""
    return text if text.isprintable() else ascii(text)
