"""`pkgview up` with nothing to do, beside `uv pip sync` with nothing to do, for growing projects.

The distributions are made here, tiny and local: what is measured is what either tool does before
it finds that there is nothing to do.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scripts.bench.large import project
from scripts.bench.measure import Sheet, turns
from scripts.bench.work import PKGVIEW, PYTHON, UV

if TYPE_CHECKING:
    from scripts.bench.bench import Bench

SIZES = (1, 50, 500)
QUICK = (1, 5)
FILES = 5


def nothing(bench: Bench, sheet: Sheet) -> None:
    """The first time, with all to be done but downloads; then again and again."""
    work = bench.work
    home = work.scratch / "nothing"
    env = work.home(home, mount=work.root / "mnt/nothing")
    env["UV_CACHE_DIR"] = str(home / "uv-cache")
    commands: dict[tuple[int, str], list[str]] = {}
    try:
        work.run([PKGVIEW, "mount"], env=env)
        for size in QUICK if bench.quick else SIZES:
            # A clone: what the command leaves in it is nothing that another part should find.
            root = home / f"project-{size}"
            root.mkdir()
            shutil.copy(project(work, size, FILES) / "requirements.txt", root)
            into = home / f"uv-{size}"
            work.run([UV, "venv", "-q", "-p", PYTHON, into], env=env)
            commands[size, "pkgview"] = [PKGVIEW, "up", str(root)]
            commands[size, "uv"] = [UV, "pip", "sync", "-q", "-p", str(into / "bin/python"),
                                    str(root / "requirements.txt")]  # fmt: skip
            for name in ("uv", "pkgview"):
                took = work.timed(commands[size, name], env=env)
                sheet.add(f"{size} distributions, the first time", name, took)
        for _, (size, name) in turns(list(commands), bench.rounds(15), seconds=60):
            took = work.timed(commands[size, name], env=env)
            sheet.add(f"{size} distributions, nothing to do", name, took)
    finally:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)
