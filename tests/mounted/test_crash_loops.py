"""Servers that die as soon as they are there: requests end, people are told, and it mends itself.

What makes them die is put into the daemon from outside (`Faulty`); the mount, the processes and
their deaths are real.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from tests.mounted.test_supervisor import content, endpoint, is_alive, served_by, status, until
from unionfs.cli.commands.mount import unmount
from unionfs.cli.commands.status import look
from unionfs.control import client
from unionfs.control.endpoint import DaemonSilentError
from unionfs.daemon import launch
from unionfs.daemon.logfile import log_path
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("supervised")]

PROGRAM = """\
#!{python} -P
import os, signal, sys, time
sys.path.insert(0, {root!r})
from unionfs.daemon import process, respawn, server, supervisor
from unionfs.view.filesystem import Filesystem

respawn.LONGEST_PAUSE = 0.5
supervisor.UNSERVED_SECONDS = supervisor.DRAIN_SECONDS = 1.0

def lies(name):
    return os.path.exists({faults!r} + "/" + name)

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

assemble, lookup, readers = server.assemble, Filesystem.lookup, Filesystem.readers

def faulty_assemble(*arguments):
    if lies("crash"):
        crash()
    return assemble(*arguments)

def faulty_lookup(self, parent, name):
    if name == b"poison" and lies("poison"):
        crash()
    return lookup(self, parent, name)

def faulty_cached(self, node, offset, size):
    return None

def faulty_readers(self, node):
    found = next(iter(readers(self, node)))
    def read(offset, size):
        while lies("disk"):
            time.sleep(0.01)
        return found(offset, size)
    return [read]

server.assemble, Filesystem.lookup = faulty_assemble, faulty_lookup
Filesystem.cached, Filesystem.readers = faulty_cached, faulty_readers
sys.exit(process.main([one for one in sys.argv[1:] if one.startswith("--")]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """A mount whose daemon has the faults that are named by files in `faults`."""

    places: Places
    program: Path
    faults: Path

    def mount(self) -> None:
        launch.ensure_mounted(self.places, command=[os.fspath(self.program)])

    def upgrade(self) -> None:
        """By itself; what was there before may still answer what it has read."""
        before = status(self.places)
        client.ask(endpoint(self.places), "upgrade", executable=os.fspath(self.program))
        until(lambda: status(self.places)["upgrades"] > before["upgrades"])

    def has(self, fault: str) -> None:
        (self.faults / fault).touch()

    def is_without(self, fault: str) -> None:
        (self.faults / fault).unlink()

    @property
    def log(self) -> str:
        return log_path(self.places).read_text()


@pytest.fixture
def faulty(places: Places, tmp_path: Path) -> Iterator[Faulty]:
    program, faults = tmp_path / "faulty", tmp_path / "faults"
    faults.mkdir()
    program.write_text(
        PROGRAM.format(
            python=sys.executable, root=os.fspath(Path(__file__).parents[2]), faults=str(faults)
        )
    )
    program.chmod(0o755)
    yield Faulty(places=places, program=program, faults=faults)
    for fault in faults.iterdir():
        fault.unlink()


def is_dead(pid: int) -> bool:
    return not is_alive(pid)


def answer(path: Path) -> subprocess.CompletedProcess[str]:
    """What a program is told that looks a name up which nobody has asked for."""
    code = "import os, sys\ntry: os.stat(sys.argv[1])\nexcept OSError as e: print(e.errno)"
    return subprocess.run(
        [sys.executable, "-S", "-c", code, path],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["crashes", "fails"])
def test_it_says_so_and_goes_on_by_itself(faulty: Faulty, how: str) -> None:
    places = faulty.places
    faulty.mount()
    before, files = status(places), content(places)
    registry = places.state / "registry.sqlite3"
    if how == "crashes":
        faulty.has("crash")
        why = "SIGSEGV"
    else:
        registry.rename(registry.with_name("away"))
        registry.mkdir()
        why = "registry"
    os.kill(before["server"], signal.SIGKILL)
    until(lambda: endpoint(places).said_trouble())
    found = look(places)
    assert found["state"] == "failing"
    assert why in found["why"]
    with pytest.raises(DaemonSilentError, match="ends at once") as caught:
        client.ask(endpoint(places), "ps", seconds=0.1)
    assert why in str(caught.value)
    for number in range(2):
        assert answer(places.mount / "views" / f"{number:032}").stdout == f"{errno.EIO}\n"
    assert "requests are refused" in faulty.log
    begun, tries = time.monotonic(), faulty.log.count("dies again and again")
    until(lambda: faulty.log.count("dies again and again") >= tries + 3)
    assert time.monotonic() - begun > 0.5  # ever more slowly
    if how == "crashes":
        faulty.is_without("crash")
    else:
        registry.rmdir()
        registry.with_name("away").rename(registry)
    after = served_by(places)
    assert content(places) == files
    assert look(places)["state"] == "mounted"
    assert status(places)["pid"] == before["pid"]
    assert after != before["server"]
    assert not endpoint(places).trouble.exists()
    assert launch.ensure_mounted(places).how == "already"


def test_the_command_says_it_too(faulty: Faulty) -> None:
    faulty.mount()
    faulty.has("crash")
    os.kill(served_by(faulty.places), signal.SIGKILL)
    until(lambda: endpoint(faulty.places).said_trouble())
    command = [sys.executable, "-c", "from unionfs.cli import main; main()", "status"]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert said.returncode == 1
    assert "each server that is started for it ends at once: SIGSEGV" in said.stdout
    assert os.fspath(log_path(faulty.places)) in said.stdout
    said = subprocess.run(
        [*command, "--json"], check=False, capture_output=True, text=True, timeout=60
    )
    assert json.loads(said.stdout)["state"] == "failing"
    # And it can be ended.
    assert unmount(faulty.places, lazy=False, force=False)[1] == "unmounted"
    assert not endpoint(faulty.places).trouble.exists()
    assert mounts.mounted_at(faulty.places.mount) is None


def test_the_reason_may_hold_anything(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names a path, and whoever is told has a terminal."""
    state = tmp_path / os.fsdecode(b"\xff\x1b[2J")
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(state))
    places = replace(faulty.places, state=state / "pkgview")
    Faulty(places=places, program=faulty.program, faults=faulty.faults).mount()
    registry = places.state / "registry.sqlite3"
    registry.rename(registry.with_name("away"))
    registry.mkdir()
    os.kill(served_by(places), signal.SIGKILL)
    until(lambda: endpoint(places).said_trouble())
    why = str(endpoint(places).said_trouble())
    assert why.isprintable()
    assert "registry.sqlite3" in why
    registry.rmdir()
    registry.with_name("away").rename(registry)
    assert served_by(places)


def test_one_that_never_served_is_not_waited_for(faulty: Faulty) -> None:
    faulty.has("crash")
    with pytest.raises(PkgviewError, match="before it served anything \\(SIGSEGV\\)"):
        faulty.mount()
    assert mounts.mounted_at(faulty.places.mount) is None
    assert not endpoint(faulty.places).held()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_request_that_ends_every_server_is_refused(faulty: Faulty, *, replaced: bool) -> None:
    places = faulty.places
    faulty.mount()
    files = content(places)
    faulty.has("poison")
    if replaced:
        faulty.upgrade()
    assert answer(places.mount / "views/poison").stdout == f"{errno.EIO}\n"
    assert "again and again: refused" in faulty.log
    served_by(places)
    assert content(places) == files
    faulty.is_without("poison")
    assert answer(places.mount / "views/poison").stdout == f"{errno.ENOENT}\n"


def test_a_replaced_server_whose_disk_hangs_is_not_waited_for(faulty: Faulty) -> None:
    """What it had read is answered by the next version, and refused where that hangs as well."""
    places = faulty.places
    faulty.mount()
    (name, wanted) = next((name, found) for name, found in content(places).items() if found)
    path = places.mount / "current/lib" / name
    code = (
        "import os, sys\nfile = open(sys.argv[1], 'rb', buffering=0)\n"
        "os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)\n"
        "print('reading', flush=True)\nprint(len(file.read()))"
    )
    for twice in (False, True):
        old = served_by(places)
        faulty.has("disk")
        with subprocess.Popen(
            [sys.executable, "-S", "-c", code, path], stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            until(lambda: "READ" in status(places)["requests"])
            faulty.upgrade()
            until(partial(is_dead, old))
            if twice:
                until(lambda: "again and again: refused" in faulty.log)
            faulty.is_without("disk")
            said, _ = reader.communicate(timeout=60)
        # A READ that is refused was the kernel's reading ahead, which asks for it once more.
        assert int(said) == len(wanted)
    assert "does not get done" in faulty.log
    assert path.read_bytes() == wanted
    faulty.upgrade()  # nothing is left that the next one would wait for
    assert len(endpoint(places).pids()) == 2
