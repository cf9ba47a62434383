"""What a binding costs: one round trip a path walk, one look a process, and nothing below the link.

Counted here; `scripts/bench/bindings` says how long it takes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.conftest import Stage

pytestmark = [pytest.mark.fuse, pytest.mark.alone]

UNAWAITED = {"RELEASE", "RELEASEDIR", "FORGET"}
WALKS = 40


@pytest.fixture
def red(stage: Stage) -> Path:
    directory = stage.project("red")
    stage.up(directory, stage.view("red"))
    return directory


def asked(stage: Stage, action: Callable[[], object]) -> dict[str, int]:
    """What an action makes the kernel ask and wait for."""
    before = stage.ask("status")["requests"]
    action()
    after = stage.ask("status")["requests"]
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in grown.items() if count and name not in UNAWAITED}


def looks(stage: Stage, action: Callable[[], object]) -> int:
    """How often an action makes the daemon look at a process."""
    before: int = stage.ask("status")["looks"]
    action()
    after: int = stage.ask("status")["looks"]
    return after - before


@pytest.mark.parametrize("below", ["", "/pyvenv.cfg", "/bin/python"])
def test_a_walk_costs_one_round_trip(stage: Stage, red: Path, below: str) -> None:
    asker = stage.start(cwd=red)
    path = f"{stage.places.mount}/current{below}"
    asker.say("stat", path, 2)
    # bin/python is itself a link in the view, which the kernel may not keep on this transport.
    links = 2 if below == "/bin/python" else 1
    assert asked(stage, lambda: asker.say("stat", path, WALKS)) == {"READLINK": WALKS * links}
    asker.end()


def test_below_the_link_nothing_is_asked(stage: Stage, red: Path) -> None:
    asker = stage.start(cwd=red)
    view = f"{stage.places.mount}/views/{asker.link()}"
    for path in (f"{view}/pyvenv.cfg", f"{view}/lib", f"{view}/no"):
        asker.say("stat", path, 2)
        assert asked(stage, lambda path=path: asker.say("stat", path, WALKS)) == {}  # type: ignore[misc]
    # From a directory of the view, too, the link is not walked again.
    assert asker.say("cd", f"{stage.places.mount}/current/lib") == "ok"
    asker.say("stat", "../pyvenv.cfg", 2)
    assert asked(stage, lambda: asker.say("stat", "../pyvenv.cfg", WALKS)) == {}
    asker.end()


def test_an_interpreter_is_looked_at_once(stage: Stage, red: Path) -> None:
    asker = stage.start(cwd=red, command=stage.command(stage.script))
    assert looks(stage, asker.link) == 1

    def everything() -> None:
        for way in ("link", "thread", "link", "thread"):
            asker.link(way)
        asker.say("cd", stage.home / "nowhere")
        asker.link()
        stage.up(red, stage.view("another"))
        asker.link()

    assert looks(stage, everything) == 0
    asker.exec(*stage.command(stage.script))
    assert looks(stage, asker.link) == 1
    asker.end()


def test_a_shell_is_looked_at_when_it_went_somewhere(stage: Stage, red: Path) -> None:
    asker = stage.start(cwd=red)
    # In one go, since a second later it is looked at afresh.
    assert looks(stage, lambda: asker.say("time", WALKS, 0)) == 1
    asker.say("cd", stage.home / "nowhere")
    assert looks(stage, lambda: asker.say("time", WALKS, 0)) == 1
    stage.ask("refresh")
    assert looks(stage, lambda: asker.say("time", WALKS, 0)) == 1
    asker.end()


def test_those_who_ask_at_once_share_a_look(stage: Stage, red: Path) -> None:
    asker = stage.start(cwd=red, command=stage.command(stage.script))
    assert looks(stage, lambda: asker.say("threads", 16)) == 1
    asker.end()


def test_each_new_process_costs_one_look(stage: Stage, red: Path) -> None:
    asker = stage.start(cwd=red)
    requests: dict[str, int] = {}

    def storm() -> None:
        requests.update(asked(stage, lambda: asker.say("storm", 200, 20)))

    assert looks(stage, storm) == 200
    assert requests == {"READLINK": 200}
    asker.end()


def test_status_says_what_looking_took(stage: Stage, red: Path) -> None:
    before = stage.ask("status")
    asker = stage.start(cwd=red)
    asker.link()
    after = stage.ask("status")
    assert after["looks"] == before["looks"] + 1
    assert 0 < after["look_seconds"] - before["look_seconds"] < os.cpu_count() + 1  # type: ignore[operator]
    asker.end()
