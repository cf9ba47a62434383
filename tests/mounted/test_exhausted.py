"""No descriptor, no memory is left to who serves: the mount lives, nobody is told what is wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.test_supervisor import content, endpoint, is_alive, served_by, status, until
from unionfs.cli.commands.mount import unmount
from unionfs.daemon.logfile import log_path
from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.places import Places
    from tests.mounted.conftest import Asker, Stage

pytestmark = pytest.mark.fuse


@contextlib.contextmanager
def limited(pid: int, what: int, to: int) -> Iterator[None]:
    """A process may have no more of something for a while."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (to, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


@pytest.fixture
def start(stage: Stage) -> Iterator[Callable[[Path], Asker]]:
    """One more process in a directory; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def started(cwd: Path) -> Asker:
            one = stage.start(cwd=cwd)
            stack.callback(one.end)
            return one

        yield started


def reread(path: Path) -> bytes:
    """A file's bytes, asked of the server once more."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def file_numbers(pid: int) -> list[int]:
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("spare", [0, 1, 2, 3])
def test_no_descriptor_is_left_to_the_server(
    stage: Stage, start: Callable[[Path], Asker], spare: int
) -> None:
    project = stage.project(f"with-{spare}")
    view, unseen = stage.view(f"seen {spare}"), stage.view(f"unseen {spare}")
    stage.up(project, view)
    program = start(project)
    assert program.link() == view
    root = stage.places.mount / "views"
    known = {path: path.read_bytes() for path in (root / view).rglob("*") if path.is_file()}
    assert known
    packages = os.listdir(stage.places.mount / "packages")
    server = stage.ask("status")["server"]
    with limited(server, resource.RLIMIT_NOFILE, max(file_numbers(server)) + 1 + spare):
        newcomer = start(project)
        for one in (program, newcomer):
            # It is nobody's default: who cannot be looked at is told so.
            assert one.say("link") in {f"views/{view}", f"errno {errno.EIO}"}
        assert {path: reread(path) for path in known} == known
        with contextlib.suppress(OSError):
            assert os.listdir(root / unseen) == os.listdir(root / view)
        with contextlib.suppress(OSError):
            assert os.listdir(stage.places.mount / "packages") == packages
    assert program.link() == newcomer.link() == view
    assert os.listdir(root / unseen) == os.listdir(root / view)
    assert os.listdir(stage.places.mount / "packages") == packages
    assert stage.ask("status")["server"] == server


def test_nobody_is_taken_for_another_who_cannot_be_looked_at(
    stage: Stage, start: Callable[[Path], Asker]
) -> None:
    """The lowest limit: not one number is left that could be given out."""
    project, view = stage.project("none"), stage.view("none")
    stage.up(project, view)
    program = start(project)
    assert program.link() == view
    with limited(stage.ask("status")["server"], resource.RLIMIT_NOFILE, 3):
        assert program.say("link") == f"errno {errno.EIO}"
        newcomer = start(project)
        assert newcomer.say("link") == f"errno {errno.EIO}"
    assert program.link() == newcomer.link() == view


@pytest.mark.usefixtures("supervised")
def test_no_descriptor_is_left_to_the_supervisor(mounted: Places) -> None:
    before, files = status(mounted), content(mounted)
    pid = before["pid"]
    numbers = file_numbers(pid)
    with limited(pid, resource.RLIMIT_NOFILE, 3):
        os.kill(before["server"], signal.SIGKILL)
        until(lambda: not is_alive(before["server"]))
        log = log_path(mounted)
        until(lambda: log.read_text().count("no server can be started") > 2)
        assert children(pid) == []
    assert content(mounted) == files
    assert served_by(mounted) != before["server"]
    assert status(mounted)["pid"] == pid
    assert len(file_numbers(pid)) <= len(numbers) + 1
    assert len(children(pid)) == 1


@pytest.mark.usefixtures("supervised")
def test_it_can_be_unmounted_all_the_same(mounted: Places) -> None:
    pids = endpoint(mounted).pids()
    with limited(pids[0], resource.RLIMIT_NOFILE, 3), limited(pids[1], resource.RLIMIT_NOFILE, 3):
        assert unmount(mounted, lazy=False, force=False)[1] == "unmounted"
        until(lambda: not any(map(is_alive, pids)))
    assert mounts.mounted_at(mounted.mount) is None


def test_no_address_is_left_to_the_server(stage: Stage) -> None:
    """What it cannot allocate it cannot answer; what it answers is right."""
    view = stage.view("large")
    root = stage.places.mount / "views" / view
    first = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    said = stage.ask("status")
    size = int(Path(f"/proc/{said['server']}/statm").read_text().split()[0])
    with limited(said["server"], resource.RLIMIT_AS, size * os.sysconf("SC_PAGE_SIZE") // 2):
        for number in range(20):
            for path, wanted in first.items():
                with contextlib.suppress(OSError):
                    assert reread(path) == wanted
            other = stage.view(f"large {number}")
            with contextlib.suppress(OSError):
                assert len(list(root.with_name(other).rglob("*"))) >= len(first)
    assert {path: reread(path) for path in first} == first
    assert stage.ask("status")["pid"] == said["pid"]
