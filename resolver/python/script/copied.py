"""A copy of a script's inline block, for uv to lock beside no file of the user's. Pure.

`uv pip compile SCRIPT` reads the requirements of a block and nothing else of it: a package that the
block takes from a private index, a directory or a repository would come from the public index. All
of the block is read by `uv lock --script`, which writes its lock beside the script. So uv gets a
script that has the same block, with the paths made absolute that are relative to the script, and
for the Python that is there: a lock in the state holds for that one and newer ones, whatever
`requires-python` promises others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resolver.python.uv.settings import absolute
from resolver.toml import key_text, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def copied(document: Mapping[str, Any], directory: Path, python: str) -> str:
    """The text of a script with the block `document` of one in `directory`; `python`: "3.11"."""
    tool = dict(document.get("tool") or {})
    if isinstance(uv := tool.get("uv"), dict):
        tool = {"uv": absolute(uv, directory)}
    block = {**document, "requires-python": f">={python}", "tool": tool}
    lines = (f"# {key_text(key)} = {value_text(value)}\n" for key, value in block.items())
    return f"# /// script\n{''.join(lines)}# ///\n"
