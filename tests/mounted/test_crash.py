"""Killed at any moment, out of room at any moment, many at once: the next `up` succeeds.

Whatever a run left, after the next one the store verifies, no temporary files are there, and the
view is the one that an undisturbed run makes. `PKGVIEW_TEST_ALL=1` kills more often.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unionfs.archive.layer import LayerError
from unionfs.mounting import mounts
from unionfs.store.local import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from resolver.places import Places
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")

REAL = "click\nflask\nidna\nitsdangerous\nnumpy\npackaging\nrequests\nsix\nurllib3\nwerkzeug\n"

EVERYTHING = os.environ.get("PKGVIEW_TEST_ALL") == "1"

KILLS = 32 if EVERYTHING else 6
"""Of a run from a local index, where a run takes a second. At every call: test_faults.py."""

ROOMS = 12 if EVERYTHING else 6
"""Sizes of a disk that a run fills, from nothing to enough."""

REAL_KILLS = 8 if EVERYTHING else 2


def temporaries(site: Site, *, orphaned: bool = True) -> list[str]:
    """What only a run that goes on may have; `orphaned`: but for what a killed run's uv made."""
    found = []
    for directory, directories, files in os.walk(site.home):
        if Path(directory) == site.home / ".cache":
            directories[:] = [name for name in directories if name != "uv"]  # uv's own affair
        for name in (*directories, *files):
            here = Path(directory, name).relative_to(site.home)
            if str(here) == "tmp" or name.startswith("uv-"):
                continue
            if orphaned and here.is_relative_to(".local/state/pkgview/locks"):
                continue
            if (
                here.parts[0] == "tmp"
                or "tmp-" in name
                or name.startswith(("fetch-", "build-"))
                or name.endswith(".part")
                or ".pkgview-" in name
            ):
                found.append(str(here))
    return found


def orphans(site: Site) -> list[int]:
    """Processes that still work in that home."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdecimal()
                and os.fsencode(site.home) in (entry / "cmdline").read_bytes()
            ):
                found.append(int(entry.name))
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


def damage(site: Site) -> Iterator[str]:
    """What `pkgview store verify` would find."""
    store = Store(site.places.store)
    for name in store.names():
        try:
            store.verify(name)
        except LayerError as error:
            yield str(error)


def succeeds(site: Site, directory: Path) -> str:
    """`up` after whatever it was; the view that it made."""
    said = site.pkgview("up", "--no-mount", "--json", cwd=directory)
    assert list(damage(site)) == []
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
    view = succeeds(site, directory)
    emptied(site, directory)
    began = time.monotonic()
    site.run(PKGVIEW, "up", "--no-mount", cwd=directory)
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
    # A uv that outlived its run may have put its lock down later. Any run that locks sweeps it.
    other = site.project("other")
    (other / "requirements.txt").write_text("")
    until(lambda: not orphans(site))
    site.pkgview("up", "--no-mount", cwd=other)
    assert temporaries(site, orphaned=False) == []


@pytest.mark.slow
def test_killed_at_any_moment(shop: Site, index: Index) -> None:
    directory = shop.project("project")
    (directory / "requirements.txt").write_text(populated(index, size=8 << 20))
    killed_at_all_moments(shop, directory, KILLS, random.Random(1))  # noqa: S311 - the same each time


@pytest.fixture
def real(shop: Site) -> Site:
    """The same home, with the index that this machine is set up for."""
    theirs = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
    ours = {name: value for name, value in shop.environ.items() if not name.startswith("UV_")}
    ours.pop("PIP_CONFIG_FILE")
    return replace(shop, environ={**ours, **theirs})


@pytest.mark.network
@pytest.mark.slow
def test_killed_at_any_moment_with_real_distributions(real: Site) -> None:
    directory = real.project("project")
    (directory / "requirements.txt").write_text(REAL)
    killed_at_all_moments(real, directory, REAL_KILLS, random.Random(2))  # noqa: S311 - the same each time


# A full disk


FULL = """
mount --make-rprivate /
mount -t tmpfs -o size=$1,mode=755 none "$2"
shift; room="$1"; shift
"$@" up --no-mount; echo "first $?"
mount -o remount,size=64m "$room"
"$@" up --no-mount --json > "$room/said"; echo "second $?"
"$@" store verify | tail -n 1
echo "left $(find "$room" -name '*tmp-*' -o -name 'fetch-*' -o -name 'build-*' | tr '\\n' ' ')"
grep '"view"' "$room/said"
"""


def test_out_of_room_at_any_moment(shop: Site, index: Index) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text(populated(index, size=1 << 20))
    view = succeeds(shop, directory)
    room = shop.home / "room"
    room.mkdir()
    kinds = ("data", "state", "cache")
    environ = {f"XDG_{kind.upper()}_HOME": os.fspath(room / kind) for kind in kinds}
    dice = random.Random(3)  # noqa: S311 - the same each time
    refusals = set()
    for number in range(ROOMS):
        size = int(8192 + (4 << 20) * ((number + dice.random()) / ROOMS) ** 2)
        command = ("unshare", "-m", "sh", "-c", FULL, "sh", str(size), room, PKGVIEW)
        said = shop.run(*command, cwd=directory, environ=environ)
        lines = said.stdout.splitlines()
        assert "Traceback" not in said.stderr, said.stderr
        assert (lines[1], lines[3]) == ("second 0", "left "), said
        assert lines[2].startswith("every archive is what its name says"), said
        assert view in lines[4]
        if lines[0] != "first 0":
            assert lines[0] == "first 1"
            assert said.stderr.startswith("pkgview: ")
            refusals.add(said.stderr.split(":")[1])
    assert len(refusals) > 2, refusals


def test_in_the_middle_of_a_large_file(shop: Site, index: Index) -> None:
    """The store stays whole, and the next one begins with what there was."""
    index.wheel("alpha")
    path = index.wheel("big", files={"big.py": b"", "big.bin": os.urandom(24 << 20)})
    whole = path.read_bytes()
    path.write_bytes(whole[: 12 << 20] + bytes([whole[12 << 20] ^ 1]) + whole[(12 << 20) + 1 :])
    directory, archives = shop.project("project"), shop.places.store / "archives"
    (directory / "requirements.txt").write_text("alpha\nbig\n")

    def is_whole() -> bool:
        said = shop.pkgview("store", "verify", cwd=directory).stdout
        return "every archive is what its name says" in said and not list(archives.glob("big-*"))

    refused = shop.pkgview("up", "--no-mount", cwd=directory, code=1)
    assert "'big.bin' has another" in refused.stderr, refused.stderr
    assert is_whole()
    assert not list(archives.glob(".tmp-*"))

    path.write_bytes(whole)
    index.asked.clear()
    command = [os.fspath(PKGVIEW), "up", "--upgrade", "--no-mount"]
    process = subprocess.Popen(command, cwd=directory, env=dict(shop.environ))
    deadline = time.monotonic() + 60
    while not any(one.stat().st_size > 4 << 20 for one in archives.glob(".tmp-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    process.wait()
    assert is_whole()

    def fetched() -> int:
        return sum(one.endswith(path.name) for one in index.asked)

    assert fetched() == 1
    shop.pkgview("up", "--no-mount", cwd=directory)
    assert fetched() == 1
    assert not list(archives.glob(".tmp-*"))
    shop.pkgview("store", "verify", cwd=directory)


# Many at once


def up_at_once(site: Site, directories: Sequence[Path]) -> list[subprocess.CompletedProcess[str]]:
    def up(directory: Path) -> subprocess.CompletedProcess[str]:
        return site.pkgview("up", "--json", cwd=directory)

    with ThreadPoolExecutor(len(directories)) as threads:
        return list(threads.map(up, directories))


def test_many_at_once_in_one_project(shop: Site, index: Index) -> None:
    directory = shop.project("project")
    (directory / "requirements.txt").write_text(populated(index, size=1 << 20))
    said = up_at_once(shop, [directory] * 10)
    (view,) = {json.loads(one.stdout)["view"] for one in said}
    assert sum("Mounted" in one.stderr for one in said) == 1
    assert succeeds(shop, directory) == view
    assert len(mounts_below(shop)) == 1
    assert shop.run(directory / ".venv/bin/python", "-c", "import part11", cwd=directory)


def test_many_at_once_in_projects_that_overlap(shop: Site, index: Index) -> None:
    names = populated(index, size=1 << 20).splitlines()
    directories = []
    for number in range(10):
        directory = shop.project(f"project{number}")
        (directory / "requirements.txt").write_text("\n".join(names[: 3 + number]))
        directories.append(directory)
    up_at_once(shop, directories)
    archives = json.loads(shop.pkgview("store", "--json", cwd=shop.home).stdout)["archives"]
    assert len(archives) == 12 + 1, "each once, and what every environment has"
    for number, directory in enumerate(directories):
        succeeds(shop, directory)
        program = f"import part{2 + number}"
        shop.run(directory / ".venv/bin/python", "-c", program, cwd=directory)


def test_two_pythons_at_once_both_stay_known(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\n")
    pythons = [one for one in ("3.11", "3.12", "3.13") if is_there(shop, directory, one)]
    if len(pythons) < 2:
        pytest.skip("there is only one Python")
    processes = [begun(shop, directory, "up", "--python", python) for python in pythons]
    assert [process.wait(60) for process in processes] == [0] * len(pythons)
    for process in processes:
        process.communicate()
    for python in pythons:
        said = shop.pkgview("view", "--python", python, "--json", cwd=directory)
        assert json.loads(said.stdout)["target"]["version"] == python


def is_there(site: Site, directory: Path, python: str) -> bool:
    arguments = ("up", "--no-mount", "--no-link", "--python", python)
    done = site.pkgview(*arguments, cwd=directory, code=None).returncode == 0
    emptied(site, directory)
    return done


# The daemon dies


def mounts_below(site: Site) -> list[mounts.Mount]:
    return [mount for mount in mounts.table() if mount.path.is_relative_to(site.home)]


def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_daemon_is_killed_and_up_mends_the_mount(
    shop: Site, index: Index, crash: Callable[[Places], None]
) -> None:
    index.wheel("alpha")
    index.wheel("beta")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\n")
    shop.pkgview("up", cwd=directory)
    for command in (("up",), ("run", "--", "python", "-c", "import alpha"), ("up",)):
        crash(shop.places)
        with pytest.raises(OSError, match="not connected"):
            os.stat(directory / ".venv/bin/python")  # noqa: PTH116 - pathlib would say False
        shop.pkgview(*command, cwd=directory)
        shop.run(directory / ".venv/bin/python", "-c", "import alpha", cwd=directory)
        assert len(mounts_below(shop)) == 1


def test_the_daemon_is_killed_while_up_fetches(
    shop: Site, index: Index, crash: Callable[[Places], None]
) -> None:
    index.wheel("alpha")
    path = index.wheel("beta", files={"beta.py": b"", "beta.bin": os.urandom(1 << 18)})
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\n")
    shop.pkgview("up", cwd=directory)
    (directory / "requirements.txt").write_text("alpha\nbeta\n")
    index.slow.add(path.name)
    process = begun(shop, directory, "up")
    until(lambda: f"/packages/{path.name}" in index.asked)
    crash(shop.places)
    index.slow.clear()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    shop.run(directory / ".venv/bin/python", "-c", "import alpha, beta", cwd=directory)


def test_a_damaged_archive_is_found_and_mended(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\n")
    shop.pkgview("up", "--no-mount", cwd=directory)
    (archive,) = (shop.places.store / "archives").glob("alpha*")
    content = bytearray(archive.read_bytes())
    content[40] ^= 1
    archive.chmod(0o644)
    archive.write_bytes(content)
    said = shop.pkgview("store", "verify", cwd=directory, code=1)
    assert archive.name in said.stderr
    assert "--repair" in said.stderr
    said = shop.pkgview("store", "verify", "--repair", cwd=directory)
    assert archive.name in said.stderr
    assert "Made again." in said.stderr
    assert shop.pkgview("store", "verify", cwd=directory).stderr == ""
    succeeds(shop, directory)


def test_an_archive_that_cannot_even_be_opened_is_made_anew(shop: Site, index: Index) -> None:
    index.wheel("alpha")
    directory = shop.project("project")
    (directory / "requirements.txt").write_text("alpha\n")
    shop.pkgview("up", "--no-mount", cwd=directory)
    (archive,) = (shop.places.store / "archives").glob("alpha*")
    archive.chmod(0o644)
    archive.write_bytes(b"")
    (shop.places.state / "registry.sqlite3").unlink()
    said = shop.pkgview("up", "--no-mount", cwd=directory, code=1)
    assert "Traceback" not in said.stderr
    assert archive.name in said.stderr
    succeeds(shop, directory)
