"""A fault at every system call of `pkgview up` in turn: killed, no room, no quota, a broken disk.

After each the store verifies, what was said is a sentence, the next `up` makes the view that an
undisturbed one makes, and nothing is left over. faults.c says what a fault is.

`PKGVIEW_TEST_ALL=1` takes every call, some minutes; else each kind of fault has `POINTS` of them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resolver.manifest import ViewId
from tests.mounted.test_crash import damage, emptied, temporaries
from unionfs.store.local import Store
from unionfs.view.catalog import read_manifest
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

POINTS = 16
EVERYTHING = os.environ.get("PKGVIEW_TEST_ALL") == "1"

LOOK, CHANGE, GROW, MOVE = range(4)

FAULTS = {
    "killed": ("k", 0, CHANGE),
    "torn": ("t", 0, CHANGE),
    "short": ("s", 0, MOVE),
    "full": ("l", errno.ENOSPC, GROW),
    "quota": ("o", errno.EDQUOT, GROW),
    "broken": ("o", errno.EIO, LOOK),
}
"""What is armed: kind, errno, and which calls are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A project with a lock, the files of its wheels, and who runs `up` there with faults."""

    site: Site
    directory: Path
    wheels: Mapping[str, Mapping[str, bytes]]
    process: subprocess.Popen[str]

    def run(self, *arguments: str, **more: object) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        asked = {"arguments": arguments, "directory": os.fspath(self.directory), **more}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer["status"] is not None, f"it waits for ever: {answer}"
        return answer

    def up(self, fault: str = "", at: int = 0, *, least: int = LOOK) -> dict[str, Any]:
        """`up`, with a fault at that call; without, all that do at least that are named."""
        kind, number, least = FAULTS.get(fault, ("n", 0, least))
        arm = (os.fspath(self.site.home), kind, number, least, at)
        return self.run("up", "--no-mount", "--json", os.fspath(self.directory), arm=arm)


@pytest.fixture
def ground(shop: Site, index: Index, tmp_path: Path) -> Iterator[Ground]:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    here = Path(__file__).parent
    library = tmp_path / "faults.so"
    subprocess.run(
        ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, here / "faults.c"],
        check=True,
    )
    same = b"what both have\n" * 100
    wheels = {
        "alpha": {"alpha/__init__.py": b"", "alpha/same": same, "alpha/data": os.urandom(90_000)},
        "beta": {"beta/__init__.py": b"", "beta/same": same, "beta/own": os.urandom(2_000)},
    }
    for name, files in wheels.items():
        index.wheel(name, files=files, scripts=[f"{name}=json:dumps"])
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\nbeta\n")
    shop.pkgview("lock", "--python", shop.python, cwd=directory)
    process = subprocess.Popen(
        [sys.executable, "-P", here / "faults.py"],
        cwd=here.parents[1], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**shop.environ, "LD_PRELOAD": os.fspath(library), "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    with process:
        made = Ground(site=shop, directory=directory, wheels=wheels, process=process)
        assert made.run("up", "--no-mount", modules=True)["status"] == 0
        yield made
        assert process.stdin
        process.stdin.close()


def spread(count: int) -> list[int]:
    """Which of so many calls get a fault: all, or `POINTS` of them evenly."""
    if EVERYTHING or count <= POINTS:
        return list(range(1, count + 1))
    return [1 + number * (count - 1) // (POINTS - 1) for number in range(POINTS)]


def unclear(site: Site, said: dict[str, Any]) -> Iterator[str]:
    """What is wrong with how a run ended that was not killed."""
    if said["status"] == 0:
        return
    lines: list[str] = ["", *said["stderr"].splitlines()]
    what, remedy = lines[-2:]
    named = os.fspath(site.home) in what or "'" in what
    if said["status"] != 1 or "Traceback" in said["stderr"]:
        yield f"it ended with {said['status']}: {said['stderr']}"
    elif not (what.startswith("pkgview: ") and named and remedy.startswith("  ")):
        yield f"no sentence that names something, or no remedy: {said['stderr']}"


def wrong(ground: Ground, view: str, *, parts: bool = False) -> Iterator[str]:
    """What is wrong with store, view and registry after an `up` that went well.

    `parts`: of a download the shared name may be left, which is kept for some days.
    """
    site = ground.site
    if temporaries(site, orphaned=False):
        ground.run("gc")
    for left in temporaries(site, orphaned=False):
        if not (parts and left.endswith(".part")):
            yield f"{left} is left"
    if not os.readlink(ground.directory / ".venv").endswith(view):
        yield "the link leads elsewhere"
    yield from damage(site)
    store = Store(site.places.store)
    archives = {
        layer.name: store.open(layer.archive)
        for layer in read_manifest(site.places, ViewId(view)).layers
    }
    for name, files in ground.wheels.items():
        for path, content in files.items():
            number = archives[name].find(b"purelib/" + path.encode())
            if number is None or archives[name].read(number, 0, len(content) + 1) != content:
                yield f"{path} has other bytes"
    registry = Registry(site.places.state / "registry.sqlite3")
    yield from untrue(registry, store)
    registry.close()


def untrue(registry: Registry, store: Store) -> Iterator[str]:
    """Files that the registry says are known as others, with other bytes."""
    archives = {number: store.open(name) for number, name, _ in registry.archives()}
    for number, archive in archives.items():
        for entry, copies in registry.copies(number).items():
            for other, twin in copies:
                if archives[other].digest(twin) != archive.digest(entry):
                    yield f"{archive.path_of(entry)!r} is known as other bytes"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_call(ground: Ground, fault: str) -> None:
    site, directory = ground.site, ground.directory
    emptied(site, directory)
    undisturbed = ground.up(least=FAULTS[fault][2])
    view = json.loads(undisturbed["stdout"])["view"]
    assert temporaries(site, orphaned=False) == []
    assert list(wrong(ground, view)) == []
    calls = len(undisturbed["met"].splitlines())
    bad: list[str] = []
    ended = Counter[int]()
    for at in spread(calls):
        emptied(site, directory)
        said = ground.up(fault, at)
        ended[said["status"]] += 1
        found = list(damage(site))
        if said["status"] != -signal.SIGKILL:
            found += unclear(site, said)
        after = ground.up()
        if after["status"] or json.loads(after["stdout"])["view"] != view:
            found.append(f"the next one: {after['stdout']}{after['stderr']}")
        else:
            found += wrong(ground, view, parts=fault == "broken")
        bad += [f"{fault} at {at}, {said['met'].strip()}: {problem}" for problem in found]
    assert not bad, "\n".join(bad)
    # The faults came: all but the last ones, since no two runs make as many calls.
    assert calls > 100
    if fault in {"killed", "torn"}:
        assert ended[-signal.SIGKILL] > 0.9 * ended.total()
    elif fault == "short":
        assert ended == {0: ended.total()}
    else:  # much of what is looked at may be missing, or unreadable
        assert ended[1] > ended.total() / 4
