"""From a project with a lock to its environment, and on to what it is made for: pkgview and uv.

Both have everything at hand: uv's cache and pkgview's store hold all distributions, and the
store their bytecode. Each round is a fresh clone, at a path that neither has seen.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scripts.bench.measure import Sheet, turns
from scripts.bench.work import PKGVIEW, PYTHON, UV, Work, unmount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.bench.bench import Bench

LEAVES = ("boto3", "fastapi", "flask", "pytest", "sqlalchemy", "rich", "requests")
"""Distributions that few others need: a lock without one of them is another lock."""

LARGEST = ("transformers", "scipy", "pandas", "sympy", "statsmodels", "plotly", "sklearn", "django",
           "numpy", "babel")  # fmt: skip
QUICK = ("pygments", "werkzeug", "rich")

UV_NAMES: dict[str, tuple[str, ...]] = {"uv": (), "uv, compiling": ("--compile-bytecode",)}

NEW = "an environment never made before"
KNOWN = "a second clone of a project"
AGAIN = "nothing to do"
FIRST = "from nothing to the first import done"
ITSELF = "the same import again"


def largest(bench: Bench) -> str:
    """A program that imports the environment's largest packages."""
    return f"import {', '.join(QUICK if bench.quick else LARGEST)}"


def variants(work: Work, key: str, count: int) -> list[Path]:
    """Projects whose locks lack one distribution each; every one is an environment of its own."""

    def make(path: Path) -> None:
        listed = (work.project / "pyproject.toml").read_text("utf-8").splitlines(keepends=True)
        for leaf in LEAVES:
            project = path / leaf
            project.mkdir(parents=True)
            kept = "".join(line for line in listed if f'"{leaf}==' not in line)
            (project / "pyproject.toml").write_text(kept, "utf-8")
            shutil.copy(work.project / "uv.lock", project)
            work.run([UV, "lock", "-q", "-p", PYTHON, "--offline"], cwd=project)

    made = work.once("variants", key, make)
    return [made / leaf for leaf in LEAVES[:count]]


def making(work: Work, name: str, clone: Path) -> list[str | Path]:
    """The command with which a contestant makes a project's environment."""
    if name == "pkgview":
        return [PKGVIEW, "up", clone]
    return work.sync(clone, *UV_NAMES[name])


class _Clones:
    """Fresh clones of projects, one after the other, each removed before the next is made."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._number = 0

    def of(self, project: Path) -> Path:
        """One more."""
        if self._number:
            shutil.rmtree(self._root / str(self._number))
        self._number += 1
        clone = self._root / str(self._number)
        clone.mkdir(parents=True)
        for name in ("pyproject.toml", "uv.lock"):
            shutil.copy(project / name, clone)
        return clone


def setups(bench: Bench, sheet: Sheet) -> None:
    """Environments, first imports, and nothing to do."""
    work = bench.work
    mountpoint = work.root / "mnt/setup"
    # The store is everybody's; what is known of projects and views is none of the last run's.
    env = work.env | {
        "XDG_STATE_HOME": str(work.scratch / "setup"),
        "PKGVIEW_MOUNT": str(mountpoint),
    }
    work.run([PKGVIEW, "up", work.project, "--no-link", "--compile"], env=env)
    try:
        _measure(bench, sheet, env)
    finally:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)
        unmount(mountpoint)
    sheet.note(f"The first import: `{largest(bench)}`.")


def _measure(bench: Bench, sheet: Sheet, env: Mapping[str, str]) -> None:
    work, program = bench.work, largest(bench)
    clones = _Clones(work.scratch / "clones")
    locks = variants(work, bench.key, bench.rounds(5))
    for number, name in turns(
        ["uv", "uv, compiling", "pkgview"], len(locks), seconds=20 if bench.quick else 90
    ):
        clone = clones.of(locks[number])
        command = making(work, name, clone)
        took = work.timed(command, cwd=clone, env=env)
        sheet.add(NEW, name, took)
        first = work.timed([clone / ".venv/bin/python", "-c", program], cwd=clone, env=env)
        sheet.add(FIRST, name, took + first)
        if name == "uv, compiling":
            again = work.timed([clone / ".venv/bin/python", "-c", program], cwd=clone, env=env)
            sheet.add(ITSELF, name, again)
    for _, name in turns(["uv", "pkgview"], bench.rounds(7), seconds=45):
        clone = clones.of(work.project)
        command = making(work, name, clone)
        sheet.add(KNOWN, name, work.timed(command, cwd=clone, env=env))
        sheet.add(AGAIN, name, work.timed(command, cwd=clone, env=env))
