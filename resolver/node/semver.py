"""Versions and ranges as npm has them (semver.org, and the grammar of node-semver's ranges).

Asked for what a lock has resolved already: whether a version is in a range, a prerelease like any
other version where `prereleases` says so (as npm asks for `engines`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = r"(?:0|[1-9]\d{0,15})"
_IDENTIFIER = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_REST = rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z.-]+)?"
_VERSION = re.compile(rf"\s*v?({_NUMBER})\.({_NUMBER})\.({_NUMBER}){_REST}\s*", re.ASCII)
_PART = rf"({_NUMBER}|[xX*])"
_PARTIAL = rf"([v=]*)\s*{_PART}(?:\.{_PART}(?:\.{_PART}{_REST})?)?"
_SIMPLE = re.compile(rf"(<=?|>=?|~>?|\^|=)?\s*{_PARTIAL}", re.ASCII)
_HYPHEN = re.compile(rf"\s*{_PARTIAL}\s+-\s+{_PARTIAL}\s*", re.ASCII)
_LARGEST = 2**53 - 1
_LONGEST = 256
_LONGEST_PART = 1024
"""Characters of a part of a range: what is longer takes long to read, and nobody writes it."""


class Version(NamedTuple):
    """Three numbers, and a prerelease's identifiers (() for a release)."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """By which versions are ordered (semver.org, 11)."""
        identifiers = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in self[3])
        return (*self[:3], 0 if self.prerelease else 1, identifiers)


class _Comparator(NamedTuple):
    operator: str
    version: Version

    def takes(self, version: Version) -> bool:
        one, other = version.key, self.version.key
        match self.operator:
            case ">=":
                return one >= other
            case "<":
                return one < other
            case ">":
                return one > other
            case "<=":
                return one <= other
            case _:
                return one == other


_FIRST = ("0",)
"""The first prerelease that there can be of a version."""

_NONE = _Comparator("<", Version(0, 0, 0, ("0",)))


def parse(text: str) -> Version | None:
    """The version; None for what is none."""
    found = _VERSION.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    pre = tuple(found[4].split(".")) if found[4] else ()
    numbers = Version(int(found[1]), int(found[2]), int(found[3]), pre)
    return None if max(numbers[:3]) > _LARGEST else numbers


def satisfies(version: str, wanted: str, *, prereleases: bool = False) -> bool | None:
    """Whether the version is in the range; None for what is no range (a tag, an address)."""
    found = parse(version)
    if found is None:
        return False
    try:
        sets = [
            list(_comparators(" ".join(one.split()), _FIRST if prereleases else ()))
            for one in wanted.split("||")
        ]
    except ValueError:
        return None
    return any(_is_in(found, one, prereleases=prereleases) for one in sets)


def _is_in(version: Version, comparators: list[_Comparator], *, prereleases: bool) -> bool:
    if not all(one.takes(version) for one in comparators):
        return False
    # A prerelease is meant only by who names one of the same release.
    return (
        not version.prerelease
        or prereleases
        or any(one.version.prerelease and one.version[:3] == version[:3] for one in comparators)
    )


def _comparators(text: str, lowest: tuple[str, ...]) -> Iterator[_Comparator]:
    """Of a part between `||`; `ValueError` for what is none. None at all: any version.

    `lowest` is the prerelease from which on a version counts of which a part is left open.
    """
    if len(text) > _LONGEST_PART:
        raise ValueError(text)
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen is not None:
        groups = hyphen.groups()
        yield from (
            one._replace(version=one.version._replace(prerelease=lowest))
            if not one.version.prerelease
            else one
            for one in _simple(">=", groups[:5], lowest)
        )
        yield from _simple("<=", groups[5:], lowest)
        return
    at = 0
    text = text.strip()
    while at < len(text):
        found = _SIMPLE.match(text, at)
        if found is None or (found.end() < len(text) and text[found.end()] not in " \t,"):
            raise ValueError(text)
        yield from _simple(found[1] or "", found.groups()[1:], lowest)
        at = found.end()
        while at < len(text) and text[at] in " \t,":
            at += 1


def _simple(
    operator: str, groups: tuple[str | None, ...], lowest: tuple[str, ...]
) -> Iterator[_Comparator]:
    """A version with an operator, parts of which may be open, as plain comparisons.

    `groups`: signs before it, three parts, the prerelease.
    """
    numbers, pre = _read(groups)
    if not numbers:
        if operator in {"<", ">"}:
            yield _NONE
        return
    is_open = len(numbers) < 3  # noqa: PLR2004 - three numbers
    from_there = _padded(numbers, lowest if is_open else pre)
    if operator in {"^", "~", "~>"}:
        yield _Comparator(">=", from_there)
        yield _Comparator("<", _caret(numbers) if operator == "^" else _above(numbers[:2]))
    elif not is_open:
        yield _Comparator(operator, from_there)
    elif operator == ">":
        yield _Comparator(">=", _above(numbers, lowest))
    elif operator in {"<", "<="}:
        to = from_there._replace(prerelease=_FIRST) if operator == "<" else _above(numbers)
        yield _Comparator("<", to)
    else:
        yield _Comparator(">=", from_there)
        if operator != ">=":
            yield _Comparator("<", _above(numbers))


def _read(groups: tuple[str | None, ...]) -> tuple[list[int], tuple[str, ...]]:
    """The numbers up to the first that is left open, and the prerelease."""
    signs, *parts, pre = groups
    numbers: list[int] = []
    for part in parts:
        if part is None or part in "xX*":
            break
        numbers.append(int(part))
    known = len(numbers)
    if any(part and part not in "xX*" for part in parts[known:]) or max((0, *numbers)) > _LARGEST:
        raise ValueError(parts)
    if known == len(parts) and signs and "=" in signs:
        raise ValueError(signs)
    return numbers, tuple(pre.split(".")) if pre else ()


def _above(numbers: list[int], prerelease: tuple[str, ...] = _FIRST) -> Version:
    """The first version that does not begin with these numbers; its first prerelease at that."""
    last = len(numbers) - 1
    return _padded([*numbers[:last], numbers[last] + 1], prerelease)


def _padded(numbers: list[int], prerelease: tuple[str, ...]) -> Version:
    """What is not given is 0."""
    major, minor, patch, *_ = (*numbers, 0, 0, 0)
    return Version(major, minor, patch, prerelease)


def _caret(numbers: list[int]) -> Version:
    """Up to where the leftmost number that is not 0 changes, or the last one that is given."""
    first = next((at for at, one in enumerate(numbers) if one), len(numbers) - 1)
    return _above(numbers[: first + 1])
