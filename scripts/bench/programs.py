"""What a person waits for: programs that import much, from start to end."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from scripts.bench.measure import Sheet, turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bench.bench import Bench
    from scripts.bench.rivals import Rival

PROGRAM = ("numpy", "pandas", "sqlalchemy", "flask", "pydantic", "requests", "rich.console")
"""About a thousand modules."""

PARALLEL = ("numpy", "sqlalchemy", "requests")
"""About four hundred: 32 at a time shall not take all day."""

QUICK = ("flask", "requests", "rich.console")

CROWDS = (1, 4, 32)


def importing(modules: Sequence[str]) -> str:
    """A program that imports them and tells how many modules that made."""
    return f"import sys, {', '.join(modules)}\nprint(len(sys.modules))"


def environ(bench: Bench) -> dict[str, str]:
    """Nothing may be written, so that no round leaves the next one anything."""
    return bench.work.env | {"PYTHONDONTWRITEBYTECODE": "1"}


def imports(bench: Bench, sheet: Sheet) -> None:
    """The program cold, and warm."""
    program = importing(QUICK if bench.quick else PROGRAM)
    env, work = environ(bench), bench.work
    for rival in bench.rivals():
        count = int(work.run([rival.python, "-c", program], env=env))
        sheet.add("modules imported", rival.name, count, "modules")
    if bench.cold:
        for _, rival in turns(bench.rivals(), bench.rounds(5), seconds=60):
            bench.forget(rival)
            sheet.add("cold", rival.name, work.timed([rival.python, "-c", program], env=env))
    for number, rival in turns(bench.rivals(), bench.rounds(15), seconds=60, warmups=1):
        took = work.timed([rival.python, "-c", program], env=env)
        if number >= 0:
            sheet.add("warm", rival.name, took)


def parallel(bench: Bench, sheet: Sheet) -> None:
    """Many processes at once import the same, warm."""
    program = importing(QUICK if bench.quick else PARALLEL)
    for number, rival in turns(bench.rivals(), bench.rounds(3), seconds=90, warmups=1):
        for count in CROWDS[: 2 if bench.quick else None]:
            if number >= 0:
                took = _crowd(rival, program, count, environ(bench))
                sheet.add(f"{count} at once", rival.name, took)
            elif count == CROWDS[0]:
                _crowd(rival, program, count, environ(bench))


def _crowd(rival: Rival, program: str, count: int, env: dict[str, str]) -> float:
    began = time.perf_counter()
    crowd = [
        subprocess.Popen([rival.python, "-c", program], env=env, stdout=subprocess.DEVNULL)
        for _ in range(count)
    ]
    failed = [process for process in crowd if process.wait()]
    if failed:
        raise PkgviewError(f"{rival.name}: {json.dumps(program)} failed")
    return time.perf_counter() - began
