"""What the results are judged by: one table, and one place that judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from scripts.bench.results import Results


class Of(NamedTuple):
    """Where a value stands in the results."""

    part: str
    what: str
    rival: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`value` divided by `over`, where that is given, is at most or at least `limit`.

    `scale`: what one of the limit's unit is in the results' unit.
    """

    name: str
    value: Of
    over: Of | None = None
    limit: float
    at_least: bool = False
    unit: str = "×"
    scale: float = 1.0

    def judge(self, results: Results) -> Verdict:
        """What came out."""
        found = results.median(*self.value)
        if found is not None and self.over is not None:
            base = results.median(*self.over)
            found = found / base if base else None
        if found is None:
            return Verdict(target=self, value=None)
        return Verdict(target=self, value=found / self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came out for a target; without a value it was not measured."""

    target: Target
    value: float | None

    @property
    def holds(self) -> bool | None:
        """Whether the target is met."""
        if self.value is None:
            return None
        if self.target.at_least:
            return self.value >= self.target.limit
        return self.value <= self.target.limit

    @property
    def shown(self) -> tuple[str, str, str, str]:
        """Name, value, limit, judgement."""
        unit = self.target.unit if self.target.unit in "×%" else f" {self.target.unit}"
        bound = "at least" if self.target.at_least else "at most"
        return (
            self.target.name,
            "not measured" if self.value is None else f"{self.value:.3g}{unit}",
            f"{bound} {self.target.limit:g}{unit}",
            {True: "met", False: "**missed**", None: ""}[self.holds],
        )


def _beside(name: str, part: str, what: str, limit: float, over: str = "ext4") -> Target:
    return Target(
        name=name, value=Of(part, what, "devfuse"), over=Of(part, what, over), limit=limit
    )


TARGETS = (
    _beside("warm open + close, beside ext4", "calls", "open + close", 1.6),
    _beside("warm listdir, beside ext4", "calls", "listdir", 1.2),
    _beside("warm import, beside ext4", "import", "warm", 1.12),
    _beside(
        "warm import without the IOCTL, beside ext4", "import", "warm, without the IOCTL", 1.03
    ),
    _beside("cold tar, beside squashfuse_ll", "walks", "tar, cold", 0.5, "squashfuse_ll"),
    Target(
        name="warm open + close, squashfuse_ll beside ours",
        value=Of("calls", "open + close", "squashfuse_ll"),
        over=Of("calls", "open + close", "devfuse"),
        limit=10,
        at_least=True,
    ),
)


def judged(results: Results) -> list[Verdict]:
    """Every target, judged."""
    return [target.judge(results) for target in TARGETS]
