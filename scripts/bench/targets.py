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


def _times(  # noqa: PLR0913 - a table's columns
    name: str, part: str, what: str, limit: float, *, ours: str = "pkgview", theirs: str = "uv"
) -> Target:
    return Target(
        name=name, value=Of(part, what, theirs), over=Of(part, what, ours), limit=limit,
        at_least=True,
    )  # fmt: skip


def _absolute(  # noqa: PLR0913, PLR0917 - a table's columns
    name: str, part: str, what: str, limit: float, unit: str, scale: float
) -> Target:
    return Target(name=name, value=Of(part, what, "pkgview"), limit=limit, unit=unit, scale=scale)


_NEW, _FIRST = "an environment never made before", "from nothing to the first import done"
_NO_IOCTL = "warm, without the IOCTL"
_LARGE = "a view of 500 distributions, 150,000 files"

TARGETS = (
    _beside("warm open + close, beside ext4", "calls", "open + close", 1.6),
    _beside("warm listdir, beside ext4", "calls", "listdir", 1.2),
    _beside("warm import, beside ext4", "import", "warm", 1.12),
    _beside("warm import without the IOCTL, beside ext4", "import", _NO_IOCTL, 1.03),
    _beside("cold tar, beside squashfuse_ll", "walks", "tar, cold", 0.5, "squashfuse_ll"),
    _times("warm open + close, faster than squashfuse_ll", "calls", "open + close", 10,
           ours="devfuse", theirs="squashfuse_ll"),
    _times("`pkgview up`, faster than `uv sync`", "setup", _NEW, 15),
    _times("from nothing to the first import, faster than with uv", "setup", _FIRST, 5),
    Target(
        name="disk of ten projects, beside uv's",
        value=Of("disk", "ten projects", "pkgview"),
        over=Of("disk", "ten projects", "uv"),
        limit=40, unit="%", scale=0.01,
    ),
    Target(
        name="ten wheels become archives, beside `uv pip install`",
        value=Of("packing", "ten wheels", "pkgview"),
        over=Of("packing", "ten wheels", "uv"),
        limit=1.5,
    ),
    _absolute("a view of 150,000 files is made", "large", f"{_LARGE}: made", 100, "ms", 1e-3),
    _absolute("its first listing", "large", f"{_LARGE}: listed", 50, "ms", 1e-3),
    _absolute("its first listing, of a fresh daemon", "large", f"{_LARGE}, fresh daemon: listed",
              50, "ms", 1e-3),
    _absolute("memory with twenty views in use", "memory", "with twenty views in use", 120, "MB",
              1e6),
    _absolute("a first look at an interpreter, the daemon's time", "look",
              "an interpreter, seen for the first time: the daemon's time", 1, "ms", 1e-3),
    _absolute("`pkgview up` with nothing to do", "nothing", "500 distributions, nothing to do",
              150, "ms", 1e-3),
)  # fmt: skip


def judged(results: Results) -> list[Verdict]:
    """Every target, judged; what was measured quickly is not."""
    if results.quick:
        return []
    return [target.judge(results) for target in TARGETS]
