"""What differs between two sets of packages, such as a lock or a view before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_SAID = 8
"""Changes that are said in one line."""


class Change(NamedTuple):
    """A package's version before and after; "" where it was not there, or is there no more."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        """`+ rich 15.1.0`, `- six`, `~ numpy 2.3.5 → 2.4.0`."""
        if not self.before:
            return f"+ {self.name} {self.after}"
        if not self.after:
            return f"- {self.name}"
        return f"~ {self.name} {self.before} \N{RIGHTWARDS ARROW} {self.after}"


def some(of: Sequence[Change]) -> str:
    """The first of them on one line, and how many more there are."""
    more = f" and {len(of) - MOST_SAID} more" if len(of) > MOST_SAID else ""
    return ", ".join(map(str, of[:MOST_SAID])) + more


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """Each difference between the versions by their names, in the order of the names."""
    return tuple(
        Change(name, before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
