"""The daemon's side of waiting, with programs of our own in the place of `resolve_job`."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from resolver.binding.rules import Binding, Bound, Candidate, Rule
from resolver.caller.process import Identity
from resolver.caller.procfs import Image, Pid, StartTime, Tid
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.project.resolved import ResolvedView, load, save
from unionfs.control import jobs
from unionfs.control.request import Peer, Request
from unionfs.waiting import bounds, resolving, turns
from unionfs.waiting.preparing import Asker, Outcome
from unionfs.waiting.resolving import Resolving

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.binding.binder import Binder
    from resolver.places import Places

VIEW = "0123456789abcdef" * 2
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

WORKER = """
import json, os, signal, sys, time
from unionfs.control.job import forked_for_each
if "--forked" in sys.argv:
    forked_for_each()
request = json.loads(sys.stdin.buffer.readline())
name = os.path.basename(request["root"])
with open(request["places"]["state"] + "/started", "a") as file:
    print(os.getpid(), name, file=file)
def say(**message): print(json.dumps(message), flush=True)
def stage(name, done=0): say(stage=name, name="x", files=[done, 2], size=[done, None])
"""


@dataclass
class FakeBinder:
    """Says what it is told to; counts what it is asked."""

    binding: Binding
    exe: str | None = sys.executable
    refreshed: int = 0
    asked: list[int] = field(default_factory=list)

    async def binding_for(self, tid: Tid) -> Binding:
        self.asked.append(tid)
        await trio.lowlevel.checkpoint()
        return self.binding

    def bound(self, tid: Tid) -> Bound:
        who = Identity(tgid=Pid(tid), start_time=StartTime(1), image=Image(1, 2, 3))
        return Bound(identity=who, binding=self.binding, lasting=False, exe=self.exe)

    def refresh(self) -> None:
        self.refreshed += 1


@dataclass
class Bench:
    """Projects in a home, and a `Resolving` for them whose worker is ours."""

    places: Places
    told: list[dict[str, Any]] = field(default_factory=list)
    begun: trio.Event = field(default_factory=trio.Event)
    binder: FakeBinder = field(
        default_factory=lambda: FakeBinder(
            Binding(rule=Rule.DEFAULT, view=None, project=None, why="no project")
        )
    )

    def project(self, name: str, text: str = "", *, mode: int = 0o755) -> str:
        root = self.places.mount.parent / name
        root.mkdir(exist_ok=True)
        root.chmod(mode)
        (root / "requirements.txt").write_text(text)
        return str(root)

    def resolving(self, worker: str) -> Resolving:
        self.places.state.mkdir(parents=True, exist_ok=True)
        command = (sys.executable, "-c", WORKER + worker)
        return Resolving(self.places, cast("Binder", self.binder), command=command)

    async def tell(self, progress: dict[str, Any]) -> None:
        self.told.append(progress)
        if progress["stage"] not in {"queued", "starting"}:
            self.begun.set()
        await trio.lowlevel.checkpoint()

    async def ask(self, resolving: Resolving, root: str) -> Outcome:
        asker = Asker(python=PYTHON, executable=sys.executable, restarts=False)
        return await resolving.view_for(root, asker, self.tell)

    @property
    def started(self) -> list[tuple[int, str]]:
        """The pids and projects of all workers."""
        try:
            lines = (self.places.state / "started").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(int(pid), name) for pid, _, name in (line.partition(" ") for line in lines)]


@pytest.fixture
def bench(isolated_places: Places) -> Bench:
    return Bench(isolated_places)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_all_who_ask_for_one_project_wait_for_one_resolution(bench: Bench) -> None:
    everybody = bench.places.state / "everybody"
    # It does not end before all have come, however long that takes.
    worker = f"""
n = 0
while not os.path.exists({os.fspath(everybody)!r}):
    stage("fetching", n := 1 - n)
    time.sleep(0.05)
stage("fetching", 2)
time.sleep(0.1)
say(view={VIEW!r}, python="3.11")
"""
    one, root = bench.resolving(worker), bench.project("shop")
    outcomes, here = [], set()

    async def ask(number: int) -> None:
        async def tell(progress: dict[str, Any]) -> None:
            await bench.tell(progress)
            here.add(number)
            if len(here) == 50:
                everybody.touch()

        asker = Asker(python=PYTHON, executable=sys.executable, restarts=False)
        outcomes.append(await one.view_for(root, asker, tell))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, number)
    assert len(bench.started) == 1
    assert {outcome.view for outcome in outcomes} == {VIEW}
    assert not any(outcome.failed for outcome in outcomes)
    assert bench.binder.refreshed == 1
    assert one.running == 0
    last = bench.told[-1]
    assert (last["stage"], last["files"], last["project"]) == ("fetching", [2, 2], root)


async def test_who_leaves_does_not_take_it_along(bench: Bench) -> None:
    one, root = bench.resolving(f"time.sleep(0.5); say(view={VIEW!r})"), bench.project("shop")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask, one, root)
        with trio.fail_after(30):
            while not one.running:  # noqa: ASYNC110 - it is counted, not told
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert (await bench.ask(one, root)).view == VIEW
    assert len(bench.started) == 1


async def test_only_so_many_at_once(bench: Bench) -> None:
    worker = f"stage('resolving'); time.sleep(0.3); say(view={VIEW!r})"
    one = bench.resolving(worker)
    roots = [bench.project(f"project{number}") for number in range(6)]
    await bench.ask(one, bench.project("alone"))
    assert {progress["stage"] for progress in bench.told} == {"starting", "resolving"}
    most = 0

    async def watch() -> None:
        nonlocal most
        while one.running or not most:
            most = max(most, sum(is_alive(pid) for pid, _ in bench.started))
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for root in roots:
            nursery.start_soon(bench.ask, one, root)
        nursery.start_soon(watch)
    assert 0 < most <= turns.AT_ONCE
    assert len(bench.started) == 7
    assert "queued" in {progress["stage"] for progress in bench.told}


async def test_a_failure_is_told_again_until_something_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, root = bench.resolving("say(what='it is so', remedy='Do.')"), bench.project("shop", "a\n")
    for _ in range(5):
        outcome = await bench.ask(one, root)
        assert (outcome.what, outcome.remedy, outcome.view) == ("it is so", "Do.", None)
    assert len(bench.started) == 1
    bench.project("shop", "b\n")
    await bench.ask(one, root)
    assert len(bench.started) == 2
    # Other options of the last `up`, another directory in its place, a word of a command.
    projects = bench.places.state / "projects"
    made = ResolvedView(
        kind="python", variant=PYTHON, view=ViewId(VIEW), fingerprint="", groups=("x",)
    )
    save(projects, load(projects, root).with_view(replace(made, inputs="other")))
    await bench.ask(one, root)
    assert len(bench.started) == 3
    await trio.Path(root).rename(f"{root}.aside")
    bench.project("shop", "b\n")
    await bench.ask(one, root)
    assert len(bench.started) == 4
    one.look_again()
    monkeypatch.setattr(resolving, "REMEMBERED", 0.05)
    await bench.ask(one, root)
    assert len(bench.started) == 5
    await trio.sleep(0.1)
    await bench.ask(one, root)
    assert len(bench.started) == 6


async def test_failures_are_not_kept_without_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "MOST_REMEMBERED", 2)
    one = bench.resolving("say(what='no', remedy='')")
    for number in range(4):
        await bench.ask(one, bench.project(f"project{number}"))
    assert len(one._failures) == 2


async def test_a_failure_comes_with_the_view_of_before(bench: Bench) -> None:
    root = bench.project("shop")
    before = ResolvedView(
        kind="python",
        variant=PYTHON,
        view=ViewId(VIEW),
        fingerprint="",
        inputs="other",
        extras=("more",),
    )
    projects = bench.places.state / "projects"
    save(projects, load(projects, root).with_view(before))
    worker = "say(what=repr([request['extras'], request['groups']]), remedy='')"
    outcome = await bench.ask(bench.resolving(worker), root)
    assert (outcome.view, outcome.what) == (VIEW, "[['more'], []]")


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ("", "status 0"),
        ("sys.exit(3)", "status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("print('no json'); print('[1]'); print('{'); print('{}')", "status 0"),
        ("sys.stdout.write('x' * 10_000_000)", "was ended by"),
        ("stage('resolving'); sys.exit(1)", "status 1"),
        ("print('[' * 100_000)", "status 0"),
    ],
)
async def test_however_it_ends_there_is_an_answer(bench: Bench, worker: str, said: str) -> None:
    root = bench.project("shop")
    outcome = await bench.ask(bench.resolving(worker), root)
    assert said in outcome.what
    assert f"`pkgview up {root}`" in outcome.remedy


async def test_there_is_no_worker(bench: Bench) -> None:
    one = Resolving(bench.places, cast("Binder", bench.binder), command=("/nonexistent",))
    outcome = await bench.ask(one, bench.project("shop"))
    assert "could not be made" in outcome.what
    assert one.running == 0


async def test_one_that_says_nothing_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "SILENT", 0.3)
    monkeypatch.setattr(jobs, "END_SECONDS", 0.3)
    one = bench.resolving("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)")
    outcome = await bench.ask(one, bench.project("shop"))
    assert "said nothing" in outcome.what
    assert not any(is_alive(pid) for pid, _ in bench.started)


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not is_so():  # noqa: ASYNC110 - it is counted, not told
            await trio.sleep(0.01)


async def left(bench: Bench, one: Resolving, *roots: str) -> None:
    """Programs ask for these, and are gone when their resolutions have begun."""
    before = len(bench.started)
    async with trio.open_nursery() as nursery:
        for root in roots:
            nursery.start_soon(bench.ask, one, root)
        await until(lambda: len(bench.started) >= before + len(roots))
        nursery.cancel_scope.cancel()


HANGS = f"""
stage('resolving')
if 'slow' in name: time.sleep(1000)
say(view={VIEW!r})
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "END_SECONDS", 0.3)
    monkeypatch.setattr(turns, "BEAT", 0.05)
    monkeypatch.setattr(bounds, "BEAT", 0.05)


@pytest.mark.usefixtures("quick")
async def test_what_nobody_waits_for_keeps_nobody_waiting(bench: Bench) -> None:
    one = bench.resolving(HANGS)
    slow = [bench.project(f"slow{number}") for number in range(5)]
    await left(bench, one, *slow[:2])
    with trio.fail_after(30):
        assert (await bench.ask(one, bench.project("first"))).view == VIEW
    # They go on, but for the one that began first, where there are too many beside.
    await left(bench, one, *slow[2:4])
    assert one.running == 4
    with trio.fail_after(30):
        assert (await bench.ask(one, bench.project("second"))).view == VIEW
    alive = [name for pid, name in bench.started if is_alive(pid)]
    assert len(alive) == 3
    # That was no failure: who asks once more waits for it, beside what is there.
    ended = next(root for root in slow[:4] if Path(root).name not in alive)
    await left(bench, one, ended)
    assert one.running == 4
    assert not one._failures


@pytest.mark.usefixtures("quick")
async def test_what_takes_long_gives_its_place_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LONG", 0.5)
    one = bench.resolving(HANGS)
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(bench.ask, one, bench.project(f"slow{number}"))
        await until(lambda: len(bench.started) == turns.AT_ONCE + turns.BESIDE)
        await trio.sleep(1)
        assert len(bench.started) == turns.AT_ONCE + turns.BESIDE
        # No program of these is there any more: the next one's is made at once.
        nursery.cancel_scope.cancel()
    with trio.fail_after(30):
        assert (await bench.ask(one, bench.project("quick"))).view == VIEW


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [
        ("MOST_MEMORY", 48 * 1024**2, "more than 48 MB of memory"),
        ("MOST_SECONDS", 0.5, "more than 0.5 s to find out which packages"),
    ],
)
async def test_one_that_takes_too_much_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, limit: str, most: float, said: str
) -> None:
    monkeypatch.setattr(bounds, limit, most)
    # What has the memory is a session of its own, as uv's is, and hears no request to end.
    worker = """
import subprocess
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
child += "x = bytearray(48 << 20); time.sleep(1000)"
uv = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
with open(request["places"]["state"] + "/started", "a") as file:
    print(uv.pid, "uv", file=file)
stage("resolving")
time.sleep(1000)
"""
    one, root = bench.resolving(worker), bench.project("shop", "a\n")
    with trio.fail_after(60):
        outcome = await bench.ask(one, root)
    assert said in outcome.what
    assert outcome.remedy == f"`pkgview up {root}` takes what it needs, until you end it."
    assert [name for _, name in bench.started] == ["shop", "uv"]
    # Nobody may have reaped the one whose parent is gone.
    await until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid, _ in bench.started))
    # It is no matter of a moment, as a network is, unless the project is another.
    monkeypatch.setattr(resolving, "REMEMBERED", 0.0)
    assert await bench.ask(one, root) == outcome
    assert len(bench.started) == 2
    monkeypatch.setattr(bounds, limit, 2**40)
    bench.project("shop", "b\n")
    await left(bench, one, root)


@pytest.mark.usefixtures("quick")
async def test_what_is_fetched_takes_its_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BEAT", 0.2)
    monkeypatch.setattr(bounds, "MOST_SECONDS", 0.5)
    one = bench.resolving(f"stage('fetching'); time.sleep(1); say(view={VIEW!r})")
    assert (await bench.ask(one, bench.project("shop"))).view == VIEW


def test_it_ends_with_the_daemon(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "END_SECONDS", 0.3)
    root = bench.project("shop")

    async def main() -> None:
        one = bench.resolving("stage('resolving'); time.sleep(1000)")
        with trio.move_on_after(60) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bench.ask, one, root)
                await bench.begun.wait()
                scope.cancel()

    began = time.monotonic()
    trio.run(main)
    assert time.monotonic() - began < 20
    assert [is_alive(pid) for pid, _ in bench.started] == [False]


# What is never resolved


async def test_a_project_of_others(bench: Bench) -> None:
    root = bench.project("shop", mode=0o777)
    outcome = await bench.ask(bench.resolving(""), root)
    assert "not yours alone" in outcome.what
    assert f"`pkgview trust {root}`" in outcome.remedy
    assert bench.started == []


async def test_a_directory_that_is_no_project_any_more(bench: Bench) -> None:
    root = bench.project("shop")
    (Path(root) / "requirements.txt").unlink()
    outcome = await bench.ask(bench.resolving(""), root)
    assert outcome.failed
    assert bench.started == []


async def test_an_interpreter_that_is_none(bench: Bench) -> None:
    asker = Asker(python=PYTHON, executable="", restarts=False)
    outcome = await bench.resolving("").view_for(bench.project("shop"), asker, bench.tell)
    assert outcome.failed
    assert bench.started == []


# Who asks


def request(**arguments: object) -> Request:
    peer = Peer(pid=os.getpid(), uid=os.getuid(), gid=os.getgid())
    return Request(operation="resolve", arguments=arguments, peer=peer)


def bound_to(
    rule: Rule,
    *,
    view: str | None = None,
    project: str | None = None,
    why: str = "why",
    refused: Candidate | None = None,
) -> Binding:
    named = None if view is None else ViewId(view)
    return Binding(rule=rule, view=named, project=project, why=why, refused=refused)


@pytest.mark.parametrize(
    ("binding", "answer"),
    [
        (bound_to(Rule.DEFAULT, view=VIEW), {"view": None, "notice": None}),
        (bound_to(Rule.EARLIER, view=VIEW), {"view": VIEW, "notice": None}),
        (
            bound_to(Rule.DIRECTORY, why="it is\x1b broken"),
            {"view": None, "notice": "pkgview: 'it is\\x1b broken'\n"},
        ),
        (
            bound_to(Rule.DEFAULT, refused=Candidate("/p q", "others")),
            {
                "view": None,
                "notice": "pkgview: /p q is not used, because it is not yours alone: others\n  "
                "If you trust everybody who may write there: `pkgview trust '/p q'`.\n",
            },
        ),
    ],
)
async def test_what_needs_no_resolution(
    bench: Bench, binding: Binding, answer: dict[str, object]
) -> None:
    bench.binder.binding = binding
    assert await bench.resolving("").answer(request(python="3.11")) == answer
    assert bench.started == []


async def test_the_binding_says_whose_view_it_is(bench: Bench) -> None:
    root = bench.project("shop")
    bench.binder.binding = bound_to(Rule.DIRECTORY, project=root)
    one = bench.resolving(f"say(view={VIEW!r})")
    answer = await one.answer(request(python=PYTHON, project="/elsewhere"))
    assert answer == {"view": VIEW, "python": PYTHON, "failed": None}
    assert [name for _, name in bench.started] == ["shop"]
    # Who stays what it is was looked at once more, so that it is known what it has now.
    assert len(bench.binder.asked) == 2
    assert json.dumps(answer)


@pytest.mark.parametrize("python", [None, 3.11, "", "3.11 ", "2.7", "3.11;", "pypy3.10", "3.1\n"])
async def test_what_is_no_version(bench: Bench, python: object) -> None:
    with pytest.raises(PkgviewError, match="version"):
        await bench.resolving("").answer(request(python=python))
