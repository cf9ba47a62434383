"""Rule 1 with real processes on a real mount: run, bind, unbind, shell, ps, explain."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import platform
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.caller.procfs import Absence, Tid, read_cgroup
from resolver.places import Places
from unionfs.bindings import cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mounted.conftest import Site

pytestmark = [pytest.mark.fuse, pytest.mark.timeout(60)]

PKGVIEW = os.fspath(Path(sys.executable).with_name("pkgview"))

LOOP = """
import os, sys
for line in open(0, "rb", buffering=0):
    what, _, rest = line.decode().strip().partition(" ")
    if what == "look":
        print(os.path.basename(os.readlink(rest)), flush=True)
    elif what == "cd":
        os.chdir(rest)
    elif what == "fork" and os.fork():
        os.wait()
    elif what == "exec":
        os.execvp(sys.executable, [sys.executable, "-c", sys.argv[1], sys.argv[1]])
"""
"""An interpreter that does what it is told; `look` and `fork` are answered by the newest fork."""

SHELL = """
while read -r what rest; do
    case $what in
        look) cd -P "$rest" && echo "${PWD##*/}" && cd "$OLDPWD" ;;
        child) readlink "$rest" | sed 's:.*/::' ;;
        cd) cd "$rest" ;;
    esac
done
"""


def eventually(what: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass(eq=False)
class Asker:
    """A process that looks at the mount when it is told to."""

    process: subprocess.Popen[str]
    current: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def look(self, what: str = "look") -> str:
        """Which view it sees."""
        assert self.process.stdout
        self.tell(f"{what} {self.current}")
        return self.process.stdout.readline().strip()


@dataclass(kw_only=True)
class Street:
    """Two projects, each with a view, and a directory of no project."""

    site: Site
    red: Path
    blue: Path
    nowhere: Path
    views: dict[Path, str]
    crash: Callable[[Places], None]
    askers: list[Asker] = field(default_factory=list)

    @property
    def mount(self) -> Path:
        return self.site.places.mount

    def pkgview(self, *arguments: str | Path | int, cwd: Path | None = None, code: int = 0) -> str:
        done = self.site.pkgview(*map(str, arguments), cwd=cwd or self.nowhere, code=code)
        return done.stdout or done.stderr

    def asked(self, *arguments: str | Path | int) -> Any:  # noqa: ANN401
        return json.loads(self.pkgview(*arguments, "--json"))

    def start(self, *command: str, cwd: Path | None = None) -> Asker:
        process = subprocess.Popen(
            command, cwd=cwd or self.nowhere, env=self.site.environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.askers.append(Asker(process, f"{self.mount}/current"))
        return self.askers[-1]

    def python(self, cwd: Path | None = None) -> Asker:
        return self.start(os.fspath(self.site.python), "-c", LOOP, LOOP, cwd=cwd)

    def shell(self, cwd: Path | None = None) -> Asker:
        return self.start("bash", "-c", SHELL, cwd=cwd)

    def require(self, project: Path, name: str) -> str:
        """Add a distribution of that name to a project; its view."""
        wheel = write_wheel(self.site.home, name)
        with (project / "requirements.txt").open("a") as file:
            file.write(f"{name} @ {wheel.as_uri()}\n")
        self.views[project] = self.site.up(project)["view"]
        return self.views[project]

    def upgrade(self, project: Path) -> str:
        """Give the project another view, as an edit and `pkgview up` do."""
        return self.require(project, f"extra{next(NUMBERS)}")

    def restart(self) -> None:
        """End the daemon as a crash does, and let a command bring the next."""
        self.crash(self.site.places)
        self.pkgview("mount")

    def by_hand(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.asked("ps")["by_hand"]
        return found

    def process(self, pid: int) -> dict[str, Any] | None:
        found = [one for one in self.asked("ps")["processes"] if one["pid"] == pid]
        return found[0] if found else None


NUMBERS = itertools.count(1)


def write_wheel(directory: Path, name: str) -> Path:
    """A wheel with one module; where it lies is all that a requirement says of it."""
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    content = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD,,\n"
    for inside, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record += f"{inside},sha256={digest.rstrip('=')},{len(text)}\n"
    with zipfile.ZipFile(path, "w") as file:
        for inside, text in {**content, f"{info}/RECORD": record}.items():
            file.writestr(inside, text)
    return path


@pytest.fixture(scope="module")
def town(
    site: Site, tmp_path_factory: pytest.TempPathFactory, crash: Callable[[Places], None]
) -> Iterator[Street]:
    """A home and a daemon for all tests here; none of them needs an index."""
    home = tmp_path_factory.mktemp("home")
    environ = {**site.environ, "HOME": os.fspath(home), "UV_OFFLINE": "1"}
    places = Places.from_environ(environ)
    own = replace(site, home=home, places=places, environ=environ)
    red, blue, nowhere = (own.project(name) for name in ("red", "blue", "nowhere"))
    made = Street(site=own, red=red, blue=blue, nowhere=nowhere, views={}, crash=crash)
    before = our_cgroups()
    try:
        made.require(red, "rose")
        made.require(blue, "sky")
        yield made
    finally:
        made.site.pkgview("umount", "--force", cwd=nowhere)
        for directory in our_cgroups() - before:
            # One whose first process lives may be that of a test beside these, and still empty.
            if not Path("/proc", directory.name.split("-")[1]).exists():
                cgroups.remove(cgroups.named(str(directory)))


@pytest.fixture
def street(town: Street) -> Iterator[Street]:
    """The same, mounted, with nothing bound by hand and nobody left from the last test."""
    town.pkgview("mount")
    try:
        yield town
    finally:
        for asker in town.askers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(asker.pid, signal.SIGKILL)
            asker.process.communicate()
        town.askers.clear()
        town.pkgview("mount")
        town.pkgview("unbind", "--all")


def our_cgroups() -> set[Path]:
    """Cgroups that lie where this process would make one."""
    found = set()
    ours = read_cgroup(Tid(os.getpid()))
    for one in () if isinstance(ours, Absence) else ours:
        directory = cgroups.directory_of(one)
        if directory is not None:
            found |= set(directory.glob("pkgview-*"))
    return found


@pytest.fixture
def cgroup(street: Street) -> Iterator[Path]:
    """An empty cgroup of the test's own."""
    del street
    for hierarchy in sorted(cgroups.hierarchies(), key=lambda one: one.controllers != ""):
        directory = hierarchy.directory / f"test-{os.getpid()}"
        with contextlib.suppress(OSError):
            directory.mkdir()
            inside = directory / "cgroup.procs"
            try:
                yield directory
            finally:
                eventually(partial(_is_empty, inside))
                directory.rmdir()
            return
    pytest.skip("no cgroup can be made here")


def _is_empty(procs: Path) -> bool:
    return not procs.read_bytes()


def enter(cgroup: Path, pid: int) -> None:
    (cgroup / "cgroup.procs").write_text(str(pid))


def leave(cgroup: Path) -> None:
    for pid in (cgroup / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            enter(cgroup.parent, int(pid))


# pkgview run

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.chdir("/")
read, write = sys.argv[1:3]
line = (
    "while read -r _; do readlink {mount}/current; %s -c 'import os; "
    "print(os.readlink(\\"{mount}/current\\"))'; echo $$; done" % sys.argv[3]
)
for number, path in enumerate((read, write, os.devnull)):
    os.dup2(os.open(path, os.O_RDWR), number)
os.execve("/usr/bin/env", ["env", "-i", "/bin/sh", "-c", line], {{}})
"""


@dataclass(kw_only=True)
class Daemonised:
    """A program that has done what it can to get away from who started it."""

    into: Path
    outof: Path

    def ask(self) -> tuple[str, str, int]:
        """The view of a child that is no interpreter, of one that is another, and its own pid."""
        reading, writing = (os.open(path, os.O_RDWR) for path in (self.outof, self.into))
        try:
            os.write(writing, b"\n")
            said = b""
            while said.count(b"\n") < 3:
                assert select.select([reading], [], [], 10)[0], said
                said += os.read(reading, 4096)
        finally:
            os.close(reading)
            os.close(writing)
        shell, python, pid = said.decode().split()
        return Path(shell).name, Path(python).name, int(pid)


def daemonise(street: Street, place: Path) -> Daemonised:
    """Start it with `pkgview run` in the red project."""
    made = Daemonised(into=place / "into", outof=place / "outof")
    os.mkfifo(made.into)
    os.mkfifo(made.outof)
    program = DAEMON.format(mount=street.mount)
    other = shutil.which("python3", path="/usr/bin:/bin") or os.fspath(street.site.python)
    python = os.fspath(street.site.python)
    street.site.run(
        PKGVIEW, "run", "--", python, "-c", program, str(made.into), str(made.outof), other,
        cwd=street.red,
    )  # fmt: skip
    return made


@pytest.fixture
def delegated() -> None:
    """Whether `pkgview run` can make a cgroup here."""
    if os.geteuid() != 0:
        pytest.skip("whether a cgroup can be made is known of root only")


@pytest.mark.usefixtures("delegated")
def test_run_holds_what_leaves_everything_behind(street: Street, tmp_path: Path) -> None:
    """Double fork, own session, empty environment, other directory, other programs."""
    red = street.views[street.red]
    daemon = daemonise(street, tmp_path)
    # A moment after it has started, all that it has started is in a cgroup.
    eventually(lambda: [one for one in street.by_hand() if one["cgroup"]])
    assert daemon.ask()[:2] == (red, red)
    street.upgrade(street.red)
    *seen, pid = daemon.ask()
    assert seen == [red, red]  # what it was started with is on its PATH: all of it sees this
    (bound,) = street.by_hand()
    assert (bound["by"], bound["project"], bound["view"]) == ("run", str(street.red), red)
    assert bound["pid"] is None  # that was the first process, which has ended
    assert bound["cgroup"] in Path(f"/proc/{pid}/cgroup").read_text()
    why = street.asked("explain", pid)["rules"][0]
    assert why["won"]
    assert why["why"] == f"`pkgview run` of the cgroup {bound['cgroup']}"
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not street.by_hand())
    eventually(lambda: not [one for one in our_cgroups() if one.name in bound["cgroup"]])


@pytest.mark.usefixtures("delegated")
def test_a_cgroup_outlives_the_daemon_and_is_removed_by_the_next(
    street: Street, tmp_path: Path
) -> None:
    daemon = daemonise(street, tmp_path)
    eventually(lambda: [one for one in street.by_hand() if one["cgroup"]])
    *_, pid = daemon.ask()
    (bound,) = street.by_hand()
    (directory,) = (one for one in our_cgroups() if one.name in bound["cgroup"])
    street.restart()
    assert daemon.ask()[:2] == (street.views[street.red],) * 2
    assert [one["cgroup"] for one in street.by_hand()] == [bound["cgroup"]]
    # Not even taking the binding back leaves the cgroup behind.
    street.pkgview("unbind", "--cgroup", directory)
    street.restart()
    assert directory.exists()
    assert daemon.ask()[1] != street.views[street.red]
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not directory.joinpath("cgroup.procs").read_bytes())
    street.restart()
    assert not directory.exists()


NO_CGROUPS = """
import sys
from unionfs.control import client
ask = client.ask
client.ask = lambda *given, **rest: ask(*given, **{**rest, "enclose": False})
from unionfs.cli import group
group.main(sys.argv[1:])
"""


def test_run_without_cgroups_holds_by_descent(street: Street) -> None:
    red = street.views[street.red]
    asker = street.start(
        sys.executable, "-c", NO_CGROUPS, "run", "--project", os.fspath(street.red), "--",
        "env", "-i", "bash", "-c", SHELL,
    )  # fmt: skip
    assert [asker.look(what) for what in ("look", "child")] == [red, red]
    asker.tell(f"cd {street.blue}")
    assert [asker.look(what) for what in ("look", "child")] == [red, red]
    (bound,) = street.by_hand()
    assert (bound["pid"], bound["cgroup"]) == (asker.pid, None)
    assert "no cgroup: by descent" in street.pkgview("ps")
    asker.process.kill()
    asker.process.wait()
    assert street.by_hand() == []


def test_run_becomes_the_command(street: Street) -> None:
    """Pid, exit status and signals are the command's own."""
    command = [PKGVIEW, "run", "--", "sh", "-c", "echo $$; echo $PKGVIEW_VIEW; exit 7"]
    with subprocess.Popen(
        command, cwd=street.red, env=street.site.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        said = process.stdout.read().split()
    assert (process.returncode, said) == (7, [str(process.pid), street.views[street.red]])
    with subprocess.Popen(
        [PKGVIEW, "run", "--", "sleep", "60"], cwd=street.red, env=street.site.environ
    ) as sleeping:
        eventually(lambda: Path(f"/proc/{sleeping.pid}/comm").read_text() == "sleep\n")
        sleeping.send_signal(signal.SIGTERM)
    assert sleeping.returncode == -signal.SIGTERM


def test_runs_within_runs(street: Street) -> None:
    """The inner one holds for what it starts, the outer one for the rest."""
    line = (
        f"readlink {street.mount}/current; "
        f"{PKGVIEW} run --project {street.blue} -- readlink {street.mount}/current; "
        f"readlink {street.mount}/current"
    )
    said = street.pkgview("run", "--project", street.red, "--", "sh", "-c", line).split()
    red, blue = street.views[street.red], street.views[street.blue]
    assert [Path(one).name for one in said] == [red, blue, red]
    line = f"exec {PKGVIEW} run --project {street.blue} -- readlink {street.mount}/current"
    said = street.pkgview("run", "--project", street.red, "--", "sh", "-c", line).split()
    assert [Path(one).name for one in said] == [blue]


def test_run_under_a_daemon_that_knows_no_bindings(street: Street) -> None:
    """It says so, and the environment has to do; no cgroup is left behind."""
    code = (
        "from unionfs.control import client\n"
        "from resolver.errors import PkgviewError\n"
        "ask = client.ask\n"
        "def old(endpoint, operation, **rest):\n"
        "    if operation == 'bind':\n"
        "        raise PkgviewError('no such operation')\n"
        "    return ask(endpoint, operation, **rest)\n"
        "client.ask = old\n"
        "import sys; from unionfs.cli import group; group.main(sys.argv[1:])"
    )
    line = f"echo $$; cat /proc/self/cgroup; readlink {street.mount}/current"
    done = street.site.run(
        sys.executable, "-c", code, "run", "--project", street.red, "--", "sh", "-c", line,
        cwd=street.nowhere,
    )  # fmt: skip
    assert "bound by its environment only: no such operation" in done.stderr
    assert "pkgview-" not in done.stdout.partition("views/")[0]
    pid, *_, view = done.stdout.split()
    assert view == f"views/{street.views[street.red]}"
    assert not [one for one in our_cgroups() if one.name.startswith(f"pkgview-{pid}-")]


# pkgview bind --pid


def test_binding_a_running_shell_and_a_running_interpreter(street: Street) -> None:
    red, blue = street.views[street.red], street.views[street.blue]
    shell, python = street.shell(street.red), street.python(street.red)
    assert {one.look() for one in (shell, python)} == {red}
    for asker in (shell, python):
        said = street.pkgview("bind", "--pid", asker.pid, "--project", street.blue)
        assert said == f"Bound process {asker.pid} to {street.blue}.\n"
        assert asker.look() == blue  # an interpreter, too: by hand comes before what it had
    assert shell.look("child") == blue
    python.tell("fork")
    assert python.look() == blue
    # Wherever they go.
    for asker in (shell, python):
        asker.tell(f"cd {street.red}")
        assert asker.look() == blue
    # New processes follow the project, running programs keep what they had.
    newer = street.upgrade(street.blue)
    assert [shell.look("child"), python.look()] == [newer, blue]
    found = street.process(shell.pid) or {}
    assert (found["rule"], found["project"]) == ("by_hand", str(street.blue))
    assert "bash" in found["program"]
    for asker in (shell, python):
        said = street.pkgview("unbind", "--pid", asker.pid)
        assert f"process {asker.pid} was bound to {street.blue}" in said
        assert asker.look() == red


def test_another_program_in_a_bound_process_sees_the_newest_view(street: Street) -> None:
    python = street.python(street.red)
    street.pkgview("bind", "--pid", python.pid, "--project", street.blue)
    before = python.look()
    newer = street.upgrade(street.blue)
    assert python.look() == before == street.asked("ps")["processes"][-1]["view"] != newer
    python.tell("exec")
    assert python.look() == newer


def test_a_view_is_for_good(street: Street) -> None:
    red = street.views[street.red]
    shell = street.shell(street.blue)
    street.pkgview("bind", "--pid", shell.pid, "--view", red)
    street.upgrade(street.red)
    assert [shell.look(), shell.look("child")] == [red, red]
    for wrong in ("0" * 32, "nonsense"):
        said = street.pkgview("bind", "--pid", shell.pid, "--view", wrong, code=1)
        assert f"there is no view {wrong}" in said


def test_bindings_of_processes_outlive_the_daemon(street: Street) -> None:
    shell, other = street.shell(street.red), street.shell(street.red)
    for asker in (shell, other):
        street.pkgview("bind", "--pid", asker.pid, "--project", street.blue)
    other.process.kill()
    other.process.wait()
    street.restart()
    assert shell.look() == street.views[street.blue]
    assert [one["pid"] for one in street.by_hand()] == [shell.pid]
    (kept,) = (street.site.places.state / "bindings").glob("*.json")
    assert kept.stat().st_mode & 0o77 == 0
    # Of another boot, pids mean other processes.
    kept.write_text(kept.read_text().replace('"boot": "', '"boot": "another '))
    street.restart()
    assert street.by_hand() == []
    # Damage is no reason not to mount.
    for damage in ("", "[", '{"boot": 1}', "{}", "[" * 100_000):
        kept.write_text(damage)
        street.restart()
        assert street.by_hand() == []


def test_unbinding_all(street: Street) -> None:
    shells = [street.shell(street.red), street.shell(street.red)]
    for asker in shells:
        street.pkgview("bind", "--pid", asker.pid, "--project", street.blue)
    taken = street.asked("unbind", "--all")
    assert sorted(one["pid"] for one in taken) == sorted(one.pid for one in shells)
    assert {one.look() for one in shells} == {street.views[street.red]}
    assert street.pkgview("unbind", "--all") == "Nothing is bound by hand.\n"


def test_what_cannot_be_bound_is_named(street: Street) -> None:
    asker = street.shell()
    pid = str(asker.pid)
    for arguments, code, said in (
        (["bind"], 2, "name one of --pid, --cgroup and --container"),
        (["bind", "--pid", pid, "--cgroup", "/x"], 2, "name one of"),
        (["bind", "--pid", pid, "--view", "x", "--project", "."], 2, "--project and --view"),
        (["bind", "--pid", pid], 1, "belongs to no project"),
        (["bind", "--pid", str(2**30), "--project", street.red], 1, "there is no process"),
        (["bind", "--cgroup", "/none", "--project", street.red], 1, "there is no cgroup /none"),
        (["bind", "--cgroup", "/", "--project", street.red], 1, "every process is in it"),
        (["unbind", "--pid", pid], 1, f"process {pid} was not bound by hand itself"),
        (["unbind", "--all", "--pid", pid], 2, "--all goes with nothing else"),
        (["explain", str(2**30)], 1, "there is no process"),
    ):
        assert said in street.pkgview(*arguments, code=code), arguments
    (thread,) = (one for one in os.listdir(f"/proc/{pid}/task"))
    assert thread == pid
    street.pkgview("umount", "--lazy")
    for arguments in (["ps"], ["explain", pid], ["unbind", "--all"]):
        said = street.pkgview(*arguments, code=1)
        assert "nothing is mounted at" in said
        assert "pkgview mount" in said


def clone_with(pid: int, command: list[str]) -> bool:
    """Start a command under that very pid, clone3(2); whether the kernel went along.

    In a process of its own: what `clone3` makes is not known to Python.
    """
    code = f"""
import ctypes, os, struct, sys
wanted = (ctypes.c_int * 1)({pid})
# struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
# set_tid, set_tid_size, cgroup
how = struct.pack("11Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
libc = ctypes.CDLL(None, use_errno=True)
made = libc.syscall(435, how, len(how))
if made == 0:
    os.execvp({command[0]!r}, {command!r})
if made < 0:
    sys.exit(1)
os.waitpid(made, 0)
"""
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="clone3 is 435 there")
def test_another_process_with_the_pid_of_a_bound_one_is_not_bound(
    street: Street, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root chooses a pid")
    shell = street.shell()
    street.pkgview("bind", "--pid", shell.pid, "--project", street.blue)
    assert shell.look() == street.views[street.blue]
    shell.process.kill()
    shell.process.wait()
    out = tmp_path / "out"
    line = f"echo $$; cd -P {street.mount}/current && echo ${{PWD##*/}}"
    if not clone_with(shell.pid, ["sh", "-c", f"cd {street.nowhere}; {{ {line}; }} > {out}"]):
        pytest.skip("the kernel does not let us choose a pid")
    pid, view = out.read_text().split()
    assert int(pid) == shell.pid
    assert view not in street.views.values()
    assert street.by_hand() == []


def interpreter_for(options: dict[str, Any]) -> str:
    """One that nobody may run: root's own often lies where nobody may look."""
    for program in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [program, "-c", "import pyfuse3, trio, unionfs.cli"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, check=False, capture_output=True, **options).returncode == 0:
                return program
    pytest.skip("no interpreter with pkgview's dependencies that nobody may run")


def test_only_ones_own_processes(ordinary: dict[str, Any], street: Street) -> None:
    """A user may not say what root's processes see."""
    python = interpreter_for(ordinary)

    def pkgview(*arguments: str, code: int) -> str:
        command = [python, "-P", "-c", "from unionfs.cli import main; main()"]
        done = subprocess.run(
            [*command, *arguments], check=False, capture_output=True, text=True, **ordinary
        )
        assert done.returncode == code, done.stderr
        return f"{done.stdout}{done.stderr}"

    asker = street.shell()
    pkgview("mount", code=0)
    home = Path(ordinary["env"]["HOME"])
    look = ["sh", "-c", f"read _; readlink {home}/.pkgview/current"]
    with subprocess.Popen(
        look, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **ordinary
    ) as theirs:
        explained = json.loads(pkgview("explain", str(theirs.pid), "--json", code=0))
        default = explained["rules"][-1]
        said = pkgview("bind", "--pid", str(asker.pid), "--view", default["view"], code=1)
        assert f"process {asker.pid} belongs to uid 0, and you are uid 65534" in said
        said = pkgview("bind", "--pid", str(theirs.pid), "--view", default["view"], code=0)
        assert said.startswith(f"Bound process {theirs.pid} ")
        assert f"-> 1 by hand {default['view'][:12]} `pkgview bind` of this" in re.sub(
            " +", " ", pkgview("explain", str(theirs.pid), code=0)
        )
        assert theirs.communicate("\n")[0] == f"views/{default['view']}\n"


# pkgview bind --cgroup, --container


def test_a_cgroup_holds_whoever_is_in_it_and_whoever_comes_later(
    street: Street, cgroup: Path
) -> None:
    red, blue = street.views[street.red], street.views[street.blue]
    shell, python, later = street.shell(street.red), street.python(street.red), street.python()
    assert [shell.look(), python.look()] == [red, red]
    enter(cgroup, shell.pid)
    enter(cgroup, python.pid)
    outside = later.look()
    assert outside not in {red, blue}
    street.pkgview("bind", "--cgroup", cgroup, "--project", street.blue)
    assert [shell.look(), shell.look("child"), python.look(), later.look()] == [
        blue, blue, blue, outside,
    ]  # fmt: skip
    enter(cgroup, later.pid)
    eventually(lambda: later.look() == blue, seconds=3)
    newer = street.upgrade(street.blue)
    assert [shell.look("child"), python.look(), later.look()] == [newer, blue, blue]
    # Out of it, an interpreter keeps its view, and a shell does not.
    leave(cgroup)
    eventually(lambda: shell.look() == red, seconds=3)
    time.sleep(1.1)
    assert python.look() == blue
    street.pkgview("unbind", "--cgroup", cgroup)
    assert python.look() == red


def test_the_last_word_on_processes_in_a_bound_cgroup(street: Street, cgroup: Path) -> None:
    """A process bound inside of it is further in; a shell bound outside of it is not."""
    red, blue = street.views[street.red], street.views[street.blue]
    inside, outside = street.shell(), street.shell()
    enter(cgroup, inside.pid)
    street.pkgview("bind", "--cgroup", cgroup, "--project", street.red)
    street.pkgview("bind", "--pid", inside.pid, "--project", street.blue)
    street.pkgview("bind", "--pid", outside.pid, "--project", street.blue)
    assert [inside.look(), outside.look()] == [blue, blue]
    enter(cgroup, outside.pid)
    eventually(lambda: outside.look() == red, seconds=3)
    assert [inside.look(), inside.look("child")] == [blue, blue]
    leave(cgroup)


def test_a_cgroup_that_is_made_again_is_not_bound(street: Street, cgroup: Path) -> None:
    shell = street.shell(street.red)
    street.pkgview("bind", "--cgroup", cgroup, "--project", street.blue)
    street.restart()
    (bound,) = street.by_hand()
    cgroup.rmdir()
    cgroup.mkdir()
    enter(cgroup, shell.pid)
    assert bound["cgroup"] in Path(f"/proc/{shell.pid}/cgroup").read_text()
    assert shell.look() == street.views[street.red]
    assert street.by_hand() == []
    leave(cgroup)


ENGINE = """\
#!/bin/sh
[ "$1 $2" = "container inspect" ] || exit 9
for name; do :; done
[ "$name" = web ] || {{ echo "Error: no such container $name" >&2; exit 125; }}
echo "{id} {pid}"
"""


def test_a_container_is_found_by_its_cgroup(street: Street, cgroup: Path, tmp_path: Path) -> None:
    """Stand-ins for the engines; the cgroup and its process are real."""
    name = "5" * 64
    inside = cgroup / f"libpod-{name}" / "init.scope"
    inside.mkdir(parents=True)
    shell = street.shell()
    tools = tmp_path / "tools"
    tools.mkdir()

    def engine(kind: str, number: str, pid: int) -> None:
        (tools / kind).write_text(ENGINE.format(id=number, pid=pid))
        (tools / kind).chmod(0o755)

    def bind(container: str, code: int = 0) -> str:
        done = street.site.run(
            PKGVIEW, "bind", "--container", container, "--project", street.blue,
            cwd=street.nowhere, code=code,
                environ={"PATH": f"{tools}:{street.site.environ['PATH']}"},
        )  # fmt: skip
        return done.stderr

    try:
        engine("podman", name, shell.pid)
        engine("docker", name, 0)
        assert "has no cgroup of its own" in bind("web", 1)
        enter(inside, shell.pid)
        assert f"/libpod-{name} to {street.blue}" in bind("web")
        assert shell.look() == street.views[street.blue]
        (bound,) = street.by_hand()
        assert bound["cgroup"].endswith(f"/libpod-{name}")
        assert "there is no running container db" in bind("db", 1)
        engine("docker", "6" * 64, shell.pid)
        assert "podman and docker both have" in bind("web", 1)
        engine("podman", "nonsense", 1)
        engine("docker", "6" * 64, 0)
        assert "podman: its answer makes no sense; docker: it does not run" in bind("web", 1)
    finally:
        enter(cgroup.parent, shell.pid)
        inside.rmdir()
        inside.parent.rmdir()


# pkgview ps, pkgview explain


def test_ps_and_explain_say_what_holds_and_since_when(street: Street) -> None:
    red, blue = street.views[street.red], street.views[street.blue]
    python, shell = street.python(street.red), street.shell(street.blue)
    assert [python.look(), shell.look()] == [red, blue]
    time.sleep(1.1)
    python.look()
    shell.look()
    street.pkgview("bind", "--pid", shell.pid, "--view", red)  # looks again at everybody
    assert [python.look(), shell.look()] == [red, red]
    found = street.process(python.pid)
    assert found is not None
    assert (found["rule"], found["project"], found["view"]) == ("directory", str(street.red), red)
    assert found["seconds"] > 1
    assert found["lasting"]
    table = street.pkgview("ps")
    assert re.search(rf"^ *{python.pid} .*red +{red[:12]} +directory ", table, re.MULTILINE)
    assert re.search(rf"^ *{shell.pid} +bind +no cgroup", table, re.MULTILINE)
    asked = street.asked("explain", python.pid)
    rules = {one["rule"]: one for one in asked["rules"]}
    assert list(rules) == [
        "by_hand", "earlier", "environment", "script", "directory", "ancestor", "default",
    ]  # fmt: skip
    assert [name for name, one in rules.items() if one["won"]] == ["earlier"]
    assert [name for name, one in rules.items() if one["found"]] == [
        "earlier",
        "directory",
        "default",
    ]
    assert rules["directory"]["view"] == red
    assert asked["last"]["rule"] == "directory"
    text = street.pkgview("explain", python.pid)
    assert f"-> 2 earlier {red[:12]} as before: its working directory" in re.sub(" +", " ", text)
    assert f"It asked before: view {red[:12]} by rule 'directory'" in text
    # Asking changes nothing.
    fresh = street.python(street.blue)
    assert street.asked("explain", fresh.pid)["last"] is None
    assert street.process(fresh.pid) is None
    assert "It has not asked the mount yet." in street.pkgview("explain", fresh.pid)
    # A process that has ended is not shown, and what it is called cannot hurt a terminal.
    python.process.kill()
    python.process.wait()
    assert street.process(python.pid) is None
    rude = street.start("bash", "-c", "read -r _; :", "\x1b[31mred\n")
    assert r"\x1b[31m" in street.pkgview("explain", rude.pid)


def test_explain_without_a_pid_means_whoever_asks(street: Street) -> None:
    done = street.site.run(
        "sh", "-c", f"echo $$; {PKGVIEW} explain --json; :", cwd=street.red
    ).stdout  # fmt: skip
    pid, _, found = done.partition("\n")
    assert json.loads(found)["pid"] == int(pid)


# pkgview shell


@dataclass(eq=False)
class Terminal:
    """A shell at a terminal, and who types."""

    process: subprocess.Popen[bytes]
    master: int
    seen: str = ""

    def wait_for(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, f"no {pattern!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                break
        found = re.search(pattern, self.seen)
        assert found, f"no {pattern!r} in {self.seen!r}"
        self.seen = self.seen[found.end() :]
        return found

    def type(self, line: str) -> None:
        os.write(self.master, f"{line}\n".encode())

    def end(self) -> int:
        """Its exit status; reads on, so that it never waits for us."""
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], 20)[0] and os.read(self.master, 65536):
                pass
        return self.process.wait(20)


@contextlib.contextmanager
def terminal(street: Street, *command: str, cwd: Path, **environ: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], env={**street.site.environ, "TERM": "dumb", **environ},
        cwd=cwd, stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(master)


RC = {"bash": ".bashrc", "zsh": ".zshrc", "dash": ".own", "fish": ".config/fish/config.fish"}


@pytest.mark.parametrize("name", RC)
def test_a_shell_is_bound_and_says_so_with_the_users_own_files(
    street: Street, name: str, needs: Callable[..., None]
) -> None:
    needs(name)
    program = shutil.which(name) or ""
    home = street.site.home
    path = home / RC[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    fish = name == "fish"
    path.write_text(
        "set -gx MINE yes\nset -gx PATH /usr/bin /bin\nfunction fish_prompt; echo -n 'own> '; end\n"
        if fish
        else "MINE=yes\nPATH=/usr/bin:/bin\nPS1='own> '\n"
    )
    environ = {"SHELL": program, "ENV": str(path)} if name == "dash" else {"SHELL": program}
    red, blue = street.views[street.red], street.views[street.blue]
    with terminal(street, PKGVIEW, "shell", cwd=street.red, **environ) as shell:
        shell.wait_for(r"Bound to ~/red")
        shell.wait_for(r"\(red\).*own> ")
        status = "$status" if fish else "$?"
        shell.type(f'cd {street.blue}; echo "[$MINE-$ENV]"; readlink {street.mount}/current')
        shell.wait_for(rf"\[yes-{path if name == 'dash' else ''}\]")
        shell.wait_for(f"views/{red}")
        shell.type(
            "python -c 'import os, rose, sys; print(os.path.realpath(rose.__file__), sys.prefix)'"
        )
        shell.wait_for(f"{street.mount}/views/{red}/lib/.*rose.py {street.mount}/projects/red-")
        newer = street.upgrade(street.red)
        shell.type("python -c 'import os, rose; print(os.path.realpath(rose.__file__))'")
        shell.wait_for(f"{street.mount}/views/{newer}/lib")
        found = [one for one in street.by_hand() if one["by"] == "shell"]
        assert [(one["pid"], one["project"], one["view"]) for one in found] == [
            (shell.process.pid, str(street.red), None)
        ]
        shell.type("env | grep ^PKGVIEW_SHELL_ || echo 'no' rest")
        shell.wait_for("no rest")
        shell.type(f"{PKGVIEW} shell {street.red}; echo status {status}")
        shell.wait_for(f"this shell is bound to {street.red} already")
        shell.wait_for("status 1")
        shell.type(f"{PKGVIEW} shell {street.blue}")
        shell.wait_for("A shell within the one for ~/red: `exit` returns there.")
        shell.wait_for(r"\(blue\).*own> ")
        shell.type(f"readlink {street.mount}/current; exit 5")
        shell.wait_for(f"views/{blue}")
        shell.wait_for(r"\(red\).*own> ")
        shell.type(f"echo status {status}; readlink {street.mount}/current")
        shell.wait_for("status 5")
        shell.wait_for(f"views/{newer}")
        shell.type("exit 7")
        assert shell.end() == 7


def test_a_shell_for_what_is_for_this_once_keeps_its_view(street: Street) -> None:
    environ = {"SHELL": "/bin/sh"}
    wheel = write_wheel(street.site.home, "moon")
    command = [PKGVIEW, "shell", "--with", f"moon @ {wheel.as_uri()}"]
    with terminal(street, *command, cwd=street.red, **environ) as shell:
        shell.wait_for("Bound to")
        shell.type("python -c 'import rose, moon, sys; print(sys.prefix)'")
        found = shell.wait_for(rf"{street.mount}/views/([0-9a-f]{{32}})")
        assert found[1] not in street.views.values()
        street.upgrade(street.red)
        shell.type(f"cd {street.blue}; readlink {street.mount}/current")
        shell.wait_for(f"views/{found[1]}")


def test_a_projects_name_does_nothing_in_a_prompt(street: Street) -> None:
    rude = street.site.project("$(touch oops) %n`id`")
    (rude / "requirements.txt").touch()
    for name in ("bash", "zsh", "dash"):
        program = shutil.which(name)
        if program is None:
            continue
        with terminal(street, PKGVIEW, "shell", cwd=rude, SHELL=program) as shell:
            shell.wait_for(r"\(__touch_oops___n_id_\)")
            shell.type("exit")
            shell.end()
    assert not (rude / "oops").exists()


def test_without_a_terminal_there_is_no_shell(street: Street) -> None:
    said = street.pkgview("shell", cwd=street.red, code=1)
    assert "there is no terminal for a shell" in said
    assert "pkgview run" in said
