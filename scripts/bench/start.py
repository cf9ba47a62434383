"""`pkgview run` beside `uv run`, for a command that does nothing: what it takes to get to it.

The project is up to date for both, and locked by uv.lock. What `--with` adds is not in it, and both
have made it before.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scripts.bench.large import project
from scripts.bench.measure import Sheet, turns
from scripts.bench.work import PKGVIEW, PYTHON, UV

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.bench.bench import Bench

PLAIN = "`run -- true` in a project that is up to date"
ADDED = "`run --with X -- true`, again"

FILES = 5

_PYPROJECT = """\
[project]
name = "bench"
version = "1"
requires-python = ">=3.11"
dependencies = ["bench-5-0000"]
[tool.uv]
no-index = true
find-links = [{wheels!r}]
"""


def starts(bench: Bench, sheet: Sheet) -> None:
    """Both in turns, each in a project of its own."""
    work = bench.work
    home = work.scratch / "start"
    env = work.home(home, mount=work.root / "mnt/start")
    env["UV_CACHE_DIR"] = str(home / "uv-cache")
    env["UV_PYTHON"] = str(PYTHON)
    wheels = project(work, 2, FILES) / "wheels"
    ours, theirs = _project(home / "pkgview", wheels), _project(home / "uv", wheels)
    more = ("--with", "bench-5-0001")
    commands: dict[tuple[str, str], tuple[Path, list[str]]] = {
        (PLAIN, "uv"): (theirs, [UV, "run", "--no-sync", "true"]),
        (PLAIN, "pkgview"): (ours, [PKGVIEW, "run", "--", "true"]),
        (ADDED, "uv"): (theirs, [UV, "run", "--no-sync", *more, "true"]),
        (ADDED, "pkgview"): (ours, [PKGVIEW, "run", *more, "--", "true"]),
    }
    try:
        work.run([UV, "lock", "-q"], cwd=theirs, env=env)
        shutil.copy(theirs / "uv.lock", ours)
        work.run([UV, "sync", "-q"], cwd=theirs, env=env)
        work.run([PKGVIEW, "up"], cwd=ours, env=env)
        for number, one in turns(list(commands), bench.rounds(41), seconds=60, warmups=2):
            directory, command = commands[one]
            took = work.timed(command, cwd=directory, env=env)
            if number >= 0:
                sheet.add(*one, took)
    finally:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)


def _project(directory: Path, wheels: Path) -> Path:
    directory.mkdir(parents=True)
    text = _PYPROJECT.format(wheels=str(wheels))
    (directory / "pyproject.toml").write_text(text, "utf-8")
    return directory
