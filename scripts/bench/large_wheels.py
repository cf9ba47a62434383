"""Wheels as those who train models have them: of a gigabyte, half of which cannot be compressed.

They are made here, the same each time. Code is text of a few words here, which takes the tools as
long as machine code does and becomes two fifths (code: a third); what is compressed already, such
as kernels of graphics processors, is chance.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

from scripts.bench.disk import pylock, taken
from scripts.bench.large import make_wheel, row, row_of
from scripts.bench.measure import Sheet, turns
from scripts.bench.packing import PACK
from scripts.bench.work import PKGVIEW, PYTHON, UV

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from scripts.bench.bench import Bench
    from scripts.bench.work import Work

HALF, SMALL = 1 << 29, 1 << 23
"""Bytes of each of the two files of the large wheel; where little is to be measured."""

BLOCK = 1 << 20

BESIDE, FILES = 100, 100
"""Wheels that are installed with the large one, and what each has."""

ONE, ALL = "one wheel of a gigabyte becomes an archive", "from local wheels to a view"
MEMORY, DISK = "most memory of a process then", "disk then"

WATCH = """
import resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
seconds = time.perf_counter() - began
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""

_NAME = "fat"


def code(number: int) -> bytes:
    """A block that can be compressed as machine code can."""
    dice = random.Random(1)  # noqa: S311 - the same each time
    words = [dice.randbytes(dice.randrange(4, 17)) for _ in range(1 << 12)]
    weights = [1 / place for place in range(1, len(words) + 1)]
    text = b"".join(dice.choices(words, weights, k=BLOCK // 4))[:BLOCK]
    return text.translate(bytes((value + number) & 255 for value in range(256)))


def chance(number: int) -> bytes:
    """A block that cannot be compressed."""
    return random.Random(number).randbytes(BLOCK)  # noqa: S311 - that is the purpose


def _blocks(size: int, kind: Callable[[int], bytes]) -> Iterator[bytes]:
    kept = [kind(number) for number in range(min(64, size // BLOCK))]
    for number in range(size // BLOCK):
        # No block is like another, and to make each anew would take minutes.
        yield number.to_bytes(8, "little") + kept[number % len(kept)][8:]


def fat_wheel(path: Path, half: int) -> None:
    """Write the large wheel: a file of code and one of chance, `half` bytes each."""
    info = f"{_NAME}-1.0.dist-info"
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as wheel:
        for name, kind in (("code.so", code), ("kernels.fatbin", chance)):
            whole = hashlib.sha256()
            with wheel.open(f"{_NAME}/{name}", "w", force_zip64=True) as member:
                for block in _blocks(half, kind):
                    whole.update(block)
                    member.write(block)
            rows.append(row(f"{_NAME}/{name}", whole.digest(), half))
        for name, text in {
            f"{_NAME}/__init__.py": "",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: false\n"
            "Tag: py3-none-any\n",
        }.items():
            rows.append(row_of(name, text))
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))


def project(work: Work, *, quick: bool) -> Path:
    """A project of the large wheel and many small ones, in `wheels/` beside its lock."""
    half, beside = (SMALL, 3) if quick else (HALF, BESIDE)

    def make(path: Path) -> None:
        wheels = path / "wheels"
        wheels.mkdir(parents=True)
        fat_wheel(wheels / f"{_NAME}-1.0-py3-none-any.whl", half)
        names = [f"bench_beside_{number:04}" for number in range(beside)]
        for name in names:
            make_wheel(wheels, name, FILES)
        (path / "pylock.toml").write_text(pylock(wheels.iterdir()), "utf-8")

    return work.once(f"large-wheels-{half}", "2", make)


def large_wheels(bench: Bench, sheet: Sheet) -> None:
    """The large wheel by itself, and an environment with it, from nothing."""
    work = bench.work
    made = project(work, quick=bench.quick)
    fat = made / "wheels" / f"{_NAME}-1.0-py3-none-any.whl"
    into = work.scratch / "large-wheels"
    home = work.home(into / "home", mount=work.root / "mnt/large-wheels")
    env = home | {"UV_CACHE_DIR": str(into / "uv-cache")}
    root, venv, wanted = into / "project", into / "uv", into / "project/pylock.toml"
    commands: dict[tuple[str, str], Sequence[Sequence[str | Path]]] = {
        (ONE, "uv"): [[UV, "pip", "install", "-q", "-p", PYTHON, "--no-deps", "--no-index",
                       "--target", into / "target", fat]],
        (ONE, "pkgview"): [[sys.executable, "-P", "-c", PACK, into / "store", fat]],
        (ALL, "uv"): [[UV, "venv", "-q", "-p", PYTHON, venv],
                      [UV, "pip", "sync", "-q", "-p", venv / "bin/python", "--offline",
                       "--preview", wanted]],
        (ALL, "pkgview"): [[PKGVIEW, "up", root, "--no-mount", "--offline"]],
    }  # fmt: skip
    for _, (what, name) in turns(list(commands), bench.rounds(3), seconds=300):
        shutil.rmtree(into, ignore_errors=True)
        root.mkdir(parents=True)
        work.home(into / "home", mount=work.root / "mnt/large-wheels")
        shutil.copy(made / "pylock.toml", root)
        fat.read_bytes()  # in memory, for everybody
        runs = [measured(work, command, env) for command in commands[what, name]]
        sheet.add(what, name, sum(seconds for seconds, _ in runs))
        if what == ALL:
            sheet.add(MEMORY, name, max(memory for _, memory in runs), "B")
            sheet.add(DISK, name, taken(into), "B")
    shutil.rmtree(into, ignore_errors=True)
    sheet.note(
        f"The wheel has two files of {(SMALL if bench.quick else HALF) / 1e6:,.0f} MB, one "
        "of which cannot be compressed; in the second line there are "
        f"{len(list(made.glob('wheels/*'))) - 1} small ones besides. Nothing is kept from before. "
        "The lock has their hashes. Disk: all that either leaves, with its cache."
    )


def measured(work: Work, command: Sequence[str | Path], env: dict[str, str]) -> tuple[float, int]:
    """Seconds that a command took, which has to succeed, and bytes of its largest process."""
    said = work.run([PYTHON, "-I", "-S", "-c", WATCH, *command], env=env)
    seconds, kilobytes = said.split()[-2:]
    return float(seconds), 1024 * int(kilobytes)
