"""Binding: the rules one by one, the table, and the front under everything that can go wrong."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from resolver.binding import binder as module
from resolver.binding.binder import Binder
from resolver.binding.rules import Binding, Bound, Candidate, Rule, decide
from resolver.binding.table import Bindings
from resolver.caller.process import Ancestor, Caller, Identity
from resolver.caller.procfs import Image, Pid, StartTime, Tid
from resolver.errors import PkgviewError
from resolver.manifest import ViewId

if TYPE_CHECKING:
    from collections.abc import Iterator

A, B, C, OTHER, DEFAULT = (ViewId(letter * 32) for letter in "abc1d")
WAIT = "import sys; print('up', flush=True); sys.stdin.read()"
IMAGE = Image(1, 2, 3)


@dataclass
class ViewIndex:
    """A state in memory: projects are path prefixes."""

    projects: dict[str, ViewId | None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    scripts: dict[str, ViewId] = field(default_factory=dict)
    versions: dict[tuple[str, str], ViewId] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    hand: Binding | None = None
    asked: list[str] = field(default_factory=list)
    before: Any = None

    def by_hand(self, caller: Caller) -> Binding | None:
        self.asked.append(str(caller.identity.tgid))
        if self.before is not None:
            self.before(caller)
        return self.hand

    def knows(self, view: ViewId) -> bool:
        return view in {A, B, C, DEFAULT}

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        assert uid >= 0
        for root in (directory, *map(str, Path(directory).parents)):
            if root in self.broken:
                raise PkgviewError(f"{root}/pyproject.toml: no TOML")
            if root in self.projects:
                refused = self.refused.get(root, "")
                return Candidate(root, refused, agreed=root not in self.unknown)
        return None

    def script_project(self, script: str, uid: int) -> Candidate | None:
        return Candidate(script) if script in self.scripts else self.project_of(script, uid)

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        if python and (project, python) in self.versions:
            return self.versions[project, python]
        return self.scripts.get(project) or self.projects.get(project)

    def default_view(self, python: str | None) -> ViewId | None:
        del python
        return DEFAULT


def who(pid: int = 100, start: int = 1000, image: Image = IMAGE) -> Identity:
    return Identity(tgid=Pid(pid), start_time=StartTime(start), image=image)


def program(**fields: Any) -> Caller:  # noqa: ANN401
    return Caller(**{"identity": who(), "uid": 1, "exe": "/bin/sh", **fields})


def python(**fields: Any) -> Caller:  # noqa: ANN401
    known = {"exe": "/usr/bin/python3.11", "is_interpreter": True, "python": "3.11"}
    return program(**{**known, "command": b"c", **fields})


def table(*bound: Bound) -> Bindings:
    bindings = Bindings(lambda *_: True)
    for one in bound:
        bindings.put(one)
    return bindings


def bound_to(caller: Caller, view: ViewId, rule: Rule = Rule.DIRECTORY, **fields: Any) -> Bound:  # noqa: ANN401
    binding = Binding(rule=rule, view=view, project="/a", why="w")
    return replace(Bound.of(caller, binding, cwd=caller.cwd, since=0.0), **fields)


STATE = {"/a": A, "/b": B, "/c": C, "/none": None}


def test_each_rule_yields_to_the_one_before() -> None:
    state = ViewIndex(projects=dict(STATE))
    parent = python(identity=who(99, 900, Image(7, 7, 7)))
    everything = python(
        view=C, project="/a", script="/b/s.py", cwd="/a/sub",
        ancestors=(Ancestor(Pid(99), StartTime(900)),),
    )  # fmt: skip
    before = [bound_to(everything, B), bound_to(parent, C)]

    def rule(caller: Caller, *bound: Bound) -> tuple[Rule, ViewId | None]:
        got = decide(caller, state, table(*bound))
        return got.rule, got.view

    state.hand = Binding(rule=Rule.BY_HAND, view=C, project=None, why="")
    assert rule(everything, *before) == (Rule.BY_HAND, C)
    state.hand = None
    assert rule(everything, *before) == (Rule.EARLIER, B)
    assert rule(everything, before[1]) == (Rule.ENVIRONMENT, C)
    caller = replace(everything, view=None)
    assert rule(caller, before[1]) == (Rule.ENVIRONMENT, A)
    caller = replace(caller, project=None)
    assert rule(caller, before[1]) == (Rule.SCRIPT, B)
    assert rule(replace(caller, runs_from=C), before[1]) == (Rule.SCRIPT, C)
    caller = replace(caller, script=None)
    assert rule(caller, before[1]) == (Rule.DIRECTORY, A)
    caller = replace(caller, cwd="/")
    assert rule(caller, before[1]) == (Rule.ANCESTOR, C)
    assert rule(caller) == (Rule.DEFAULT, DEFAULT)


def test_what_a_directory_decides() -> None:
    """Before its user has said yes to a project, and after; for each kind of program."""
    state = ViewIndex(projects=dict(STATE), unknown={"/a"})
    ours: dict[str, Any] = {"cwd": "/a", "started_here": True}
    cases = (
        # A shell, an editor, what a shell is about to start
        (program(cwd="/a"), False, True, False),
        # The mount's own Python, which imports from where it is, and one that was told not to
        (python(imports_here=True, by_path=True, **ours), True, True, False),
        # The same, found on PATH: who looked for a Python need not have meant this one
        (python(imports_here=True, **ours), False, True, True),
        (python(**ours), False, True, True),
        # Any other
        (python(cwd="/a", imports_here=True), False, True, False),
        (python(cwd="/a"), False, True, False),
        # One with a script, wherever that is; it has no project, or cannot be found
        (python(script="/usr/bin/tool", runs_script=True, **ours), False, False, False),
        (python(runs_script=True, **ours), False, False, False),
    )
    for caller, before, after, told in cases:
        found = decide(caller, state, table())
        assert (found.rule is Rule.DIRECTORY) is before, caller
        assert (found.refused is not None) is told
        assert "has not said yes" in found.why or before or caller.runs_script
        known = replace(caller, cwd="/b")
        assert (decide(known, state, table()).rule is Rule.DIRECTORY) is after, caller
    # Who runs its script, or names it, means it.
    for caller in (python(script="/a/s.py", runs_script=True), python(project="/a")):
        assert decide(caller, state, table()).view == A


def test_an_interpreter_keeps_its_view_and_a_shell_does_not() -> None:
    state = ViewIndex(projects=dict(STATE))
    for make, expected in ((python, A), (program, B)):
        was = make(cwd="/a")
        assert decide(replace(was, cwd="/b"), state, table(bound_to(was, A))).view == expected


def test_another_program_in_the_same_process_is_looked_at_afresh() -> None:
    was, now = python(cwd="/a"), python(cwd="/b", identity=who(image=Image(1, 2, 4)))
    assert decide(now, ViewIndex(projects=dict(STATE)), table(bound_to(was, A))).view == B


def test_another_process_under_the_same_pid_is_another() -> None:
    was, now = python(cwd="/a"), python(cwd="/b", identity=who(start=1001))
    bindings = table(bound_to(was, A))
    assert decide(now, ViewIndex(projects=dict(STATE)), bindings).view == B
    assert bindings.of(Pid(100), StartTime(1001)) is None


def test_a_fork_is_the_same_program_and_a_namesake_is_not() -> None:
    """Without address randomisation other programs can have the same image: more must agree."""
    state = ViewIndex(projects=dict(STATE))
    was = python(cwd="/a")
    fork = python(
        identity=who(101, 1001), cwd="/b", ancestors=(Ancestor(Pid(100), StartTime(1000)),)
    )
    assert decide(fork, state, table(bound_to(was, A))).rule is Rule.EARLIER
    for other in (
        replace(fork, command=b"d"),
        replace(fork, exe="/usr/bin/python3.12"),
        replace(fork, uid=2),
        replace(fork, identity=who(101, 1001, Image(1, 2, 4))),
        replace(fork, ancestors=()),
        replace(fork, ancestors=(Ancestor(Pid(100), StartTime(999)),)),
    ):
        assert decide(other, state, table(bound_to(was, A))).view == B


def test_a_project_without_a_view_is_said_and_not_kept() -> None:
    caller = python(cwd="/none/sub")
    state = ViewIndex(projects=dict(STATE))
    got = decide(caller, state, table())
    assert (got.rule, got.view, got.project) == (Rule.DIRECTORY, None, "/none")
    assert not Bound.of(caller, got, cwd="/none/sub", since=0.0).lasting


def test_untrusted_projects_are_passed_over_with_the_reason() -> None:
    state = ViewIndex(projects=dict(STATE), refused={"/a": "it belongs to user 7"})
    got = decide(python(project="/a", script="/a/s.py", cwd="/a"), state, table())
    assert (got.rule, got.view) == (Rule.DEFAULT, DEFAULT)
    assert got.why.count("/a was passed over: it belongs to user 7") == 1
    got = decide(python(script="/a/s.py", cwd="/b"), state, table())
    assert got.view == B
    assert "user 7" in got.why


def test_a_project_that_cannot_be_read_is_not_hidden_by_another() -> None:
    state = ViewIndex(projects=dict(STATE), broken={"/bad"})
    got = decide(python(script="/bad/s.py", cwd="/b"), state, table())
    assert (got.rule, got.view) == (Rule.SCRIPT, None)
    assert "no TOML" in got.why


@pytest.mark.parametrize("view", ["", "x", "A" * 32, OTHER, f"{A}\n", "../" + A])
def test_environment_that_names_no_view(view: str) -> None:
    got = decide(python(view=view, cwd="/b"), ViewIndex(projects=dict(STATE)), table())
    assert got.view == B
    assert got.why.isprintable()


@pytest.mark.parametrize("project", ["", "a", "../a", "/nowhere", "/\udcff\x1b"])
def test_environment_that_names_no_project(project: str) -> None:
    got = decide(python(project=project, cwd="/b"), ViewIndex(projects=dict(STATE)), table())
    assert got.view == B
    assert got.why.isprintable()


def test_a_view_that_is_gone_is_not_honoured() -> None:
    got = decide(python(runs_from=OTHER, cwd="/b"), ViewIndex(projects=dict(STATE)), table())
    assert got.view == B


def test_a_script_of_its_own() -> None:
    state = ViewIndex(projects=dict(STATE), scripts={"/a/s.py": C})
    got = decide(python(script="/a/s.py"), state, table())
    assert (got.view, got.project) == (C, "/a/s.py")


def test_the_callers_python_chooses_among_a_projects_views() -> None:
    state = ViewIndex(projects=dict(STATE), versions={("/a", "3.11"): B, ("/a", "3.13"): C})
    assert decide(python(cwd="/a"), state, table()).view == B
    assert decide(python(cwd="/a", python="3.13"), state, table()).view == C
    assert decide(program(cwd="/a"), state, table()).view == A
    # An ancestor's project, too, is asked for a view that this Python can use.
    above = python(identity=who(99, 900, Image(7, 7, 7)))
    child = python(ancestors=(Ancestor(Pid(99), StartTime(900)),))
    assert decide(child, state, table(bound_to(above, A))).view == A
    other = replace(child, python="3.13")
    assert decide(other, state, table(bound_to(above, A))).view == C


def test_ancestors_that_do_not_count() -> None:
    state = ViewIndex(projects=dict(STATE))
    above = python(identity=who(99, 900, Image(7, 7, 7)))
    child = python(ancestors=(Ancestor(Pid(99), StartTime(900)),))
    for bound in (
        bound_to(above, A, lasting=False),
        bound_to(above, A, uid=2),
        bound_to(above, A, rule=Rule.DEFAULT),
        bound_to(replace(above, identity=who(99, 901)), A),
    ):
        assert decide(child, state, table(bound)).rule is Rule.DEFAULT


def test_nothing_known_of_a_caller_is_the_default() -> None:
    got = decide(Caller(identity=who()), ViewIndex(projects={"/": A}), table())
    assert (got.rule, got.view) == (Rule.DEFAULT, DEFAULT)


def test_the_table_forgets_the_dead_and_stays_small() -> None:
    living = set(range(100))
    bindings = Bindings(lambda pid, _: pid in living)
    for pid in range(20_000):
        living.add(pid)
        bindings.put(bound_to(python(identity=who(pid, pid)), A))
        if pid >= 100:
            living.discard(pid)
        assert len(bindings) <= 2 * 100 + 4
    assert all(bindings.of(Pid(pid), StartTime(pid)) for pid in range(100))


def test_the_table_has_an_end_even_if_all_live() -> None:
    bindings = Bindings(lambda *_: True, most=50)
    for pid in range(500):
        bindings.put(bound_to(python(identity=who(pid)), A))
    assert len(bindings) == 50
    assert bindings.of(Pid(499), StartTime(1000))


@contextlib.contextmanager
def running(*command: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def state(tmp_path: Path) -> ViewIndex:
    for name in ("a", "b", "mnt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "s.py").write_text(WAIT)
    return ViewIndex(projects={str(tmp_path / "a"): A, str(tmp_path / "b"): B})


async def test_real_processes_of_two_projects_at_once(state: ViewIndex, tmp_path: Path) -> None:
    binder = Binder(state, mount=tmp_path / "mnt")
    with contextlib.ExitStack() as stack:
        started = [
            (stack.enter_context(running(sys.executable, "s.py", cwd=tmp_path / name)), view)
            for _ in range(5)
            for name, view in (("a", A), ("b", B))
        ]
        got: dict[int, list[Binding]] = {process.pid: [] for process, _ in started}

        async def ask(pid: int) -> None:
            got[pid].append(await binder.binding_for(Tid(pid)))

        async with trio.open_nursery() as nursery:
            for process, _ in started * 10:
                nursery.start_soon(ask, process.pid)
        for process, view in started:
            assert {binding.view for binding in got[process.pid]} == {view}
    assert len(state.asked) == len(set(state.asked)) == len(started)  # one look a process


async def test_threads_share_one_look_and_answer(state: ViewIndex, tmp_path: Path) -> None:
    code = (
        "import threading,sys\n"
        "for _ in range(8): threading.Thread(target=sys.stdin.read).start()\n"
        "print('up', flush=True)"
    )
    binder = Binder(state, mount=tmp_path / "mnt")
    with running(sys.executable, "-c", code, cwd=tmp_path / "a") as process:
        tids = [int(tid) for tid in os.listdir(f"/proc/{process.pid}/task")]
        assert len(tids) == 9
        answers = []

        async def ask(tid: int) -> None:
            answers.append(await binder.binding_for(Tid(tid)))

        async with trio.open_nursery() as nursery:
            for tid in tids:
                nursery.start_soon(ask, tid)
        assert {answer.view for answer in answers} == {A}
        assert len(state.asked) == 1
        assert (await binder.binding_for(Tid(tids[-1]))).rule is Rule.EARLIER
        assert len(state.asked) == 1


async def test_a_running_program_keeps_its_view_whatever_happens(
    state: ViewIndex, tmp_path: Path
) -> None:
    code = (
        "import os,sys; print('up', flush=True); sys.stdin.readline();"
        f"os.chdir({str(tmp_path / 'b')!r}); pid = os.fork(); pid and print(pid, flush=True);"
        "sys.stdin.readline()"
    )
    binder = Binder(state, mount=tmp_path / "mnt")
    with running(sys.executable, "-c", code, cwd=tmp_path / "a") as process:
        assert process.stdin
        assert process.stdout
        assert (await binder.binding_for(Tid(process.pid))).view == A
        process.stdin.write("\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        state.projects[str(tmp_path / "a")] = C  # `pkgview up` in the meantime
        binder.refresh()
        assert (await binder.binding_for(Tid(process.pid))).view == A
        # Forked where the project is another one: still the same program.
        forked = await binder.binding_for(Tid(child))
        assert (forked.rule, forked.view) == (Rule.EARLIER, A)
        os.kill(child, 9)


async def test_execve_is_another_program(state: ViewIndex, tmp_path: Path) -> None:
    """Same process, same executable, same arguments even; only the directory is another."""
    code = (
        "import os,sys; print('up', flush=True); sys.stdin.readline();"
        f"os.chdir({str(tmp_path / 'b')!r}); os.execv(sys.executable, sys.orig_argv)"
    )
    binder = Binder(state, mount=tmp_path / "mnt")
    with running(sys.executable, "-c", code, cwd=tmp_path / "a") as process:
        assert process.stdin
        assert process.stdout
        assert (await binder.binding_for(Tid(process.pid))).view == A
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "up\n"
        got = await binder.binding_for(Tid(process.pid))
    assert (got.rule, got.view) == (Rule.DIRECTORY, B)


def interpreters_below(pid: int) -> list[int]:
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        if b"python" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
            found.append(child)
        found += interpreters_below(child)
    return found


async def test_children_of_many_kinds(state: ViewIndex, tmp_path: Path) -> None:
    """multiprocessing's fork and spawn, and a shell in between that goes where no project is."""
    (tmp_path / "a/s.py").write_text(
        "import multiprocessing, subprocess, sys, os, time\n"
        "def work():\n"
        "    print('up', flush=True); time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    how = sys.argv[1]\n"
        "    if how == 'shell':\n"
        "        code = 'import time; print(\"up\", flush=True); time.sleep(60)'\n"
        '        shell = \'cd / && "$0" -c "$1"; :\'\n'
        "        subprocess.run(['sh', '-c', shell, sys.executable, code])\n"
        "    else:\n"
        "        os.chdir('/')\n"
        "        multiprocessing.get_context(how).Process(target=work).start()\n"
    )
    binder = Binder(state, mount=tmp_path / "mnt")
    rules = {}
    for how in ("fork", "spawn", "shell"):
        command = [sys.executable, str(tmp_path / "a/s.py"), how]
        with running(*command, cwd="/", start_new_session=True) as process:
            assert (await binder.binding_for(Tid(process.pid))).view == A
            for pid in interpreters_below(process.pid):
                got = await binder.binding_for(Tid(pid))
                assert got.view == A, how
                rules[how] = got.rule
            os.killpg(process.pid, 9)
    # spawn's children run `-c`, from a directory without a project
    assert rules == {"fork": Rule.EARLIER, "spawn": Rule.ANCESTOR, "shell": Rule.ANCESTOR}


async def test_a_shell_is_looked_at_afresh_but_not_for_each_request(
    state: ViewIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH", 60.0)
    binder = Binder(state, mount=tmp_path / "mnt")
    script = "echo up; while read where; do cd $where; echo up; done"
    with running("sh", "-c", script, cwd=tmp_path / "a") as process:
        assert process.stdin
        assert process.stdout
        for _ in range(5):
            assert (await binder.binding_for(Tid(process.pid))).view == A
        assert len(state.asked) == 1
        process.stdin.write(f"{tmp_path / 'b'}\n")
        process.stdin.flush()
        process.stdout.readline()
        assert (await binder.binding_for(Tid(process.pid))).view == B
        assert len(state.asked) == 2
        state.projects[str(tmp_path / "b")] = C
        assert (await binder.binding_for(Tid(process.pid))).view == B
        binder.refresh()
        assert (await binder.binding_for(Tid(process.pid))).view == C


async def test_a_project_gets_its_view_while_the_program_waits(
    state: ViewIndex, tmp_path: Path
) -> None:
    state.projects[str(tmp_path / "a")] = None
    binder = Binder(state, mount=tmp_path / "mnt")
    with running(sys.executable, "s.py", cwd=tmp_path / "a") as process:
        assert (await binder.binding_for(Tid(process.pid))).view is None
        state.projects[str(tmp_path / "a")] = A
        binder.refresh()
        assert (await binder.binding_for(Tid(process.pid))).view == A


async def test_nobody_hangs_with_a_process_that_hangs(
    state: ViewIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    hanging: set[int] = set()

    def before(caller: Caller) -> None:
        if caller.identity.tgid in hanging:
            gate.wait(20)

    state.before = before
    binder = Binder(state, mount=tmp_path / "mnt", limit=0.2)
    with contextlib.ExitStack() as stack, caplog.at_level(logging.WARNING):
        hung = [
            stack.enter_context(running(sys.executable, "s.py", cwd=tmp_path / "a"))
            for _ in range(module.MOST_LOOKS + 2)
        ]
        good = stack.enter_context(running(sys.executable, "s.py", cwd=tmp_path / "b"))
        hanging |= {process.pid for process in hung}
        views = []

        async def ask(pid: int) -> None:
            views.append((await binder.binding_for(Tid(pid))).view)

        start = time.monotonic()
        async with trio.open_nursery() as nursery:
            for process in hung:
                nursery.start_soon(ask, process.pid)
        assert time.monotonic() - start < 1
        assert views == [DEFAULT] * len(hung)
        start = time.monotonic()
        assert (await binder.binding_for(Tid(good.pid))).view == B
        # The second request of a hung one does not wait for the limit again.
        assert (await binder.binding_for(Tid(hung[0].pid))).view == DEFAULT
        assert time.monotonic() - start < 0.2
        assert state.asked.count(str(hung[0].pid)) == 1
        gate.set()
        with trio.fail_after(5):
            while (await binder.binding_for(Tid(hung[0].pid))).view != A:  # noqa: ASYNC110
                await trio.sleep(0.01)
    assert sum("could not be looked at" in text for text in caplog.messages) >= 1


async def test_too_many_hung_looks_give_the_default_at_once(
    state: ViewIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HUNG", 1)
    gate = threading.Event()
    state.before = lambda _: gate.wait(20)
    binder = Binder(state, mount=tmp_path / "mnt", limit=0.2)
    with (
        running(sys.executable, "s.py", cwd=tmp_path / "a") as one,
        running(sys.executable, "s.py", cwd=tmp_path / "b") as two,
    ):
        await binder.binding_for(Tid(one.pid))
        start = time.monotonic()
        assert (await binder.binding_for(Tid(two.pid))).view == DEFAULT
        assert time.monotonic() - start < 0.1
        gate.set()
        with trio.fail_after(5):
            while (await binder.binding_for(Tid(two.pid))).view != B:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_a_hung_shell_keeps_its_earlier_binding(state: ViewIndex, tmp_path: Path) -> None:
    gate = threading.Event()
    binder = Binder(state, mount=tmp_path / "mnt", limit=0.1)
    with running("sh", "-c", "echo up; read x", cwd=tmp_path / "a") as process:
        assert (await binder.binding_for(Tid(process.pid))).view == A
        state.before = lambda _: gate.wait(20)
        binder.refresh()
        got = await binder.binding_for(Tid(process.pid))
        assert (got.rule, got.view) == (Rule.EARLIER, A)
        gate.set()


async def test_one_waiter_that_gives_up_does_not_take_the_others_answer(
    state: ViewIndex, tmp_path: Path
) -> None:
    gate = threading.Event()
    state.before = lambda _: gate.wait(20)
    binder = Binder(state, mount=tmp_path / "mnt", limit=5.0)
    with running(sys.executable, "s.py", cwd=tmp_path / "a") as process:
        answers = []

        async def ask() -> None:
            answers.append(await binder.binding_for(Tid(process.pid)))

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.05):
                await binder.binding_for(Tid(process.pid))
            nursery.start_soon(ask)
            await trio.sleep(0.02)
            gate.set()
    assert [answer.view for answer in answers] == [A]


async def test_those_that_cannot_be_seen(
    state: ViewIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    binder = Binder(state, mount=tmp_path / "mnt")
    process = subprocess.Popen(["true"])  # noqa: ASYNC220 - it ends at once
    process.wait()
    for tid in (0, -1, process.pid, os.getpid(), threading.get_native_id(), 2):
        got = await binder.binding_for(Tid(tid))
        assert (got.rule, got.view) == (Rule.DEFAULT, DEFAULT)
        assert got.why
    assert not caplog.messages

    def failing(_: Caller) -> None:
        raise ZeroDivisionError

    state.before = failing
    with running(sys.executable, "s.py", cwd=tmp_path / "a") as one:
        assert (await binder.binding_for(Tid(one.pid))).view == DEFAULT
    assert "could not be bound" in caplog.text


async def test_a_pid_that_comes_round_again(tmp_path: Path) -> None:
    def process(start: int, cwd: str) -> None:
        fields = ["S", "1", *["0"] * 17, str(start), *["0"] * 3, "1", "0", str(start), *["0"] * 25]
        (tmp_path / "42").mkdir(exist_ok=True)
        (tmp_path / "42/stat").write_text(f"42 (python) {' '.join(fields)}\n")
        ids = f"Uid:\t0\t0\t0\t{os.getuid()}\nGid:\t0\t0\t0\t0\n"
        status = f"Tgid:\t42\nPPid:\t1\n{ids}"
        (tmp_path / "42/status").write_text(status)
        (tmp_path / "42/cmdline").write_bytes(b"python\0")
        for name, target in (
            ("exe", "/usr/bin/python3.11"), ("cwd", cwd), ("root", "/"),
        ):  # fmt: skip
            (tmp_path / "42" / name).unlink(missing_ok=True)
            (tmp_path / "42" / name).symlink_to(target)

    state = ViewIndex(projects=dict(STATE))
    binder = Binder(state, mount=tmp_path / "mnt", root=tmp_path)
    process(1000, "/a")
    assert (await binder.binding_for(Tid(42))).view == A
    process(1000, "/b")
    assert (await binder.binding_for(Tid(42))).view == A
    process(2000, "/b")
    assert (await binder.binding_for(Tid(42))).view == B
