"""What a `pylock.toml` that pkgview wrote says of itself, in its table `[tool.pkgview]` (PEP 751).

By that it is known to be ours to make anew, whether it is outdated, and with which options it was
made. A lock without it is somebody else's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """`inputs` is `files.digest` of what it was made from, `python` its lowest version.

    `extras` and `groups` are those that were asked for besides the project's default ones.
    """

    inputs: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    python: str | None = None


def marked(lock: bytes, mark: Mark) -> bytes:
    """The lock with its mark, at its end."""
    # What JSON writes with ASCII only is TOML, too.
    lines = [f"inputs = {json.dumps(mark.inputs)}"]
    lines += [
        f"{key} = {json.dumps(list(names))}"
        for key, names in (("extras", mark.extras), ("groups", mark.groups))
        if names
    ]
    lines += [f"python = {json.dumps(mark.python)}"] if mark.python else []
    return lock.rstrip() + b"\n\n[tool.pkgview]\n" + "".join(f"{line}\n" for line in lines).encode()


def mark_of(document: Mapping[str, Any]) -> Mark | None:
    """The mark of a lock; None where it has none, or one that pkgview has not written."""
    tool = document.get("tool")
    table = tool.get("pkgview") if isinstance(tool, dict) else None
    if not isinstance(table, dict) or not isinstance(table.get("inputs"), str):
        return None
    python = table.get("python")
    return Mark(
        inputs=table["inputs"],
        extras=_names(table.get("extras")),
        groups=_names(table.get("groups")),
        python=python if isinstance(python, str) else None,
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
