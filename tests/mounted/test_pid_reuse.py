"""A pid that comes round again never brings its last owner's view with it.

clone3(2) gives a process the pid that is asked for, which takes root; waiting for the pids to come
round by themselves would take 32,768 processes each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mounted.conftest import Asker, Stage

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose a pid"),
]


TOGETHER = 20
"""Pairs of processes with one pid and one start time that a test wants to see."""


@pytest.fixture
def red(stage: Stage) -> Path:
    directory = stage.project("red")
    stage.up(directory, stage.view("red"))
    return directory


@pytest.fixture
def green(stage: Stage) -> Path:
    directory = stage.project("green")
    stage.up(directory, stage.view("green"))
    return directory


def end(asker: Asker) -> int:
    """Have it end; its pid, which is free then."""
    asker.end()
    while Path(f"/proc/{asker.pid}").exists():
        pass
    return asker.pid


@pytest.mark.parametrize("was", ["interpreter", "other"])
@pytest.mark.parametrize("way", ["link", "thread"])
@pytest.mark.parametrize("becomes", ["interpreter", "other"])
def test_another_process_is_another(  # noqa: PLR0913, PLR0917 - what differs
    stage: Stage, red: Path, green: Path, was: str, way: str, becomes: str
) -> None:
    first = stage.command(stage.script if was == "interpreter" else None)
    second = stage.command(stage.script if becomes == "interpreter" else None)
    asker = stage.start(cwd=red, command=first)
    assert asker.link(way) == stage.view("red")
    for _ in range(3):
        asker = stage.start(cwd=green, command=second, pid=end(asker))
        assert asker.link(way) == stage.view("green")
        asker = stage.start(cwd=stage.home / "nowhere", command=first, pid=end(asker))
        assert asker.link(way) not in {stage.view("red"), stage.view("green")}
    asker.end()


def test_what_was_bound_by_hand_ends_with_its_process(stage: Stage, red: Path, green: Path) -> None:
    asker = stage.start(cwd=red)
    stat = Path(f"/proc/{asker.pid}/stat").read_text("ascii").rpartition(") ")[2].split()
    stage.ask("bind", process=[asker.pid, int(stat[19])], project=os.fspath(green), said="bind")
    assert asker.link() == stage.view("green")
    asker = stage.start(cwd=red, pid=end(asker))
    assert asker.link() == stage.view("red")
    assert not stage.ask("ps")["by_hand"]
    asker.end()


def test_a_thread_under_a_process_s_last_number(stage: Stage, red: Path, green: Path) -> None:
    """Threads and processes share their numbers: here a process has what was a thread's."""
    asker = stage.start(cwd=red)
    assert asker.link("thread") == stage.view("red")
    other = stage.start(cwd=green, pid=asker.pid + 1) if _free(asker.pid + 1) else None
    if other is not None:
        assert other.link() == stage.view("green")
        other.end()
    assert asker.link("thread") == stage.view("red")
    asker.end()


def _free(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_child_of_a_namesake(stage: Stage, red: Path) -> None:
    """Rule 6 asks for an ancestor's binding: not for that of whoever had the ancestor's pid."""
    asker = stage.start(cwd=red, command=stage.command(stage.script))
    assert asker.link() == stage.view("red")
    parent = stage.start(cwd=stage.home / "nowhere", pid=end(asker))
    assert int(parent.say("fork"))
    child = stage.accept()
    assert child.link() != stage.view("red")
    child.end()
    parent.end()


def test_two_processes_of_one_tick(stage: Stage, red: Path, green: Path) -> None:
    """Start times have a grain of 10 ms. Within one tick, start time and pid may both be equal.

    These two are forks of one program that is no interpreter and was never bound, so even their
    memory is laid out the same.
    """
    take_turns(stage, stage.command(), red, green)


def test_interpreters_of_one_tick(stage: Stage, red: Path, green: Path) -> None:
    """The same for interpreters, which keep what they were shown. A name makes one, rule 4 says."""
    version = stage.python.rstrip("t")
    program = stage.home / f"python{version}"
    program.unlink(missing_ok=True)
    program.write_bytes(stage.asker.read_bytes())
    program.chmod(0o755)
    command = [os.fspath(program), *stage.command()[1:]]
    take_turns(stage, command, red, green)


def take_turns(stage: Stage, command: list[str], red: Path, green: Path) -> None:
    """Two forks at a time, under one pid, until a few pairs began within one tick."""
    views = [f"views/{stage.view(name)}" for name in ("red", "green")]
    asker = stage.start(cwd=stage.home / "nowhere", command=command)
    pid = end(stage.start(cwd=red))
    together = 0
    try:
        for _ in range(300):
            first, one, second, other = asker.say("quick", pid, red, green).split("\t")
            assert [one, other] == views
            together += first == second
            if together >= TOGETHER:
                return
    finally:
        asker.end()
    if not together:
        pytest.skip("no two of them began within 10 ms: the machine is busy")


INSIDE = """
import os, subprocess, sys, time
from pathlib import Path
mount, asker = sys.argv[1:]
Path("/proc/sys/kernel/ns_last_pid").write_text("700")
def link(directory):
    Path("/proc/sys/kernel/ns_last_pid").write_text("700")
    read = subprocess.Popen(["readlink", f"{mount}/current"], cwd=directory, stdout=subprocess.PIPE)
    said = read.communicate()[0].decode().strip()
    print(read.pid, said)
for directory in ("red", "green", "red", "green"):
    link(directory)
"""


def test_the_same_pid_again_in_a_pid_namespace(stage: Stage, red: Path, green: Path) -> None:
    """The daemon is outside: it sees the process under another pid, and the right one."""
    del green
    said = subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--mount-proc"),
            *(sys.executable, "-c", textwrap.dedent(INSIDE), stage.places.mount, stage.asker),
        ],
        cwd=red.parent, capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split()  # fmt: skip
    assert len(set(said[::2])) == 1, "the kernel gave other pids than it was asked for"
    views = [f"views/{stage.view(name)}" for name in ("red", "green")]
    assert said[1::2] == [*views, *views]


def test_an_ancestor_that_has_become_another_program(stage: Stage, red: Path) -> None:
    """Rule 6 means what an ancestor is, not what ran in its process before."""
    asker = stage.start(cwd=red, command=stage.command(stage.script))
    assert asker.link() == stage.view("red")
    asker.say("cd", stage.home / "nowhere")
    asker.exec(*stage.command())
    assert int(asker.say("fork"))
    child = stage.accept()
    assert child.link() != stage.view("red")
    child.end()
    asker.end()
