"""A requirements.txt with one requirement more or less; all other lines stay as they are. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from resolver.python.requirements import logical_lines, normalised, physical_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:$|[\[<>=!~;@\s(])")

_COMMENT = re.compile(r"\s+#.*$")


def name_of(line: str) -> str:
    """The normalised name that a requirement begins with; "" where it has none."""
    found = _NAME.match(line)
    return normalised(found[1]) if found else ""


def with_line(text: str, line: str) -> str:
    """With that line: in the place of what has its name, whose comment stays; else at the end.

    A name alone changes nothing where it is listed already.
    """
    same = [span for span in _spans(text) if name_of(line) and name_of(span[2]) == name_of(line)]
    same = same or [span for span in _spans(text) if span[2] == line]
    if not same:
        ended = text if not text or text.endswith("\n") else f"{text}\n"
        return f"{ended}{line}\n"
    if normalised(line) == name_of(line):
        return text
    first, last, _ = same[0]
    comment = _COMMENT.search(text.splitlines()[last - 1])
    return _replaced(text, first, last, f"{line}{comment[0] if comment else ''}\n")


def without(text: str, listed: str) -> str | None:
    """Without the lines of that name, or that are written so; None where there is none."""
    for first, last, line in reversed(list(_spans(text))):
        if line == listed or (name_of(listed) and name_of(line) == name_of(listed)):
            shorter = _replaced(text, first, last, "")
            return without(shorter, listed) or shorter
    return None


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Each logical line with the indexes of its first physical line and of what follows."""
    raw = [line.rstrip("\r\n") for line in physical_lines(text)]
    for number, line in logical_lines(text):
        last = number
        while last < len(raw) and raw[last - 1].endswith("\\"):
            last += 1
        yield number - 1, last, line


def _replaced(text: str, first: int, last: int, new: str) -> str:
    lines = physical_lines(text)
    return "".join((*lines[:first], new, *lines[last:]))
