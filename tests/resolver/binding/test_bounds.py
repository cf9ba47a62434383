"""What one other user may take of root's daemon, by whatever number."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import trio

from resolver.binding import binder as module
from resolver.binding.binder import Binder
from resolver.caller.owners import Owners
from resolver.caller.procfs import Tid
from tests.resolver.binding.test_rebind import DEFAULT, A, State
from tests.resolver.binding.test_rules import running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    """All processes are another user's than the daemon, and every look hangs."""
    (tmp_path / "s.py").write_text("print('up', flush=True); input()")
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    state = State()
    state.gate.clear()
    return state


async def test_a_users_requests_that_wait_leave_room_for_others(
    strangers: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING_OF_ANOTHER", 20, raising=False)
    binder = Binder(strangers, mount=tmp_path / "mnt", limit=20.0)
    at_once: list[str] = []
    with running(sys.executable, "s.py", cwd=tmp_path) as process:

        async def ask(answers: list[str]) -> None:
            answers.append((await binder.binding_for(Tid(process.pid))).view or "")

        async with trio.open_nursery() as nursery:
            late: list[str] = []
            for _ in range(20):
                nursery.start_soon(ask, late)
            await trio.sleep(0.2)
            with trio.fail_after(5):
                for _ in range(50):
                    await ask(at_once)
            # Another process of that user's is not looked at: nobody would wait for it.
            with running(sys.executable, "s.py", cwd=tmp_path) as other:
                assert (await binder.binding_for(Tid(other.pid))).view == DEFAULT
            assert strangers.asked == 1
            assert late == []
            strangers.gate.set()
    assert at_once == [DEFAULT] * 50
    assert late == [A] * 20


async def test_subordinate_numbers_hang_as_one_user(
    strangers: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HUNG_OF_ANOTHER", 1)
    (tmp_path / "subuid").write_text("a:100000:65536\n")
    binder = Binder(strangers, mount=tmp_path / "mnt", limit=0.2)
    monkeypatch.setattr(binder, "_owners", Owners(tmp_path / "subuid"), raising=False)
    monkeypatch.setattr(binder, "_user_of", lambda tid: 100000 + tid % 60000)
    with contextlib.ExitStack() as stack:
        one, two = (
            stack.enter_context(running(sys.executable, "s.py", cwd=tmp_path)) for _ in range(2)
        )
        assert (await binder.binding_for(Tid(one.pid))).view == DEFAULT
        with trio.fail_after(0.15):  # it is not even looked at
            assert (await binder.binding_for(Tid(two.pid))).view == DEFAULT
        strangers.gate.set()
        assert strangers.asked == 1


async def test_a_look_that_nobody_waits_for_holds_up_nobody(
    strangers: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HUNG_OF_ANOTHER", 1)
    monkeypatch.setattr(module, "MOST_LOOKS", 1)
    gates: dict[int, threading.Event] = {}
    binder = Binder(strangers, mount=tmp_path / "mnt", limit=0.3)
    monkeypatch.setattr(
        strangers, "by_hand", lambda who: gates[who.identity.tgid].wait(20) and None
    )
    with contextlib.ExitStack() as stack:
        one, two, other = (
            stack.enter_context(running(sys.executable, "s.py", cwd=tmp_path)) for _ in range(3)
        )
        gates |= {process.pid: threading.Event() for process in (one, two, other)}
        monkeypatch.setattr(binder, "_user_of", lambda tid: 7 if tid == other.pid else 8)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(binder.binding_for, Tid(one.pid))
            nursery.start_soon(binder.binding_for, Tid(two.pid))
        # The second had no turn in time. It begins now, alone, and hangs.
        gates[one.pid].set()
        gates[other.pid].set()
        await trio.sleep(0.1)
        assert (await binder.binding_for(Tid(other.pid))).view == A
        gates[two.pid].set()
