"""The disk that ten projects take that share two thirds of their distributions."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename

from scripts.bench.work import PKGVIEW, PYTHON, UV

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from scripts.bench.bench import Bench
    from scripts.bench.measure import Sheet

PROJECTS = 10
WHAT = "ten projects"


def shared_out(wheels: Sequence[Path], projects: int) -> list[list[Path]]:
    """What each project has: of any three of its wheels two are everybody's, large and small.

    Of each `projects + 2` wheels, by size, two go to all and one to each.
    """
    ordered = sorted(wheels, key=lambda wheel: (-wheel.stat().st_size, wheel.name))
    deals = [ordered[at : at + projects + 2] for at in range(0, len(ordered), projects + 2)]
    whole = [deal for deal in deals if len(deal) == projects + 2] or [ordered]
    common = [wheel for deal in whole for wheel in deal[:2]]
    return [common + [deal[2 + n] for deal in whole if 2 + n < len(deal)] for n in range(projects)]


def pylock(wheels: Iterable[Path]) -> str:
    """A lock (PEP 751) that names them where they lie."""
    packages = []
    for wheel in sorted(wheels):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        packages.append(
            f"[[packages]]\nname = {json.dumps(name)}\nversion = {json.dumps(str(version))}\n"
            f"[[packages.wheels]]\nname = {json.dumps(wheel.name)}\n"
            f'path = {json.dumps(str(wheel))}\nhashes = {{sha256 = "{digest}"}}\n'
        )
    return 'lock-version = "1.0"\ncreated-by = "bench"\n' + "".join(packages)


def taken(*roots: Path) -> int:
    """Bytes of the disk below all of them, each file counted once however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for root in roots:
        for directory, _, names in os.walk(root):
            for name in (".", *names):
                found = os.lstat(os.path.join(directory, name))  # noqa: PTH118 - many of them
                seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def disks(bench: Bench, sheet: Sheet) -> None:
    """Uv's cache and environments beside pkgview's store and state, from nothing."""
    work = bench.work
    root = work.scratch / "disk"
    home = root / "home"
    env = work.home(home, mount=root / "mnt") | {"UV_CACHE_DIR": str(root / "uv-cache")}
    projects = shared_out(sorted(work.wheels.glob("*.whl")), PROJECTS)
    for number, wheels in enumerate(projects):
        ours, theirs = root / "pkgview" / str(number), root / "uv" / str(number)
        ours.mkdir(parents=True)
        lock = ours / "pylock.toml"
        lock.write_text(pylock(wheels), "utf-8")
        work.run([PKGVIEW, "up", ours, "--no-mount", "--offline"], env=env)
        work.run([UV, "venv", "-q", "-p", PYTHON, theirs], env=env)
        work.run([UV, "pip", "sync", "-q", "-p", theirs / "bin/python", "--offline",
                  "--preview", lock], env=env)  # fmt: skip
    sheet.add(WHAT, "uv", taken(root / "uv", root / "uv-cache"), "B")
    sheet.add(WHAT, "pkgview", taken(home, root / "pkgview"), "B")
    each = len(projects[0])
    every = set.intersection(*map(set, projects))
    sheet.note(
        f"Each project has {each} distributions, {len(every)} of them everybody's. Both as "
        "installed, without bytecode; uv's environments are hard links into its cache."
    )
