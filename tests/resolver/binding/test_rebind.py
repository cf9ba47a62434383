"""What the front does when something is bound by hand, and when it is asked to explain."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

from resolver.binding import binder as module
from resolver.binding.binder import Binder
from resolver.binding.rules import Binding, Candidate, Rule
from resolver.caller.procfs import Pid, Tid
from resolver.errors import PkgviewError
from resolver.manifest import ViewId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.caller.process import Caller

A, B, DEFAULT = (ViewId(letter * 32) for letter in "abd")


@dataclass
class State:
    """Everything is in the project `/p`, unless `hand` says otherwise."""

    hand: Binding | None = None
    view: ViewId = A
    asked: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def by_hand(self, caller: Caller) -> Binding | None:
        del caller
        hand, gate = self.hand, self.gate
        self.asked += 1
        gate.wait(20)
        return hand

    def knows(self, view: ViewId) -> bool:
        return view in {A, B}

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        del directory, uid
        return Candidate("/p")

    script_project = project_of

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        del project, python
        return self.view

    def default_view(self, python: str | None) -> ViewId | None:
        del python
        return DEFAULT


def by_hand(view: ViewId, number: int = 1) -> Binding:
    return Binding(rule=Rule.BY_HAND, view=view, project=None, why="w", hand=number)


@pytest.fixture
def python() -> Iterator[int]:
    """A running interpreter, past its own start: one that still begins is looked at anew."""
    with subprocess.Popen(
        [sys.executable, "-c", "input('up\\n')"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"up\n"
            yield process.pid
        finally:
            process.kill()


async def test_a_running_program_is_looked_at_again_once(python: int, tmp_path: Path) -> None:
    state = State()
    binder = Binder(state, mount=tmp_path / "mnt")

    async def seen() -> tuple[Rule, ViewId | None]:
        got = await binder.binding_for(Tid(python))
        return got.rule, got.view

    assert [await seen() for _ in range(2)] == [(Rule.DIRECTORY, A), (Rule.EARLIER, A)]
    assert state.asked == 1
    state.hand = by_hand(B)
    assert await seen() == (Rule.EARLIER, A)  # nobody has told
    binder.rebind(keep=60)
    assert [(await seen())[1] for _ in range(3)] == [B, B, B]
    assert state.asked == 2
    # Taken back: it is as if that had never been said, while what has just ended is kept.
    state.hand = None
    binder.rebind(keep=60)
    assert (await seen())[1] == B
    binder.bindings.forget(1)
    assert await seen() == (Rule.DIRECTORY, A)


async def test_processes_that_may_enter_a_cgroup_are_looked_at_now_and_then(
    python: int, tmp_path: Path
) -> None:
    state = State()
    binder = Binder(state, mount=tmp_path / "mnt")
    binder.rebind(keep=0.0)
    for _ in range(3):
        await binder.binding_for(Tid(python))
    assert state.asked == 3
    (bound,) = binder.bindings
    # It still says which rule was the first to hold, and since when.
    assert (bound.binding.rule, bound.given < bound.since) == (Rule.DIRECTORY, True)
    assert [one.identity.tgid for one in binder.living()] == [python]


async def test_nobody_is_told_what_a_look_from_before_finds(python: int, tmp_path: Path) -> None:
    state = State()
    state.gate.clear()
    binder = Binder(state, mount=tmp_path / "mnt")
    answers: dict[str, ViewId | None] = {}

    async def ask(when: str) -> None:
        answers[when] = (await binder.binding_for(Tid(python))).view

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "before")
        while not state.asked:  # noqa: ASYNC110 - the look is in a thread
            await trio.sleep(0.01)
        first, state.gate, state.hand = state.gate, threading.Event(), by_hand(B)
        binder.rebind(keep=60)
        nursery.start_soon(ask, "after")
        while state.asked < 2:  # noqa: ASYNC110 - the same
            await trio.sleep(0.01)
        first.set()  # the other one later: once that has landed, what it found is known to all
        while not answers:  # noqa: ASYNC110 - the same
            await trio.sleep(0.01)
        state.gate.set()
    assert answers == {"before": A, "after": B}
    assert [one.binding.view for one in binder.bindings] == [B]


async def test_explaining_changes_nothing(python: int, tmp_path: Path) -> None:
    state = State()
    binder = Binder(state, mount=tmp_path / "mnt")
    found = await binder.explain(Pid(python))
    assert [one.rule for one in found.findings] == list(Rule)
    won = [one.binding for one in found.findings if one.binding is not None]
    assert [(one.rule, one.view) for one in won] == [(Rule.DIRECTORY, A), (Rule.DEFAULT, DEFAULT)]
    assert all(one.binding or one.said or one.skipped for one in found.findings)
    assert found.last is None
    assert not list(binder.bindings)
    # The same rules that bind it, and in the same words.
    got = await binder.binding_for(Tid(python))
    assert got == won[0]
    again = await binder.explain(Pid(python))
    assert again.last is not None
    assert again.last.binding == got
    assert [one.rule for one in again.findings if one.binding][0] is Rule.EARLIER  # noqa: RUF015


async def test_what_cannot_be_explained(python: int, tmp_path: Path) -> None:
    state = State()
    binder = Binder(state, mount=tmp_path / "mnt", limit=0.1)
    for pid, why in ((2**22 + 1, "there is no process"), (os.getpid(), "is the daemon itself")):
        with pytest.raises(PkgviewError, match=why):
            await binder.explain(Pid(pid))
    # One that hangs is given up, and does not keep the others from being bound.
    state.gate.clear()
    with trio.fail_after(10):
        for _ in range(module.MOST_EXPLAINED + 2):
            with pytest.raises(PkgviewError, match="cannot be looked at"):
                await binder.explain(Pid(python))
        state.gate.set()
        while True:
            with contextlib.suppress(PkgviewError):
                await binder.explain(Pid(python))
                break
