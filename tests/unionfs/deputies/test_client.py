"""Deputies that do not behave: killed, silent, endless, or talking nonsense."""

from __future__ import annotations

import os
import socket
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from resolver.binding.observer import TIME_LIMIT, OwnEyes, Seen
from resolver.caller.process import identity
from resolver.caller.procfs import Absence, Account, Pid, Status, Tid
from tests.resolver.binding.test_answers import DEFAULT, Mount
from unionfs.deputies import client as module
from unionfs.deputies.client import Deputies, DeputyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

THEM = Account(61009, 61009)

NURSERY = """
import json, os, socket, sys, time
nursery = socket.socket(fileno=0)
while True:
    order, (channel,), *_ = socket.recv_fds(nursery, 65536, 1)
    channel = socket.socket(fileno=channel)
    while True:
        data, ends, *_ = socket.recv_fds(channel, 65536, 1)
        if not data:
            break
        question = json.loads(data)
        end = socket.socket(fileno=ends[0])
        {answer}
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Deputies]]:
    """Deputies that answer with these lines."""
    made = []

    def make(answer: str) -> Deputies:
        program = tmp_path / "nursery.py"
        program.write_text(NURSERY.replace("{answer}", textwrap.indent(answer, " " * 8).strip()))
        monkeypatch.setattr(module, "COMMAND", (sys.executable, "-I", "-S", str(program)))
        deputies = Deputies(OwnEyes(Mount(), tmp_path / "mount"))
        made.append(deputies)
        return deputies

    yield make
    for deputies in made:
        deputies.close()


def test_an_answer_is_what_was_said(hostile: Callable[[str], Deputies]) -> None:
    deputies = hostile("end.send(data); end.close()")
    assert deputies.patience(THEM.uid) == module.START_LIMIT
    assert deputies.ask(THEM, {"look": 1}) == {"look": 1}
    assert deputies.patience(THEM.uid) == TIME_LIMIT


@pytest.mark.parametrize(
    "answer",
    [
        "end.close()",
        "os._exit(1)",
        "end.send(b'{'); end.close()",
        "end.send(b'[' * 100_000); end.close()",
        "end.send(b'\\xff'); end.close()",
        "end.send(bytes(200_000)); end.close()",
    ],
)
def test_nonsense_is_no_answer(hostile: Callable[[str], Deputies], answer: str) -> None:
    deputies = hostile(answer)
    with pytest.raises(DeputyError):
        deputies.ask(THEM, {"look": 1})
    with pytest.raises(DeputyError):
        deputies.ask(THEM, {"look": 1})


def test_who_does_not_answer_is_not_waited_for(
    hostile: Callable[[str], Deputies], monkeypatch: pytest.MonkeyPatch
) -> None:
    deputies = hostile("time.sleep(60)")
    monkeypatch.setattr(module, "START_LIMIT", 0.2)
    began = time.monotonic()
    with pytest.raises(DeputyError, match="in time"):
        deputies.ask(THEM, {"look": 1})
    assert time.monotonic() - began < 30
    # It takes what comes until it is full, and then it is not waited for either.
    monkeypatch.setattr(module, "START_LIMIT", 0.0)
    for _ in range(1000):
        with pytest.raises(DeputyError):
            deputies.ask(THEM, {"look": 1})


def test_one_that_ended_is_begun_anew(hostile: Callable[[str], Deputies]) -> None:
    deputies = hostile(
        "end.send(b'1'); end.close(); channel.close(); break"
    )  # the way of one that was idle
    for _ in range(5):
        assert deputies.ask(THEM, {"look": 1}) == 1


def test_a_nursery_that_cannot_be_is_an_error(
    hostile: Callable[[str], Deputies], monkeypatch: pytest.MonkeyPatch
) -> None:
    deputies = hostile("")
    monkeypatch.setattr(module, "COMMAND", ("/nonexistent",))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, pytest.raises(DeputyError, match="cannot be started"):
        deputies.put(THEM, {}, theirs)
    assert theirs.fileno() == -1


def test_nobody_hands_over_what_nobody_named(hostile: Callable[[str], Deputies]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, pytest.raises(DeputyError):
        hostile("").hand(THEM.uid, DEFAULT, theirs)
    assert theirs.fileno() == -1


def test_a_liar_costs_its_own_user_the_default(
    hostile: Callable[[str], Deputies], monkeypatch: pytest.MonkeyPatch
) -> None:
    tid = Tid(os.getpid())
    who = identity(tid)
    assert not isinstance(who, Absence)
    theirs = Status(tgid=who.tgid, ppid=Pid(os.getppid()), account=THEM)
    monkeypatch.setattr(module, "read_status", lambda _: theirs)
    seen = hostile("""end.send(b'{"cwd": "/etc", "directories": {}}'); end.close()""").see(tid, who)
    assert isinstance(seen, Seen)
    assert (seen.caller.uid, seen.caller.cwd, seen.caller.script) == (THEM.uid, None, None)
    assert seen.caller.ancestors


def test_the_daemons_own_user_needs_no_deputy(hostile: Callable[[str], Deputies]) -> None:
    tid = Tid(os.getpid())
    who = identity(tid)
    assert not isinstance(who, Absence)
    seen = hostile("end.close()").see(tid, who)
    assert isinstance(seen, Seen)
    assert seen.caller.cwd == os.getcwd()  # noqa: PTH109 - as text
    assert seen.caller.uid == os.geteuid()
