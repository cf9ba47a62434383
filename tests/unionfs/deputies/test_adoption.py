"""Places of those who take views over: by user, whatever one of them does."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.lowlevel

from resolver.manifest import ViewId
from unionfs.deputies import adoption as module
from unionfs.deputies.adoption import Adoption

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from resolver.places import Places
    from unionfs.deputies.client import Deputies

JOB = """
import json, os, sys, time
view = sys.argv[2]
here = os.path.join({here!r}, view)
open(here + ".began", "a").write(f"{{os.getpid()}}\\n")
if view.startswith("a"):
    time.sleep(300)
open(here, "w").close()
print("{{}}")
"""


class NoDeputies:
    """They hand nothing over: the job is another."""

    def hand(self, uid: int, view: ViewId, end: socket.socket) -> None:
        del uid, view
        end.close()


class Bench:
    """Jobs of views whose ids begin with "a" hang."""

    def __init__(self, places: Places, here: Path) -> None:
        self.here = here
        self.adoption = Adoption(places, cast("Deputies", NoDeputies()))

    def shown(self, view: ViewId) -> bool:
        return (self.here / view).exists()

    async def adopt(self, uid: int, view: str) -> bool:
        return await self.adoption.adopt(uid, ViewId(view), self.shown)

    def pids(self, view: str) -> list[int]:
        path = self.here / f"{view}.began"
        return list(map(int, path.read_text("ascii").split())) if path.exists() else []

    async def began(self, view: str) -> int:
        with trio.fail_after(30):
            while not self.pids(view):  # noqa: ASYNC110 - of another process
                await trio.sleep(0.01)
        return self.pids(view)[-1]


@pytest.fixture
def bench(isolated_places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    program = tmp_path / "job.py"
    program.write_text(JOB.format(here=os.fspath(tmp_path)))
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-I", "-S", os.fspath(program)))
    return Bench(isolated_places, tmp_path)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_many_users_who_hang_stop_nobody_else(bench: Bench) -> None:
    async with trio.open_nursery() as nursery:
        for uid in range(1000, 1012):
            nursery.start_soon(bench.adopt, uid, f"a{uid}")
        hung = [await bench.began(f"a{uid}") for uid in range(1000, 1012)]
        with trio.fail_after(30):
            assert await bench.adopt(2000, "b")
        assert all(map(is_alive, hung))
        nursery.cancel_scope.cancel()
    assert not any(map(is_alive, hung))


async def test_a_user_has_one_place(bench: Bench) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.adopt, 1000, "a1")
        await bench.began("a1")
        with trio.move_on_after(0.5):
            await bench.adopt(1000, "b1")
        assert not bench.pids("b1")
        nursery.cancel_scope.cancel()
    assert await bench.adopt(1000, "b1")


async def test_nobody_waits_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TIME_LIMIT", 1.0)
    waits: list[float] = []

    async def ask(view: str) -> None:
        began = time.monotonic()
        assert not await bench.adopt(1000, view)
        waits.append(time.monotonic() - began)

    async with trio.open_nursery() as nursery:
        for view in ("a1", "a2", "a3", "a4", "a5"):
            nursery.start_soon(ask, view)
    # Their turn is part of it: not one limit after the other.
    assert max(waits) < 4
    assert "too long" in caplog.text


async def test_requests_that_wait_are_counted_by_user(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3, raising=False)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(bench.adopt, 1000, "a1")
        await bench.began("a1")
        with trio.fail_after(5):
            for _ in range(50):
                assert not await bench.adopt(1000, "a1")
        assert await bench.adopt(2000, "b")
        nursery.cancel_scope.cancel()


async def test_who_began_first_makes_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    caplog.set_level(logging.INFO)
    async with trio.open_nursery() as nursery:
        for uid in (1000, 1001):
            nursery.start_soon(bench.adopt, uid, f"a{uid}")
            await bench.began(f"a{uid}")
        with trio.fail_after(30):
            assert await bench.adopt(2000, "b")
        first, second = bench.pids("a1000")[0], bench.pids("a1001")[0]
        assert (is_alive(first), is_alive(second)) == (False, True)
        nursery.cancel_scope.cancel()
    assert f"status {-signal.SIGKILL}" in caplog.text


async def test_one_that_cannot_be_ended_keeps_its_users_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As if a disk did not answer."""
    monkeypatch.setattr(module, "TIME_LIMIT", 1.0)
    monkeypatch.setattr(module, "END_LIMIT", 0.1, raising=False)
    kill: Callable[[trio.Process], None] = trio.Process.kill
    monkeypatch.setattr(trio.Process, "kill", lambda _: None)
    monkeypatch.setattr(trio.Process, "terminate", lambda _: None)
    with trio.fail_after(30):
        assert not await bench.adopt(1000, "a1")
        assert not await bench.adopt(1000, "b1")
        assert "cannot be ended" in caplog.text
        assert await bench.adopt(1001, "b2")
    (process,) = bench.adoption._running.values()
    kill(process)
    await process.wait()
    await trio.lowlevel.checkpoint()
    monkeypatch.setattr(module, "REMEMBERED", 0.0)
    assert await bench.adopt(1000, "b1")
