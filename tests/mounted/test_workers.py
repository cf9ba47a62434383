"""More than one process answers the kernel: who asks, and who dies, makes no difference."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.test_supervisor import (
    STORM,
    content,
    endpoint,
    is_alive,
    served_by,
    status,
    until,
)
from unionfs.cli.commands.mount import unmount
from unionfs.cli.commands.upgrade import upgraded
from unionfs.control import client
from unionfs.daemon import launch
from unionfs.daemon.children import STOPPED_SECONDS
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.places import Places
    from tests.mounted.conftest import Index, Site

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("supervised")]

COUNT = 3

BY_WORKERS = """\
#!{python} -P
import sys
sys.path.insert(0, {root!r})
import trio
from unionfs.daemon import process, server
from unionfs.kernel import several

run = server.run

def idle(held, life):
    async def read(self, tasks):
        await trio.sleep_forever()
    several.OneOfSeveral._read = read
    return run(held, life)

server.run = idle
sys.exit(process.main([one for one in sys.argv[1:] if one.startswith("--")]))
"""
"""A daemon whose server reads nothing from the kernel, so that workers answer all."""

MOUNT = """
import sys
from resolver.places import Places
from unionfs.daemon import launch
launch.ensure_mounted(Places.from_environ(), command=[sys.argv[1]])
"""

SEEN = """
import json, os, sys
import alpha
print(json.dumps([alpha.version, sys.prefix, os.readlink(sys.argv[1])]))
"""


def both(places: Places) -> dict[str, Any]:
    """The status, once all workers are there."""
    found: list[dict[str, Any]] = []

    def complete() -> bool:
        served_by(places)
        found.append(status(places))
        return bool(len(found[-1]["pids"]) == found[-1]["workers"])

    until(complete)
    return found[-1]


@pytest.fixture
def several(places: Places, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A mount with `COUNT` workers."""
    monkeypatch.setenv("PKGVIEW_WORKERS", str(COUNT))
    launch.ensure_mounted(places)
    monkeypatch.delenv("PKGVIEW_WORKERS")  # from here on the mount itself knows
    assert len(both(places)["pids"]) == COUNT
    return places


@pytest.fixture
def by_workers(tmp_path: Path) -> Path:
    program = tmp_path / "by-workers"
    root = os.fspath(Path(__file__).parents[2])
    program.write_text(BY_WORKERS.format(python=sys.executable, root=root))
    program.chmod(0o755)
    return program


@pytest.fixture
def asked(places: Places, by_workers: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A mount whose one worker answers all that the kernel asks."""
    monkeypatch.setenv("PKGVIEW_WORKERS", "2")
    launch.ensure_mounted(places, command=[os.fspath(by_workers)])
    both(places)
    return places


def link(places: Places) -> subprocess.Popen[str]:
    """A program that asks where `current` leads."""
    return subprocess.Popen(
        ["readlink", places.mount / "current"], stdout=subprocess.PIPE, text=True
    )


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]


# Who answers


def test_reads_are_answered_while_the_server_is_stopped(several: Places) -> None:
    files, server = content(several), status(several)["server"]
    root = several.mount.resolve() / os.readlink(several.mount / "current") / "lib"
    before = both(several)["requests"]
    begun = time.monotonic()
    os.kill(server, signal.SIGSTOP)
    try:
        for number in range(10):
            assert not (several.mount / "views" / f"{number:032}").exists()
        for name in list(files)[:4]:
            with (root / name).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert file.read() == files[name]
        # Its supervisor kills one that was stopped for longer, and starts another.
        assert time.monotonic() - begun < STOPPED_SECONDS
        assert state(server) == "T"
    finally:
        os.kill(server, signal.SIGCONT)
    after = both(several)
    assert after["server"] == server
    # And what workers did is counted.
    assert after["requests"]["LOOKUP"] >= before["LOOKUP"] + 10


@pytest.mark.parametrize("after", ["start", "death", "upgrade"])
def test_a_request_wakes_one_process(several: Places, after: str) -> None:
    """That is the server, also where it has come after the workers."""

    def switches(pid: int) -> int:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))

    (several.mount / "views/none").exists()
    if after == "death":
        os.kill(served_by(several), signal.SIGKILL)
    elif after == "upgrade":
        upgraded(several)
    both(several)
    time.sleep(0.5)  # who was there before has ended
    _, *others = both(several)["pids"]
    before = sum(map(switches, others))
    for number in range(200):
        assert not (several.mount / "views" / f"{number:032}").exists()
        time.sleep(0.003)
    # On a machine that has more to do the server may be late now and then; each that is woken by
    # all of them would have slept four hundred times.
    assert sum(map(switches, others)) - before < 200


@pytest.mark.parametrize("how", ["workers", "anybody"])
def test_current_is_right_for_every_caller(
    shop: Site, index: Index, by_workers: Path, how: str
) -> None:
    index.wheel("alpha")
    directory, places = shop.project("project"), shop.places
    (directory / "requirements.txt").write_text("alpha\n")
    (directory / "seen.py").write_text(SEEN)
    if how == "workers":
        shop.run(
            sys.executable, "-c", MOUNT, by_workers, cwd=shop.home,
            environ={"PKGVIEW_WORKERS": "2", "PYTHONPATH": os.fspath(Path(__file__).parents[2])},
        )  # fmt: skip
    else:
        shop.pkgview("mount", "--workers", "3", cwd=shop.home)
    assert both(places)["transport"] == "devfuse"
    current = places.mount / "current"

    def seen(*command: str | Path) -> list[str]:
        answer: list[str] = json.loads(shop.run(*command, cwd=directory).stdout)
        return answer

    # Nothing is resolved: it waits for its view. Then it is bound.
    for _ in range(2):
        version, prefix, target = seen(places.mount / "bin/python", "seen.py", current)
        assert version == "1.0"
        assert prefix == os.fspath(places.mount / target)
    # By hand, from elsewhere; and nobody in particular.
    ran = shop.pkgview(
        "run", "--project", directory, "--python", shop.python, "readlink", current, cwd=shop.home
    )
    assert ran.stdout.strip() == target
    default = shop.run("readlink", current, cwd=shop.home).stdout.strip()
    assert default.startswith("views/")
    assert default != target
    assert shop.run("readlink", current, cwd=directory).stdout.strip() == target
    # All at once, and each of them is told its own.
    programs = [
        (wanted, subprocess.Popen(["readlink", current], cwd=cwd, stdout=subprocess.PIPE))
        for _ in range(40) for cwd, wanted in ((directory, target), (shop.home, default))
    ]  # fmt: skip
    for wanted, program in programs:
        assert program.communicate(timeout=60)[0].decode().strip() == wanted
    said = both(places)
    assert said["requests"]["READLINK"] > 80


def test_what_workers_look_into_is_compiled(
    places: Places, by_workers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has to know of it: nobody asks it for a view that is named directly."""
    monkeypatch.setenv("PKGVIEW_WORKERS", "2")
    launch.ensure_mounted(places, command=[os.fspath(by_workers)])
    (view,) = (places.mount / "views").iterdir()
    assert both(places)["views"] == 0
    assert list(view.iterdir())
    until(lambda: status(places)["views"] == 1)


# Questions


def test_a_question_outlives_the_server(asked: Places) -> None:
    wanted, server = os.readlink(asked.mount / "current"), served_by(asked)
    os.kill(server, signal.SIGSTOP)
    with link(asked) as program:
        time.sleep(0.2)
        assert program.poll() is None
        os.kill(server, signal.SIGKILL)
        assert program.communicate(timeout=30)[0].strip() == wanted
    with link(asked) as program:
        assert program.communicate(timeout=30)[0].strip() == wanted
    assert both(asked)["server"] != server


def test_a_stopped_server_is_replaced_and_answers(asked: Places) -> None:
    wanted, server = os.readlink(asked.mount / "current"), served_by(asked)
    os.kill(server, signal.SIGSTOP)
    with link(asked) as program:
        assert program.communicate(timeout=30)[0].strip() == wanted
    assert not is_alive(server)


def test_who_is_interrupted_lets_go(asked: Places) -> None:
    server = served_by(asked)
    os.kill(server, signal.SIGSTOP)
    try:
        with link(asked) as program:
            time.sleep(0.2)
            begun = time.monotonic()
            program.kill()
            program.wait(10)
            assert time.monotonic() - begun < 1.5
            assert state(server) == "T"
    finally:
        os.kill(server, signal.SIGCONT)
    assert os.readlink(asked.mount / "current")


# Deaths


@pytest.mark.parametrize(("kind", "rounds"), [("server", 12), ("upgrade", 3), ("supervisor", 3)])
def test_storms(fuse: None, kind: str, rounds: int) -> None:  # noqa: ARG001 - its refusal counts
    done = subprocess.run(
        [sys.executable, STORM, f"--{kind}", "--workers", str(COUNT), "--rounds", str(rounds),
         "--readers", "3", "--json"],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["rounds"], said["workers"]) == (rounds, COUNT)
    before, after = said["descriptors"]
    assert after <= before + 4
    before, after = said["memory"]
    assert after < before + (4 << 20) or kind == "supervisor"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_is_replaced(several: Places, how: signal.Signals) -> None:
    files, before = content(several), both(several)
    for worker in before["pids"][1:]:
        os.kill(worker, how)
    assert content(several) == files
    until(lambda: not any(map(is_alive, before["pids"][1:])))
    after = both(several)
    assert (after["server"], after["restarts"]) == (before["server"], 0)
    assert len(set(after["pids"]) | set(before["pids"])) == 2 * COUNT - 1
    assert endpoint(several).pids() == [after["pid"], *after["pids"]]


def test_an_upgrade_keeps_them(several: Places) -> None:
    (name, wanted) = next((name, found) for name, found in content(several).items() if found)
    before = both(several)
    with (several.mount / "current/lib" / name).open("rb", buffering=0) as held:
        upgraded(several)
        assert held.read() == wanted
    after = both(several)
    assert after["pid"] == before["pid"]
    assert not set(after["pids"]) & set(before["pids"])
    until(lambda: not any(map(is_alive, before["pids"])))


def test_the_next_supervisor_keeps_them(several: Places) -> None:
    files, before = content(several), both(several)
    os.kill(before["pid"], signal.SIGKILL)
    assert content(several) == files
    until(lambda: not any(map(is_alive, before["pids"])))
    after = both(several)
    assert after["pid"] != before["pid"]
    assert not set(after["pids"]) & set(before["pids"])
    for worker in after["pids"]:  # it restarts them as the first one did
        os.kill(worker, signal.SIGKILL)
    assert content(several) == files
    assert not set(both(several)["pids"]) & set(after["pids"])
    assert unmount(several, lazy=False, force=False)[1] == "unmounted"


def test_requests_of_a_worker_that_dies_with_the_supervisor(asked: Places) -> None:
    """The server has the slots of all."""
    wanted, before = os.readlink(asked.mount / "current"), both(asked)
    server, worker = before["pids"]
    os.kill(server, signal.SIGSTOP)
    with link(asked) as program:
        time.sleep(0.2)
        for pid in (before["pid"], worker, server):
            os.kill(pid, signal.SIGCONT if pid == server else signal.SIGKILL)
        assert program.communicate(timeout=30)[0].strip() == wanted
    assert not set(both(asked)["pids"]) & {server, worker}


@pytest.mark.parametrize("how", ["umount", "force", "stop", "signal"])
def test_nothing_is_left(several: Places, how: str) -> None:
    pids = endpoint(several).pids()
    assert len(pids) == COUNT + 1
    if how == "stop":
        client.ask(endpoint(several), "stop")
    elif how == "signal":
        os.kill(pids[0], signal.SIGTERM)
    else:
        if how == "force":
            os.kill(pids[-1], signal.SIGSTOP)
        assert unmount(several, lazy=False, force=how == "force")[1] == "unmounted"
    until(lambda: not any(map(is_alive, pids)))
    assert mounts.mounted_at(several.mount) is None
    assert not endpoint(several).held()
    # It is forgotten with the mount.
    assert launch.ensure_mounted(several).how == "new"
    assert status(several)["workers"] == 1


# How many


def test_how_many(shop: Site, crash: Callable[[Places], None]) -> None:
    home, places = shop.home, shop.places
    for wrong in ("0", "65", "-1", "two", "1.5"):
        refused = shop.pkgview("mount", "--workers", wrong, cwd=home, code=1)
        assert f"{wrong!r} is no number of workers" in refused.stderr
        assert "Name one from 1 to 64" in refused.stderr
    refused = shop.pkgview("mount", "--workers", "2", "--transport", "libfuse", cwd=home, code=1)
    assert "served by one process, not by 2" in refused.stderr
    assert mounts.mounted_at(places.mount) is None
    shop.pkgview("mount", "--workers", "2", cwd=home)
    shop.pkgview("mount", "--workers", "2", cwd=home)
    shop.pkgview("mount", cwd=home)
    refused = shop.pkgview("mount", "--workers", "1", cwd=home, code=1)
    assert "mounted already, with --workers 2" in refused.stderr
    pids = both(places)["pids"]
    said = shop.pkgview("status", cwd=home).stdout
    assert f"2, pids {pids[0]}, {pids[1]}" in said
    found = json.loads(shop.pkgview("status", "--json", cwd=home).stdout)
    assert (found["workers"], found["pids"], found["server"]) == (2, pids, pids[0])
    # What is mended is as it was.
    crash(places)
    shop.pkgview("mount", cwd=home)
    assert both(places)["workers"] == 2
    crash(places)
    shop.pkgview("mount", "--transport", "libfuse", cwd=home)
    found = json.loads(shop.pkgview("status", "--json", cwd=home).stdout)
    assert (found["workers"], found["transport"]) == (1, "libfuse")
    shop.pkgview("umount", cwd=home)


def test_by_the_environment(shop: Site, index: Index) -> None:
    """Also where another command mounts."""
    index.wheel("alpha")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\n")
    command = Path(sys.executable).with_name("pkgview")
    up = (command, "up", "--python", shop.python)
    refused = shop.run(*up, cwd=directory, code=1, environ={"PKGVIEW_WORKERS": "many"})
    assert "'many' is no number of workers" in refused.stderr
    shop.run(*up, cwd=directory, environ={"PKGVIEW_WORKERS": "2"})
    assert both(shop.places)["workers"] == 2
