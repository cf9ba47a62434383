"""What every part is made of: contestants that take turns, and a sheet of what they did.

Machines drift: a value is worth something beside one that was taken just before or after it. So
within a part all contestants do one round, then all the next one, each round begun by another; and
what is told is the median of the rounds.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Contestant = TypeVar("Contestant")


def turns(
    contestants: Sequence[Contestant], rounds: int, *, seconds: float, warmups: int = 0
) -> Iterator[tuple[int, Contestant]]:
    """(round, contestant), every contestant once a round; no round is begun after `seconds`.

    But for the first: who takes part has a value. Before it come `warmups` rounds below zero.
    """
    began = time.monotonic()
    for number in range(-warmups, rounds):
        if number > 0 and time.monotonic() - began > seconds:
            return
        first = number % len(contestants) if contestants else 0
        for one in (*contestants[first:], *contestants[:first]):
            yield number, one


@dataclass(slots=True, kw_only=True)
class Row:
    """What one contestant needed for one thing, each round: seconds, bytes, or a number of them."""

    what: str
    rival: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The value that is told."""
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "what": self.what,
            "rival": self.rival,
            "unit": self.unit,
            "median": self.median,
            "values": self.values,
        }


@dataclass(slots=True, kw_only=True)
class Sheet:
    """What one part measured. `notes` are sentences that the numbers need."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failed: str | None = None

    def add(self, what: str, rival: str, value: float, unit: str = "s") -> None:
        """One more round's value."""
        row = self.row(what, rival)
        if row is None:
            row = Row(what=what, rival=rival, unit=unit)
            self.rows.append(row)
        row.values.append(float(f"{value:.4g}"))

    def row(self, what: str, rival: str) -> Row | None:
        """A row that is there."""
        return next((row for row in self.rows if (row.what, row.rival) == (what, rival)), None)

    def note(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    @property
    def whats(self) -> list[str]:
        """What was measured, in order."""
        return list(dict.fromkeys(row.what for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "title": self.title,
            "seconds": round(self.seconds, 1),
            "failed": self.failed,
            "notes": self.notes,
            "rows": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """As it was kept."""
        return cls(
            title=kept["title"],
            seconds=kept["seconds"],
            failed=kept["failed"],
            notes=list(kept["notes"]),
            rows=[
                Row(what=row["what"], rival=row["rival"], unit=row["unit"], values=row["values"])
                for row in kept["rows"]
            ],
        )
