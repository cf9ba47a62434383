"""Locks that somebody else may hold: waited for within limits, and with a word."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from resolver import atomic
from resolver.atomic import Alone, Held, make_private
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(path: Path, uid: int | None = None) -> Iterator[int]:
    """A process that may only read `path` and has locked it."""
    with subprocess.Popen(
        [sys.executable if uid is None else "/usr/bin/python3", "-I", "-S", "-c", HOLD, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=uid, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.stdin.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "locked"
    made.mkdir()
    return made


@pytest.mark.parametrize("lock", [Alone, Held])
def test_a_lock_that_another_keeps_is_an_error_that_names_it(
    directory: Path, lock: type[Alone | Held]
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with another(directory) as pid:
        began = time.monotonic()
        with pytest.raises(PkgviewError, match=rf"by process {pid} \('") as caught:
            lock(directory, 0.3).__enter__()
        assert 0.3 <= time.monotonic() - began < 30
    assert str(directory) in caught.value.what
    assert str(os.geteuid()) in caught.value.what
    assert "cp -a" in caught.value.remedy
    assert set(os.listdir("/proc/self/fd")) <= before
    with lock(directory, 0.3):
        pass


def test_another_user_is_named(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for above in (directory, *directory.parents[:-2]):
        above.chmod(0o755)
    with another(directory, 61009), pytest.raises(PkgviewError, match="of user 61009"):
        Alone(directory, 0.0).__enter__()


@pytest.mark.parametrize("asked", ["0.2", "soon", "-1", "nan"])
def test_how_long_is_the_users_to_say(
    directory: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv(atomic.TIMEOUT_VARIABLE, asked)
    monkeypatch.setattr(atomic, "WAIT_LIMIT", 0.6)
    wanted = "locked for 0 s" if asked == "0.2" else "locked for 1 s"
    for limit in (None, 0.6):  # and where it is another than for most
        with another(directory), pytest.raises(PkgviewError, match=wanted):
            Alone(directory, limit).__enter__()


def test_who_waits_says_so_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(atomic, "SAID_AFTER", 0.1)
    with another(directory) as pid, pytest.raises(PkgviewError):
        Held(directory, 0.5).__enter__()
    (record,) = caplog.records
    assert str(pid) in record.getMessage()
    assert str(directory) in record.getMessage()


def test_a_lock_that_is_given_up_is_had(directory: Path) -> None:
    with another(directory), pytest.raises(PkgviewError):
        Alone(directory, 0.0).__enter__()
    with Alone(directory), pytest.raises(PkgviewError):
        Held(directory, 0.0).__enter__()
    with Held(directory), Held(directory, 0.0):
        pass


def test_directories_are_made_for_their_user_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    made = tmp_path / "state/pkgview/projects"
    before = os.umask(0)
    try:
        make_private(made)
        make_private(made)
    finally:
        os.umask(before)
    assert {one.stat().st_mode & 0o777 for one in (made, made.parent, made.parent.parent)} == {
        0o700
    }
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "file")
