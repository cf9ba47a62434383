"""The memory of a daemon: idle, with many views in use, and after a busy hour's requests."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.bench.files import tree
from scripts.bench.large import Publisher
from scripts.bench.work import PKGVIEW, Work, unmount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bench.bench import Bench
    from scripts.bench.measure import Sheet

VIEWS = 20
"""In use at the same time."""

NO_VIEW = "a mount that nobody uses"
IN_USE = "with twenty views in use"
QUIET = "half a minute later"

HOUR = 1_000_000
"""Requests: a program of a thousand modules is started cold every four seconds."""

QUARTERS = 4

READER = """
import os, subprocess, sys
current, *roots = sys.argv[1:]
names = sys.stdin.read().split("\\0")
for turn, name in enumerate(names):
    number = os.open(os.path.join(roots[turn % len(roots)], name), os.O_RDONLY)
    while os.read(number, 1 << 20):
        pass
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)
    os.readlink(current)
    if turn % 500 == 0:
        subprocess.run(["readlink", current], stdout=subprocess.DEVNULL, check=True)
"""
"""Reads every file so that the next one who does has to ask again; programs come and go."""


def memory(bench: Bench, sheet: Sheet) -> None:
    """All processes of a daemon, with twenty views of the environment in use, and for how long."""
    work = bench.work
    mountpoint = work.root / "mnt/memory"
    env = work.env | {
        "XDG_STATE_HOME": str(work.scratch / "memory"),
        "PKGVIEW_MOUNT": str(mountpoint),
    }
    work.run([PKGVIEW, "mount"], env=env)
    try:
        sheet.add(NO_VIEW, "pkgview", _resident(work, env), "B")
        publisher = Publisher(work, work.project, env)
        sheet.add("one view was made", "pkgview", _resident(work, env), "B")
        roots: list[Path] = []
        common: dict[str, None] = {}
        for number in range(3 if bench.quick else VIEWS):
            view, _ = publisher.new()
            roots.append(mountpoint / "views" / view)
            names, _ = tree(roots[-1])
            for name in names[number::37]:
                (roots[-1] / name).read_bytes()
            common = {name: None for name in names if number == 0 or name in common}
        sheet.add(IN_USE, "pkgview", _resident(work, env), "B")
        sheet.note(f"Each view has {len(names):,} files, all listed and one in 37 read.")
        time.sleep(30)
        sheet.add(QUIET, "pkgview", _resident(work, env), "B")
        quarter = (HOUR // 100 if bench.quick else HOUR) // QUARTERS
        for number in range(1, QUARTERS + 1):
            _ask(work, env, roots, list(common), quarter)
            what = f"after {number * quarter:,} requests more"
            sheet.add(what, "pkgview", _resident(work, env), "B")
        sheet.note(
            "Then files are read in all views, one after the other and each from the daemon, who "
            "asks for `current` each time; programs are started that do, and end."
        )
    finally:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)
        unmount(mountpoint)


def _ask(
    work: Work, env: Mapping[str, str], roots: Sequence[Path], names: Sequence[str], count: int
) -> None:
    """Have at least so many requests made."""
    until = _requests(work, env) + count
    while (left := until - _requests(work, env)) > 0:
        subprocess.run(
            [sys.executable, "-S", "-c", READER, roots[0].parents[1] / "current", *roots],
            input="\0".join(names[: left // 2 + 1]), text=True, check=True,
        )  # fmt: skip


def _status(work: Work, env: Mapping[str, str]) -> dict[str, Any]:
    return dict(json.loads(work.run([PKGVIEW, "status", "--json"], env=env)))


def _requests(work: Work, env: Mapping[str, str]) -> int:
    return sum(_status(work, env)["requests"].values())


def _resident(work: Work, env: Mapping[str, str]) -> int:
    """Bytes of memory, proportional set size, of the daemon and of all its processes."""
    pid = int(_status(work, env)["pid"])
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    while "unionfs" in _command(parents[pid]):
        pid = parents[pid]
    family = {pid}
    while grown := {one for one, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(_proportional(one) for one in family)


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")


def _proportional(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    return next(
        int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")
    )
