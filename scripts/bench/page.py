"""docs/performance.md: prose by hand, and between two marks what was measured.

    <!-- measured: NAME -->
    …replaced by every `scripts/bench/run --docs`…
    <!-- end -->

NAME is "machine", "targets", or a part's: its picture, table and notes. The results and the
pictures lie beside the page, in docs/performance/; a test holds all three to each other.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.draw import drawn
from scripts.bench.rivals import label
from scripts.bench.table import cells
from scripts.bench.targets import judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bench.measure import Sheet
    from scripts.bench.results import Results

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "performance.md"
RESULTS = DOCS / "performance/results.json"

PICTURES = {
    "calls": ("open + close", "listdir", "stat"),
    "import": ("cold", "warm"),
    "walks": ("walk, cold", "tar, cold", "tar, warm"),
    "setup": ("an environment never made before", "from nothing to the first import done"),
    "disk": ("ten projects",),
}
"""The rows of each part that are drawn."""

_MARKED = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pictures(results: Results) -> dict[str, str]:
    """File name beside the results -> SVG."""
    return {
        f"{name}.svg": drawn(results.parts[name], whats)
        for name, whats in PICTURES.items()
        if name in results.parts and results.parts[name].rows
    }


def filled(page: str, results: Results) -> str:
    """The page with everything between marks as the results say."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n{_block(found[2], results)}\n{found[3]}"

    return _MARKED.sub(fill, page)


def write(results: Results) -> None:
    """The results, the pictures, and the page."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(results.to_json(), "utf-8")
    for left in RESULTS.parent.glob("*.svg"):
        left.unlink()
    for name, svg in pictures(results).items():
        (RESULTS.parent / name).write_text(svg, "utf-8")
    PAGE.write_text(filled(PAGE.read_text("utf-8"), results), "utf-8")


def _block(name: str, results: Results) -> str:
    if name == "machine":
        return _machine(results)
    if name == "targets":
        rows = [verdict.shown for verdict in judged(results)]
        return _table(("", "measured", "wanted", ""), rows)
    if name not in results.parts:
        return "Not measured.\n"
    return _part(name, results.parts[name])


def _machine(results: Results) -> str:
    rows = [*results.machine.items(), ("measured", results.began)]
    rows.append(("it took", f"{results.seconds / 60:.0f} minutes"))
    for when, load in (("before", results.load_before), ("after", results.load_after)):
        rows.append((f"load {when}", " ".join(f"{value:.1f}" for value in load)))
    rows += [(f"without {label(rival)}", why) for rival, why in results.skipped.items()]
    return _table(("", ""), rows)


def _part(name: str, sheet: Sheet) -> str:
    blocks = []
    if name in PICTURES and sheet.rows:
        blocks.append(f"![{sheet.title}](performance/{name}.svg)\n")
    if sheet.rows:
        heading, lines = cells(sheet)
        blocks.append(_table(heading, lines))
    if sheet.failed:
        blocks.append(f"Failed: {sheet.failed}\n")
    blocks += [f"{note}\n" for note in sheet.notes]
    return "\n".join(blocks)


def _table(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heading, rule, *lines))
