"""Which files may have an inline block (PEP 723)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from resolver import looks
from resolver.inputs import read_input

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_SCRIPT = 8 * 1024 * 1024
"""Bytes; a longer file is taken to have no inline block."""


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
