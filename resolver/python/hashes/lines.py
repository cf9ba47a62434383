"""Which of the hashes that are stated of one distribution count for one interpreter.

A hash stands in a line, and counts where that line's marker holds: what is stated for another
machine says nothing of the file for this one. Of those that hold, a line of a nearer kind goes
before others (`Rank`), and a constraint that uv itself has been told of goes with them: the file
has to have a hash of both, as for uv.

A lock is for several machines, so where markers decide, it keeps the lines themselves (`written`),
and whoever selects from it looks which hold.
"""

from __future__ import annotations

import enum
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.markers import InvalidMarker, Marker, UndefinedComparison
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Rank(enum.IntEnum):
    """The kinds of lines, those that go before others first."""

    OVERRIDE = 0
    REQUIREMENT = 1
    CONSTRAINT = 2
    NAMED = 3
    """A constraint by a setting of pip's."""
    NONE = 4
    """Where nothing else is stated, and something has to be: no hash will do."""
    CUT = 5
    """A constraint by a setting of uv's: beside whichever of the others counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Some:
    """Hashes, "algorithm:hexadecimal", of which a file has to have one.

    Where `marker` holds ("": everywhere), of versions that fit `specifier`.
    """

    hashes: frozenset[str]
    rank: Rank = Rank.REQUIREMENT
    marker: str = ""
    specifier: str = ""

    def is_of(self, version: str) -> bool:
        """Whether it may mean that version of its distribution."""
        with suppress(InvalidSpecifier):
            return not version or SpecifierSet(self.specifier).contains(version, prereleases=True)
        return True

    def holds(self, environment: Mapping[str, str]) -> bool:
        """Whether it counts for an interpreter with these values of markers."""
        with suppress(InvalidMarker, UndefinedComparison):
            return not self.marker or Marker(self.marker).evaluate(dict(environment))
        return True


def counting(some: Iterable[Some], named: str) -> frozenset[str] | None:
    """Of lines that all hold: a file has to have one of these; None: any will do.

    `PkgviewError` where two lines contradict each other, so that no file of what is `named` will.
    """
    lines = sorted(some, key=lambda one: one.rank)
    cut = [one for one in lines if one.rank == Rank.CUT]
    own = [one for one in lines if one.rank == lines[0].rank and one not in cut]
    if cut and own and own[0].rank != Rank.NONE:
        if not (both := _all(own) & _all(cut)):
            raise PkgviewError(
                f"a requirement and a constraint state other hashes of {named}: "
                f"{', '.join(sorted(_all(own)))}, and {', '.join(sorted(_all(cut)))}",
                remedy="Leave those out that are not the file's.",
            )
        return both
    found = cut or own
    return _all(found) if found else None


def _all(some: Iterable[Some]) -> frozenset[str]:
    return frozenset().union(*(one.hashes for one in some))


def written(some: Iterable[Some]) -> list[dict[str, Any]]:
    """The lines as a lock keeps them; their versions are the package's own."""
    return [
        {"rank": int(one.rank), "marker": one.marker, "hashes": sorted(one.hashes)} for one in some
    ]


def read(tables: object) -> tuple[Some, ...]:
    """The same again; `ValueError` for what `written` has not written."""
    try:
        return tuple(
            Some(
                hashes=frozenset(map(_text, one["hashes"])),
                rank=Rank(one["rank"]),
                marker=_text(one["marker"]),
            )
            for one in _list(tables)
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{tables!r} are no hashes") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value
