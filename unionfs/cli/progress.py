"""Progress of `up`: a live display on a terminal, nothing elsewhere.

rich is imported when the first thing happens that takes time, so a quick `up` does without.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from resolver.naming import spelled
from unionfs.cli import console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID

PATIENCE = 0.5
"""Seconds of work before anything is drawn."""


class Display:
    """Draws what `assemble` reports. Use as a context; counts work without a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.files = 0
        self.bytes = 0
        self.archives = 0
        self.compiled_archives = 0
        quiet = quiet or console.is_quiet()
        self._draws = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._began = time.monotonic()
        self._bars: Bars | None = None
        self._fetching: TaskID | None = None
        self._doing: TaskID | None = None
        self._total: int | None = None
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def locking(self, project: str) -> None:
        """The lock is looked at; the resolver may take seconds."""
        self._say(f"resolving {project}", at_once=True)

    def started(self, total_files: int, total_bytes: int | None) -> None:
        """Downloads begin."""
        del total_files
        self._total = total_bytes
        self._count("fetching", total_bytes)

    def advanced(self, filename: str, count: int) -> None:
        """So many bytes more."""
        del filename
        self.bytes += count
        if self._bars is not None and self._fetching is not None:
            self._bars.advance(self._fetching, count)

    def receiving(self, total: int) -> None:
        """What is lacking of archives is fetched."""
        self._total = total
        self._count("fetching", total)

    def sending(self, total: int) -> None:
        """Archives are sent to a remote store."""
        self._total = total
        self._count("sending", total)

    def sent(self, count: int) -> None:
        """So many bytes more are there."""
        self.advanced("", count)

    def finished(self, filename: str) -> None:
        """A file is whole."""
        self.files += 1
        self._say(f"fetched {filename}")

    def packing(self, name: str) -> None:
        """An archive is being made."""
        self._say(f"packing {name}")

    def building(self, name: str) -> None:
        """A distribution is being built."""
        self._say(f"building {name}", at_once=True)

    def made(self, name: str) -> None:
        """An archive is in the store."""
        self.archives += 1
        self._say(f"packed {name}")

    def compiled(self, archive: str, number: int, count: int) -> None:
        """An archive's bytecode is made, the first of them is number 1."""
        self.compiled_archives += 1
        self._say(f"compiled {number} of {count}: {archive.partition('.')[0]}")

    def verifying(self, name: str, number: int, count: int) -> None:
        """An archive is being read, the first of them is number 1."""
        self._say(f"verifying {number} of {count}: {name.partition('.')[0]}")

    def copying(self, name: str, number: int, count: int) -> None:
        """An archive is next, the first of them is number 1; `count` is 0 if not known."""
        of = f" of {count}" if count else ""
        self._say(f"copying {number}{of}: {name.partition('.')[0]}")

    def _count(self, what: str, total: int | None) -> None:
        self._say(what, at_once=True)
        if self._bars is not None:
            self._fetching = self._bars.add_task(what, total=total, counts=True)

    def _say(self, text: str, *, at_once: bool = False) -> None:
        if not self._draws:
            return
        text = spelled(text)
        if self._bars is None:
            if not at_once and time.monotonic() - self._began < PATIENCE:
                return
            self._bars = _bars()
            self._doing = self._bars.add_task(text, total=None)
            self._bars.start()
        elif self._doing is not None:
            self._bars.update(self._doing, description=text)


def _bars() -> Bars:
    from rich.console import Console  # noqa: PLC0415 - only to draw
    from rich.progress import (  # noqa: PLC0415 - only to draw
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text  # noqa: PLC0415 - only to draw

    class Counted(ProgressColumn):
        """A column that is empty for what has no bytes to count."""

        def __init__(self, column: ProgressColumn) -> None:
            super().__init__()
            self.column = column

        def render(self, task: Task) -> RenderableType:
            return self.column(task) if task.fields.get("counts") else Text()

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *map(Counted, (BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn())),
        console=Console(stderr=True),
        transient=True,
    )
