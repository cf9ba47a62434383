"""The processes that read from one mount, as each of them knows the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _nowhere(_: int) -> None:
    """There is nobody who could be told."""


def _not_here(_: int) -> bool:
    return False


def _stay() -> None:
    """There is no loop yet."""


@dataclass(slots=True)
class Siblings:
    """The other processes that read from the mount, as the loop of one knows them.

    `tell` them that the caller of a request was interrupted that is none of ours. `interrupt` is
    the loop's, for what they tell: whether that one waits here; and `step_back`, behind the others
    that wait for requests.
    """

    tell: Callable[[int], None] = _nowhere
    interrupt: Callable[[int], bool] = _not_here
    step_back: Callable[[], None] = _stay
