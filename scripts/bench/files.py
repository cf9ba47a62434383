"""What one system call or one walk costs on each file system.

All is asked from within the environment, by names relative to it, so that no mount point's longer
path counts.
"""

from __future__ import annotations

import mmap
import os
import random
import stat
import subprocess
import time
from typing import TYPE_CHECKING

from scripts.bench.measure import Sheet, turns
from scripts.bench.work import SITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from scripts.bench.bench import Bench
    from scripts.bench.rivals import Rival

FILES, DIRECTORIES, READS = 3000, 600, 2000
"""Most files opened and asked for, directories listed, and pages read, a round."""

PAGE = 4096


def tree(root: Path) -> tuple[list[str], list[str]]:
    """Files and directories below `root`, relative to it, each sorted."""
    files: list[str] = []
    directories: list[str] = []
    for directory, below, names in os.walk(root):
        prefix = os.path.relpath(directory, root)
        files += [os.path.normpath(f"{prefix}/{name}") for name in names]
        directories += [os.path.normpath(f"{prefix}/{name}") for name in below]
    return sorted(files), sorted(directories)


def sampled(names: Sequence[str], most: int) -> list[bytes]:
    """At most so many of them, evenly."""
    step = max(1, -(-len(names) // most))
    return [os.fsencode(f"{SITE}/{name}") for name in names[::step]]


def per_call(root: Path, names: Sequence[bytes], call: Callable[[Sequence[bytes]], None]) -> float:
    """Seconds for one name, from within `root`."""
    before = os.getcwd()  # noqa: PTH109 - goes to chdir as it is
    os.chdir(root)
    try:
        began = time.perf_counter()
        call(names)
        return (time.perf_counter() - began) / len(names)
    finally:
        os.chdir(before)


def open_all(names: Sequence[bytes]) -> None:
    """open(2) and close(2)."""
    for name in names:
        os.close(os.open(name, os.O_RDONLY))


def list_all(names: Sequence[bytes]) -> None:
    """What an importer does with each directory on its path."""
    for name in names:
        os.listdir(name)


def stat_all(names: Sequence[bytes]) -> None:
    """stat(2)."""
    for name in names:
        os.stat(name)  # noqa: PTH116 - one system call is what is timed


def calls(bench: Bench, sheet: Sheet) -> None:
    """Open and close, listdir, stat: each name asked for once before it is timed."""
    rivals = bench.rivals()
    files, directories = tree(rivals[0].root / SITE)
    for rival in rivals:
        others, their = map(set, tree(rival.root / SITE))
        files = [name for name in files if name in others]
        directories = [name for name in directories if name in their]
        sheet.add("files below site-packages", rival.name, len(others), "files")
    asked = sampled(files, FILES)
    listed = sampled(directories, DIRECTORIES)
    sheet.note(f"{len(asked):,} files opened and {len(listed):,} directories listed a round.")
    for number, rival in turns(rivals, bench.rounds(11), seconds=60, warmups=1):
        for what, names, call in (
            ("open + close", asked, open_all),
            ("listdir", listed, list_all),
            ("stat", asked, stat_all),
        ):
            if number < 0:
                per_call(rival.root, names, call)  # after this one all is warm
            else:
                sheet.add(what, rival.name, per_call(rival.root, names, call))


def walked(root: Path) -> float:
    """Seconds to list every directory and stat every file."""
    began = time.perf_counter()
    pending = [os.fspath(root)]
    while pending:
        with os.scandir(pending.pop()) as listing:
            pending += [
                entry.path
                for entry in listing
                if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode)
            ]
    return time.perf_counter() - began


def tarred(root: Path) -> float:
    """Seconds to read every file; through a pipe, as GNU tar reads nothing for /dev/null."""
    began = time.perf_counter()
    subprocess.run("tar -cf - . | cat >/dev/null", shell=True, check=True, cwd=root)  # noqa: S602 - a pipe is what is timed
    return time.perf_counter() - began


def walks(bench: Bench, sheet: Sheet) -> None:
    """A walk over the tree and tar of it, cold and warm."""
    tasks = (("walk", walked, 5), ("tar", tarred, 3))
    for what, task, rounds in tasks:
        if bench.cold:
            for _, rival in turns(bench.rivals(), bench.rounds(rounds), seconds=60):
                bench.forget(rival)
                sheet.add(f"{what}, cold", rival.name, task(rival.root))
        for number, rival in turns(bench.rivals(), bench.rounds(rounds), seconds=40, warmups=1):
            took = task(rival.root)
            if number >= 0:
                sheet.add(f"{what}, warm", rival.name, took)
    _say_cold(bench, sheet)


def reads(bench: Bench, sheet: Sheet) -> None:
    """Pages of a large shared object: 4 KiB reads here and there, and a map of all of it."""
    rivals = bench.rivals()
    name, size = _largest(rivals[0])
    sheet.note(f"{SITE}/{name}, {size / 1e6:.0f} MB; {READS:,} reads a round.")
    chance = random.Random(4)  # noqa: S311 - the same pages for everybody
    offsets = [chance.randrange(size // PAGE) * PAGE for _ in range(READS)]

    def at_random(path: Path) -> float:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            began = time.perf_counter()
            for offset in offsets:
                os.pread(descriptor, PAGE, offset)
            return (time.perf_counter() - began) / len(offsets)
        finally:
            os.close(descriptor)

    def mapped(path: Path) -> float:
        began = time.perf_counter()
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
            sum(pages[::PAGE])
            return time.perf_counter() - began

    for what, task in (("random read of 4 KiB", at_random), ("mmap, every page", mapped)):
        if bench.cold:
            for _, rival in turns(rivals, bench.rounds(5), seconds=30):
                bench.forget(rival)
                sheet.add(f"{what}, cold", rival.name, task(rival.root / SITE / name))
        for number, rival in turns(rivals, bench.rounds(7), seconds=15, warmups=1):
            took = task(rival.root / SITE / name)
            if number >= 0:
                sheet.add(f"{what}, warm", rival.name, took)
    _say_cold(bench, sheet)


def _largest(rival: Rival) -> tuple[str, int]:
    site = rival.root / SITE
    files = [name for name in tree(site)[0] if ".so" in name] or tree(site)[0]
    size, name = max(((site / name).stat().st_size, name) for name in files)
    return name, size


def _say_cold(bench: Bench, sheet: Sheet) -> None:
    sheet.note(
        "Cold: the server, where there is one, has just been started, and all of the kernel's "
        "caches are empty, of what lies below as well."
        if bench.cold
        else "Nothing cold was measured: only root can empty the kernel's caches."
    )
