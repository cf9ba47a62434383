"""The first `pkgview up` of a project that nobody has locked, and its first program, beside uv's.

Everything is at hand: the store has all archives with their bytecode, and uv's cache all that the
index said and all distributions. Each round is a new project with requirements and no lock.
"""

from __future__ import annotations

import itertools
import platform
from typing import TYPE_CHECKING

from scripts.bench.measure import Sheet, turns
from scripts.bench.work import PKGVIEW, PYTHON, QUICK, UV, unmount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.bench.bench import Bench
    from scripts.bench.work import Work

ONE = ("idna",)
"""A distribution that depends on none; `QUICK` depends on nothing else, either."""

ALONE, FEW, MANY = "1 distribution", f"{len(QUICK)} distributions", "all distributions"
PROGRAM = "its first program"


def firsts(bench: Bench, sheet: Sheet) -> None:
    """Both in turns, each in new directories of its own."""
    work = bench.work
    mountpoint = work.root / "mnt/first"
    env = work.env | {
        "XDG_STATE_HOME": str(work.scratch / "first"),
        "PKGVIEW_MOUNT": str(mountpoint),
        "UV_PYTHON": str(PYTHON),
    }
    pins = work.pins()
    sizes = {ALONE: _of(pins, ONE), FEW: _of(pins, QUICK)}
    if not bench.quick:
        sizes[MANY] = pins
    try:
        work.run([PKGVIEW, "mount"], env=env)
        online, new = _New(work, env), _New(work, env | {"UV_OFFLINE": "1"})
        for name, listed in itertools.product(("uv", "pkgview"), sizes.values()):
            online.environment(name, listed)
        for what, listed in sizes.items():
            for number, name in turns(["uv", "pkgview"], bench.rounds(15), seconds=45, warmups=2):
                took = new.environment(name, listed)
                if number >= 0:
                    sheet.add(what, name, took)
        for number, name in turns(["uv", "pkgview"], bench.rounds(15), seconds=45, warmups=2):
            took = new.program(name, sizes[ALONE], mountpoint)
            if number >= 0:
                sheet.add(PROGRAM, name, took)
    finally:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)
        unmount(mountpoint)


def _of(pins: Sequence[str], names: Sequence[str]) -> list[str]:
    return [pin for pin in pins if pin.partition("==")[0] in names]


class _New:
    """New projects, one after the other."""

    _number = itertools.count(1)

    def __init__(self, work: Work, env: Mapping[str, str]) -> None:
        self._work = work
        self._env = env

    def environment(self, name: str, listed: Sequence[str]) -> float:
        """Seconds until the environment is there."""
        work, env, project = self._work, self._env, self._project(listed)
        if name == "pkgview":
            return work.timed([PKGVIEW, "up"], cwd=project, env=env)
        file = project / "pyproject.toml"
        took = work.timed([UV, "venv", "-q"], cwd=project, env=env)
        # `uv pip` would take UV_PYTHON for the environment that is meant, and fill that.
        there = {name: value for name, value in env.items() if name != "UV_PYTHON"}
        return took + work.timed([UV, "pip", "install", "-q", "-r", file], cwd=project, env=there)

    def program(self, name: str, listed: Sequence[str], mountpoint: Path) -> float:
        """Seconds until a program in the project has imported what it lists, and has ended."""
        project = self._project(listed)
        start = [mountpoint / "bin/python"] if name == "pkgview" else [UV, "run", "-q"]
        return self._work.timed([*start, "t.py"], cwd=project, env=self._env)

    def _project(self, listed: Sequence[str]) -> Path:
        number = next(self._number)
        project = self._work.scratch / f"new/{number}"
        project.mkdir(parents=True)
        lines = "".join(f'    "{pin}",\n' for pin in listed)
        (project / "pyproject.toml").write_text(
            f'[project]\nname = "new-{number}"\nversion = "1"\n'
            f'requires-python = ">={platform.python_version()}"\ndependencies = [\n{lines}]\n',
            "utf-8",
        )
        (project / "t.py").write_text("import idna\n", "utf-8")
        return project
