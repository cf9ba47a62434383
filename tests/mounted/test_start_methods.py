"""Every way in which a program is started, and the view that it must see.

Each row is a real process against a real mount. `which.main()` prints the colour that it was
imported from and where `current` leads for it; programs that are no Python print the link alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unionfs.mounting import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.mounted.conftest import Pair

pytestmark = pytest.mark.fuse

SAY = """
import os
try:
    import which
except ImportError:
    print("none", os.path.basename(os.readlink({link!r})))
else:
    which.main()
"""

DAEMON = """
import os, sys, time

def leave():
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)

leave()
os.setsid()
leave()
os.chdir("/")
import which
which.main()
"""

CHILD = """
import multiprocessing, os, sys

def child(elsewhere):
    os.chdir(elsewhere)
    import which
    which.main()

if __name__ == "__main__":
    process = multiprocessing.get_context(sys.argv[1]).Process(target=child, args=sys.argv[2:])
    process.start()
    process.join()
"""

SUBPROCESS = """
import subprocess, sys
python, elsewhere = sys.argv[1:]
code = "import which; which.main()"
subprocess.run([python or sys.executable, "-c", code], cwd=elsewhere, check=True)
"""

THREADS = """
# A Python that knows nothing of pkgview; its first thread never looks at the mount.
import os, sys, threading
mount, elsewhere = sys.argv[1:]
seen = []

def look():
    scope = {}
    with open(f"{mount}/site-packages/which.py") as file:
        exec(file.read(), scope)
    seen.append((scope["colour"], os.path.basename(os.readlink(f"{mount}/current"))))

def turn():
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

turn()
os.chdir(elsewhere)
turn()
assert len(seen) == 8
print(*(word for pair in sorted(set(seen)) for word in pair))
"""

STAYS = """
import os, sys
link, *directories = sys.argv[1:]
for directory in directories:
    os.chdir(directory)
    print(os.readlink(link))
"""

LOOK = r"""
/* look LINK [DIRECTORY]...: where a link leads, here or from each of the directories. */
#include <stdio.h>
#include <unistd.h>

static int look(const char *link)
{
    char target[4096];
    ssize_t size = readlink(link, target, sizeof target - 1);
    if (size < 0) {
        perror(link);
        return 1;
    }
    target[size] = 0;
    puts(target);
    return 0;
}

int main(int count, char **words)
{
    if (count == 2)
        return look(words[1]);
    for (int at = 2; at < count; at++)
        if (chdir(words[at]) || look(words[1]))
            return 1;
    return 0;
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The two projects, and what programs there are to start."""

    pair: Pair
    words: Mapping[str, str]

    def seen(self, command: str, where: str, environ: Mapping[str, str] | None = None) -> str:
        """What a shell command prints, as colours."""
        directory = self.pair.home if where == "home" else self.pair.directory(where)
        said = self.pair.run("bash", "-c", self.filled(command), cwd=directory, environ=environ)
        assert said.stderr == ""
        return self.colours(said.stdout)

    def filled(self, command: str) -> str:
        return command.format_map(self.words)

    def colours(self, output: str) -> str:
        known = {"red", "green", "none"}
        return " ".join(
            word if word in known else self.pair.colour(word) for word in output.split()
        )


@pytest.fixture(scope="module")
def stage(pair: Pair) -> Stage:
    home, mount = pair.home, pair.places.mount
    say = SAY.format(link=os.fspath(mount / "current"))
    red = pair.directory("red")
    files = {
        home / "say.py": say, red / "say.py": say, red / "daemon.py": DAEMON,
        red / "child.py": CHILD, red / "sub.py": SUBPROCESS, red / "threads.py": THREADS,
        red / "stays.py": STAYS, home / "look.c": LOOK,
        red / "shebang": f"#!{mount}/bin/python\n{say}",
    }  # fmt: skip
    for path, content in files.items():
        path.write_text(content)
    (red / "shebang").chmod(0o755)
    # Static: it also runs where there is no C library.
    pair.run("gcc", "-O1", "-static", "-o", "look", "look.c", cwd=home)
    jail = home / "jail"
    for name in ("mount", "work"):
        (jail / name).mkdir(parents=True)
    shutil.copy(home / "look", jail / "look")
    (jail / "work/requirements.txt").write_text((red / "requirements.txt").read_text())
    words = {
        "home": home, "mount": mount, "red": red, "green": pair.directory("green"), "jail": jail,
        "python": mount / "bin/python", "plain": f"{pair.python} -I -S",
        "pkgview": Path(sys.executable).with_name("pkgview"),
        "look": f"{home}/look {mount}/current",
        "say": f"-c {shlex.quote(say)}", "daemon": f"-c {shlex.quote(DAEMON)}",
        "view": pair.views["red"],
    }  # fmt: skip
    return Stage(pair=pair, words={name: str(word) for name, word in words.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to start a program: `command` in bash, in the directory of `where`.

    `sees` is what it has to print, and `rule` the rule of docs/bindings.md that says so. `needs`
    are programs without which it cannot be tried; "root" is root.
    """

    name: str
    rule: str
    command: str
    where: str
    sees: str
    needs: str = ""


def row(name: str, rule: str, command: str, where: str, sees: str, *, needs: str = "") -> Row:  # noqa: PLR0913 - a table's columns
    return Row(name=name, rule=rule, command=command, where=where, sees=sees, needs=needs)


ROWS = [
    # What a Python runs
    row("script", "4: its main script", "{python} {red}/say.py", "green", "red red"),
    row("relative script", "4: its main script", "{python} ../red/say.py", "green", "red red"),
    row("script of no project", "7: default", "{python} {home}/say.py", "green", "none default"),
    row("module", "5: its directory", "{python} -m say", "red", "red red"),
    row("code", "5: its directory", "{python} {say}", "red", "red red"),
    row("isolated", "5: its directory", "{python} -I {say}", "red", "red red"),
    row("stdin", "5: its directory", "{python} < {home}/say.py", "red", "red red"),
    row("pipe", "5: its directory", "cat {home}/say.py | {python} -", "red", "red red"),
    row("nowhere", "7: default", "{python} {say}", "home", "none default"),
    row("shebang", "4: its main script", "{red}/shebang", "green", "red red"),
    # What a view brings
    row("console script of .venv", "4: the view it is from", "{red}/.venv/bin/which-colour",
        "green", "red red"),
    row("console script of the mount", "5: its directory", "{mount}/bin/which-colour", "red",
        "red red"),
    row("python of .venv", "4: the view it is from", "{red}/.venv/bin/python {say}", "green",
        "red red"),
    row("activated shell", "4: the view it is from",
        ". {red}/.venv/bin/activate; cd {green}; python {say}", "home", "red red"),
    # With little or another environment
    row("env -i", "5: its directory", "env -i {python} {say}", "red", "red red"),
    row("env -i, a script", "4: its main script", "cd /; env -i {python} {red}/say.py", "green",
        "red red"),
    row("cron", "5: its directory",
        "env -i HOME={home} LOGNAME=me SHELL=/bin/sh PATH=/usr/bin:/bin "
        "/bin/sh -c 'cd {red} && {python} -m say'", "home", "red red"),
    row("PKGVIEW_PROJECT", "3: environment", "PKGVIEW_PROJECT={red} {look}", "green", "red"),
    row("PKGVIEW_VIEW", "3: environment", "PKGVIEW_VIEW={view} {look}", "green", "red"),
    row("su", "5: its directory", "su root -s /bin/sh -c '{python} -m say'", "red",
        "red red", needs="root su"),
    row("sudo", "5: its directory", "sudo -n -u root {python} -m say", "red", "red red",
        needs="root sudo"),
    row("no capabilities", "5: its directory",
        "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs {python} -m say",
        "red", "red red", needs="root setpriv"),
    # Away from whoever started it
    row("nohup", "5: its directory", "nohup {python} -m say </dev/null 2>/dev/null", "red",
        "red red"),
    row("setsid", "5: its directory", "setsid -w {python} -m say", "red", "red red"),
    row("daemon, a script", "4: its main script", "{python} {red}/daemon.py", "home", "red red"),
    # It is pinned to its view; the link has nothing left to go by.
    row("daemon, code", "7: default; pinned", "{python} {daemon}", "red", "red default"),
    # What a program starts
    row("multiprocessing fork", "2: earlier", "{python} {red}/child.py fork {green}", "red",
        "red red"),
    row("multiprocessing spawn", "4: the view it is from",
        "{python} {red}/child.py spawn {green}", "red", "red red"),
    row("multiprocessing forkserver", "4: the view it is from",
        "{python} {red}/child.py forkserver {green}", "red", "red red"),
    row("subprocess elsewhere", "5: its directory", "{python} {red}/sub.py {python} {green}",
        "red", "green green"),
    row("subprocess elsewhere, sys.executable", "4: the view it is from",
        "{python} {red}/sub.py '' {green}", "red", "red red"),
    row("subprocess in no project", "6: its ancestor", "{python} {red}/sub.py {python} /", "red",
        "red red"),
    row("threads", "2: earlier", "{plain} {red}/threads.py {mount} {green}", "red", "red red"),
    # What is no Python, and what stays
    row("C program", "5: its directory", "{look}", "red", "red"),
    row("C program in no project", "7: default", "{look}", "home", "default"),
    row("shell that goes about", "5: its directory",
        "for at in {red} {green} {red}; do cd $at; cd -P {mount}/current/; pwd; done", "home",
        "red green red"),
    row("editor that goes about", "5: its directory", "{look} {red} {green} {red}", "home",
        "red green red"),
    row("Python that goes about", "2: earlier",
        "{plain} {red}/stays.py {mount}/current {red} {green} {red}", "home", "red red red"),
    row("find", "5: its directory",
        "find {mount}/current/ -name pyvenv.cfg -execdir pwd -P ';'", "red", "red"),
    # By hand
    row("run", "1: by hand", "{pkgview} run {look} {green} /", "red", "red red"),
    row("run, a daemon", "1: by hand", "{pkgview} run python {daemon}", "red", "red red"),
    row("run, env -i", "1: by hand", "{pkgview} run env -i {look} {green}", "red", "red"),
    row("run, in another's shebang", "1: by hand, then 4",
        "{pkgview} run {green}/.venv/bin/which-colour", "red", "green red"),
    # Other namespaces
    row("pid namespace", "5: its directory", "unshare -p -f {look}", "red", "red", needs="root"),
    row("pid namespace, own /proc", "5: its directory",
        "unshare -p -f --mount-proc {python} -m say", "red", "red red", needs="root"),
    row("user namespace", "5: its directory", "unshare -U -r {look}", "red", "red"),
    row("mount namespace", "5: its directory", "unshare -m {python} -m say", "red",
        "red red", needs="root"),
    row("mount namespace, another directory of that path", "7: default",
        "unshare -m bash -c 'mount -t tmpfs none {red} && {look} {red}'", "home", "default",
        needs="root"),
    row("network and IPC namespaces", "5: its directory", "unshare -n -i -u {look}", "red", "red",
        needs="root"),
    row("chroot", "7: default",
        "unshare -m bash -c 'mount --bind {mount} {jail}/mount && "
        "chroot {jail} /look /mount/current /work'", "home", "default", needs="root"),
    row("chroot, PKGVIEW_VIEW", "3: environment",
        "unshare -m bash -c 'mount --bind {mount} {jail}/mount && "
        "PKGVIEW_VIEW={view} chroot {jail} /look /mount/current /work'", "home", "red",
        needs="root"),
]  # fmt: skip


@pytest.mark.parametrize("method", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_it_sees(stage: Stage, method: Row, needs: Callable[..., None]) -> None:
    programs = method.needs.split()
    if "root" in programs and os.geteuid() != 0:
        pytest.skip("only root may")
    needs(*(program for program in programs if program != "root"))
    assert stage.seen(method.command, method.where) == method.sees, method.rule


def test_another_interpreter_sees_its_own_view_of_the_project(stage: Stage) -> None:
    pair = stage.pair
    own = pair.run(pair.python, "-c", "import sys; print(*sys.version_info[:2])", cwd=pair.home)
    versions = Path("~/.pyenv/versions").expanduser()
    found = [
        path
        for minor in (12, 13, 14)
        for path in (
            *sorted(versions.glob(f"3.{minor}.*/bin/python3.{minor}")),
            *map(Path, filter(None, [shutil.which(f"python3.{minor}")])),
        )
        if own.stdout != f"3 {minor}\n"
    ]
    if not found:
        pytest.skip("there is one Python only")
    other, red = found[0], pair.directory("red")
    code = "import os, sys; print(os.readlink(sys.argv[1]))"
    link = os.fspath(pair.places.mount / "current")
    execute = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    try:
        said = pair.pkgview("up", "--python", other, "--json", cwd=red)
        view = pair.run(other, "-c", code, link, cwd=red).stdout
        assert view.strip().rpartition("/")[2] in said.stdout
        assert pair.colour(view.strip()) == "default"  # a third one
        # From a Python that is bound to its view already, in another's directory: by its ancestors
        # it would be green's, by its own directory it is red's.
        began = pair.run(
            pair.places.mount / "bin/python", "-c", f"import os; os.chdir({os.fspath(red)!r})\n"
            f"{execute}", other, "-c", code, link, cwd=pair.directory("green"),
        )  # fmt: skip
        assert began.stdout == view
        # And in no project: by the project of what it was before? It is the same process, and
        # another program; nothing is left that names a project.
        began = pair.run(
            pair.places.mount / "bin/python", "-c", f"import os; os.chdir('/')\n{execute}",
            other, "-c", code, link, cwd=red,
        )  # fmt: skip
        assert pair.colour(began.stdout.strip()) == "default"
    finally:
        pair.up(red)
    # The view that was made earlier is the project's newest again, for what is no Python, too.
    assert stage.seen("{look}", "red") == "red"


# Bound after it was started


class Asked:
    """A program that says what it sees when it is asked; it stays the same process."""

    def __init__(self, process: subprocess.Popen[str], stage: Stage) -> None:
        self.process = process
        self._stage = stage

    def sees(self) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._stage.colours(self.process.stdout.readline())


@contextmanager
def asked(stage: Stage, command: str, where: str) -> Iterator[Asked]:
    pair = stage.pair
    with subprocess.Popen(
        ["bash", "-c", f"exec {stage.filled(command)}"],
        cwd=pair.home if where == "home" else pair.directory(where), env=pair.environ,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Asked(process, stage)
        finally:
            process.kill()


SHELL = "bash -c 'here=$PWD; while read; do cd -P {mount}/current/; pwd; cd $here; done'"
PYTHON = (
    "{plain} -c 'import os, sys\nfor _ in sys.stdin: "
    'print(os.readlink(sys.argv[1]), flush=True)\' "{mount}/current"'
)


@contextmanager
def new_cgroup() -> Iterator[Path]:
    """An empty cgroup, of version 2 where there is one that may be written."""
    for hierarchy in ("unified", "", "pids", "systemd"):
        path = Path("/sys/fs/cgroup", hierarchy, f"pkgview-test-{os.getpid()}")
        try:
            path.mkdir()
        except OSError:
            continue
        if (path / "cgroup.procs").exists():
            break
        path.rmdir()
    else:
        pytest.skip("no cgroup can be made here")
    try:
        yield path
    finally:
        deadline = time.monotonic() + 5
        while path.exists() and time.monotonic() < deadline:
            try:
                path.rmdir()
            except OSError:
                time.sleep(0.02)


def test_a_cgroup_bound_after_it_started(stage: Stage) -> None:
    pair = stage.pair
    with (
        new_cgroup() as cgroup,
        asked(stage, SHELL, "green") as shell,
        asked(stage, PYTHON, "green") as python,
        asked(stage, PYTHON, "green") as outside,
    ):
        assert [one.sees() for one in (shell, python, outside)] == ["green"] * 3
        (cgroup / "cgroup.procs").write_text(str(shell.process.pid))
        (cgroup / "cgroup.procs").write_text(str(python.process.pid))
        assert [one.sees() for one in (shell, python, outside)] == ["green"] * 3
        red = os.fspath(pair.directory("red"))
        pair.pkgview("bind", "--cgroup", cgroup, "--project", red, cwd=pair.home)
        assert [one.sees() for one in (shell, python, outside)] == ["red", "red", "green"]
        pair.pkgview("unbind", "--cgroup", cgroup, cwd=pair.home)
        assert [one.sees() for one in (shell, python, outside)] == ["green"] * 3


def test_a_process_bound_after_it_started(stage: Stage) -> None:
    pair = stage.pair
    with asked(stage, PYTHON, "green") as python, asked(stage, PYTHON, "green") as other:
        assert [python.sees(), other.sees()] == ["green", "green"]
        pid = str(python.process.pid)
        pair.pkgview("bind", "--pid", pid, "--view", pair.views["red"], cwd=pair.home)
        assert [python.sees(), other.sees()] == ["red", "green"]
        pair.pkgview("unbind", "--pid", pid, cwd=pair.home)
        assert [python.sees(), other.sees()] == ["green", "green"]


# A pid namespace that the daemon cannot see


def test_a_process_that_the_daemon_cannot_see_gets_the_default(stage: Stage) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may")
    pair = stage.pair
    mount = pair.home / "apart"
    environ = {**pair.environ, "PKGVIEW_MOUNT": os.fspath(mount)}
    inside = stage.filled("{pkgview} mount --foreground")
    with subprocess.Popen(
        ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", *inside.split()],
        cwd=pair.home, env=environ, stderr=subprocess.PIPE, text=True,
    ) as daemon:  # fmt: skip
        try:
            enter = ["nsenter", f"--mount=/proc/{daemon.pid}/ns/mnt"]
            deadline = time.monotonic() + 20
            while not any(
                one.path == mount and one.fstype == mounts.FSTYPE
                for one in mounts.parse(Path(f"/proc/{daemon.pid}/mountinfo").read_bytes())
            ):
                assert daemon.poll() is None, daemon.stderr
                assert time.monotonic() < deadline
                time.sleep(0.02)
            look = [*enter, f"{pair.home}/look", f"{mount}/current", f"{pair.home}/red"]
            said = pair.run(*look, cwd=pair.home)
            assert said.stdout.startswith("views/")
            assert stage.colours(said.stdout) == "default"
            # It can say which view it wants only by naming it.
            named = f"{mount}/views/{pair.views['red']}/bin/python"
            said = pair.run(*enter, named, "-c", "import which; print(which.colour)", cwd=pair.home)
            assert said.stdout == "red\n"
            # What the daemon does see is bound by the rules.
            pid = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()[0]
            seeing = ["nsenter", f"--target={pid}", "--mount", "--pid", f"{pair.home}/look"]
            said = pair.run(*seeing, f"{mount}/current", f"{pair.home}/red", cwd=pair.home)
            assert stage.colours(said.stdout) == "red"
        finally:
            daemon.kill()


def test_no_daemon_takes_callers_for_others_by_their_numbers(stage: Stage) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may")
    pair = stage.pair
    command = stage.filled("unshare -p -f {pkgview} mount --foreground {home}/numbers").split()
    said = pair.run(*command, cwd=pair.home, code=1)
    assert "/proc shows another pid namespace" in said.stderr


@pytest.mark.network
def test_pytest_xdist(stage: Stage) -> None:
    pair = stage.pair
    blue = pair.project("blue")
    wheel = (pair.directory("red") / "requirements.txt").read_text()
    (blue / "requirements.txt").write_text(f"{wheel}pytest\npytest-xdist\n")
    (blue / "test_colour.py").write_text(
        "import os, pytest, which\n"
        "@pytest.mark.parametrize('number', range(8))\n"
        "def test_colour(number, worker_id):\n"
        "    assert worker_id != 'master'\n"
        "    assert which.colour == 'red'\n"
        f"    os.chdir({os.fspath(pair.directory('green'))!r})\n"
        f"    view = os.path.basename(os.readlink({os.fspath(pair.places.mount / 'current')!r}))\n"
        "    assert os.path.realpath(which.__file__).split('/views/')[1].split('/')[0] == view\n"
    )
    pair.up(blue)
    for command in ([f"{pair.places.mount}/bin/python", "-m", "pytest"], [".venv/bin/pytest"]):
        said = pair.run(*command, "-q", "-n", "2", "-p", "no:cacheprovider", cwd=blue)
        assert "8 passed" in said.stdout
