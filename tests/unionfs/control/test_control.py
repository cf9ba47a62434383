from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.naming import spelled
from unionfs.cli import console, group
from unionfs.cli.commands import status as command
from unionfs.control import client, server
from unionfs.control.endpoint import DaemonAbsentError, DaemonSilentError, Endpoint
from unionfs.control.request import Peer, Request
from unionfs.control.server import MAX_CLIENTS, ControlServer, listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return Endpoint(directory=tmp_path / ("long" * 30) / "run", name="0123456789abcdef")


async def echo(request: Request) -> dict[str, object]:
    return {"arguments": dict(request.arguments), "uid": request.peer.uid, "pid": request.peer.pid}


async def refuse(_: Request) -> None:
    raise PkgviewError("no", remedy="Try yes.")


async def explode(_: Request) -> None:
    raise ZeroDivisionError


async def unspeakable(_: Request) -> object:
    return object()


async def tally(request: Request) -> str:
    for number in range(request.arguments["to"]):
        await request.tell({"at": number})
        await trio.sleep(request.arguments.get("seconds", 0))
    return "done"


OPERATIONS = {
    "echo": echo, "refuse": refuse, "explode": explode, "unspeakable": unspeakable, "tally": tally,
}  # fmt: skip


@contextlib.asynccontextmanager
async def serving(endpoint: Endpoint) -> AsyncIterator[ControlServer]:
    server = ControlServer(operations=OPERATIONS)
    with listen(endpoint) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listener)
            yield server
            nursery.cancel_scope.cancel()


async def ask(endpoint: Endpoint, operation: str, **arguments: Any) -> Any:  # noqa: ANN401 - as wide as JSON
    return await trio.to_thread.run_sync(lambda: client.ask(endpoint, operation, **arguments))


def connect(endpoint: Endpoint) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    with endpoint.opened() as directory:
        client.connect(f"/proc/self/fd/{directory}/{endpoint.socket.name}")
    return client


# Where to meet


def test_the_lock_is_held_by_one_and_seen_by_all(endpoint: Endpoint) -> None:
    assert not endpoint.held()
    assert endpoint.pid() is None
    lock = endpoint.acquire()
    assert lock is not None
    assert endpoint.acquire() is None
    assert endpoint.held()
    os.write(lock, f"{os.getpid()}\n".encode())
    assert endpoint.pid() == os.getpid()
    os.close(lock)
    assert not endpoint.held()
    assert stat.S_IMODE(endpoint.directory.stat().st_mode) == 0o700


def test_a_lock_that_is_removed_meanwhile_is_none(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for it would have one of no file, and the next one another."""
    flock = fcntl.flock

    def remove(number: int, how: int) -> None:
        flock(number, how)
        endpoint.lock.unlink()
        endpoint.directory.rmdir()

    monkeypatch.setattr(fcntl, "flock", remove)
    assert endpoint.acquire() is None
    monkeypatch.undo()
    lock = endpoint.acquire()
    assert lock is not None
    os.close(lock)


def test_a_pid_that_does_not_hold_the_lock_is_not_believed(endpoint: Endpoint) -> None:
    lock = endpoint.acquire()
    assert lock is not None
    for content in ("1\n", "nonsense", "-1", "9" * 50):
        endpoint.lock.write_text(content)
        assert endpoint.pid() is None
    os.close(lock)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_may_enter_is_refused(endpoint: Endpoint, mode: int) -> None:
    endpoint.directory.mkdir(parents=True)
    endpoint.directory.chmod(mode)
    with pytest.raises(PkgviewError, match=rf"its mode is {mode:04o}") as caught:
        endpoint.acquire()
    assert caught.value.remedy == f"Run `chmod 700 {endpoint.directory}`."
    with pytest.raises(PkgviewError, match="its mode is"):
        client.ask(endpoint, "echo")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away")
def test_somebody_elses_directory_is_refused(endpoint: Endpoint) -> None:
    endpoint.directory.mkdir(parents=True, mode=0o700)
    os.chown(endpoint.directory, 65534, 65534)
    with pytest.raises(PkgviewError, match="belongs to uid 65534"):
        endpoint.acquire()


def test_a_lock_that_is_a_link_is_not_followed(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.directory.mkdir(parents=True, mode=0o700)
    (tmp_path / "precious").write_text("x")
    endpoint.lock.symlink_to(tmp_path / "precious")
    with pytest.raises(PkgviewError, match="cannot be written"):
        endpoint.acquire()
    assert (tmp_path / "precious").read_text() == "x"


# Asking


async def test_questions_are_answered_beyond_107_bytes_of_path(endpoint: Endpoint) -> None:
    assert len(os.fspath(endpoint.socket)) > 107
    async with serving(endpoint):
        said = await ask(endpoint, "echo", text="Grüße\n", number=2)
        assert said["arguments"] == {"text": "Grüße\n", "number": 2}
        assert (said["uid"], said["pid"]) == (os.geteuid(), os.getpid())
        assert stat.S_IMODE(endpoint.socket.stat().st_mode) == 0o600


async def test_every_failure_stays_in_its_connection(endpoint: Endpoint) -> None:
    async with serving(endpoint):
        with pytest.raises(PkgviewError) as caught:
            await ask(endpoint, "refuse")
        assert (caught.value.what, caught.value.remedy) == ("no", "Try yes.")
        for operation in ("explode", "unspeakable"):
            with pytest.raises(PkgviewError, match=f"the daemon failed in '{operation}'"):
                await ask(endpoint, operation)
        with pytest.raises(PkgviewError, match="does not know 'elsewhere', only: echo, explode"):
            await ask(endpoint, "elsewhere")
        assert await ask(endpoint, "echo")


def test_nobody_there_is_told_from_nobody_answering(endpoint: Endpoint) -> None:
    with pytest.raises(DaemonAbsentError):
        client.ask(endpoint, "echo")
    with listen(endpoint):
        begun = time.monotonic()
        with pytest.raises(DaemonSilentError, match="within 0 seconds") as caught:
            client.ask(endpoint, "echo", seconds=0.2)
        assert time.monotonic() - begun < 2
        assert "umount --force" in caught.value.remedy
    with pytest.raises(DaemonAbsentError):  # the socket is left, its listener is not
        client.ask(endpoint, "echo")


@pytest.mark.parametrize(
    "reply", [b"[]\n", b"\n", b"{}\n", b"\xff\n", b'{"ok": true}\n', b"[" * 5000 + b"\n"]
)
def test_a_reply_that_makes_no_sense_is_said_so(endpoint: Endpoint, reply: bytes) -> None:
    with listen(endpoint) as listener:
        listener.setblocking(True)  # noqa: FBT003 - positional only

        def serve() -> None:
            with listener.accept()[0] as client:
                client.recv(1000)
                client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(PkgviewError, match="makes no sense"):
            client.ask(endpoint, "echo")
        thread.join()


def test_a_reply_that_never_ends_is_given_up(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_REPLY", 1000)
    with listen(endpoint) as listener:
        listener.setblocking(True)  # noqa: FBT003 - positional only

        def serve() -> None:
            with listener.accept()[0] as client, contextlib.suppress(OSError):
                while True:
                    client.sendall(b"x" * 4096)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(DaemonAbsentError, match="before it had answered 'echo'"):
            client.ask(endpoint, "echo")
        thread.join()


@pytest.mark.parametrize(("operation", "asked"), [("explain", 3), ("unbind", 1)])
def test_what_may_be_repeated_is_asked_of_the_next_one(
    endpoint: Endpoint, operation: str, asked: int
) -> None:
    with listen(endpoint) as listener:
        listener.setblocking(True)  # noqa: FBT003 - positional only

        def serve() -> None:
            for number in range(asked):
                with listener.accept()[0] as client:
                    client.recv(1 << 16)
                    if number == 2:
                        client.sendall(b'{"ok": true, "result": 7}\n')

        thread = threading.Thread(target=serve)
        thread.start()
        if asked == 1:
            with pytest.raises(PkgviewError, match="was replaced, before it had answered"):
                client.ask(endpoint, operation)
        else:
            assert client.ask(endpoint, operation, seconds=30) == 7
        thread.join()


# What takes long


async def test_who_waits_is_told_how_far_it_is(endpoint: Endpoint) -> None:
    async with serving(endpoint):

        def converse() -> list[bytes]:
            with connect(endpoint) as client, client.makefile("rwb") as lines:
                lines.write(b'{"op": "tally", "to": 2}\n{"op": "echo"}\n')
                lines.flush()
                return [lines.readline() for _ in range(4)]

        first, second, third, fourth = await trio.to_thread.run_sync(converse)
        assert json.loads(first) == {"progress": {"at": 0}}
        assert json.loads(second) == {"progress": {"at": 1}}
        assert json.loads(third) == {"ok": True, "result": "done"}
        assert json.loads(fourth)["ok"]


async def test_who_waits_is_in_nobodys_way(endpoint: Endpoint) -> None:
    async with serving(endpoint) as serves:
        waiting = []
        for _ in range(MAX_CLIENTS * 2):
            waiting.append(client := connect(endpoint))
            client.sendall(b'{"op": "tally", "to": 1000000, "seconds": 0.5}\n')
            while await trio.to_thread.run_sync(client.recv, 1000) == b"":
                raise AssertionError("it was turned away")
        assert len(serves._waiting) == len(waiting)
        assert (await ask(endpoint, "echo"))["pid"] == os.getpid()
        for client in waiting:
            client.close()
        with trio.fail_after(10):
            while serves._waiting:  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(0.05)  # until it is told something


async def test_there_is_an_end_of_waiting(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_WAITING", 2)
    async with serving(endpoint):
        waiting = [connect(endpoint) for _ in range(3)]
        answers = []
        for client in waiting:
            client.sendall(b'{"op": "tally", "to": 3, "seconds": 0.2}\n')
            answers.append(await trio.to_thread.run_sync(client.recv, 1000))
        assert [b"progress" in answer for answer in answers] == [True, True, False]
        assert b"2 programs wait" in answers[2]
        for client in waiting:
            client.close()


# Being attacked


@settings(deadline=None)  # of one answer; how long it takes is the machine's business
@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"\n", b" ")))
def test_any_line_gets_an_answer(line: bytes) -> None:
    async def answer() -> bytes:
        peer = Peer(pid=1, uid=2, gid=3)
        tell = Request(operation="", arguments={}, peer=peer).tell
        return await ControlServer(operations=OPERATIONS)._answer(line, peer, tell)

    assert json.loads(trio.run(answer))["ok"] in {True, False}


async def test_a_line_without_end_is_cut(endpoint: Endpoint) -> None:
    async with serving(endpoint):

        def flood() -> bytes:
            with connect(endpoint) as client:
                client.settimeout(10)
                with contextlib.suppress(OSError):
                    for _ in range(100):
                        client.sendall(b"x" * 65536)
                with contextlib.suppress(OSError):
                    return client.recv(1000)
            return b""

        said = await trio.to_thread.run_sync(flood)
        assert not said or b"longer than" in said
        assert await ask(endpoint, "echo")


async def test_a_client_that_dawdles_is_dropped(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINE_SECONDS", 0.2)
    async with serving(endpoint) as serves:

        def dawdle() -> float:
            begun = time.monotonic()
            with connect(endpoint) as client, contextlib.suppress(OSError):
                while time.monotonic() - begun < 5:
                    client.sendall(b" ")
                    time.sleep(0.05)
            return time.monotonic() - begun

        assert await trio.to_thread.run_sync(dawdle) < 2
        assert not serves._clients


async def test_a_newcomer_takes_the_place_of_the_one_silent_longest(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CLIENTS", 4)
    async with serving(endpoint) as serves:
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(connect(endpoint)) for _ in range(20)]
            assert await ask(endpoint, "echo")
            assert len(serves._clients) <= 4
            silent[0].settimeout(5)
            assert silent[0].recv(1) == b""


async def test_several_requests_on_one_connection(endpoint: Endpoint) -> None:
    async with serving(endpoint):

        def converse() -> list[bytes]:
            with connect(endpoint) as client:
                client.sendall(b'{"op": "echo"}\n{"op": "refuse"}\n{"op":')
                client.sendall(b' "echo"}\n')
                with client.makefile("rb") as replies:
                    return [replies.readline() for _ in range(3)]

        replies = await trio.to_thread.run_sync(converse)
        assert [json.loads(reply)["ok"] for reply in replies] == [True, False, True]


# How commands reach the user


def test_help_version_and_wrong_names_import_no_command() -> None:
    program = (
        "import sys\n"
        "from unionfs.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'trio', 'rich', 'httpx2', 'pyfuse3', 'zstandard', 'asyncio', 'subprocess'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "ours = {name for name in sys.modules if name.startswith('unionfs.cli.')}\n"
        "wanted = {'unionfs.cli.console', 'unionfs.cli.forked', 'unionfs.cli.group'}\n"
        "assert ours - {'unionfs.cli.habits'} == wanted, ours\n"
    )
    for arguments in (["-h"], ["mont"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_a_command_that_starts_no_daemon_imports_no_trio() -> None:
    program = (
        "import sys, unionfs.cli.commands.mount, unionfs.cli.commands.status\n"
        "assert not {'trio', 'rich', 'ssl', 'asyncio', 'pyfuse3'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_command_is_in_the_help_and_mine_are_real() -> None:
    said = CliRunner().invoke(group.main, ["-h"]).output
    for name, (_, text) in group.COMMANDS.items():
        assert f"  {name} " in said
        assert text in said
    for name in ("mount", "umount", "status"):
        shown = CliRunner().invoke(group.main, [name, "-h"])
        assert shown.exit_code == 0
        assert "Examples:" in shown.output


def test_wrong_usage_is_exit_status_2() -> None:
    done = CliRunner().invoke(group.main, ["mount", "--nonsense"])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "`pkgview mount -h` shows how it is used." in done.stderr


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (PkgviewError("it failed", remedy="Do this.\nOr that."), 1,
         "pkgview: it failed\n  Do this.\n  Or that.\n"),
        (PkgviewError("evil \x1b[2J"), 1, "pkgview: evil \\x1b[2J\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)  # fmt: skip
def test_ends_are_exit_statuses(
    monkeypatch: pytest.MonkeyPatch, failure: BaseException, status: int, said: str
) -> None:
    def fail(_: object) -> None:
        raise failure

    monkeypatch.setattr(command, "places_for", fail)
    done = CliRunner().invoke(group.main, ["status"])
    assert (done.exit_code, done.stderr, done.stdout) == (status, said, "")


def test_a_reader_that_has_enough_is_no_error() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    done = subprocess.run(
        [sys.executable, "-c", "from unionfs.cli import main; main()", "-h"],
        check=False, stdout=writable, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writable)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (console.size, 0, "0 B"),
        (console.size, 999, "999 B"),
        (console.size, 1500, "1.5 KB"),
        (console.size, 999_999, "1.0 MB"),
        (console.size, 119_600_000, "120 MB"),
        (console.duration, 0.04, "0.0 s"),
        (console.duration, 9.96, "10 s"),
        (console.duration, 59.7, "1 min"),
        (console.duration, 18_600, "5 h 10 min"),
        (console.duration, 183_600, "2 d 3 h"),
        (spelled, "a\udcff\nb", "a\\xff\\nb"),
    ],
)
def test_values_are_for_people(show: Callable[[Any], str], value: object, text: str) -> None:
    assert show(value) == text


def test_tables_are_aligned_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    console.table([("a", "10"), ("bcd\n", "9")], header=("name", "n"), right=" r")
    assert capsys.readouterr().out == "name    n\na      10\nbcd\\n   9\n"
