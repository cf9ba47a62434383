"""Callers: paths against a mount, real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.caller.process import Caller, Inside, follow, identity, mount_names, observe
from resolver.caller.procfs import Absence, Tid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VIEW = "0123456789abcdef0123456789abcdef"
PYTHON = os.path.realpath(sys.executable)
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
WAIT = "import sys; print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def mount(tmp_path: Path) -> frozenset[str]:
    """A mount point that nothing is mounted on, and that nobody may look into."""
    (tmp_path / "mnt").mkdir()
    return mount_names(tmp_path / "mnt")


@contextlib.contextmanager
def running(*command: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401
    """A process that has said "up", so it is past its own start."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def seen(pid: int, mount: frozenset[str]) -> Caller:
    caller = observe(Tid(pid), mount)
    assert isinstance(caller, Caller)
    return caller


def test_follow_stops_at_the_mount(tmp_path: Path, mount: frozenset[str]) -> None:
    real = tmp_path.resolve()
    project = real / "p"
    project.mkdir()
    (project / "s.py").touch()
    (project / ".venv").symlink_to(real / "mnt/views" / VIEW)
    (project / "relative").symlink_to("../mnt/views/../views/" + VIEW)
    (project / "loop").symlink_to("loop")
    (project / "abs").symlink_to(project / "s.py")
    assert follow(f"{project}/../p/./s.py", mount) == f"{project}/s.py"
    assert follow(f"{project}/abs", mount) == f"{project}/s.py"
    inside = follow(f"{project}/.venv/bin/python", mount)
    assert inside == Inside(("views", VIEW, "bin", "python"))
    assert isinstance(inside, Inside)
    assert inside.view == VIEW
    odd = follow(f"{project}/relative/x", mount)
    assert isinstance(odd, Inside)
    assert odd.view is None
    for nowhere in ("/missing/x", f"{project}/loop", "/proc/self/exe", "/dev/stdin", "/a\0b"):
        assert follow(nowhere, mount) is None
    assert follow("/", mount) == "/"
    assert Inside(("views", "x")).view is None
    assert Inside(("views", VIEW, "..", "..")).view is None


def test_mount_reached_through_links(tmp_path: Path) -> None:
    real = tmp_path.resolve()
    (real / "data/home").mkdir(parents=True)
    (real / "home").symlink_to("data/home")
    (real / "data/home/.pkgview").symlink_to("../elsewhere")
    names = mount_names(real / "home/.pkgview")
    assert names == {f"{real}/data/home/.pkgview", f"{real}/data/elsewhere"}
    for path in ("home/.pkgview/x", "data/home/.pkgview/x", "data/elsewhere/x"):
        assert follow(f"{real}/{path}", names) == Inside(("x",))


def test_nothing_inside_the_mount_is_ever_looked_at(
    tmp_path: Path, mount: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A venv's python, its console script, PATH and a directory inside: text is all we use."""
    view = tmp_path.resolve() / "mnt/views" / VIEW
    (view / "bin").mkdir(parents=True)
    (view / "bin/python").symlink_to(PYTHON)
    (view / "bin/tool").write_text(f"#!{view}/bin/python\n{WAIT}")
    (view / "bin/tool").chmod(0o755)
    project = tmp_path / "p"
    project.mkdir()
    (project / ".venv").symlink_to(view)
    (project / "s.py").write_text(WAIT)
    asked: list[str] = []

    def recorded(call: Any) -> Any:  # noqa: ANN401
        def wrapper(path: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
            asked.append(os.fspath(path) if not isinstance(path, int) else "")
            return call(path, *rest, **named)

        return wrapper

    environ = {"PATH": f"{project}/.venv/bin:/usr/bin", "HOME": str(tmp_path)}
    commands: list[tuple[list[str | Path], Path]] = [
        ([project / ".venv/bin/python", "s.py"], project),
        ([".venv/bin/tool"], project),
        ([view / "bin/tool"], tmp_path),
        ([view / "bin/python", "-c", WAIT], view / "bin"),
        (["/usr/bin/env", "python", "-c", WAIT], tmp_path),
    ]
    for command, cwd in commands:
        with running(*command, cwd=cwd, env=environ) as process, monkeypatch.context() as patch:
            for name in ("stat", "lstat", "readlink", "open", "scandir", "listdir", "access"):
                patch.setattr(os, name, recorded(getattr(os, name)))
            caller = seen(process.pid, mount)
        assert caller.runs_from == VIEW, command
        assert caller.python == VERSION
        assert caller.cwd == (None if cwd == view / "bin" else str(cwd.resolve()))
    assert asked
    assert not [path for path in asked if any(path.startswith(name) for name in mount)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path.resolve() / "project"
    directory.mkdir()
    (directory / "s.py").write_text(WAIT)
    return directory


def test_scripts_modules_code_and_stdin(project: Path, mount: frozenset[str]) -> None:
    cases: list[tuple[list[str | Path], str | None, str | None]] = [
        (["s.py"], "s.py", None),
        (["-u", project / "s.py"], "s.py", None),
        (["-m", "s"], None, "s"),
        (["-c", WAIT], None, None),
    ]
    for words, script, module in cases:
        with running(sys.executable, *words, cwd=project) as process:
            caller = seen(process.pid, mount)
        assert caller.script == (str(project / script) if script else None)
        assert caller.module == module
        assert caller.cwd == str(project)
        assert (caller.exe, caller.is_interpreter, caller.python) == (PYTHON, True, VERSION)
        assert caller.uid == os.geteuid()
        assert caller.runs_from is None
        assert caller.ancestors[0].pid == os.getpid()
        assert caller.cgroups
    interactive = subprocess.Popen([sys.executable], stdin=subprocess.PIPE, cwd=project)
    try:
        assert seen(interactive.pid, mount).script is None
    finally:
        interactive.kill()
        interactive.communicate()


def test_who_imports_from_its_directory(project: Path, mount: frozenset[str]) -> None:
    """As `sys.path[0]` has it, which Python alone decides."""
    code = "import sys; print('' in sys.path or sys.path[0] == %r, flush=True); sys.stdin.read()"
    (project / "m.py").write_text(code % str(project))
    plain = ["-c", code % str(project)]
    for words, environ in (
        (plain, {}), (["-m", "m"], {}), (["-P", *plain], {}), (["-I", *plain], {}),
        (plain, {"PYTHONSAFEPATH": "1"}), (plain, {"PYTHONSAFEPATH": ""}),
    ):  # fmt: skip
        with subprocess.Popen(
            [sys.executable, *words], cwd=project, env=environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            does = process.stdout.readline() == "True\n"
            caller = seen(process.pid, mount)
            process.communicate("")
        assert caller.imports_here is does, (words, environ)
        assert not caller.runs_script
        assert not caller.started_here
        assert caller.by_path
    for script in ("s.py", "/dev/stdin"):
        one = subprocess.Popen([sys.executable, script], cwd=project, stdin=subprocess.PIPE)
        try:
            while not (caller := seen(one.pid, mount)).command:
                time.sleep(0.01)  # execve has not laid its arguments out yet
            assert caller.runs_script
            assert not caller.imports_here
        finally:
            one.kill()
            one.communicate()


def test_zipapp_directory_link_and_shebang(project: Path, mount: frozenset[str]) -> None:
    (project / "app").mkdir()
    (project / "app/__main__.py").write_text(WAIT)
    shutil.make_archive(str(project / "app"), "zip", project / "app")
    (project / "link.py").symlink_to("s.py")
    (project / "tool").write_text(f"#!{sys.executable} -u\n{WAIT}")
    (project / "tool").chmod(0o755)
    cases: list[tuple[list[str | Path], str]] = [
        ([sys.executable, "app.zip"], "app.zip"),
        ([sys.executable, "app"], "app"),
        ([sys.executable, "link.py"], "s.py"),  # Python, too, puts the target's directory first
        ([project / "tool"], "tool"),
        (["./tool"], "tool"),
    ]
    for command, script in cases:
        with running(*command, cwd=project) as process:
            assert seen(process.pid, mount).script == str(project / script), command


def test_relative_script_of_a_program_that_went_elsewhere(
    project: Path, tmp_path: Path, mount: frozenset[str]
) -> None:
    (project / "s.py").write_text(f"import os; os.chdir({str(tmp_path)!r}); {WAIT}")
    for environ, script in [({"PWD": str(project)}, str(project / "s.py")), ({}, None)]:
        with running(sys.executable, "s.py", cwd=project, env=environ) as process:
            caller = seen(process.pid, mount)
        assert caller.script == script
        assert caller.cwd == str(tmp_path.resolve())


def test_environment_and_its_absence(project: Path, mount: frozenset[str]) -> None:
    environ = {"PKGVIEW_PROJECT": "/p\udcff", "PKGVIEW_VIEW": VIEW, "BIG": "x" * 100_000}
    with running(sys.executable, "-c", WAIT, env=environ) as process:
        caller = seen(process.pid, mount)
    assert (caller.project, caller.view) == ("/p\udcff", VIEW)
    with running("env", "-i", sys.executable, "s.py", cwd=project) as process:
        caller = seen(process.pid, mount)
    assert (caller.project, caller.view) == (None, None)
    assert caller.script == str(project / "s.py")


def test_a_shell_that_changes_directory(project: Path, mount: frozenset[str]) -> None:
    with running("sh", "-c", "echo up; read where; cd $where; echo there; read x") as process:
        assert process.stdin
        assert process.stdout
        caller = seen(process.pid, mount)
        assert not caller.is_interpreter
        assert caller.python is None
        process.stdin.write(f"{project}\n")
        process.stdin.flush()
        process.stdout.readline()
        assert seen(process.pid, mount).cwd == str(project)


def test_deleted_directory(project: Path, mount: frozenset[str]) -> None:
    gone = project / "gone"
    gone.mkdir()
    with running(sys.executable, "-c", WAIT, cwd=gone) as process:
        gone.rmdir()
        caller = seen(process.pid, mount)
    assert caller.cwd is None
    assert caller.is_interpreter


def test_stopped_process_answers(project: Path, mount: frozenset[str]) -> None:
    with running(sys.executable, "s.py", cwd=project) as process:
        os.kill(process.pid, 19)
        assert seen(process.pid, mount).script == str(project / "s.py")


def test_zombie_and_nobody(mount: frozenset[str]) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    caller = seen(process.pid, mount)
    assert (caller.exe, caller.script, caller.cwd) == (None, None, None)
    process.wait()
    assert observe(Tid(process.pid), mount) is Absence.GONE
    assert identity(Tid(0)) is Absence.GONE


def test_names_that_are_no_unicode(project: Path, mount: frozenset[str]) -> None:
    script = os.fsencode(project) + b"/s\xff.py"
    with open(script, "w", encoding="ascii") as file:  # noqa: PTH123 - bytes
        file.write(WAIT)
    with running(sys.executable, os.fsdecode(script)) as process:
        assert seen(process.pid, mount).script == os.fsdecode(script)


def test_threads_are_their_process(mount: frozenset[str]) -> None:
    tids: list[int] = []
    gate = threading.Event()

    def run() -> None:
        tids.append(threading.get_native_id())
        gate.wait()

    thread = threading.Thread(target=run)
    thread.start()
    while not tids:
        time.sleep(0.001)
    mine = identity(Tid(os.getpid()))
    assert identity(Tid(tids[0])) == mine
    assert seen(tids[0], mount).identity == mine
    gate.set()
    thread.join()


LEADERLESS = """
import ctypes, os, sys, threading
def run():
    print("up", flush=True); print(threading.get_native_id(), flush=True); sys.stdin.read()
threading.Thread(target=run).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_has_ended(project: Path, mount: frozenset[str]) -> None:
    (project / "s.py").write_text(LEADERLESS)
    with running(sys.executable, "s.py", cwd=project) as process:
        assert process.stdout
        tid = int(process.stdout.readline())
        while Path(f"/proc/{process.pid}/status").read_text().find("State:\tZ") < 0:
            time.sleep(0.01)
        caller = seen(tid, mount)
    assert caller.identity.tgid == process.pid
    assert caller.identity.image
    assert caller.script == str(project / "s.py")
    assert caller.cwd == str(project)


def test_ancestors_end_where_a_pid_was_taken_over(tmp_path: Path) -> None:
    def entry(pid: int, ppid: int, start: int) -> None:
        (tmp_path / str(pid)).mkdir()
        fields = ["S", str(ppid), *["0"] * 17, str(start), *["0"] * 30]
        (tmp_path / f"{pid}/stat").write_text(f"{pid} (x) {' '.join(fields)}\n")
        status = f"Tgid:\t{pid}\nPPid:\t{ppid}\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n"
        (tmp_path / f"{pid}/status").write_text(status)

    entry(10, 9, 500)
    entry(9, 8, 400)
    entry(8, 7, 300)
    entry(7, 1, 350)  # younger than its child: another process by now
    caller = observe(Tid(10), frozenset(), tmp_path)
    assert isinstance(caller, Caller)
    assert caller.ancestors == ((9, 400), (8, 300))
    assert caller.exe is None


def test_paths_of_another_mount_namespace_count_only_if_they_are_ours(
    project: Path, mount: frozenset[str], needs: Callable[..., None]
) -> None:
    needs("bwrap")
    box: list[str | Path] = ["bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    foreign = project.parent / "foreign"
    foreign.mkdir()
    (foreign / "s.py").write_text(WAIT)
    cases: list[tuple[list[str | Path], str | None]] = [
        ([], str(project / "s.py")),
        (["--bind", foreign, project], None),
    ]
    for extra, script in cases:
        command = [*box, *extra, "--chdir", project, sys.executable, project / "s.py"]
        with running(*command) as process:
            children: list[str] = []
            while not children:
                listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                children = listing.read_text().split() if listing.exists() else []
            caller = seen(int(children[0]), mount)
            if not caller.is_interpreter:  # with a pid namespace, bwrap's own init comes between
                children = (
                    Path(f"/proc/{children[0]}/task/{children[0]}/children").read_text().split()
                )
                caller = seen(int(children[0]), mount)
        assert caller.is_interpreter
        assert caller.script == script
        assert caller.cwd == (str(project) if script else None)


def test_before_execve_a_vforked_child_is_nobody_but_its_directory(tmp_path: Path) -> None:
    """`subprocess` starts programs with vfork: a double of their parent looks their paths up."""
    blocked = tmp_path / "program"
    os.mkfifo(blocked)
    # posix_spawn's child opens the fifo and so waits between vfork and execve.
    waits = f"[(os.POSIX_SPAWN_OPEN, 0, {str(blocked)!r}, os.O_RDONLY, 0)]"
    spawn = f"os.posix_spawn('/bin/true', ['true'], os.environ, file_actions={waits})"
    parent = subprocess.Popen([sys.executable, "-c", f"import os; {spawn}"], cwd=tmp_path)
    try:
        child = next(iter(_children(parent.pid)))
        found = observe(Tid(child), frozenset())
        assert isinstance(found, Caller)
        assert not found.is_interpreter
        assert found.script is None
        assert found.cwd == str(tmp_path)
        assert found.ancestors[0].pid == parent.pid
        mother = observe(Tid(parent.pid), frozenset())
        assert isinstance(mother, Caller)
        assert mother.is_interpreter
    finally:
        blocked.open("w").close()
        assert parent.wait(10) == 0


def _children(pid: int) -> Iterator[int]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            time.sleep(0.2)  # for it to reach the fifo
            yield from map(int, found)
            return
        time.sleep(0.01)
    raise AssertionError("no child")
