"""TOML of anybody's, in time that grows as the text does.

`tomllib` goes through a dotted key once for each of its parts, and through a table's key once for
each line below it: 100 KB of them take minutes. No file of a project has keys of many parts.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

MOST_PARTS = 32
"""Dots in one key."""

_QUOTED = re.compile(
    r"#[^\n]*"
    r'|"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\.)*+(?:"|(?=\n)|\Z)'
    r"|'[^'\n]*+(?:'|(?=\n)|\Z)",
    re.DOTALL,
)
"""A comment, or a string of each of the four kinds; one without an end goes on to where it must
have ended."""

_BETWEEN = re.compile(r"[^\w\-. \t]+")
"""What ends a key of bare parts; quoted parts are letters by then."""


def parse(text: str) -> dict[str, Any]:
    """The document; `tomllib.TOMLDecodeError` for all that is wrong with it, `RecursionError`."""
    if any(line.count(".") > MOST_PARTS for line in text.split("\n")):
        _refuse_long_keys(text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # a number of more digits than Python reads
        raise tomllib.TOMLDecodeError(str(error)) from error


def _refuse_long_keys(text: str) -> None:
    bare = _QUOTED.sub(lambda found: "" if found[0].startswith("#") else "q", text)
    if any(part.count(".") > MOST_PARTS for part in _BETWEEN.split(bare)):
        raise tomllib.TOMLDecodeError(f"a key has more than {MOST_PARTS} dots")
