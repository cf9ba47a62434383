"""`pkgview` commands for tests, each forked from a process that has imported what they need.

Importing is more than half of what a short command takes, and the tests run some thousand. All else
is as in a process that the console script starts: its working directory, environment and streams
are its own, and it ends in the same way. What is loaded at a start, what a process is called and
who its parent is are asked of real ones: `Site.run(PKGVIEW, …)`.

Run as a program, this file is that process, which ends with the one that started it.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping, Sequence

MORE = (
    "resolver.fetch.web", "resolver.python.added.overlay", "resolver.python.outdated.refresh",
    "unionfs.cli.progress", "unionfs.daemon.launch", "unionfs.formats.python.packages",
    "unionfs.publishing.assemble", "unionfs.upkeep.collect", "unionfs.upkeep.verify",
)  # fmt: skip
"""What commands import when they run."""


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
            [sys.executable, "-P", __file__], stdin=self._listener.fileno(), cwd=root,
            env={**os.environ, "PYTHONPATH": root},
        )  # fmt: skip

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a standard input."""
        asked = json.dumps([list(arguments), os.fspath(cwd), dict(environ)]).encode()
        with (
            tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX) as connection,
        ):  # fmt: skip
            connection.settimeout(seconds)
            connection.connect(self._path)
            streams = array.array("i", [out.fileno(), err.fileno()])
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)
            connection.sendmsg([len(asked).to_bytes(4, "big")], [rights])
            connection.sendall(asked)
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
    head, streams, _, _ = socket.recv_fds(connection, 4, 2)
    asked = b""
    while len(asked) < int.from_bytes(head, "big"):
        asked += connection.recv(1 << 20)
    arguments, cwd, environ = json.loads(asked)
    pid = os.fork()
    if not pid:
        connection.close()
        _become(arguments, cwd, environ, streams)
    _, ended = os.waitpid(pid, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(ended)).encode())


def _become(arguments: list[str], cwd: str, environ: dict[str, str], streams: list[int]) -> None:
    """Be that command; ends the process."""
    from unionfs import cli  # noqa: PLC0415 - loaded long ago

    status = 1
    try:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environ)
        for number, descriptor in enumerate([os.open(os.devnull, os.O_RDONLY), *streams]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
        sys.argv = [os.fspath(Path(sys.executable).with_name("pkgview")), *arguments]
        cli.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter ends with it
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


if __name__ == "__main__":
    from unionfs.cli import group

    for place, _ in group.COMMANDS.values():
        importlib.import_module(f"unionfs.cli.commands.{place.partition(':')[0]}")
    for name in MORE:
        importlib.import_module(name)
    _serve(socket.socket(fileno=os.dup(0)))
