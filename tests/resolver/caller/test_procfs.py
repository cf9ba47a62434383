"""The parsers against bytes of every shape, the readers against real and made-up processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resolver.caller import procfs
from resolver.caller.procfs import Absence, Image, Stat, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def stat_line(pid: int, comm: bytes, ppid: int, start: int, image: tuple[int, int, int]) -> bytes:
    fields = [b"0"] * 50
    fields[0] = b"S"
    for place, value in zip((1, 19, 23, 25, 44), (ppid, start, *image), strict=True):
        fields[place] = str(value).encode()
    return b"%d (%s) %s\n" % (pid, comm, b" ".join(fields))


@contextlib.contextmanager
def running(*command: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@given(
    st.integers(1, 1 << 22),
    st.binary(max_size=15).filter(lambda comm: b"\0" not in comm),
    st.integers(0, 1 << 22),
    st.integers(0, 1 << 60),
    st.tuples(*[st.integers(0, (1 << 64) - 1)] * 3),
)
@example(7, b"a) S 1 (b", 3, 4, (5, 6, 7))
@example(7, b") R 9 9 (\n", 3, 4, (5, 6, 7))
def test_stat_whatever_the_command_is_called(
    pid: int, comm: bytes, ppid: int, start: int, image: tuple[int, int, int]
) -> None:
    parsed = procfs.parse_stat(stat_line(pid, comm, ppid, start, image))
    assert isinstance(parsed, Stat)
    assert (parsed.pid, parsed.comm, parsed.ppid, parsed.start_time) == (pid, comm, ppid, start)
    assert parsed.image == Image(*image)


@given(st.binary(max_size=300))
def test_no_bytes_break_a_parser(data: bytes) -> None:
    assert isinstance(procfs.parse_stat(data), Stat | Absence)
    assert isinstance(procfs.parse_status(data), Status | Absence)
    procfs.parse_cmdline(data)
    procfs.parse_cgroup(data)


@pytest.mark.parametrize(
    "data", [b"", b"1 (a", b"1 a) S 1", b"x (a) S 1", b"1 (a) S", b"1 (a) S +1" + b" 0" * 50]
)
def test_stat_that_is_none(data: bytes) -> None:
    assert procfs.parse_stat(data) is Absence.MALFORMED


def test_status_is_not_forged_by_a_name() -> None:
    ids = b"Tgid:\t20\nPPid:\t3\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"
    data = b"Name:\tevil\\nTgid:\t1\n" + ids + b"Tgid:\t9\n"
    assert procfs.parse_status(data) == Status(
        tgid=procfs.Pid(20), ppid=procfs.Pid(3), account=procfs.Account(4, 8)
    )
    assert procfs.parse_status(b"Tgid:\t20\n") is Absence.MALFORMED


def test_cmdline_shapes() -> None:
    assert procfs.parse_cmdline(b"") == ()
    assert procfs.parse_cmdline(b"a\0\0b\0") == (b"a", b"", b"b")
    assert procfs.parse_cmdline(b"a\0cut") == (b"a", b"cut")


def test_cgroup_lines() -> None:
    parsed = procfs.parse_cgroup(b"4:cpu,cpuacct:/a\n0::/b:c\nnonsense\n")
    assert [(one.controllers, one.path) for one in parsed] == [("cpu,cpuacct", "/a"), ("", "/b:c")]


def test_this_process() -> None:
    stat, status = procfs.read_stat(os.getpid()), procfs.read_status(threading.get_native_id())
    assert isinstance(stat, Stat)
    assert stat.ppid == os.getppid()
    assert stat.image
    assert not stat.dead
    assert isinstance(status, Status)
    assert status == (os.getpid(), os.getppid(), (os.geteuid(), os.getegid()))
    assert procfs.read_exe(os.getpid()) == os.path.realpath(sys.executable)
    assert procfs.read_cwd(os.getpid()) == os.getcwd()  # noqa: PTH109 - as the kernel has it
    cmdline = procfs.read_cmdline(os.getpid())
    assert isinstance(cmdline, tuple)
    assert cmdline
    assert procfs.read_cgroup(os.getpid())


def test_image_outlives_fork_and_not_execve() -> None:
    code = "import os,sys; os.fork() or sys.stdin.read(); os.getppid(); sys.stdin.read()"
    with (
        running(sys.executable, "-c", code) as parent,
        running(sys.executable, "-c", code) as other,
    ):
        children: list[str] = []
        while not children:
            path = f"/proc/{parent.pid}/task/{parent.pid}/children"
            with open(path, encoding="ascii") as file:  # noqa: PTH123 - not a path to speak of
                children = file.read().split()
        images = []
        for pid in (parent.pid, int(children[0]), other.pid):
            stat = procfs.read_stat(pid)
            assert isinstance(stat, Stat)
            images.append(stat.image)
        os.kill(int(children[0]), 9)
    assert images[0] == images[1] != images[2]


def test_absences_are_named(tmp_path: Path) -> None:
    with running("sleep", "60") as process:
        pid = process.pid
    for read in (procfs.read_stat, procfs.read_exe, procfs.read_cwd, procfs.read_cmdline):
        assert read(pid) is Absence.GONE
        assert read(0) is Absence.GONE
        assert read(-1) is Absence.GONE
    assert procfs.read_environ(pid, {b"A"}) is Absence.GONE
    (tmp_path / "1").mkdir()
    (tmp_path / "1/stat").mkdir()
    assert procfs.read_stat(1, tmp_path) is Absence.UNREADABLE
    (tmp_path / "1/cwd").symlink_to("/somewhere (deleted)")
    assert procfs.read_cwd(1, tmp_path) is Absence.GONE


def test_zombie() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        stat = procfs.read_stat(process.pid)
        assert isinstance(stat, Stat)
        assert stat.dead
        assert procfs.read_cmdline(process.pid) == ()
        assert procfs.read_exe(process.pid) is Absence.GONE
    finally:
        process.wait()


def test_kernel_thread_has_no_command_and_no_executable() -> None:
    stat = procfs.read_stat(2)
    if isinstance(stat, Absence) or stat.comm != b"kthreadd":
        pytest.skip("a pid namespace without kernel threads")
    assert procfs.read_cmdline(2) == ()
    assert isinstance(procfs.read_exe(2), Absence)


def test_environ_keeps_what_is_wanted_and_the_first_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    environ = tmp_path / "7/environ"
    long = b"x" * (procfs.VALUE_LIMIT + 1)
    filler = b"FILL=" + b"y" * 100_000
    for size in (0, 65_000, 65_530, 65_536):
        pad = b"P" * size
        environ.write_bytes(
            b"\0".join(
                [
                    pad,
                    b"A=1",
                    b"A=2",
                    filler,
                    b"LONG=" + long,
                    b"=odd",
                    b"noequals",
                    b"B=\xff=3",
                    b"",
                ]
            )
        )
        assert procfs.read_environ(7, {b"A", b"B", b"LONG"}, tmp_path) == {
            b"A": b"1",
            b"B": b"\xff=3",
        }
    environ.write_bytes(b"Z" * 70_000 + b"A=1\0B=2")  # cut off in a name is no variable
    assert procfs.read_environ(7, {b"A", b"B"}, tmp_path) == {b"B": b"2"}


@given(
    st.lists(st.tuples(st.sampled_from([b"A", b"B", b"AA"]), st.integers(0, 90_000)), max_size=4)
)
def test_environ_is_what_a_plain_parser_says(variables: list[tuple[bytes, int]]) -> None:
    import tempfile  # noqa: PLC0415 - hypothesis and tmp_path do not mix
    from pathlib import Path  # noqa: PLC0415

    expected: dict[bytes, bytes] = {}
    for name, size in variables:
        if size <= procfs.VALUE_LIMIT:
            expected.setdefault(name, b"v" * size)
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "7").mkdir()
        (Path(root) / "7/environ").write_bytes(
            b"".join(b"%s=%s\0" % (name, b"v" * size) for name, size in variables)
        )
        assert procfs.read_environ(7, {b"A", b"B", b"AA"}, Path(root)) == expected


def test_a_real_huge_environ() -> None:
    environ = {f"V{n}": "x" * 100_000 for n in range(12)} | {"PKGVIEW_PROJECT": "/p\udcff"}
    # Its word shows that `execve` is over: until then there is no environment, and no argument.
    options = {"env": environ, "stdout": subprocess.PIPE}
    with running("/bin/sh", "-c", "echo up; read x", **options) as process:
        assert process.stdout
        process.stdout.readline()
        found = procfs.read_environ(process.pid, {b"PKGVIEW_PROJECT"})
    assert found == {b"PKGVIEW_PROJECT": b"/p\xff"}


def test_a_huge_command_line_is_bounded() -> None:
    words = ["sh", "-c", "echo up; read x", *["y" * 100_000] * 10]
    with running(*words, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        command = procfs.read_cmdline(process.pid)
    assert isinstance(command, tuple)
    assert command[0] == b"sh"
    assert sum(map(len, command)) <= procfs.CMDLINE_LIMIT
