"""Killed at any moment, out of room at any moment, many at once: the next `up` succeeds.

Whatever a run left, after the next one the store verifies, no temporary files are there, and the
view is the one that an undisturbed run makes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unionfs import mounts
from unionfs.rendezvous import rendezvous

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")

REAL = "click\nflask\nidna\nitsdangerous\nnumpy\npackaging\nrequests\nsix\nurllib3\nwerkzeug\n"

KILLS = 32
"""Of a run from a local index, where a run takes a second."""

REAL_KILLS = 8


def temporaries(site: Site) -> list[str]:
    """What only a run that goes on may have."""
    found = []
    for directory, directories, files in os.walk(site.home):
        if Path(directory) == site.home / ".cache":
            directories.remove("uv")  # uv's own affair
        for name in (*directories, *files):
            here = Path(directory, name).relative_to(site.home)
            if here.parts[0] == "tmp" and name.startswith("uv-"):
                continue
            if here.parts[0] == "tmp" or "tmp-" in name or name.endswith(".part"):
                found.append(str(here))
            elif name.startswith(("fetch-", "build-")) or name == ".venv.pkgview-new":
                found.append(str(here))
    return found


def begun(
    site: Site, directory: Path, *arguments: str, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, PKGVIEW, *arguments], cwd=directory, env=site.environ, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def killed_after(site: Site, directory: Path, seconds: float) -> bool:
    """Begin `up`, and kill all of it after a while; whether that came in time."""
    process = begun(site, directory, "up", "--no-mount")
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def succeeds(site: Site, directory: Path) -> str:
    """`up` after whatever it was; the view that it made."""
    said = site.run(PKGVIEW, "up", "--no-mount", "--json", cwd=directory)
    verified = site.run(PKGVIEW, "store", "--verify", cwd=directory)
    assert "every archive is what its name says" in verified.stdout
    assert temporaries(site) == []
    answer = json.loads(said.stdout)
    assert os.readlink(directory / ".venv").endswith(answer["view"])
    return str(answer["view"])


def emptied(site: Site, directory: Path) -> None:
    """As at the first time; interpreters stay known, since asking them is not what takes long."""
    for place in (site.places.store, site.places.cache, directory / ".venv"):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(place) if not place.is_symlink() else place.unlink()
    for place in site.places.state.iterdir():
        if place.name == "registry.sqlite3":
            place.unlink()
        elif place.is_dir() and place.name != "interpreters":
            shutil.rmtree(place)


def populated(index: Index, *, size: int) -> str:
    """A dozen wheels and an sdist, the largest of `size` bytes; the requirements that name them."""
    names = [f"part{number}" for number in range(12)]
    for number, name in enumerate(names):
        index.wheel(
            name,
            files={
                f"{name}/__init__.py": b"shared = 1\n",
                f"{name}/data.bin": os.urandom(size if number == 0 else 20_000),
            },
            requires=[] if number == 0 else [f"part{number - 1}"],
            scripts=[f"{name}=json:dumps"],
        )
    return "".join(f"{name}\n" for name in names)


def killed_at_all_moments(site: Site, directory: Path, count: int, dice: random.Random) -> None:
    began = time.monotonic()
    view = succeeds(site, directory)
    whole = time.monotonic() - began
    killed = 0
    for number in range(count):
        emptied(site, directory)
        # Spread over a run's length; by chance within each piece.
        moment = whole * (number + dice.random()) / count
        killed += killed_after(site, directory, moment)
        if number % 3 == 0:  # and once more, into what the first one left
            killed += killed_after(site, directory, whole * dice.random())
        assert succeeds(site, directory) == view, f"killed after {moment:.3f} s"
    assert killed > count / 2


def test_killed_at_any_moment(shop: Site, index: Index) -> None:
    directory = shop.project("project")
    (directory / "requirements.txt").write_text(populated(index, size=8 << 20))
    killed_at_all_moments(shop, directory, KILLS, random.Random(1))


@pytest.mark.network
@pytest.mark.slow
def test_killed_at_any_moment_with_real_distributions(real: Site) -> None:
    directory = site.project("killed")
    (directory / "requirements.txt").write_text(REAL)
    for place in (site.places.store, site.places.cache):
        assert not place.exists(), "this test empties its home"
    killed_at_all_moments(site, directory, REAL_KILLS, random.Random(2))
