"""Many `pkgview up` at once, by two users who write one store: docs/store.md, "Several users".

With `PKGVIEW_TEST_ALL=1` two hundred of them, else twelve.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

COUNT = 200 if os.environ.get("PKGVIEW_TEST_ALL") == "1" else 12
PATIENCE = 200.0 + 3 * COUNT
"""Seconds after which one waits for ever."""

LOOK = """
import hashlib, json, os, sys
found = {}
for project in sys.argv[1:]:
    top = project + "/.venv/site-packages"
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
print(json.dumps(found))
"""
"""Every file of these projects' views, as its user sees it."""


@dataclass(eq=False, frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a home of their own; `options` are `subprocess`'s."""

    home: Path
    pkgview: tuple[str, ...]
    options: Mapping[str, Any]

    def begin(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.pkgview, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, **self.options,
        )  # fmt: skip

    def run(self, *command: str | Path) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE, **self.options
        )
        assert done.returncode == 0, done
        said: str = done.stdout
        return said


@pytest.fixture
def users(shop: Site, ordinary: dict[str, Any]) -> Iterator[tuple[User, User]]:
    """Root and nobody, whose store is the same."""
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    nobody = {**ordinary, "env": {**ordinary["env"], "UV_DEFAULT_INDEX": "", "NO_COLOR": "1"}}
    probe = [python, "-c", "import pyfuse3"]
    if not Path(python).exists() or subprocess.run(probe, check=False, **nobody).returncode:
        pytest.skip("no interpreter with pkgview's dependencies that nobody may run")
    team = Path(tempfile.mkdtemp(prefix="pkgview-team-"))
    team.chmod(0o755)
    store = team / "pkgview/store"
    store.mkdir(parents=True)
    store.chmod(0o3777)
    home = Path(nobody["env"]["HOME"])
    nobody["env"]["XDG_DATA_HOME"] = os.fspath(team)
    root = {"cwd": "/", "env": {**shop.environ, "XDG_DATA_HOME": os.fspath(team)}}
    main = (python, "-P", "-c", "from unionfs.cli import main; main()")
    try:
        yield (
            User(
                home=shop.home,
                pkgview=(os.fspath(Path(sys.executable).with_name("pkgview")),),
                options=root,
            ),
            User(home=home, pkgview=main, options=nobody),
        )
    finally:
        shutil.rmtree(team)


def wheels(index: Index) -> dict[str, dict[str, bytes]]:
    """A dozen distributions that have some files in common."""
    dice = random.Random(7)  # noqa: S311 - the same each time
    found = {}
    for number in range(12):
        name = f"part{number}"
        found[name] = {
            f"{name}/__init__.py": b"shared = 1\n",
            f"{name}/same.bin": b"the same in all of them\n" * 4000,
            f"{name}/own.bin": dice.randbytes(150_000 + 20_000 * number),
        }
        index.wheel(name, files=found[name], scripts=[f"{name}=json:dumps"])
    return found


Projects = dict[User, list[tuple[Path, list[str]]]]
"""What each has: directories, and which distributions are listed there."""


def peopled(shop: Site, users: tuple[User, User], names: list[str]) -> Projects:
    """Half as many projects as there will be runs; eight locks among all of them."""
    dice = random.Random(8)  # noqa: S311 - the same each time
    locks = []
    for number in range(8):
        made = shop.project(f"lock{number}")
        chosen = dice.sample(names, 3 + number % 5)
        (made / "requirements.txt").write_text("\n".join(chosen) + "\n")
        shop.pkgview("lock", "--python", shop.python, cwd=made)
        locks.append((chosen, made / "pylock.toml"))
    projects: Projects = {user: [] for user in users}
    for user, number in itertools.product(users, range(COUNT // 4)):
        chosen, lock = locks[number % len(locks)]
        directory = user.home / f"project{number}"
        directory.mkdir()
        shutil.copy(lock, directory)
        for path in (directory, directory / "pylock.toml"):
            os.chown(path, user.options.get("user", 0), user.options.get("group", 0))
        projects[user].append((directory, chosen))
    return projects


def storm(projects: Projects) -> None:
    """Two runs in each project and some that are killed, all at once; every other one ends well."""
    dice = random.Random(9)  # noqa: S311 - the same each time
    began = time.monotonic()
    running = [
        (directory, user.begin("up", "--json", directory))
        for _ in range(2)
        for number in range(COUNT // 4)
        for user in projects
        for directory, _ in [projects[user][number]]
    ]
    for user, number in itertools.product(projects, range(COUNT // 10)):
        with user.begin("up", projects[user][number][0]) as victim:
            time.sleep(dice.uniform(0.05, 0.5))
            victim.kill()
    views: dict[Path, str] = {}
    try:
        for directory, process in running:
            left = max(1, PATIENCE - time.monotonic() + began)
            stdout, stderr = process.communicate(timeout=left)
            assert process.returncode == 0, (directory, stderr)
            view = json.loads(stdout)["view"]
            assert views.setdefault(directory, view) == view
    finally:
        for _, process in running:
            process.kill()
            process.communicate()


@pytest.mark.timeout(1200)
def test_many_at_once_by_two_users(shop: Site, index: Index, users: tuple[User, User]) -> None:
    content = wheels(index)
    projects = peopled(shop, users, sorted(content))
    storm(projects)
    for user, own in projects.items():
        assert "every archive" in user.run(*user.pkgview, "store", "verify")
        user.run(*user.pkgview, "gc")
        program = ("/usr/bin/python3", "-I", "-c", LOOK)
        seen = json.loads(user.run(*program, *(directory for directory, _ in own)))
        for directory, names in own:
            for inside, data in (file for name in names for file in content[name].items()):
                digest = seen.pop(f"{directory}/.venv/site-packages/{inside}")
                assert digest == hashlib.sha256(data).hexdigest(), (directory, inside)
        assert [path for path in seen if "/part" in path and ".dist-info" not in path] == []
    store = Path(users[0].options["env"]["XDG_DATA_HOME"]) / "pkgview/store"
    needed = {name for own in projects.values() for _, names in own for name in names}
    archives = sorted(name.split("-")[0] for name in os.listdir(store / "archives"))
    assert archives == sorted([*needed, *2 * ["skeleton"]])  # each once, and nothing is left over
    assert len(os.listdir(store / "users")) == 2
