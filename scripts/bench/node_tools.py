"""Tools that read node_modules, through a view and in npm's tree: warm, and with nothing in memory.

The project is the first one of `scripts/node-projects`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.measure import turns
from scripts.bench.node import Apart
from scripts.bench.work import PKGVIEW, drop_caches, unmount

if TYPE_CHECKING:
    from scripts.bench.bench import Bench
    from scripts.bench.measure import Sheet
    from scripts.bench.work import Work

PROJECTS = Path(__file__).parents[1] / "node-projects.toml"
NAMES = ("npm", "pkgview")
TOOLS = ("tsc --noEmit", "vite build", "vitest run")


def node_tools(bench: Bench, sheet: Sheet) -> None:
    """Each tool, warm and cold."""
    site = Apart(bench.work)
    try:
        places = _places(bench.work, site)
        rounds = [(False, bench.rounds(7), 1)]
        if bench.cold:
            rounds.append((True, bench.rounds(5), 0))
        for cold, number, warmups in rounds:
            for done, name in turns(NAMES, number, seconds=600, warmups=warmups):
                for tool in TOOLS:
                    if cold:
                        _forget(bench.work, site)
                    program, *words = tool.split()
                    command = [f"node_modules/.bin/{program}", *words]
                    took = bench.work.timed(command, cwd=places[name], env=site.env)
                    if done >= 0:
                        sheet.add(f"{tool}, {'cold' if cold else 'warm'}", name, took)
    finally:
        site.close()
    sheet.note("React, Vite, TypeScript, ESLint and Vitest; the same project twice.")


def _places(work: Work, site: Apart) -> dict[str, Path]:
    """The project, made by each."""
    files = tomllib.loads(PROJECTS.read_text("utf-8"))["react"]["files"]

    def make(path: Path) -> None:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(content, "utf-8")
        work.run(["npm", "install", "--package-lock-only", "--ignore-scripts"], cwd=path,
                 env=site.env)  # fmt: skip

    made = work.once("node-tools", str(sorted(files.items())), make)
    places = {name: work.scratch / f"tools-{name}" for name in NAMES}
    for name, place in places.items():
        work.run(["cp", "-a", made, place])
        by_npm = ["npm", "ci", "--ignore-scripts", "--prefer-offline"]
        work.run(by_npm if name == "npm" else [PKGVIEW, "up", "--trust"], cwd=place, env=site.env)
    return places


def _forget(work: Work, site: Apart) -> None:
    """Neither the kernel nor the daemon remembers a file."""
    work.run([PKGVIEW, "umount", "--lazy"], env=site.env)
    unmount(site.mountpoint)
    work.run([PKGVIEW, "mount"], env=site.env)
    drop_caches()
