"""What a part is given: the directory to work in, how many rounds, and the rivals, once mounted."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.bench.rivals import BASE, RIVALS, MissingError
from scripts.bench.work import drop_caches, is_root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.bench.measure import Sheet
    from scripts.bench.rivals import Rival
    from scripts.bench.work import Work


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run. `skipped` says for each rival that could not take part why not."""

    work: Work
    key: str
    asked_rounds: int | None
    wanted: Sequence[str]
    stack: ExitStack
    skipped: dict[str, str] = field(default_factory=dict)
    _rivals: list[Rival] = field(default_factory=list)

    @property
    def quick(self) -> bool:
        """Whether little is to be measured, only to see that it can be."""
        return self.work.quick

    @property
    def cold(self) -> bool:
        """Whether the kernel can be made to forget."""
        return is_root()

    def rounds(self, default: int) -> int:
        """How many rounds a part does that does `default` by itself."""
        return self.asked_rounds or (1 if self.quick else default)

    def rivals(self) -> list[Rival]:
        """All that can take part, mounted until the end of the run."""
        if not self._rivals:
            for name in self.wanted:
                own = ExitStack()
                try:
                    self._rivals.append(own.enter_context(RIVALS[name](self.work, self.key)))
                except MissingError as error:
                    self.skipped[name] = str(error)
                else:
                    self.stack.push(own)
        return self._rivals

    def base(self) -> Rival | None:
        """The rival that all are compared with, if it takes part."""
        return next((rival for rival in self.rivals() if rival.name == BASE), None)

    def forget(self, rival: Rival) -> None:
        """Let the rival's server and the kernel forget all they know: the next look is cold."""
        rival.restart()
        # The mount itself, and what the server reads when it begins.
        (rival.root / "pyvenv.cfg").stat()
        drop_caches()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something to measure. `python`: it needs the environment that `Work.prepare` makes."""

    title: str
    measure: Callable[[Bench, Sheet], None]
    python: bool = True
