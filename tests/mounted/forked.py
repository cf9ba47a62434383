"""`pkgview` commands and daemons for tests, forked from a process that has imported what they need.

Importing is more than half of what a short command takes, and nearly all of a daemon's start; the
tests run some thousand commands and some hundred daemons. All else is as in a process that the
console script starts, or that `launch` does: its working directory, environment, descriptors and
arguments are its own, and it ends in the same way. What is loaded at a start, what a command's
process is called and who its parent is are asked of real ones: `Site.run(PKGVIEW, …)`. The daemons
that these start are real ones, too.

Run as a program, this file is that process, which ends with the one that started it.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping, Sequence

MORE = (
    "resolver.fetch.web", "resolver.python.added.overlay", "resolver.python.outdated.refresh",
    "unionfs.cli.progress", "unionfs.daemon.launch", "unionfs.formats.python.packages",
    "unionfs.publishing.assemble", "unionfs.upkeep.collect", "unionfs.upkeep.verify",
)  # fmt: skip
"""What commands import when they run."""

ROOM = 4096
"""Bytes for the arguments of a daemon, where the kernel shows them of the process."""


class Forked:
    """The process, and what asks it."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pkgview-")
        self._path = f"{self._directory.name}/commands"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen(64)
        root = os.fspath(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, self._path.ljust(ROOM)],
            stdin=self._listener.fileno(), cwd=root,
            env={**os.environ, "PYTHONPATH": root},
        )  # fmt: skip

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a standard input."""
        with (
            tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err,
            _asked(
                self._path, {"command": list(arguments), "cwd": os.fspath(cwd)}, environ,
                {1: out.fileno(), 2: err.fileno()},
            ) as connection,
        ):  # fmt: skip
            connection.settimeout(seconds)
            status = connection.recv(8)
            assert status, f"pkgview {arguments}: nobody says how it ended"
            said = [_text(one) for one in (out, err)]
        return subprocess.CompletedProcess(list(arguments), int(status), *said)

    def close(self) -> None:
        """End it; commands that run go on."""
        self._process.kill()
        self._process.wait()
        self._listener.close()
        self._directory.cleanup()


def _asked(
    path: str, what: Mapping[str, Any], environ: Mapping[str, str], descriptors: Mapping[int, int]
) -> socket.socket:
    """A connection on which the process at `path` says how that ended.

    `descriptors`: its own number of each that it gets -> ours.
    """
    asked = json.dumps({**what, "environ": dict(environ), "numbers": list(descriptors)}).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    rights = array.array("i", descriptors.values())
    connection.sendmsg(
        [len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
    )
    connection.sendall(asked)
    return connection


def _text(stream: io.BufferedRandom) -> str:
    stream.seek(0)
    return stream.read().decode()


def _serve(listener: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    parent = os.getppid()
    listener.settimeout(1)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            _answer(connection)
            os._exit(0)
        connection.close()
    sys.exit()


def _answer(connection: socket.socket) -> None:
    head, given, _, _ = socket.recv_fds(connection, 4, 8)
    said = b""
    while len(said) < int.from_bytes(head, "big"):
        said += connection.recv(1 << 20)
    asked = json.loads(said)
    pid = os.fork()
    if not pid:
        connection.close()
        _become(asked, given)
    for number in given:
        os.close(number)
    _, ended = os.waitpid(pid, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(ended)).encode())


def _become(asked: dict[str, Any], given: list[int]) -> NoReturn:
    """Be that command or daemon."""
    status = 1
    try:
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environ"])
        numbers = {0: os.open(os.devnull, os.O_RDONLY)} | dict(
            zip(asked["numbers"], given, strict=True)
        )
        above = max(*numbers, *given) + 1
        for wanted, number in numbers.items():
            numbers[wanted] = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, above)
            os.close(number)
        for wanted, number in numbers.items():
            os.dup2(number, wanted)
            os.close(number)
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
        if "daemon" in asked:
            os.setsid()
            sys.argv = _called(asked["daemon"])
            status = process.main(sys.argv[len(launch.COMMAND) :])
        else:
            sys.argv = [os.fspath(Path(sys.executable).with_name("pkgview")), *asked["command"]]
            cli.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter ends with it
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _called(arguments: list[str]) -> list[str]:
    """The same; they are this process's own now, for all who look into `/proc`."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = map(int, fields[45:47])  # arg_start and arg_end, proc(5)
    said = b"".join(os.fsencode(one) + b"\0" for one in arguments)
    assert len(said) < end - start
    ctypes.memmove(start, said.ljust(end - start, b"\0"), end - start)
    return arguments


class _Started:
    """Instead of the `subprocess.Popen` that `launch` makes of a daemon."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:  # noqa: ANN401 - Popen's
        streams = {1: options["stdout"], 2: options["stderr"]}
        kept = {number: number for number in options["pass_fds"]}
        asked = {"daemon": list(command), "cwd": options["cwd"]}
        self._connection = _asked(PATH, asked, os.environ, streams | kept)

    def wait(self) -> None:
        """Until it has left us, or has ended."""
        self._connection.recv(8)
        self._connection.close()


if __name__ == "__main__":
    from unionfs import cli
    from unionfs.cli import group
    from unionfs.daemon import launch, process

    PATH = sys.argv[1].rstrip()
    for place, _ in group.COMMANDS.values():
        importlib.import_module(f"unionfs.cli.commands.{place.partition(':')[0]}")
    for name in MORE:
        importlib.import_module(name)
    vars(launch)["subprocess"] = SimpleNamespace(Popen=_Started, DEVNULL=subprocess.DEVNULL)
    gc.freeze()  # what is here now stays shared with all that are forked
    _serve(socket.socket(fileno=os.dup(0)))
