"""What differs between two sets of packages, such as a lock or a view before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """Each difference between the versions by their names, in the order of the names."""
    return tuple(
        Change(name, before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
