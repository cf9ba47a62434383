"""TOML of anybody's, in time that grows as the text does; a script's block (PEP 723), too.

`tomllib` goes through a dotted key once for each of its parts, and through a table's key once for
each line below it: 100 KB of them take minutes. No file of a project has keys of many parts.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
import tomllib
from itertools import chain
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MOST_KEPT = 64 * 1024
"""Characters of a longer pyproject.toml are not kept for the next time that they are parsed."""

MOST_PARTS = 32
"""Dots in one key."""

MOST_OF_GROUPS = 100_000
"""Entries of all dependency groups, each counted wherever its group is included. A large project
has some hundred; for 150,000 uv took 1.2 s and 120 MB."""

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

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLOCK_START = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_BLOCK_END = "# ///"

_BETWEEN = re.compile(r"[^\w\-. \t]+")
"""What ends a key of bare parts; quoted parts are letters by then."""


class TooManyError(tomllib.TOMLDecodeError):
    """Of dependency groups: who writes them out, as uv does, takes all memory for them."""


def parse(text: str) -> dict[str, Any]:
    """The document; `tomllib.TOMLDecodeError` for all that is wrong with it, `RecursionError`."""
    if any(line.count(".") > MOST_PARTS for line in text.split("\n")):
        _refuse_long_keys(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # a number of more digits than Python reads
        raise tomllib.TOMLDecodeError(str(error)) from error
    if "dependency-groups" in document:
        _refuse_many_included(table_of(document, "dependency-groups"))
    return document


def every_text(value: Any) -> Iterator[str]:  # noqa: ANN401 - TOML's
    """All strings in a document, or in a part of one, but for keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from every_text(one)


def document(text: str, place: str) -> dict[str, Any]:
    """The same; what is wrong with it as an error for a user. Nobody changes the result."""
    try:
        return _parsed(text) if len(text) <= MOST_KEPT else parse(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise invalid(place, error) from error


def invalid(place: str, error: Exception) -> PkgviewError:
    """The error of a file that `parse` refuses."""
    return PkgviewError(
        f"{place} is not valid TOML: {error}", remedy="Mend the file at that place."
    )


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> dict[str, Any]:
    """The same text's document: parsing it takes a millisecond or two."""
    return parse(text)


def wrong(place: str, key: str, wanted: str) -> PkgviewError:
    """The error of a value that is another than is `wanted` ("a string")."""
    return PkgviewError(f"{place}: {key} is not {wanted}", remedy=f"Make {key} {wanted}.")


def table(parent: Mapping[str, Any], key: str, place: str) -> dict[str, Any]:
    """A table of a table, empty if it is not there; `place` is the file, for who is told."""
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise wrong(place, key, "a table")
    return value


def table_of(parent: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """One within others, by these keys, of what others are to complain of; {} for anything else."""
    found: Any = parent
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def texts_of(value: object) -> list[str]:
    """The texts of a list; of a table (PEP 735's groups, extras), those of its lists."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts_of(one)]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def text(within: Mapping[str, Any], key: str, place: str) -> str | None:
    """A string of a table."""
    value = within.get(key)
    if value is not None and not isinstance(value, str):
        raise wrong(place, key, "a string")
    return value


def listed(within: Mapping[str, Any], key: str, place: str) -> list[str]:
    """A list of strings of a table, empty if it is not there."""
    value = within.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(place, key, "a list of strings")
    return value


def _refuse_long_keys(text: str) -> None:
    bare = _QUOTED.sub(lambda found: "" if found[0].startswith("#") else "q", text)
    if any(part.count(".") > MOST_PARTS for part in _BETWEEN.split(bare)):
        raise tomllib.TOMLDecodeError(f"a key has more than {MOST_PARTS} dots")


def _refuse_many_included(groups: Mapping[str, Any]) -> None:
    """Counted without writing them out. A cycle, which uv refuses, adds nothing where it closes."""
    listed: dict[str, list[Any]] = {}
    for name, several in groups.items():
        if isinstance(several, list):
            listed.setdefault(_group_name(name), []).extend(several)
    counts: dict[str, int] = {}

    def count(name: str) -> int:
        if name not in counts:
            counts[name] = 0
            several = listed.get(name, [])
            included = (one.get("include-group") for one in several if isinstance(one, dict))
            names = [_group_name(one) for one in included if isinstance(one, str)]
            counts[name] = len(several) + sum(map(count, names))
        return counts[name]

    try:
        too_many = sum(map(count, listed)) > MOST_OF_GROUPS
    except RecursionError:  # each of a thousand includes the next
        too_many = True
    if too_many:
        raise TooManyError(
            f"[dependency-groups] has more than {MOST_OF_GROUPS} entries, with what each includes"
        )


def _group_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def key_text(key: str) -> str:
    """A key as it is written."""
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped, and surrogate pairs,
    # which ensure_ascii=False avoids.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def value_text(value: object) -> str:
    """A value as it is written, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dict):
        inside = ", ".join(f"{key_text(key)} = {value_text(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(value_text, value))}]"
    return repr(value)  # integers, and floats, whose `repr` (nan and inf too) is TOML's


def inline_block(text: str, script: Path) -> str | None:
    """The TOML of the script's `script` block (PEP 723), or None; two of them are an error."""
    if "# /// script" not in text:
        return None
    lines = text.replace("\r\n", "\n").split("\n")
    blocks = [content for kind, content in _blocks(lines) if kind == "script"]
    if len(blocks) > 1:
        raise PkgviewError(
            f"{script}, line {blocks[1].start}: a second `# /// script` block",
            remedy="Keep one block: PEP 723 allows no more.",
        )
    if not blocks:
        return None
    # Nothing else ends a line for uv: a comment would end for us alone.
    content = (lines[number] for number in blocks[0])
    return "\n".join(line.removeprefix("# ") if line != "#" else "" for line in content) + "\n"


def unclosed_block(text: str) -> int | None:
    """The line, from 1, of a `# /// script` after which no `# ///` comes; None: there is none.

    PEP 723 has such a block ignored, which nobody means who wrote it.
    """
    found, closed = None, False
    lines = text.replace("\r\n", "\n").split("\n")
    for number in range(len(lines), 0, -1):
        line = lines[number - 1]
        if line == "# /// script" and not closed:
            found = number
        closed = line == _BLOCK_END or (closed and (line == "#" or line.startswith("# ")))
    return found


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, range]]:
    """The type of each block, and which lines (from 0) are its content.

    As the reference expression of PEP 723 has them, which takes time by the square of the text
    where a block has no end: a block begins with the first line of a row of comments that can begin
    one, and ends with the last that can end it, if there is anything in between.
    """
    first, kind, last = -1, "", -1
    for number, line in enumerate(chain(lines, [""])):
        if line != "#" and not line.startswith("# "):
            if last > first + 1 > 0:
                yield kind, range(first + 1, last)
            first, kind, last = -1, "", -1
        elif first < 0:
            if start := _BLOCK_START.fullmatch(line):
                first, kind = number, start[1]
        elif line == _BLOCK_END:
            last = number
