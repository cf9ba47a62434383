"""A downloaded wheel becomes an archive, or an installed distribution: both from nothing."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from scripts.bench.measure import Sheet, turns
from scripts.bench.work import PYTHON, UV

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.bench.bench import Bench

MIX = 10
SINGLE = ("transformers", "scipy", "botocore", "jedi")
"""Many small sources, large shared objects, large JSON, very many files."""

PACK = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unionfs.publishing.assemble import PACKERS
from unionfs.store.local import Store
from unionfs.formats.wheel.reader import open_wheel

store = Store(Path(sys.argv[1]))

def add(name):
    with open_wheel(Path(name)) as wheel:
        store.add(wheel.members(), wheel.meta)

with ThreadPoolExecutor(PACKERS) as packers:
    list(packers.map(add, sys.argv[2:]))
"""
"""What `pkgview up` does with wheels that have arrived, and nothing else."""


def packing(bench: Bench, sheet: Sheet) -> None:
    """Ten wheels of all sizes at once, and some large ones alone."""
    wheels = sorted(bench.work.wheels.glob("*.whl"), key=lambda wheel: wheel.stat().st_size)
    step = max(1, len(wheels) // MIX)
    sets: dict[str, Sequence[Path]] = {"ten wheels": wheels[::-step][:MIX]}
    for name in SINGLE:
        found = [wheel for wheel in wheels if wheel.name.startswith(f"{name}-")]
        if found:
            sets[found[0].name.split("-py")[0].split("-cp")[0]] = found
    for _, (what, chosen) in turns(list(sets.items()), bench.rounds(3), seconds=80):
        for name in ("uv", "pkgview"):
            into = bench.work.scratch / "packing"
            command: list[str | Path] = (
                [UV, "pip", "install", "-q", "-p", PYTHON, "--no-deps", "--offline", "--no-index",
                 "--cache-dir", into / "cache", "--target", into / "target", *chosen]
                if name == "uv"
                else [sys.executable, "-P", "-c", PACK, into / "store", *chosen]
            )  # fmt: skip
            sheet.add(what, name, bench.work.timed(command))
            shutil.rmtree(into)
    sheet.note(
        "From the downloaded wheel with nothing kept: uv into its cache and a fresh directory, "
        "pkgview into an archive of a fresh store. Each with the start of its process."
    )
