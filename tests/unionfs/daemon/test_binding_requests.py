"""Control operations on bindings: hostile requests, whose processes, and what is kept of them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.binding.binder import Binder
from resolver.caller.procfs import Stat, read_stat
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.bindings.manual import ManualBindings
from unionfs.control.request import Peer, Request
from unionfs.daemon.binding_requests import Operations
from unionfs.publishing.view_index import ViewIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places

VIEW = ViewId("a" * 32)


class Views(ViewIndex):
    """Only `VIEW` is known."""

    def knows(self, view: ViewId) -> bool:
        return view == VIEW

    use = knows


@pytest.fixture
def by_hand(isolated_places: Places) -> ManualBindings:
    return ManualBindings(isolated_places)


@pytest.fixture
def operations(isolated_places: Places, by_hand: ManualBindings) -> Operations:
    known = Views(isolated_places, VIEW, by_hand)
    return Operations(Binder(known, mount=isolated_places.mount), by_hand, known)


@pytest.fixture
def sleeper() -> Iterator[list[int]]:
    """A process of ours, as a request names it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        stat = read_stat(process.pid)
        assert isinstance(stat, Stat)
        yield [process.pid, stat.start_time]
        process.kill()


def request(operation: str, *, uid: int | None = None, **arguments: object) -> Request:
    peer = Peer(pid=os.getpid(), uid=os.getuid() if uid is None else uid, gid=0)
    return Request(operation=operation, arguments=arguments, peer=peer)


async def refused(operations: Operations, operation: str, **arguments: Any) -> str:  # noqa: ANN401
    with pytest.raises(PkgviewError) as caught:
        await operations.table[operation](request(operation, **arguments))
    return caught.value.what


async def test_a_request_that_makes_no_sense_is_refused(
    operations: Operations, sleeper: list[int]
) -> None:
    pid, start_time = sleeper
    for arguments, why in (
        ({}, "nothing was named"),
        ({"process": "other"}, "names no process"),
        ({"process": [1]}, "names no process"),
        ({"process": [-1, 5]}, "names no process"),
        ({"process": [2**40, 5]}, "names no process"),
        ({"process": {"pid": 1}}, "names no process"),
        ({"process": [pid, start_time + 1]}, f"the daemon sees no process {pid}"),
        ({"process": [2**31 - 1, 1]}, "the daemon sees no process"),
        ({"cgroup": "/a"}, "names no cgroup"),
        ({"cgroup": ["", "/"]}, "names no cgroup"),
        ({"cgroup": ["", "a"]}, "names no cgroup"),
        ({"cgroup": ["", "/../x"]}, "the daemon sees no cgroup"),
        ({"cgroup": ["", "/nonsense"]}, "the daemon sees no cgroup /nonsense"),
        ({"cgroup": ["nonsense", "/nonsense"]}, "the daemon sees no cgroup"),
    ):
        assert why in await refused(operations, "bind", **arguments, view=VIEW), arguments
    for what, why in (
        ({}, "neither a project nor a view"),
        ({"project": "relative"}, "no absolute path"),
        ({"project": "/a\0b"}, "project is no text"),
        ({"project": ["/a"]}, "project is no text"),
        ({"view": "b" * 32}, "there is no view"),
        ({"view": "../../x"}, "there is no view"),
        ({"view": VIEW, "said": "nonsense"}, "does not say which command"),
        ({"view": VIEW, "python": 3.11}, "python is no text"),
        ({"view": VIEW, "store": "/elsewhere"}, "works with other places"),
    ):
        assert why in await refused(operations, "bind", process=sleeper, **what), what
    for wrong in (None, "1", 0, -1, 2**31, 1.5, [1]):
        assert "there is no process" in await refused(operations, "explain", pid=wrong)
    assert "nothing was named" in await refused(operations, "unbind")
    assert "not bound by hand itself" in await refused(operations, "unbind", process=sleeper)


async def test_whose_processes_may_be_bound(
    operations: Operations, by_hand: ManualBindings, sleeper: list[int]
) -> None:
    other = os.getuid() + 1
    said = await refused(operations, "bind", process=sleeper, view=VIEW, uid=other)
    assert f"belongs to uid {os.getuid()}, and you are uid {other}" in said
    assert not by_hand.hands
    await operations.bind(request("bind", process=sleeper, view=VIEW))
    (hand,) = by_hand.hands
    assert (hand.uid, hand.view) == (os.getuid(), VIEW)


async def test_bound_kept_and_taken_back(
    operations: Operations, by_hand: ManualBindings, sleeper: list[int], isolated_places: Places
) -> None:
    project = "/caf\udce9 \n"
    said = await operations.bind(request("bind", process=sleeper, project=project))
    assert (said["pid"], said["project"], said["view"]) == (sleeper[0], project, None)
    itself = await operations.bind(request("bind", process="self", view=VIEW, said="run"))
    assert (itself["pid"], itself["by"]) == (os.getpid(), "run")
    (kept,) = (isolated_places.state / "bindings").iterdir()
    assert kept.stat().st_mode & 0o77 == 0
    again = ManualBindings(isolated_places)
    assert list(again.hands) == list(by_hand.hands)
    # Another mount of the same user has its own.
    kept_elsewhere = isolated_places.state / "bindings" / "elsewhere.json"
    kept.replace(kept_elsewhere)
    assert list(ManualBindings(isolated_places).hands) == []
    found = await operations.ps(request("ps"))
    assert [one["pid"] for one in found["by_hand"]] == [sleeper[0], os.getpid()]
    json.dumps(found)
    (taken,) = await operations.unbind(request("unbind", process="self"))
    assert taken["pid"] == os.getpid()
    os.kill(sleeper[0], 9)
    os.waitid(os.P_PID, sleeper[0], os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - killed already
    # A zombie asks for nothing.
    assert (await operations.ps(request("ps")))["by_hand"] == []
    assert await operations.unbind(request("unbind", all=True)) == []


async def test_what_cannot_be_written_holds_as_long_as_the_daemon(
    operations: Operations, by_hand: ManualBindings, sleeper: list[int], isolated_places: Places
) -> None:
    (isolated_places.state).mkdir(parents=True, exist_ok=True)
    (isolated_places.state / "bindings").write_text("in the way")
    said = await refused(operations, "bind", process=sleeper, view=VIEW)
    assert "so the binding ends with the daemon" in said
    assert [hand.view for hand in by_hand.hands] == [VIEW]
    assert "so the binding ends" in await refused(operations, "unbind", all=True)
    assert not by_hand.hands


async def test_a_thread_is_no_process(operations: Operations) -> None:
    """A thread's own pid would never be found among anybody's ancestors."""
    import threading  # noqa: PLC0415 - only here

    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        stat = read_stat(thread.native_id)
        assert isinstance(stat, Stat)
        named = [thread.native_id, stat.start_time]
        said = await refused(operations, "bind", process=named, view=VIEW)
    finally:
        done.set()
        thread.join()
    assert said == f"{named[0]} is a thread, not a process"


def test_nothing_is_written_where_nothing_is_bound(by_hand: ManualBindings) -> None:
    assert not by_hand.prune()
    assert by_hand.is_idle
    assert not Path(by_hand._path).exists()
