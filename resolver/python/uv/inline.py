"""The inline block of a script (PEP 723): where it is in the text, and which files have one."""

from __future__ import annotations

import re
import stat
from itertools import chain
from typing import TYPE_CHECKING

from resolver import looks
from resolver.errors import PkgviewError
from resolver.inputs import read_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LARGEST_SCRIPT = 8 * 1024 * 1024
"""Bytes; a longer file is taken to have no inline block."""

_BLOCK_START = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_BLOCK_END = "# ///"


def script_text(script: Path) -> str | None:
    """The text of a file that may be a script with a block; None for any other."""
    try:
        found = script.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_SCRIPT:
        return None
    data = read_input(script)
    if b"# /// script" not in data:
        return None
    looks.count(script, len(data))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None  # another encoding, or no text at all: PEP 723 wants UTF-8


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
