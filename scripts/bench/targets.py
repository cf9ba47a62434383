"""What the results are judged by: one table, and one place that judges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from scripts.bench.first import ALONE, FEW, MANY, PROGRAM
from scripts.bench.large_files import TOUCHES
from scripts.bench.large_wheels import ALL, MEMORY, ONE
from scripts.bench.large_wheels import DISK as WHEELS_DISK
from scripts.bench.memory import IN_USE, NO_VIEW, QUIET
from scripts.bench.node import CLONE, DISK, MISSING
from scripts.bench.node_tools import TOOLS
from scripts.bench.start import ADDED, PLAIN

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

    `scale`: what one of the limit's unit is in the results' unit. `bound`: something measured in
    the same run that `over` cannot be below, and what it is called.
    """

    name: str
    value: Of
    over: Of | None = None
    bound: tuple[Of, str] | None = None
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
        return Verdict(target=self, value=found / self.scale, best=self._best(results))

    def _best(self, results: Results) -> float | None:
        if self.bound is None:
            return None
        found, bound = results.median(*self.value), results.median(*self.bound[0])
        return found / bound / self.scale if found and bound else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came out for a target; without a value it was not measured.

    `best` is what would come out for something as fast as the target's bound.
    """

    target: Target
    value: float | None
    best: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where nobody could know, or nothing could meet it."""
        if self.value is None:
            return None
        if self._meets(self.value):
            return True
        return None if self.out_of_reach else False

    @property
    def out_of_reach(self) -> bool:
        """Whether not even the bound would meet it, on this machine and in this run."""
        return self.best is not None and not self._meets(self.best)

    def _meets(self, value: float) -> bool:
        limit = self.target.limit
        return value >= limit if self.target.at_least else value <= limit

    @property
    def shown(self) -> tuple[str, str, str, str]:
        """Name, value, limit, judgement."""
        unit = self.target.unit if self.target.unit in "×%" else f" {self.target.unit}"
        bound = "at least" if self.target.at_least else "at most"
        return (
            self.target.name,
            "not measured" if self.value is None else f"{self.value:.3g}{unit}",
            f"{bound} {self.target.limit:g}{unit}",
            {True: "met", False: "**missed**", None: self._why_not()}[self.holds],
        )

    def _why_not(self) -> str:
        if self.value is None or self.best is None or self.target.bound is None:
            return ""
        return f"out of reach: {self.target.bound[1]} gives {self.best:.3g}{self.target.unit}"


def _beside(  # noqa: PLR0913 - a table's columns
    name: str, part: str, what: str, limit: float, over: str = "ext4", *, ours: str = "devfuse"
) -> Target:
    return Target(name=name, value=Of(part, what, ours), over=Of(part, what, over), limit=limit)


_beside_uv = partial(_beside, over="uv", ours="pkgview")


def _times(  # noqa: PLR0913 - a table's columns
    name: str,
    part: str,
    what: str,
    limit: float,
    *,
    ours: str = "pkgview",
    theirs: str = "uv",
    bound: tuple[Of, str] | None = None,
) -> Target:
    return Target(
        name=name, value=Of(part, what, theirs), over=Of(part, what, ours), limit=limit,
        at_least=True, bound=bound,
    )  # fmt: skip


def _absolute(  # noqa: PLR0913, PLR0917 - a table's columns
    name: str, part: str, what: str, limit: float, unit: str, scale: float
) -> Target:
    return Target(name=name, value=Of(part, what, "pkgview"), limit=limit, unit=unit, scale=scale)


_KNOWN, _FIRST = "a second clone of a project", "from nothing to the first import done"
_HOUR = "after 1,000,000 requests more"
_LARGE = "a view of 500 distributions, 150,000 files"

TARGETS = (
    _beside("warm open + close, beside ext4", "calls", "open + close", 1.6),
    _beside("warm listdir, beside ext4", "calls", "listdir", 1.2),
    _beside("warm import, beside ext4", "import", "warm", 1.01),
    _beside("cold tar, beside squashfuse_ll", "walks", "tar, cold", 0.5, "squashfuse_ll"),
    _times("warm open + close, faster than squashfuse_ll", "calls", "open + close", 10,
           ours="devfuse", theirs="squashfuse_ll",
           bound=(Of("calls", "open + close", "ext4"), "ext4 itself")),
    _times("`pkgview up` of a second clone, faster than `uv sync`", "setup", _KNOWN, 15),
    _times("from nothing to the first import, faster than with uv", "setup", _FIRST, 5,
           bound=(Of("setup", "the same import again", "uv, compiling"), "the import alone")),
    Target(
        name="disk of ten projects, beside uv's",
        value=Of("disk", "ten projects", "pkgview"),
        over=Of("disk", "ten projects", "uv"),
        limit=40, unit="%", scale=0.01,
    ),
    _beside_uv("ten wheels become archives, beside `uv pip install`", "packing", "ten wheels", 1.5),
    *(
        _beside_uv(name, "large-wheels", what, limit)
        for name, what, limit in (
            ("a wheel of a gigabyte becomes an archive, beside `uv pip install`", ONE, 1.5),
            ("from local wheels to a view, a gigabyte among them, beside uv", ALL, 1.5),
            ("disk then, beside uv's cache and environment", WHEELS_DISK, 0.7),
        )
    ),
    _absolute("most memory of a process of `pkgview up` then", "large-wheels", MEMORY, 115, "MB",
              1e6),
    *(
        _beside(f"a file of a gigabyte, cold: {name}, beside ext4", "large-files", what, limit)
        for name, what, limit in (
            ("in order", "in order", 1.2),
            ("page faults", f"{TOUCHES:,} page faults", 1.3),
            ("page faults under MADV_RANDOM", f"{TOUCHES:,} page faults, MADV_RANDOM", 3),
            ("memory after it was read in order", "in order: in memory then", 1.1),
        )
    ),
    _absolute("a view of 150,000 files is made", "large", f"{_LARGE}: made", 100, "ms", 1e-3),
    _absolute("its first listing", "large", f"{_LARGE}: listed", 50, "ms", 1e-3),
    _absolute("its first listing, of a fresh daemon", "large", f"{_LARGE}, fresh daemon: listed",
              50, "ms", 1e-3),
    _absolute("memory of a mount that nobody uses", "memory", NO_VIEW, 25, "MB", 1e6),
    _absolute("memory with twenty views in use, while they are read", "memory", IN_USE, 60, "MB",
              1e6),
    _absolute("the same, half a minute later", "memory", QUIET, 60, "MB", 1e6),
    _absolute("memory after an hour's worth of requests", "memory", _HOUR, 120, "MB", 1e6),
    Target(
        name="the same, beside a quarter of an hour's worth",
        value=Of("memory", _HOUR, "pkgview"),
        over=Of("memory", "after 250,000 requests more", "pkgview"),
        limit=1.05,
    ),
    _absolute("a first look at an interpreter, the daemon's time", "look",
              "an interpreter, seen for the first time: the daemon's time", 1, "ms", 1e-3),
    _absolute("`pkgview up` with nothing to do", "nothing", "500 distributions, nothing to do",
              150, "ms", 1e-3),
    *(
        _beside_uv(name, "first", what, limit)
        for name, what, limit in (
            ("`pkgview up` of a new project, 1 distribution, beside uv", ALONE, 0.8),
            ("the same, 17 distributions", FEW, 0.8),
            ("the same, 161 distributions", MANY, 0.3),
            ("the first program of a new project, beside `uv run`", PROGRAM, 1),
        )
    ),
    _beside_uv("`pkgview run` with nothing to do, beside `uv run --no-sync`", "start", PLAIN, 1.3),
    _beside_uv("`pkgview run --with` again, beside uv's", "start", ADDED, 1),
    *(
        _times(f"`pkgview up`, {what}, faster than {whose}", "node", what, limit, theirs=theirs)
        for what, limits in ((MISSING, (20, 5)), (CLONE, (50, 15)))
        for (theirs, whose), limit in zip(
            (("npm", "`npm ci`"), ("pnpm", "`pnpm install --offline`")), limits, strict=True
        )
    ),
    *(
        Target(
            name=f"disk of ten projects of Node's, beside {theirs}'s",
            value=Of("node", DISK, "pkgview"), over=Of("node", DISK, theirs),
            limit=limit, unit="%", scale=0.01,
        )
        for theirs, limit in (("npm", 25), ("pnpm", 60))
    ),
    *(
        _beside(f"`{tool}` on a view, {state}, beside npm's tree", "node-tools",
                f"{tool}, {state}", limit, "npm", ours="pkgview")
        for tool in TOOLS for state, limit in (("warm", 1.05), ("cold", 1.2))
    ),
)  # fmt: skip


def judged(results: Results) -> list[Verdict]:
    """Every target, judged; what was measured quickly is not."""
    if results.quick:
        return []
    return [target.judge(results) for target in TARGETS]
