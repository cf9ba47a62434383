"""A part's medians as bars, in SVG 1.1, readable on light and dark pages alike.

Each group of bars is one row of the part's table, drawn to its own scale: what matters is how long
they are beside each other.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from scripts.bench.rivals import OURS, label
from scripts.bench.table import cell, taking_part

if TYPE_CHECKING:
    from collections.abc import Collection

    from scripts.bench.measure import Sheet

WIDTH = 760
LABELS, VALUES = 150, 150
"""Of the width, for names on the left and values on the right."""

BAR, GAP, HEADING, BETWEEN = 15, 4, 22, 12

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.what { font-weight: 600 }
.bar { fill: #8c959f }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.bar { fill: #6e7681 }
.ours { fill: #4493f8 }
}
"""


def drawn(sheet: Sheet, whats: Collection[str]) -> str:
    """The rows named `whats` as a picture."""
    rivals = taking_part(sheet)
    longest = WIDTH - LABELS - VALUES
    parts: list[str] = []
    y = 0
    for what in (one for one in sheet.whats if one in whats):
        rows = [row for rival in rivals if (row := sheet.row(what, rival))]
        most = max(row.median for row in rows) or 1.0
        y += HEADING
        parts.append(f'<text class="what" x="0" y="{y - 7}">{escape(what)}</text>')
        for row in rows:
            width = max(1.0, longest * row.median / most)
            kind = "bar ours" if row.rival in {OURS, "pkgview"} else "bar"
            shown = cell(row, rows[0])
            parts += [
                (
                    f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">'
                    f"{escape(label(row.rival))}</text>"
                ),
                (
                    f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" '
                    'rx="2"/>'
                ),
                f'<text x="{LABELS + width + 6:.1f}" y="{y + 12}">{escape(shown)}</text>',
            ]
            y += BAR + GAP
        y += BETWEEN
    inner = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" role="img" aria-label="{escape(sheet.title)}">\n'
        f"<style>{STYLE}</style>\n{inner}\n</svg>\n"
    )
