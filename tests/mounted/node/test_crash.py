"""Node's `up`, killed at any moment and a hundred at once: links, lock and store stay whole.

As tests/mounted/test_crash.py has it for Python. `PKGVIEW_TEST_ALL=1` kills more often.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.test_crash import (
    EVERYTHING,
    PKGVIEW,
    begun,
    damage,
    emptied,
    mounts_below,
    orphans,
    temporaries,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.mounted.conftest import Site
    from tests.mounted.node.conftest import Registry

pytestmark = pytest.mark.fuse

KILLS = 60 if EVERYTHING else 8
AT_ONCE = 100 if EVERYTHING else 20


@pytest.fixture
def node_shop(shop: Site, needs: Callable[..., None], new_registry: Callable[[], Registry]) -> Site:
    """A home whose registry has a dozen packages, each of which needs the next one."""
    needs("node", "npm")
    registry = new_registry()
    for number in range(12):
        needed = {f"part{number + 1}": "1.0.0"} if number < 11 else {}
        files = {"index.js": f"module.exports = {number}\n", "data": "x" * 100_000}
        registry.publish(f"part{number}", "1.0.0", files, dependencies=needed)
    registry.publish("part11", "2.0.0", {"index.js": "module.exports = 'two'\n"})
    said = {"npm_config_registry": registry.url, "npm_config_update_notifier": "false"}
    return replace(shop, environ={**shop.environ, **said})


def project_in(site: Site, name: str) -> Path:
    directory = site.project(name)
    wanted = {"name": "project", "dependencies": {"part0": "1.0.0"}, "workspaces": ["m"]}
    (directory / "package.json").write_text(json.dumps(wanted))
    (directory / "m").mkdir()
    member = {"name": "m", "version": "1.0.0", "dependencies": {"part11": "2.0.0"}}
    (directory / "m/package.json").write_text(json.dumps(member))
    return directory


def links(directory: Path) -> list[Path]:
    return [directory / "node_modules", directory / "m/node_modules"]


def succeeds(site: Site, directory: Path, *options: str) -> str:
    """`up` after whatever it was; the view that it made."""
    said = site.pkgview("up", "--json", *options, cwd=directory)
    assert list(damage(site)) == []
    assert temporaries(site) == []
    answer = json.loads(said.stdout)
    shown = [os.readlink(path).partition("/views/")[2] for path in links(directory)]
    assert shown == [f"{answer['view']}/{end}" for end in
                     ("node_modules", ".pkgview/members/m/node_modules")]  # fmt: skip
    return str(answer["view"])


def test_killed_at_any_moment(node_shop: Site) -> None:
    site, dice = node_shop, random.Random(4)  # noqa: S311 - the same each time
    directory = project_in(site, "project")
    view = succeeds(site, directory, "--no-mount")
    lock = directory / "package-lock.json"
    text = lock.read_bytes()

    def fresh(*, locked: bool) -> None:
        emptied(site, directory)
        for path in links(directory):
            path.unlink(missing_ok=True)
        if not locked:
            lock.unlink(missing_ok=True)

    whole = {}
    for locked in (True, False):
        fresh(locked=locked)
        began = time.monotonic()
        site.run(PKGVIEW, "up", "--no-mount", cwd=directory)
        whole[locked] = time.monotonic() - began
    killed = 0
    for number in range(KILLS):
        locked = number % 4 != 0
        fresh(locked=locked)
        moment = whole[locked] * (number + dice.random()) / KILLS
        process = begun(site, directory, "up", "--no-mount")
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert not lock.exists() or lock.read_bytes() == text
        for path in links(directory):  # whole, or not there
            assert not os.path.lexists(path) or view in os.readlink(path)
        assert succeeds(site, directory, "--no-mount") == view, f"killed after {moment:.3f} s"
    assert killed > KILLS / 4
    until(lambda: not orphans(site))
    assert temporaries(site, orphaned=False) == []
    assert succeeds(site, directory) == view
    said = site.run("node", "-p", "require('part0'), require('part11')", cwd=directory)
    assert said.stdout == "11\n"
    assert site.run("node", "-p", "require('part11')", cwd=directory / "m").stdout == "two\n"


def at_once(site: Site, directories: Sequence[Path]) -> set[str]:
    """A hundred `up` at once; the views that they say."""

    def up(number: int) -> str:
        said = site.pkgview("up", "--json", cwd=directories[number % len(directories)])
        assert "Traceback" not in said.stderr
        return str(json.loads(said.stdout)["view"])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return set(threads.map(up, range(AT_ONCE)))


def test_a_clone_killed_at_any_moment(node_shop: Site) -> None:
    """What is known of it is used by one process, which is killed, or by several at once."""
    site, dice = node_shop, random.Random(5)  # noqa: S311 - the same each time
    first = project_in(site, "project")
    succeeds(site, first)

    def cloned(name: str) -> Path:
        ignored = shutil.ignore_patterns("node_modules")
        return Path(shutil.copytree(first, site.home / name, ignore=ignored))

    began = time.monotonic()
    clone = cloned("whole")
    site.run(PKGVIEW, "up", cwd=clone)
    whole = time.monotonic() - began
    killed = 0
    for number in range(KILLS):
        clone = cloned(f"clone{number}")
        moment = whole * (number + dice.random()) / KILLS
        process = begun(site, clone, "up")
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        shown = [os.readlink(path) for path in links(clone) if os.path.lexists(path)]
        view = succeeds(site, clone)
        assert all(view in one for one in shown), f"killed after {moment:.3f} s"
    assert killed > KILLS / 4
    clones = [cloned(f"other{number}") for number in range(3)]
    with ThreadPoolExecutor(9) as threads:
        done = list(threads.map(lambda one: site.run(PKGVIEW, "up", cwd=one), clones * 3))
    assert not any("Traceback" in one.stderr for one in done)
    assert len({succeeds(site, clone) for clone in clones}) == 3
    for clone in clones:
        assert site.run("node", "-p", "require('part11')", cwd=clone / "m").stdout == "two\n"


def test_a_hundred_at_once(node_shop: Site) -> None:
    """In one project whose lock is there, and in ten clones of it."""
    site = node_shop
    first = project_in(site, "project")
    site.pkgview("up", "--no-mount", cwd=first)
    emptied(site, first)
    for path in links(first):
        path.unlink()
    (view,) = at_once(site, [first])
    assert succeeds(site, first) == view
    assert len(mounts_below(site)) == 1
    clones = [site.home / f"clone{number}" for number in range(10)]
    for clone in clones:
        shutil.copytree(first, clone, ignore=shutil.ignore_patterns("node_modules"))
    views = at_once(site, clones)
    assert len(views) == 10, "each leads to directories of its own"
    assert {succeeds(site, clone) for clone in clones} == views
    archives = json.loads(site.pkgview("store", "--json", cwd=first).stdout)["archives"]
    assert len([one for one in archives if one["archive"].startswith("part")]) == 13
    for clone in clones:
        assert site.run("node", "-p", "require('part0')", cwd=clone).stdout == "0\n"
