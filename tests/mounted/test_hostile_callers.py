"""Whatever one process does: others are answered in bounded time, and nothing is left of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.binding.observer import TIME_LIMIT
from unionfs.cli.commands.upgrade import upgraded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mounted.conftest import Asker, Stage

pytestmark = pytest.mark.fuse

SHORT_LIVED = 10_000 if os.environ.get("PKGVIEW_TEST_ALL") == "1" else 4_000
AT_ONCE = 50

P99 = 0.25
"""Seconds within which a bystander has its answer 99 times of 100. Measured: at most 0.09, while
thousands ask; the rest is for machines on which everything waits."""

PATIENCE = 25.0
"""Seconds for threads to end: trio keeps one for 10 s after its last work."""

MORE_MEMORY = 16 << 20
"""Bytes that may stay: the allocator gives back whole regions only."""

HUNG = """
'''A file system whose root can be entered, with one file; all else is never answered.'''
import errno, os, stat, sys
import pyfuse3, trio

class Hung(pyfuse3.Operations):
    def attributes(self, inode):
        found = pyfuse3.EntryAttributes()
        found.st_ino = inode
        directory = inode == pyfuse3.ROOT_INODE
        found.st_mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
        found.st_size = 4096
        found.st_uid, found.st_gid = os.getuid(), os.getgid()
        found.entry_timeout = found.attr_timeout = 300
        return found

    async def getattr(self, inode, ctx=None):
        return self.attributes(inode)

    async def lookup(self, parent, name, ctx=None):
        if name == b"file":
            return self.attributes(2)
        await trio.sleep_forever()

    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=inode, keep_cache=True)

    async def read(self, fh, offset, size):
        return bytes(size)

    async def write(self, fh, offset, data):
        await trio.sleep_forever()

    async def setattr(self, *_):
        return self.attributes(2)

pyfuse3.init(Hung(), sys.argv[1], {"fsname=hung"})
print("ready", flush=True)
trio.run(pyfuse3.main)
"""


@pytest.fixture(scope="module")
def world(stage: Stage) -> Stage:
    """Two projects; `red` is where the bystanders are, `green` where the others are."""
    for name in ("red", "green"):
        stage.up(stage.project(name), stage.view(name))
    return stage


@pytest.fixture(scope="module")
def before(world: Stage) -> dict[str, int]:
    """What the daemon needs once it has seen a few."""
    for _ in range(20):
        asker = world.start(cwd=world.home / "red")
        asker.link()
        asker.end()
    return needs(world)


@pytest.fixture
def bystander(world: Stage, before: dict[str, int]) -> Iterator[Asker]:
    """One whose only wish is to be answered."""
    assert before
    asker = world.start(cwd=world.home / "red")
    yield asker
    asker.end()


@pytest.fixture
def hung(world: Stage) -> Iterator[Path]:
    """A mounted file system that does not answer; whoever waits for it is let go at the end."""
    directory = world.home / "hung"
    directory.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HUNG, directory], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        try:
            yield directory
        finally:
            server.kill()
            server.wait()
            subprocess.run(["umount", "-l", directory], check=False, capture_output=True)


def needs(stage: Stage) -> dict[str, int]:
    """The daemon's memory in bytes, its threads, and what it remembers."""
    status = stage.ask("status")
    lines = Path(f"/proc/{status['server']}/status").read_text("ascii").splitlines()
    (threads,) = (int(line.split()[1]) for line in lines if line.startswith("Threads:"))
    return {"memory": status["memory"], "threads": threads, "bindings": status["bindings"]}


def answered(times: str) -> tuple[float, float]:
    """What `time` says: the 99th percentile and the longest, in seconds."""
    each = sorted(int(one) / 1e9 for one in times.split())
    return each[len(each) * 99 // 100], each[-1]


def undisturbed(stage: Stage, bystander: Asker, count: int = 200) -> None:
    """The bystander is answered rightly and in time, and so is whoever is new."""
    p99, longest = answered(bystander.say("time", count, 1000))
    assert p99 < P99
    assert longest < TIME_LIMIT
    assert bystander.link() == stage.view("red")
    began = time.monotonic()
    newcomer = stage.start(cwd=stage.home / "green")
    assert newcomer.link() == stage.view("green")
    assert time.monotonic() - began < TIME_LIMIT
    newcomer.end()


# What they carry with them

LARGE = {f"V{number}": "x" * 100_000 for number in range(10)}


def test_a_megabyte_of_environment(world: Stage, bystander: Asker) -> None:
    last = world.start(
        cwd=world.home / "red", environ={**LARGE, "PKGVIEW_PROJECT": str(world.home / "green")}
    )
    assert last.link() == world.view("green")
    undisturbed(world, bystander)
    last.end()


def test_an_environment_without_a_single_nul(world: Stage, bystander: Asker) -> None:
    asker = world.start(cwd=world.home / "red", environ={**LARGE, "PKGVIEW_PROJECT": "/nowhere"})
    assert asker.say("scribble") == "ok"
    seen = Path(f"/proc/{asker.pid}/environ").read_bytes()
    assert b"\0" not in seen.rstrip(b"\0")
    assert len(seen) >= 1_000_000
    assert asker.link() == world.view("red")
    undisturbed(world, bystander)
    asker.end()


@pytest.mark.parametrize(
    "value",
    [b"\xff\xfe\x80", b"/\xff/\xed\xa0\x80", b"\x1b[31m\r\n", b"/" * 100_000, b"../" * 9000],
)
@pytest.mark.parametrize("name", [b"PKGVIEW_PROJECT", b"PKGVIEW_VIEW", b"PWD", b"PATH"])
def test_variables_that_are_no_text(world: Stage, name: bytes, value: bytes) -> None:
    for command in (["readlink"], [os.fspath(world.interpreter.python.executable), "-SIc", READ]):
        said = subprocess.run(
            [shutil.which(command[0]) or "", *command[1:], world.places.mount / "current"],
            cwd=world.home / "red", env={name: value}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert said.stdout == f"views/{world.view('red')}\n"


READ = "import os, sys; print(os.readlink(sys.argv[1]))"


def test_arguments_and_a_name_that_are_no_text(world: Stage) -> None:
    odd = os.fsencode(world.home / "green") + b"/\xff\x1b\n"
    Path(os.fsdecode(odd)).mkdir(exist_ok=True)
    program = odd + b"/python\xff"
    shutil.copy(world.asker, os.fsdecode(program))
    command = [os.fsdecode(program), *world.command()[1:]]
    with subprocess.Popen(command, cwd=odd, env={}) as process:
        asker = world.accept()
        assert asker.link() == world.view("green")
        shown = {one["pid"] for one in world.ask("ps")["processes"]}
        assert process.pid in shown
        asker.end()


# Where they are


def test_a_deleted_directory(world: Stage, bystander: Asker) -> None:
    directory = world.home / "green/deleted"
    directory.mkdir()
    asker = world.start(cwd=directory)
    directory.rmdir()
    default = world.start(cwd=world.home / "nowhere")
    assert asker.link() == default.link()
    undisturbed(world, bystander)
    for one in (asker, default):
        one.end()


def test_a_directory_inside_the_mount(world: Stage, bystander: Asker) -> None:
    default = world.start(cwd=world.home / "nowhere")
    inside = world.places.mount / "views" / world.view("green")
    for directory in (world.places.mount, inside, inside / "lib"):
        asker = world.start(cwd=directory)
        assert asker.link() == default.link()
        asker.end()
    script = world.start(cwd=inside, command=world.command(world.script))
    assert script.link() == default.link()
    undisturbed(world, bystander)
    for one in (script, default):
        one.end()


def test_a_directory_on_a_file_system_that_hangs(
    world: Stage, bystander: Asker, hung: Path
) -> None:
    default = world.start(cwd=world.home / "nowhere")
    view = default.link()
    with ExitStack() as stack:
        stack.callback(default.end)
        stuck = [world.start(cwd=hung) for _ in range(20)]
        for asker in stuck:
            stack.callback(asker.end)
            asker.tell("time", 3, 0)
        undisturbed(world, bystander, 1000)
        for asker in stuck:
            _, longest = answered(asker.hear())
            assert longest < 4 * TIME_LIMIT  # twenty of them, eight looks at a time
            assert asker.link() == f"{view}"
        undisturbed(world, bystander)


def test_a_process_whose_memory_is_locked(world: Stage, bystander: Asker, hung: Path) -> None:
    """Its arguments and environment cannot be read while it waits, and it can wait for ever."""
    stuck = world.start(cwd=world.home / "green")
    # Asked before, so that it has touched the memory that it needs: it is locked itself.
    assert stuck.link() == world.view("green")
    assert stuck.say("cd", world.home / "nowhere") == "ok"
    try:
        assert stuck.say("lock", hung / "file") == "ok"
        assert not readable(stuck.pid), "this kernel lets it be read"
        stuck.tell("link")
        undisturbed(world, bystander, 1000)
        assert stuck.hear() == f"views/{world.view('green')}"  # what it had before
        began = time.monotonic()
        stuck.link()
        assert time.monotonic() - began < TIME_LIMIT / 2  # nothing is waited for again
        undisturbed(world, bystander)
    finally:
        stuck.end()


def readable(pid: int) -> bool:
    """Whether somebody gets to see the process's arguments within a moment."""
    with subprocess.Popen(["cat", f"/proc/{pid}/cmdline"], stdout=subprocess.DEVNULL) as cat:
        try:
            cat.wait(0.3)
        except subprocess.TimeoutExpired:
            return False
        finally:
            cat.kill()
    return True


# What they do


def test_thousands_that_live_for_a_moment(world: Stage, bystander: Asker) -> None:
    storm = world.start(cwd=world.home / "green")
    storm.tell("storm", SHORT_LIVED, AT_ONCE)
    undisturbed(world, bystander, 1000)
    assert int(storm.hear()) == SHORT_LIVED
    # The dead leave as others come; those of the last batch may still be there.
    assert world.ask("status")["bindings"] < 3 * AT_ONCE
    storm.end()


def test_a_stopped_process_and_a_zombie(world: Stage, bystander: Asker) -> None:
    stopped = world.start(cwd=world.home / "green")
    stopped.tell("time", 1000, 1000)
    time.sleep(0.05)
    os.kill(stopped.pid, signal.SIGSTOP)
    with subprocess.Popen(
        ["readlink", world.places.mount / "current"],
        cwd=world.home / "green", stdout=subprocess.PIPE, text=True,
    ) as zombie:  # fmt: skip
        assert zombie.stdout is not None
        assert zombie.stdout.read() == f"views/{world.view('green')}\n"
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        undisturbed(world, bystander)
        living = {one["pid"] for one in world.ask("ps")["processes"]}
        assert zombie.pid not in living
        assert stopped.pid in living
    os.kill(stopped.pid, signal.SIGCONT)
    assert len(stopped.hear().split()) == 1000
    stopped.end()


@pytest.mark.parametrize("how", ["kill", "upgrade"])
def test_a_server_that_cannot_end_is_replaced(
    world: Stage, bystander: Asker, hung: Path, how: str
) -> None:
    """A thread of it waits for a file system that hangs, and so does the end of its process."""
    view = bystander.link()
    said = world.ask("status")
    if not said["supervised"]:
        pytest.skip(f"a server of {said['transport']} is not replaced")
    server = said["server"]
    stuck = world.start(cwd=hung)
    try:
        stuck.link()
        begun = time.monotonic()
        if how == "kill":
            os.kill(server, signal.SIGKILL)
        else:
            upgraded(world.places)
        assert bystander.link() == view
        assert time.monotonic() - begun < 60
        after = world.ask("status")["server"]
        assert after != server
        assert Path(f"/proc/{server}").exists()  # else it shows nothing
        stuck.link()  # which has the next one wait there
        upgraded(world.places)
        assert bystander.link() == view
        assert world.ask("status")["server"] != after
    finally:
        stuck.end()


def test_whoever_is_killed_while_it_waits(world: Stage, bystander: Asker, hung: Path) -> None:
    for _ in range(10):
        asker = world.start(cwd=hung)
        asker.tell("link")
        asker.end()
    undisturbed(world, bystander)


def test_afterwards_nothing_is_left(world: Stage, before: dict[str, int]) -> None:
    storm = world.start(cwd=world.home / "green")
    assert int(storm.say("storm", 100, 10)) == 100
    storm.end()
    until = time.monotonic() + PATIENCE
    while (now := needs(world))["threads"] > before["threads"] and time.monotonic() < until:
        time.sleep(0.25)
    assert now["threads"] <= before["threads"]
    assert now["memory"] < before["memory"] + MORE_MEMORY
    assert now["bindings"] < 30
    assert "Traceback" not in (world.places.state / "daemon.log").read_text()
