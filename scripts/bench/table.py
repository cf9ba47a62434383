"""The results as text: cells, and tables for a terminal and for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from scripts.bench.rivals import ORDER, label
from scripts.bench.targets import judged

if TYPE_CHECKING:
    from rich.console import Console

    from scripts.bench.measure import Row, Sheet
    from scripts.bench.results import Results

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def quantity(value: float, unit: str) -> str:
    """A value with three figures, in the unit that suits it: 1.23 ms."""
    scales = {"s": _TIMES, "B": _SIZES}.get(unit)
    if scales is None:
        return f"{value:,.0f}"
    scale, name = next((one for one in scales if value >= one[0]), scales[-1])
    return f"{_three(value / scale)} {name}"


def _three(value: float) -> str:
    """With three figures."""
    before = len(f"{value:.0f}")
    return f"{value:,.{max(0, 3 - before)}f}"


def cell(row: Row | None, base: Row | None) -> str:
    """A median, and how many times the base's it is."""
    if row is None:
        return ""
    shown = quantity(row.median, row.unit)
    if base is None or base is row or row.unit not in {"s", "B"} or not base.median:
        return shown
    return f"{shown} (×{_three(row.median / base.median)})"


def taking_part(sheet: Sheet) -> list[str]:
    """Who has a row, in the order of tables."""
    present = {row.rival for row in sheet.rows}
    return [rival for rival in ORDER if rival in present]


def cells(sheet: Sheet) -> tuple[list[str], list[list[str]]]:
    """Heading and lines of a part's table: what was done by whom, beside who comes first."""
    rivals = taking_part(sheet)
    lines = []
    for what in sheet.whats:
        rows = [sheet.row(what, rival) for rival in rivals]
        lines.append([what, *(cell(row, rows[0]) for row in rows)])
    return ["", *map(label, rivals)], lines


def show(results: Results, console: Console) -> None:
    """Everything, on a terminal."""
    for name, sheet in results.parts.items():
        console.print(f"\n[bold]{sheet.title}[/] ({name}, {sheet.seconds:.0f} s)")
        if sheet.rows:
            heading, lines = cells(sheet)
            _print(heading, lines, console)
        for note in sheet.notes:
            console.print(f"  {note}", style="dim", markup=False, soft_wrap=True)
        if sheet.failed:
            console.print(f"  failed: {sheet.failed}", style="red", markup=False)
    for rival, reason in results.skipped.items():
        console.print(f"without {label(rival)}: {reason}", style="yellow", markup=False)
    if results.quick:
        console.print("\nA quick run is judged by nothing.")
        return
    console.print("\n[bold]Targets[/]")
    _print(
        ["", "measured", "wanted", ""],
        [list(verdict.shown) for verdict in judged(results)],
        console,
    )


def _print(heading: list[str], lines: list[list[str]], console: Console) -> None:
    table = Table(box=None, pad_edge=True)
    for number, name in enumerate(heading):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for line in lines:
        table.add_row(*(part.replace("**", "") for part in line))
    console.print(table)
