"""Servers, their supervisor and their readers die at any moment, and no read fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from unionfs.cli.commands.mount import unmount
from unionfs.cli.commands.upgrade import upgraded
from unionfs.control import client
from unionfs.control.endpoint import Endpoint, endpoint_of
from unionfs.daemon import launch
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.places import Places

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("supervised")]

STORM = Path(__file__).parents[2] / "scripts/storm"
ROOM = 256 << 10
"""Bytes by which a starved server may grow: whatever it does next takes more, if only since it
shares its pages with the supervisor until it touches them."""


def endpoint(places: Places) -> Endpoint:
    return endpoint_of(places, mounts.canonical(places.mount))


def status(places: Places) -> dict[str, Any]:
    return dict(client.ask(endpoint(places), "status", seconds=30))


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def served_by(places: Places) -> int:
    """The server's pid, as soon as one answers."""
    answers: list[int] = []

    def answered() -> bool:
        with contextlib.suppress(PkgviewError):
            answers.append(status(places)["server"])
        return bool(answers)

    until(answered)
    return answers[0]


def content(places: Places) -> dict[str, bytes]:
    """The files of the default view's environment."""
    root = places.mount / "current/lib"
    return {
        os.fspath(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


# Storms


def storm(kind: str, rounds: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, STORM, f"--{kind}", "--rounds", str(rounds), "--readers", "2", "--json"],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["rounds"] == rounds
    assert said["reads"] > rounds
    before, after = said["descriptors"]
    assert after <= before + 4
    return said


def test_the_server_is_killed_again_and_again(fuse: None) -> None:  # noqa: ARG001 - its refusal counts
    said = storm("server", 20)
    assert said["restarts"] > 6
    before, after = said["memory"]
    assert after < before + (4 << 20)


def test_the_version_is_replaced_again_and_again(fuse: None) -> None:  # noqa: ARG001 - the same
    said = storm("upgrade", 6)
    assert said["upgrades"] == 6
    before, after = said["memory"]
    assert after < before + (4 << 20)


def test_the_supervisor_is_killed_again_and_again(fuse: None) -> None:  # noqa: ARG001 - the same
    storm("supervisor", 6)


def test_callers_are_killed_and_stopped(fuse: None) -> None:  # noqa: ARG001 - the same
    assert storm("callers", 15)["restarts"] == 0


# One at a time


def test_a_killed_server_is_replaced_and_commands_find_the_next(mounted: Places) -> None:
    before, files = status(mounted), content(mounted)
    assert before["supervised"]
    assert before["server"] != before["pid"]
    os.kill(before["server"], signal.SIGKILL)
    assert content(mounted) == files
    until(lambda: served_by(mounted) != before["server"])
    after = status(mounted)
    assert (after["pid"], after["restarts"]) == (before["pid"], 1)
    assert after["pause"] > 0
    assert launch.ensure_mounted(mounted).how == "already"


def test_what_is_bound_by_hand_outlives_server_and_upgrade(mounted: Places) -> None:
    view = os.readlink(mounted.mount / "current").removeprefix("views/")
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            start = int(
                Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
            )
            told: dict[str, Any] = {"process": [process.pid, start], "view": view}
            client.ask(endpoint(mounted), "bind", **told)
            os.kill(served_by(mounted), signal.SIGKILL)
            served_by(mounted)
            upgraded(mounted)
            (hand,) = client.ask(endpoint(mounted), "ps")["by_hand"]
            assert hand["pid"] == process.pid
        finally:
            process.kill()


def test_an_upgrade_keeps_the_daemons_pid_and_what_is_open(mounted: Places) -> None:
    (name, bytes_) = next((name, found) for name, found in content(mounted).items() if found)
    with (mounted.mount / "current/lib" / name).open("rb", buffering=0) as held:
        before, after = upgraded(mounted)
        assert held.read() == bytes_
    assert before["pid"] == after["pid"]
    assert before["server"] != after["server"]
    until(lambda: not is_alive(before["server"]))


def test_an_upgrade_to_what_cannot_be_started_changes_nothing(mounted: Places) -> None:
    before = status(mounted)
    for executable in ("relative", "/nowhere/python", 7, "/etc/passwd"):
        with pytest.raises(PkgviewError, match="no interpreter that could be started"):
            client.ask(endpoint(mounted), "upgrade", executable=executable)
    # What is started and ends at once: the server starts a supervisor of its own version.
    client.ask(endpoint(mounted), "upgrade", executable="/bin/true")
    until(lambda: served_by(mounted) != before["server"])
    assert content(mounted)
    assert launch.ensure_mounted(mounted).how == "already"


def test_another_supervisor_adopts_the_mount(mounted: Places) -> None:
    before, files = status(mounted), content(mounted)
    os.kill(before["pid"], signal.SIGKILL)
    assert content(mounted) == files
    until(lambda: served_by(mounted) != before["server"])
    after = status(mounted)
    assert after["pid"] != before["pid"]
    assert endpoint(mounted).pids() == [after["pid"], after["server"]]
    os.kill(after["server"], signal.SIGKILL)  # it restarts servers as the first one did
    assert content(mounted) == files
    until(lambda: served_by(mounted) != after["server"])
    assert unmount(mounted, lazy=False, force=False)[1] == "unmounted"


def test_a_stopped_server_is_replaced(mounted: Places) -> None:
    before, files = served_by(mounted), content(mounted)
    os.kill(before, signal.SIGSTOP)
    assert content(mounted) == files  # after two seconds
    until(lambda: served_by(mounted) != before)
    assert not is_alive(before)


@pytest.fixture
def starving() -> Iterator[Callable[[int], None]]:
    """Put a process where there is room for `ROOM` bytes more and nothing is swapped out."""
    cgroup = Path("/sys/fs/cgroup/memory/pkgview-starving")
    if os.geteuid() != 0 or not cgroup.parent.is_dir():
        pytest.skip("needs root, and the memory controller of cgroup v1")
    try:
        cgroup.mkdir()
        (cgroup / "memory.limit_in_bytes").write_text(str(ROOM))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made: {error}")
    with contextlib.suppress(OSError):
        (cgroup / "memory.swappiness").write_text("0")

    def starve(pid: int) -> None:
        (cgroup / "cgroup.procs").write_text(str(pid))

    yield starve

    def removed() -> bool:
        try:
            cgroup.rmdir()
        except OSError:
            return False
        return True

    until(removed)


def test_a_server_without_memory_is_replaced(
    mounted: Places, starving: Callable[[int], None]
) -> None:
    before, files = served_by(mounted), content(mounted)
    starving(before)
    deadline = time.monotonic() + 60
    while is_alive(before):
        assert time.monotonic() < deadline
        list((mounted.mount / "packages").rglob("*"))
        assert content(mounted) == files
        with contextlib.suppress(PkgviewError):
            status(mounted)
    assert content(mounted) == files
    until(lambda: served_by(mounted) != before)
    assert status(mounted)["restarts"] >= 1


# The end


@pytest.mark.parametrize("how", ["umount", "force", "stop", "signal"])
def test_nothing_is_left(mounted: Places, how: str) -> None:
    pids = endpoint(mounted).pids()
    assert len(pids) == 2
    if how == "stop":
        client.ask(endpoint(mounted), "stop")
    elif how == "signal":
        os.kill(pids[0], signal.SIGTERM)
    else:
        assert unmount(mounted, lazy=False, force=how == "force")[1] == "unmounted"
    until(lambda: not any(map(is_alive, pids)))
    assert mounts.mounted_at(mounted.mount) is None
    assert not endpoint(mounted).held()
    assert launch.ensure_mounted(mounted).how == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a mount namespace")
def test_a_copy_of_the_mount_elsewhere_does_not_hold_umount_up(mounted: Places) -> None:
    program = ["unshare", "-m", "--propagation", "private", "sh", "-c", "echo; exec sleep 120"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            old = endpoint(mounted).pids()
            assert unmount(mounted, lazy=False, force=False)[1] == "detached"
            assert launch.ensure_mounted(mounted).how == "new"
            assert not set(endpoint(mounted).pids()) & set(old)
        finally:
            holder.kill()
    until(lambda: not any(map(is_alive, old)))


def test_libfuse_serves_alone(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKGVIEW_TRANSPORT", "libfuse")
    launch.ensure_mounted(places)
    said = status(places)
    assert (said["supervised"], said["server"]) == (False, said["pid"])
    with pytest.raises(PkgviewError, match="its transport is libfuse"):
        upgraded(places)


def test_what_keeps_the_first_server_from_serving_reaches_the_user(places: Places) -> None:
    places.state.mkdir(parents=True)
    (places.state / "registry.sqlite3").mkdir()
    with pytest.raises(PkgviewError):
        launch.ensure_mounted(places)
    assert mounts.mounted_at(places.mount) is None
    assert not endpoint(places).held()
    (places.state / "registry.sqlite3").rmdir()
    assert launch.ensure_mounted(replace(places)).how == "new"
