"""Commands of a toy module, done by real processes that are forked for real callers."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.forkserver import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SERVED = """
import json, os, signal, sys, time
MARK = os.getpid()
def warm():
    pass
def serve(words):
    what = words[0]
    if what == "say":
        print(json.dumps({
            "server": MARK, "pid": os.getpid(), "group": os.getpgrp(), "cwd": os.getcwd(),
            "words": words, "argv0": sys.argv[0], "environ": dict(os.environ),
            "zone": time.tzname[0],
            "open": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
        }))
        print("aside", file=sys.stderr)
        sys.exit(int(words[1]))
    if what == "terminal":
        with open("/dev/tty", "r+b", buffering=0) as terminal:
            terminal.write(b"name? ")
            print("Hello", terminal.readline().decode().strip(), input("and? "))
    if what == "die":
        os.kill(os.getpid(), signal.SIGSEGV if len(words) > 1 else signal.SIGKILL)
    if what == "wait":
        try:
            print(os.getpid(), flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit("interrupted")
    raise ValueError(what)
"""

CALLER = """
import os, sys
from unionfs.forkserver.client import Forkserver
one = Forkserver("toy_served", os.environ)
if sys.argv[1] == "leave":
    one.leave()
else:
    try:
        print("status", one.run(sys.argv[1:]), flush=True)
    except OSError as error:
        print("nothing", error, flush=True)
"""

ROOT = Path(__file__).parents[3]


class Callers:
    """Programs that ask, in one context, and the one process that they leave behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runtime = directory / "run"
        (self.runtime / "pkgview").mkdir(parents=True, mode=0o700)
        self.sockets = self.runtime / "pkgview/forkserver"
        self.module = directory / "toy_served.py"
        self.module.write_text(SERVED)
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PYTHONPATH": f"{ROOT}:{directory}", "TZ": "XYZ3", "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", CALLER, *words]

    def run(
        self,
        *words: str,
        before: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Ask for `words`, by a caller that a shell command or two come `before`."""
        shell = ["sh", "-c", "; ".join((*before, 'exec "$@"')), "sh"]
        return subprocess.run(
            [*shell, *self.command(*words)], env=environ or self.environ, cwd=cwd or self.directory,
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip

    def start(self) -> None:
        """One is left behind, and listens."""
        self.run("leave")
        for _ in range(600):
            if list(self.sockets.glob("*.sock")):
                return
            time.sleep(0.02)
        pytest.fail("none listens")

    def processes(self) -> list[int]:
        """All that were left behind or forked."""
        marked = os.fsencode(f"{self.sockets}\0")
        found = []
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdecimal() and marked in Path("/proc", name, "cmdline").read_bytes():
                    found.append(int(name))
        return found

    def servers(self) -> list[int]:
        """Those of them that were left behind."""
        found = self.processes()
        return [pid for pid in found if _parent(pid) not in found]

    def spare(self) -> int:
        """The one that was forked before it is asked for."""
        until(lambda: len(self.processes()) > 1)
        (server,) = self.servers()
        (spare,) = {*self.processes()} - {server}
        return spare


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@pytest.fixture
def callers(tmp_path: Path) -> Iterator[Callers]:
    leader = os.getsid(0)
    if leader in {0, os.getpid()} or not Path(f"/proc/{leader}").exists():
        said = "nobody leads this session, so nothing is left behind in it (setsid --wait)"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    made = Callers(tmp_path)
    yield made
    for pid in made.processes():
        os.kill(pid, signal.SIGKILL)


def said(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    line, _, status = ended.stdout.partition("\n")
    answer: dict[str, Any] = json.loads(line)
    return answer | {"status": status.strip()}


def until(what: Callable[[], object]) -> None:
    for _ in range(600):
        if what():
            return
        time.sleep(0.02)
    pytest.fail("it did not come about")


def test_a_forked_process_has_all_that_is_its_callers(callers: Callers, tmp_path: Path) -> None:
    callers.start()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    own = {**callers.environ, "OWN": "ö\n", "PWD": str(elsewhere)}
    first = callers.run("say", "3", "two words", "", environ=own, cwd=elsewhere)
    assert first.stderr == "aside\n"
    answer = said(first)
    assert answer["status"] == "status 3"
    assert answer["words"] == ["say", "3", "two words", ""]
    assert answer["cwd"] == str(elsewhere)
    assert answer["environ"] == own
    assert answer["zone"] == "XYZ"
    assert answer["argv0"] == "-c"
    assert answer["open"] == [0, 1, 2]
    assert answer["group"] == os.getpgrp()
    again = said(callers.run("say", "0"))
    assert again["server"] == answer["server"] != again["pid"] != answer["pid"]
    assert again["status"] == "status 0"
    ended = callers.run("fail")
    assert ended.stdout == "status 1\n"
    assert ended.stderr.endswith("ValueError: fail\n")
    assert callers.run("die").stdout == "status -9\n"
    assert len(callers.servers()) == 1


def test_the_next_one_is_forked_before_it_is_asked_for(callers: Callers) -> None:
    callers.start()
    for _ in range(2):
        spare = callers.spare()
        assert said(callers.run("say", "0"))["pid"] == spare
    # One that is gone is nobody's loss, and none outlives what forked it.
    spare = callers.spare()
    os.kill(spare, signal.SIGKILL)
    until(lambda: "Z" in Path(f"/proc/{spare}/stat").read_text())
    assert said(callers.run("say", "3"))["status"] == "status 3"
    callers.spare()
    (server,) = callers.servers()
    os.kill(server, signal.SIGKILL)
    until(lambda: not callers.processes())


def test_only_who_is_as_it_is_asks_it(callers: Callers) -> None:
    callers.start()
    assert said(callers.run("say", "0"))["status"] == "status 0"
    # By name: each of these would find another one, and there is none.
    for before in ("umask 077", "ulimit -n 100", "trap '' HUP", "export LC_ALL=C"):
        assert callers.run("say", "0", before=[before]).stdout == "status None\n", before
    # And whoever comes to the socket in spite of that is sent away.
    (path,) = callers.sockets.glob("*.sock")
    (callers.directory / "pretend.py").write_text(
        CALLER.replace("if sys", f"one._name = {path.stem!r}\nif sys", 1)
    )
    for umask, answers in (("022", ("{",)), ("077", ("nothing", "status None"))):
        command = f"umask {umask}; exec {sys.executable} pretend.py say 0"
        ended = subprocess.run(
            ["sh", "-c", command], env=callers.environ, cwd=callers.directory, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        assert ended.stdout.startswith(answers)
    # What others may enter is not looked into.
    (callers.runtime / "pkgview").chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError):
        callers.run("say", "0")


def test_code_that_changed_is_not_run(callers: Callers) -> None:
    callers.start()
    (first,) = callers.servers()
    callers.module.write_text(SERVED + "\n")
    assert callers.run("say", "0").stdout.startswith(("nothing", "status None"))
    until(lambda: not callers.processes())
    assert not list((callers.runtime / "pkgview").iterdir())
    callers.start()
    assert said(callers.run("say", "0"))["server"] != first


def test_many_leave_one_behind_which_is_ended_at_once(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = [
        subprocess.Popen(callers.command("leave"), env=callers.environ, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    for one in started:
        one.communicate(timeout=60)
    callers.start()
    until(lambda: len(callers.servers()) == 1)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(callers.runtime))
    client.end_all(os.environ)
    until(lambda: not callers.processes())
    assert not list((callers.runtime / "pkgview").iterdir())


SESSION = """
{caller} leave
until ls run/pkgview/forkserver/*.sock; do sleep 0.02; done >/dev/null 2>&1
echo there
read
"""


@contextmanager
def session(callers: Callers) -> Iterator[subprocess.Popen[str]]:
    """The leader of another one, in which one was left behind."""
    (callers.directory / "caller.py").write_text(CALLER)
    script = SESSION.format(caller=f"{sys.executable} caller.py")
    leader = subprocess.Popen(
        ["bash", "-c", script], env=callers.environ, cwd=callers.directory, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "there\n"
        yield leader
    finally:
        leader.kill()
        leader.communicate()


def test_none_is_left_where_nobody_can_ask(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leads a session is alone in it; one that was left ends with who leads its own."""
    alone = ["setsid", "-w", *callers.command("leave")]
    elsewhere = ["unshare", "-rm", *callers.command("leave")]
    for command in (alone, elsewhere):
        subprocess.run(command, env=callers.environ, check=command is alone, timeout=60)
        assert not callers.sockets.exists()
    with session(callers) as leader:
        assert len(callers.servers()) == 1
        leader.kill()
        until(lambda: not callers.sockets.exists())
    with session(callers):
        # `umount` ends those of other sessions, too.
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(callers.runtime))
        client.end_all(os.environ)
        assert not callers.sockets.exists()
    for number in range(client.MOST + 1):
        callers.run("leave", before=[f"ulimit -n {100 + number}"])
    until(lambda: len(list(callers.sockets.glob("*.sock"))) == client.MOST)
    assert len(callers.servers()) == client.MOST


def test_who_was_killed_leaves_no_trace_that_matters(callers: Callers) -> None:
    callers.start()
    for pid in callers.processes():
        os.kill(pid, signal.SIGKILL)
    assert callers.run("say", "0").stdout.startswith("nothing")
    callers.run("leave")
    until(lambda: callers.run("say", "0").stdout.endswith("status 0\n"))


@contextmanager
def waiting(callers: Callers) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A caller whose command waits, and the process that does it."""
    caller = subprocess.Popen(
        callers.command("wait"), env=callers.environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert caller.stdout is not None
        yield caller, int(caller.stdout.readline())
    finally:
        caller.kill()
        caller.communicate()


def test_signals_of_the_caller_are_its_own(callers: Callers) -> None:
    callers.start()
    for number, status in ((signal.SIGTERM, "status -15"), (signal.SIGINT, "status 1")):
        with waiting(callers) as (caller, pid):
            caller.send_signal(number)
            out, err = caller.communicate(timeout=60)
            assert out == f"{status}\n"
            assert err == ("interrupted\n" if number == signal.SIGINT else "")
            assert not Path(f"/proc/{pid}").exists()
    with waiting(callers) as (caller, pid):
        caller.kill()
        until(lambda: not Path(f"/proc/{pid}").exists())
    with waiting(callers) as (caller, pid):
        (server,) = set(callers.processes()) - {pid}
        os.kill(server, signal.SIGKILL)
        assert "EndedError" in caller.communicate(timeout=60)[1]
        until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_terminal_is_the_callers(callers: Callers, tmp_path: Path) -> None:
    """Questions are asked at it, and Ctrl-C is told once, and to all."""
    script = tmp_path / "session"
    (tmp_path / "caller.py").write_text(CALLER)
    here = f"{sys.executable} {tmp_path}/caller.py"
    script.write_text(
        f"{here} leave\n"
        "until ls run/pkgview/forkserver/*.sock; do sleep 0.02; done >/dev/null 2>&1\n"
        f"{here} terminal\n{here} wait\n"
    )
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execvpe("bash", ["bash", "-m", str(script)], callers.environ)  # noqa: S606 - a session
    seen = b""

    def read_until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                pytest.fail(f"{text!r} does not come: {seen.decode()}")
        seen = seen.partition(text)[2]

    read_until(b"name? ")
    os.write(terminal, b"Ada\n")
    read_until(b"and? ")
    os.write(terminal, b"so on\n")
    read_until(b"Hello Ada so on")
    read_until(b"ValueError: terminal")
    read_until(b"status 1")
    read_until(b"\r\n")
    read_until(b"\r\n")
    os.write(terminal, b"\x03")
    read_until(b"interrupted")
    read_until(b"status 1")
    os.close(terminal)
    os.waitpid(pid, 0)
