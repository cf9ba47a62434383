"""All of a run: what was measured, where, and when. Kept as JSON, format 1."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scripts.bench.measure import Sheet
from scripts.bench.work import UV

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1


@dataclass(slots=True, kw_only=True)
class Results:
    """One run."""

    machine: dict[str, str]
    began: str
    quick: bool
    load_before: tuple[float, ...]
    load_after: tuple[float, ...] = ()
    seconds: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Sheet] = field(default_factory=dict)

    def median(self, part: str, what: str, rival: str) -> float | None:
        """A value, None where it was not measured."""
        row = self.parts[part].row(what, rival) if part in self.parts else None
        return row.median if row else None

    def finish(self, seconds: float) -> None:
        """It has come so far, now."""
        self.seconds = seconds
        self.load_after = os.getloadavg()

    def to_json(self) -> str:
        """As it is kept."""
        kept = {
            "format": FORMAT,
            "machine": self.machine,
            "began": self.began,
            "quick": self.quick,
            "load_before": self.load_before,
            "load_after": self.load_after,
            "seconds": round(self.seconds),
            "skipped": self.skipped,
            "parts": {name: sheet.to_json() for name, sheet in self.parts.items()},
        }
        text = json.dumps(kept, indent=1)
        # A list of numbers is one line.
        return re.sub(r"\[[\s\d.,e+-]+\]", lambda found: " ".join(found[0].split()), text) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """As it was kept."""
        kept: Mapping[str, Any] = json.loads(text)
        if kept.get("format") != FORMAT:
            raise ValueError(f"results of format {kept.get('format')}, not {FORMAT}")
        return cls(
            machine=kept["machine"],
            began=kept["began"],
            quick=kept["quick"],
            load_before=tuple(kept["load_before"]),
            load_after=tuple(kept["load_after"]),
            seconds=kept["seconds"],
            skipped=kept["skipped"],
            parts={name: Sheet.from_json(sheet) for name, sheet in kept["parts"].items()},
        )


def begun(*, quick: bool) -> Results:
    """The results of a run that begins now."""
    return Results(
        machine=machine(),
        began=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        quick=quick,
        load_before=os.getloadavg(),
    )


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    cores = os.cpu_count() or 0
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {
        "processor": f"{_processor()}, {cores} cores",
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "pkgview": version("pkgview"),
    }
    for name, command in {
        "uv": [UV, "--version"],
        "squashfs-tools": ["mksquashfs", "-version"],
        "squashfuse": ["squashfuse_ll", "--version"],
    }.items():
        with suppress(OSError):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            lines = (done.stdout + done.stderr).splitlines()
            said = next((line for line in lines if re.search(r"\d+\.\d+", line)), "?")
            found[name] = " ".join(said.split()[:3])
    return found


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
