"""A file of a gigabyte, half of which cannot be compressed: in order, and here and there."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import time
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from resolver.places import Places
from scripts.bench.large import row, row_of
from scripts.bench.measure import Sheet, turns
from scripts.bench.pagecache import forget, read_from_disk, resident
from scripts.bench.rivals import BASE, OURS
from scripts.bench.work import PKGVIEW, SITE, Work
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from scripts.bench.bench import Bench

SIZE, SMALL = 1 << 30, 1 << 25
"""Bytes of the file; where little is to be measured."""

BLOCK = 1 << 16
"""Bytes that can be compressed well, and then as many that cannot."""

TOUCHES = 2000
"""Pages that are read here and there, through a map."""

_NAME = "large_file.so"
_INFO = "large_file-1.0.dist-info"


def blocks(size: int) -> Iterator[bytes]:
    """The file's content, the same each time."""
    for number in range(size // BLOCK):
        dice = random.Random(number)  # noqa: S311 - that is the purpose
        yield dice.randbytes(BLOCK) if number % 2 else b"%08d" % number * (BLOCK // 8)


def project(work: Work, size: int) -> Path:
    """A project of one wheel with the file, and the file as `large_file.so` beside it."""

    def make(path: Path) -> None:
        path.mkdir(parents=True)
        whole = hashlib.sha256()
        with (path / _NAME).open("wb") as file:
            for block in blocks(size):
                whole.update(block)
                file.write(block)
        texts = {
            f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: large-file\nVersion: 1.0\n",
            f"{_INFO}/WHEEL": (
                "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            ),
        }
        rows = [row(_NAME, whole.digest(), size)]
        for name, text in texts.items():
            rows.append(row_of(name, text))
        texts[f"{_INFO}/RECORD"] = "".join([*rows, f"{_INFO}/RECORD,,\n"])
        with zipfile.ZipFile(path / "large_file-1.0-py3-none-any.whl", "w") as wheel:
            wheel.write(path / _NAME, _NAME)
            for name, text in texts.items():
                wheel.writestr(name, text)
        wanted = f"--no-index\n--find-links {path}\nlarge-file==1.0\n"
        (path / "requirements.txt").write_text(wanted, "utf-8")

    return work.once(f"large-file-{size}", "1", make)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who shows the file: `kept` are the files that the system may keep pages of, `env` is ours."""

    name: str
    path: Path
    kept: tuple[Path, ...]
    work: Work
    env: Mapping[str, str] | None = None

    def forget(self) -> None:
        """Nothing is in memory of the file, and no server remembers it."""
        if self.env is not None:
            self.work.run([PKGVIEW, "umount", "--lazy"], env=self.env)
        forget(self.kept[-1])
        if self.env is not None:
            self.work.run([PKGVIEW, "mount"], env=self.env)
        self.path.stat()

    def pids(self) -> list[int]:
        """Who reads from the disk."""
        if self.env is None:
            return [os.getpid()]
        status = json.loads(self.work.run([PKGVIEW, "status", "--json"], env=self.env))
        return [int(pid) for pid in status["pids"]]


def in_order(path: Path) -> None:
    """All of a file, a mebibyte at a time."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def here_and_there(advice: int, path: Path) -> None:
    """Pages of a map, told that way."""
    dice = random.Random(4)  # noqa: S311 - the same pages for everybody
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as area:
        area.madvise(advice)
        for _ in range(TOUCHES):
            area[dice.randrange(len(area) // mmap.PAGESIZE) * mmap.PAGESIZE]


def large_files(bench: Bench, sheet: Sheet) -> None:
    """What it costs to read the file cold: time, bytes from the disk, memory."""
    work = bench.work
    size = SMALL if bench.quick else SIZE
    root = project(work, size)
    mountpoint = work.root / "mnt/large-files"
    env = work.home(work.root / "large-files", mount=mountpoint)
    view = json.loads(work.run([PKGVIEW, "up", root, "--no-link", "--json"], env=env))["view"]
    places = Places.from_environ(env)
    names = [layer.archive for layer in read_manifest(places, view).layers]
    (name,) = (name for name in names if name.startswith("large_file-"))
    archive = places.store / "archives" / name
    ours = mountpoint / "views" / view / SITE / _NAME
    plain = root / _NAME
    holders = (
        Holder(name=BASE, path=plain, kept=(plain,), work=work),
        Holder(name=OURS, path=ours, kept=(ours, archive), work=work, env=env),
    )
    tasks: dict[str, Callable[[Path], None]] = {
        "in order": in_order,
        f"{TOUCHES:,} page faults": partial(here_and_there, mmap.MADV_NORMAL),
        f"{TOUCHES:,} page faults, MADV_RANDOM": partial(here_and_there, mmap.MADV_RANDOM),
    }
    try:
        for what, task in tasks.items():
            for _, one in turns(holders, bench.rounds(5), seconds=90):
                one.forget()
                pids = one.pids()
                before = read_from_disk(pids)
                began = time.perf_counter()
                task(one.path)
                sheet.add(what, one.name, time.perf_counter() - began)
                fetched = read_from_disk(pids) - before
                sheet.add(f"{what}: read from the disk", one.name, fetched, "B")
                left = sum(map(resident, one.kept))
                sheet.add(f"{what}: in memory then", one.name, left, "B")
    finally:
        work.run([PKGVIEW, "umount", "--lazy"], env=env)
    sheet.note(
        f"One file of {size / 1e6:,.0f} MB, half of it incompressible, of which nothing is in "
        f"memory at first; its archive has {archive.stat().st_size / 1e6:,.0f} MB. In memory then: "
        "pages of the file, and of the archive that it is read from."
    )
