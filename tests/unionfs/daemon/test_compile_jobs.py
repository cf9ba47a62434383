from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from resolver.manifest import ViewId
from resolver.python.target import Python, Schemes
from unionfs.daemon.compile_jobs import CompileJobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resolver.places import Places

PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3.11",
    schemes=Schemes(purelib="site", platlib="site", scripts="bin", headers="include", data=""),
)
WITHOUT = PYTHON.manifest((PYTHON.layer("a", name="a"),))
WITH = PYTHON.manifest((PYTHON.layer("a", name="a", bytecode="b"),))
NOTICE = PYTHON.manifest((PYTHON.layer("notice"),))

SAYS = """
import json, sys
for view in json.loads(sys.stdin.readline())["views"]:
    print(json.dumps({"view": view, "new": view.upper()}), flush=True)
    print(json.dumps({"view": view, "what": "something failed"}), flush=True)
"""
CRASHES = "import os; os.abort()"
HANGS = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PKGVIEW_COMPILE")


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not holds():  # noqa: ASYNC110 - of another process, too
            await trio.sleep(0.01)


def background(places: Places, code: str, replaced: Callable[[], None], *args: str) -> CompileJobs:
    return CompileJobs(places, replaced, command=[sys.executable, "-c", code, *args])


async def test_what_has_all_bytecode_and_notices_are_not_considered(
    isolated_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = background(isolated_places, SAYS, lambda: None)
    one.consider(ViewId("a"), WITH)
    one.consider(ViewId("b"), NOTICE)
    assert one.pending == 0
    one.consider(ViewId("c"), WITHOUT)
    assert one.pending == 1
    monkeypatch.setenv("PKGVIEW_COMPILE", "0")
    one.consider(ViewId("d"), WITHOUT)
    assert one.pending == 1


async def test_it_tells_whenever_a_view_was_replaced(
    isolated_places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []
    one = background(isolated_places, SAYS, lambda: told.append(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tend)
        for view in ("a", "b"):
            one.consider(ViewId(view), WITHOUT)
        await until(lambda: one.pending == 0)
        assert len(told) == 2
        one.consider(ViewId("c"), WITHOUT)
        await until(lambda: one.pending == 0)
        nursery.cancel_scope.cancel()
    assert len(told) == 3
    assert "view c: something failed" in caplog.text


async def test_a_crash_is_not_the_end(isolated_places: Places) -> None:
    one = background(isolated_places, CRASHES, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tend)
        for view in ("a", "b"):
            one.consider(ViewId(view), WITHOUT)
            await until(lambda: one.pending == 0)
        nursery.cancel_scope.cancel()


async def test_a_program_that_cannot_be_started_is_not_the_end(
    isolated_places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    one = CompileJobs(isolated_places, lambda: None, command=["/no/such/program"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tend)
        one.consider(ViewId("a"), WITHOUT)
        await until(lambda: one.pending == 0)
        nursery.cancel_scope.cancel()
    assert "nothing was compiled" in caplog.text


async def test_it_ends_with_the_daemon(isolated_places: Places, tmp_path: Path) -> None:
    said = tmp_path / "pid"
    one = background(isolated_places, HANGS, lambda: None, str(said))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tend)
        one.consider(ViewId("a"), WITHOUT)
        await until(lambda: said.exists() and said.read_text() != "")
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)
