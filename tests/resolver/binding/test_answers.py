"""What is believed of a deputy's answer."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from resolver.binding.answers import LONGEST, Answer, AnsweredState, PathAnswer, read, write
from resolver.binding.rules import Binding, Candidate, Rule, decide
from resolver.caller.process import MOST_SHOWN, Ancestor, Caller, Identity
from resolver.caller.procfs import Cgroup, Image, Pid, StartTime
from resolver.errors import PkgviewError
from resolver.manifest import ViewId

if TYPE_CHECKING:
    from resolver.binding.rules import Bound

WHO = Identity(tgid=Pid(7), start_time=StartTime(70), image=Image(1, 2, 3))
OTHER = Identity(tgid=Pid(8), start_time=StartTime(80), image=Image(4, 5, 6))
VIEW, DEFAULT = ViewId("a" * 32), ViewId("d" * 32)
SEEN = Caller(
    identity=WHO,
    uid=1000,
    exe="/usr/bin/python3.11",
    is_interpreter=True,
    python="3.11",
    script="/home/u/p/run.py",
    command=b"c" * 16,
    program="python run.py",
    runs_script=True,
    started_here=True,
    cwd="/home/u/p",
    project="/home/u/\udcff",
)
ANSWER = Answer(
    seen=SEEN,
    directories={
        "/home/u/p": PathAnswer(root="/home/u/p", view=VIEW, agreed=True),
        "/home/u/\udcff": PathAnswer(),
    },
    scripts={"/home/u/p/run.py": PathAnswer(root="/home/u/p", view=VIEW)},
)


class Mount:
    """What root's mount knows."""

    def by_hand(self, caller: Caller) -> Binding | None:
        del caller
        return None

    def knows(self, view: ViewId) -> bool:
        return view == DEFAULT

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        raise AssertionError(f"root looks at {directory} for {uid}")

    def script_project(self, script: str, uid: int) -> Candidate | None:
        raise AssertionError(f"root looks at {script} for {uid}")

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        raise AssertionError(f"root looks at {project} for {python}")

    def default_view(self, python: str | None) -> ViewId | None:
        del python
        return DEFAULT


class Nothing:
    """No process was bound before."""

    def of(self, tgid: Pid, start_time: StartTime) -> Bound | None:
        del tgid, start_time
        return None


def decided(answer: Answer) -> Binding:
    known = Caller(identity=WHO, uid=1000)
    state = AnsweredState(answer, Mount(), lambda *_: None)
    return decide(answer.caller(known), state, Nothing())


def test_what_was_written_is_read() -> None:
    said = json.loads(json.dumps(write(ANSWER)))
    assert read(said, WHO) == replace(ANSWER, seen=replace(SEEN, uid=None))
    assert read(json.loads(json.dumps(write(Answer()))), WHO) == Answer()


def test_the_rules_hold_for_it() -> None:
    binding = decided(ANSWER)
    assert (binding.rule, binding.view, binding.project) == (Rule.SCRIPT, VIEW, "/home/u/p")
    assert decided(Answer()).view == DEFAULT
    refused = replace(
        ANSWER, scripts={}, directories={"/home/u/p": PathAnswer(root="/x", refused=True)}
    )
    refused = replace(refused, seen=replace(SEEN, runs_script=False))
    binding = decided(refused)
    assert (binding.rule, binding.view) == (Rule.DEFAULT, DEFAULT)
    assert binding.refused is not None
    shell = replace(SEEN, script=None, is_interpreter=False, runs_script=False)
    for agreed, rule in ((True, Rule.DIRECTORY), (False, Rule.DEFAULT)):
        told = {"/home/u/p": PathAnswer(root="/home/u/p", view=VIEW, agreed=agreed)}
        assert decided(replace(ANSWER, seen=shell, scripts={}, directories=told)).rule is rule
    unreadable = replace(
        ANSWER, seen=shell, scripts={}, directories={"/home/u/p": PathAnswer(unreadable=True)}
    )
    assert (decided(unreadable).rule, decided(unreadable).view) == (Rule.DIRECTORY, None)


def test_who_it_is_is_not_the_deputys_to_say() -> None:
    lie = replace(
        SEEN, identity=OTHER, uid=0, ancestors=(Ancestor(Pid(9), StartTime(9)),),
        cgroups=(Cgroup(controllers="", path="/theirs"),),
    )  # fmt: skip
    known = Caller(identity=WHO, uid=1000, ancestors=(Ancestor(Pid(1), StartTime(1)),))
    said = {**write(replace(ANSWER, seen=lie)), "uid": 0, "cgroups": ["/theirs"], "ancestors": [9]}
    caller = read(said, WHO).caller(known)
    assert caller == replace(SEEN, ancestors=known.ancestors)


def test_a_view_of_another_python_is_one_more_question() -> None:
    asked = []

    def ask(project: str, python: str | None) -> ViewId | None:
        asked.append((project, python))
        return VIEW

    state = AnsweredState(ANSWER, Mount(), ask)
    assert state.view_of("/home/u/p", "3.11") == VIEW
    assert asked == []
    assert state.view_of("/home/u/above", "3.12") == VIEW
    assert asked == [("/home/u/above", "3.12")]
    assert not state.knows(VIEW)


@pytest.mark.parametrize(
    "change",
    [
        {"exe": 1},
        {"exe": ["/x"]},
        {"exe": "/" + "x" * LONGEST},
        {"exe": "\ud800x"},
        {"exe": "/x\0y"},
        {"is_interpreter": "yes"},
        {"is_interpreter": None},
        {"command": "zz"},
        {"command": "00"},
        {"command": "00" * 4096},
        {"runs_from": "../../etc"},
        {"runs_from": "A" * 32},
        {"directories": None},
        {"directories": []},
        {"directories": {"/etc": PathAnswer()._asdict()}},
        {"directories": {"/home/u/p": []}},
        {"directories": {"/home/u/p": {}}},
        {"directories": {"/home/u/p": {**PathAnswer()._asdict(), "root": "relative"}}},
        {"directories": {"/home/u/p": {**PathAnswer()._asdict(), "view": "x" * 32}}},
        {"directories": {"/home/u/p": {**PathAnswer()._asdict(), "refused": 1}}},
        {"scripts": {"/home/u/p": PathAnswer()._asdict()}},
    ],
)
def test_what_no_honest_deputy_says_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one it is nobody asks
        read({**write(ANSWER), **change}, WHO)


@pytest.mark.parametrize("said", [None, [], "x", 7, {"exe": "/x"}, True])
def test_what_is_no_answer_is_refused(said: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        read(said, WHO)


def test_a_long_program_is_cut() -> None:
    found = read({**write(ANSWER), "program": "x" * LONGEST}, WHO)
    assert found.seen is not None
    assert len(os.fsencode(found.seen.program)) == MOST_SHOWN


def test_an_unreadable_project_says_nothing_of_what_is_in_it() -> None:
    state = AnsweredState(
        replace(ANSWER, directories={"/home/u/p": PathAnswer(unreadable=True)}),
        Mount(),
        lambda *_: None,
    )
    with pytest.raises(PkgviewError, match="cannot be read"):
        state.project_of("/home/u/p", 1000)
