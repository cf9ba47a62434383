"""Whatever processes do, in whatever order: the mount says what the rules of docs/bindings.md say.

Hypothesis makes up histories of real processes; `Model` is those rules once more, written as
simply as they can be, over nothing but what the processes have done. It is no copy of the resolver:
it reads no /proc and knows no table, only parents, programs, directories, and what was shown.

Two things make it a set of answers instead of one. A program that is no interpreter is taken for
granted for a second, so its last answer may still come; and a fork is asked for by its parent, so
nothing else is.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from resolver.binding.binder import FRESH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mounted.conftest import Asker, Stage

pytestmark = pytest.mark.fuse

MOST_PROCESSES = 7
OTHER = "3.99"
"""A Python that nobody here runs: what it has is the newest, which is what non-interpreters get."""

PROJECTS = ("red", "green")
PLACES = (*PROJECTS, "red/deep", "nowhere")

epochs = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What one `execve` started; a fork has its parent's."""

    interpreter: bool
    script: str | None = None
    """The project of its main script."""
    started_from: str | None = None
    """The view of its interpreter."""
    view: str | None = None
    project: str | None = None
    """PKGVIEW_VIEW and PKGVIEW_PROJECT."""
    epoch: int = field(default_factory=lambda: next(epochs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a process was shown last: by which rule, to which program, and where it was."""

    view: str
    rule: str
    program: Program
    place: str
    hand: int | None = None
    when: float = 0.0

    @property
    def lasts(self) -> bool:
        return self.program.interpreter


@dataclass(eq=False, slots=True, kw_only=True)
class Process:
    """One that lives."""

    asker: Asker
    program: Program
    place: str
    parent: Process | None = None
    shown: Shown | None = None
    alive: bool = True

    def line(self) -> Iterator[Process]:
        """Those above it, as far up as they live."""
        above = self.parent
        while above is not None and above.alive:
            yield above
            above = above.parent


@dataclass(eq=False, slots=True)
class Model:
    """The rules."""

    views: dict[tuple[str, str], str] = field(default_factory=dict)
    """(project, Python) -> view."""
    newest: dict[str, str] = field(default_factory=dict)
    hands: dict[Process, tuple[int, str]] = field(default_factory=dict)
    """What was said by hand, with the number of the saying."""
    default: str = ""
    changed: float = 0.0
    """When something was last said to have changed."""

    def project_view(self, project: str, program: Program) -> str:
        return self.views[project, "own"] if program.interpreter else self.newest[project]

    def answer(self, process: Process) -> Shown:  # noqa: C901, PLR0911 - one return a rule
        """What a process has to be shown that asks now."""
        program = process.program
        kept = self._kept(process)
        hand = next(
            (self.hands[one] for one in (process, *process.line()) if one in self.hands), None
        )
        if hand is not None:
            number, project = hand
            if kept and kept.hand == number:
                return self._shown(process, kept.view, kept.rule, number)
            return self._shown(process, self.project_view(project, program), "hand", number)
        if kept:
            return self._shown(process, kept.view, kept.rule, kept.hand)
        if program.view:
            return self._shown(process, program.view, "environment")
        if program.project:
            return self._shown(process, self.project_view(program.project, program), "environment")
        if program.started_from:
            return self._shown(process, program.started_from, "script")
        if program.script:
            return self._shown(process, self.project_view(program.script, program), "script")
        if process.place != "nowhere":
            project = process.place.split("/")[0]
            return self._shown(process, self.project_view(project, program), "directory")
        for above in process.line():
            shown = above.shown
            if shown and shown.lasts and shown.rule != "default" and shown.program is above.program:
                return self._shown(process, shown.view, "ancestor")
        return self._shown(process, self.default, "default")

    def _kept(self, process: Process) -> Shown | None:
        """Rule 2: what this very program was shown, here or where it was forked from."""
        if not process.program.interpreter:
            return None
        shown = (one.shown for one in (process, *process.line()))
        return next((one for one in shown if one and one.program is process.program), None)

    @staticmethod
    def _shown(process: Process, view: str, by: str, hand: int | None = None) -> Shown:
        return Shown(
            view=view, rule=by, program=process.program, place=process.place, hand=hand,
            when=time.monotonic(),
        )  # fmt: skip

    def may_stand(self, process: Process) -> bool:
        """Whether what it was shown may be taken for granted still."""
        shown = process.shown
        return (
            shown is not None
            and not shown.lasts
            and shown.program is process.program
            and shown.place == process.place
            and shown.when > self.changed
            and time.monotonic() - shown.when < FRESH + 0.5  # the daemon's clock began earlier
        )


@dataclass(frozen=True, slots=True)
class Pool:
    """Views, made once: nothing here depends on what is in them."""

    default: str
    views: tuple[str, ...]


class Machine(RuleBasedStateMachine):
    """Histories."""

    stage: Stage
    pool: Pool
    held: set[str]
    """The rules that have held for anybody, in all histories."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.model = Model(default=self.pool.default)
        self.used = count()
        self.hand_numbers = count(1)
        self.watched = False

    # How it begins and ends

    @initialize(watched=st.booleans())
    def begin(self, watched: bool) -> None:  # noqa: FBT001 - drawn
        """Every process is asked after every step, or only those that the history asks."""
        self.watched = watched
        for project in PROJECTS:
            self.publish(project, "own")

    def teardown(self) -> None:
        try:
            for process in self.processes:
                self.check(process)
        finally:
            for process in self.processes:
                process.asker.end()
            self.stage.ask("unbind", all=True)

    def check(self, process: Process, way: str = "link") -> None:
        """Ask, and compare."""
        expected = self.model.answer(process)
        allowed = {expected.view: expected}
        if self.model.may_stand(process):
            assert process.shown is not None
            allowed.setdefault(process.shown.view, process.shown)
        found = process.asker.link(way)
        assert found in allowed, (
            f"process {process.asker.pid} was shown {self.named(found)}, not "
            f"{[self.named(view) for view in allowed]}, by the rule {expected.rule!r}: "
            f"{self.stage.ask('explain', pid=process.asker.pid)}"
        )
        process.shown = allowed[found]
        self.held.add(expected.rule)

    def named(self, view: str) -> str:
        """What a view is, for a person."""
        names = [f"{project} for {python}" for (project, python), one in
                 self.model.views.items() if one == view]  # fmt: skip
        return ", ".join(names) or ("the default" if view == self.model.default else f"old {view}")

    @invariant()
    def the_mount_agrees(self) -> None:
        if self.watched:
            for process in self.processes:
                self.check(process)

    def drawn(self, number: int) -> Process:
        return self.processes[number % len(self.processes)]

    some = st.integers(0, MOST_PROCESSES - 1)
    place = st.sampled_from(PLACES)
    kind = st.sampled_from(("other", "other", "nowhere", "red", "green", "view"))
    variables = st.sampled_from(("", "", "", "red", "green", "view", "no view"))

    # What processes are made of

    def _program(self, kind: str, variables: str) -> tuple[Program, list[str], dict[str, str]]:
        """A program, its command, its environment."""
        stage = self.stage
        environ, view = {}, self.pool.views[-1]
        if variables in PROJECTS:
            environ["PKGVIEW_PROJECT"] = os.fspath(stage.home / variables)
        elif variables:
            environ["PKGVIEW_VIEW"] = view if variables == "view" else "0" * 32
        script = {"red": "red/asker.py", "green": "green/asker.py"}.get(kind, "asker.py")
        command = stage.command(None if kind == "other" else stage.home / script)
        started_from = None
        if kind == "view":
            started_from = self.pool.views[-2]
            command[0] = f"{stage.places.mount}/views/{started_from}/bin/python"
        program = Program(
            interpreter=kind != "other",
            script=kind if kind in PROJECTS else None,
            started_from=started_from,
            view=view if variables == "view" else None,
            project=variables if variables in PROJECTS else None,
        )
        return program, command, environ

    # Steps

    @rule(project=st.sampled_from(PROJECTS), python=st.sampled_from(("own", "own", OTHER)))
    def publish(self, project: str, python: str) -> None:
        view = self.pool.views[next(self.used) % (len(self.pool.views) - 2)]
        version = self.stage.python if python == "own" else python
        self.stage.up(self.stage.home / project, view, version)
        self.model.views[project, python] = self.model.newest[project] = view
        self.model.changed = time.monotonic()

    def has_room(self) -> bool:
        return len(self.processes) < MOST_PROCESSES

    @precondition(has_room)
    @rule(kind=kind, place=place, variables=variables)
    def start(self, kind: str, place: str, variables: str) -> None:
        program, command, environ = self._program(kind, variables)
        asker = self.stage.start(cwd=self.stage.home / place, command=command, environ=environ)
        self.processes.append(Process(asker=asker, program=program, place=place))

    def has_processes(self) -> bool:
        return bool(self.processes)

    @precondition(has_processes)
    @rule(number=some, way=st.sampled_from(("link", "thread")))
    def ask(self, number: int, way: str) -> None:
        self.check(self.drawn(number), way)

    @precondition(has_processes)
    @rule(number=some, place=place)
    def chdir(self, number: int, place: str) -> None:
        process = self.drawn(number)
        assert process.asker.say("cd", self.stage.home / place) == "ok"
        process.place = place

    @precondition(has_processes)
    @rule(number=some, kind=kind, variables=variables)
    def execve(self, number: int, kind: str, variables: str) -> None:
        process = self.drawn(number)
        program, command, environ = self._program(kind, variables)
        process.asker.exec(*command, environ=environ)
        process.program = program

    @precondition(lambda self: self.has_processes() and self.has_room())
    @rule(number=some, place=place, asks=st.booleans())
    def fork(self, number: int, place: str, asks: bool) -> None:  # noqa: FBT001 - drawn
        """What `multiprocessing` does: a double, which may then go elsewhere."""
        parent = self._with_interpreters_first(number)
        if asks:
            self.check(parent)
        child = self._forked(parent)
        if asks:
            self.chdir(self.processes.index(child), place)
            self.check(child)

    def _with_interpreters_first(self, number: int) -> Process:
        """A process that has something to hand down, if there is one."""
        interpreters = [one for one in self.processes if one.program.interpreter]
        return interpreters[number % len(interpreters)] if interpreters else self.drawn(number)

    def _forked(self, parent: Process) -> Process:
        assert int(parent.asker.say("fork"))
        child = Process(
            asker=self.stage.accept(), program=parent.program, place=parent.place, parent=parent
        )
        self.processes.append(child)
        return child

    @precondition(lambda self: self.has_processes() and self.has_room())
    @rule(
        number=some, kind=st.sampled_from(("other", "nowhere")),
        variables=st.sampled_from(("", "", "", "red")), asks=st.booleans(),
        place=st.sampled_from(("nowhere", "nowhere", *PROJECTS)),
    )  # fmt: skip
    def start_below(
        self,
        number: int,
        kind: str,
        place: str,
        variables: str,
        asks: bool,  # noqa: FBT001 - drawn
    ) -> None:
        """What `subprocess` does: a child that becomes another program somewhere."""
        parent = self._with_interpreters_first(number)
        if asks:
            self.check(parent)
        if asks and number % 3 == 0:
            self.execve(self.processes.index(parent), kind, "")
        child = self._forked(parent)
        assert child.asker.say("cd", self.stage.home / place) == "ok"
        program, command, environ = self._program(kind, variables)
        child.asker.exec(*command, environ=environ)
        child.place, child.program = place, program
        if asks:
            self.check(child)

    @precondition(has_processes)
    @rule(number=some)
    def exit(self, number: int) -> None:
        self._end(self.drawn(number))

    def _end(self, process: Process) -> None:
        process.asker.tell("exit")
        with pytest.raises((EOFError, ConnectionResetError)):
            process.asker.hear()
        process.asker.connection.close()
        gone_by = time.monotonic() + 10
        while Path(f"/proc/{process.asker.pid}").exists():
            assert time.monotonic() < gone_by
            time.sleep(0.001)
        process.alive = False
        self.processes.remove(process)
        self.model.hands.pop(process, None)

    @precondition(lambda self: self.has_processes() and os.geteuid() == 0)
    @rule(number=some, kind=kind, place=place, variables=variables)
    def reuse_pid(self, number: int, kind: str, place: str, variables: str) -> None:
        """A process ends, and at once another has its pid."""
        last = self.drawn(number)
        self._end(last)
        program, command, environ = self._program(kind, variables)
        asker = self.stage.start(
            cwd=self.stage.home / place, command=command, pid=last.asker.pid, environ=environ
        )
        assert asker.pid == last.asker.pid
        self.processes.append(Process(asker=asker, program=program, place=place))

    @precondition(has_processes)
    @rule(number=some, project=st.sampled_from(PROJECTS))
    def bind(self, number: int, project: str) -> None:
        process = self.drawn(number)
        self.stage.ask(
            "bind",
            process=[process.asker.pid, started(process.asker.pid)],
            project=os.fspath(self.stage.home / project),
            said="bind",
        )
        self.model.hands[process] = (next(self.hand_numbers), project)
        self.model.changed = time.monotonic()

    @precondition(lambda self: any(one in self.model.hands for one in self.processes))
    @rule(number=some)
    def unbind(self, number: int) -> None:
        bound = [one for one in self.processes if one in self.model.hands]
        process = bound[number % len(bound)]
        self.stage.ask("unbind", process=[process.asker.pid, started(process.asker.pid)])
        taken, _ = self.model.hands.pop(process)
        for one in self.processes:
            if one.shown and one.shown.hand == taken:
                one.shown = None
        self.model.changed = time.monotonic()


def started(pid: int) -> int:
    """When a process began, in ticks since boot."""
    line = Path(f"/proc/{pid}/stat").read_bytes()
    return int(line.rpartition(b") ")[2].split()[19])


def one_history_of_every_rule() -> None:
    """What is drawn may leave a rule out; this history does not."""
    machine = Machine()
    machine.begin(watched=False)
    try:
        machine.start(kind="other", place="nowhere", variables="")
        machine.start(kind="other", place="red", variables="")
        machine.start(kind="other", place="nowhere", variables="red")
        machine.start(kind="red", place="nowhere", variables="")
        for process in machine.processes:
            machine.check(process)
        machine.start_below(number=0, kind="other", place="nowhere", variables="", asks=False)
        machine.check(machine.processes[-1])
        machine.start(kind="other", place="nowhere", variables="")
        machine.bind(number=len(machine.processes) - 1, project="green")
        machine.check(machine.processes[-1])
    finally:
        machine.teardown()


def test_the_mount_agrees_with_the_rules_after_every_step(stage: Stage) -> None:
    for project in PROJECTS:
        directory = stage.project(project)
        (directory / "asker.py").write_bytes(stage.script.read_bytes())
    (stage.home / "red/deep").mkdir()
    somebody = stage.start(cwd=stage.home / "nowhere")
    Machine.stage = stage
    Machine.held = set()
    Machine.pool = Pool(somebody.link(), tuple(stage.view(f"view {n}") for n in range(12)))
    somebody.end()
    one_history_of_every_rule()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A failure's history is printed; to make it shorter would take minutes.
            phases=[Phase.generate],
            print_blob=False,
        ),
    )
    assert Machine.held == {
        *("hand", "environment", "script", "directory", "ancestor", "default"),
    }
