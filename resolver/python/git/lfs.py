"""Whose files in Git LFS are wanted: what uv's settings say, and its `pylock.toml` does not.

`lfs = true` in `[tool.uv.sources]`, `#lfs=true` in a requirement's address and, where neither says
`false`, `UV_GIT_LFS` make uv fetch what a repository keeps in Git LFS; else a package has LFS's
pointers. Neither PEP 751 nor
what uv (0.13.9) writes as such a lock has a place for it: so we keep it there as a tool may.
"""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from resolver.python.requirements import normalised
from resolver.python.uv.settings import truth
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VARIABLE = "UV_GIT_LFS"

_NOTE = "tool = {{ pkgview = {{ lfs = {} }} }}"
_ASKED = re.compile(r"[#&]lfs=true(?![^\s\"'&;])")
_LONGEST = 2000
"""Characters of a requirement in front of that."""

_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,200})(?:\[[^\]]{0,200}\])?\s{0,9}@\s{0,9}$")
_LOCKED = re.compile(r"[?&]lfs=true(?:[&#]|$)")


def is_wanted(tool: Mapping[str, Any] | None) -> bool:
    """Whether a lock's `packages.tool` asks for it; the environment, where that says nothing."""
    noted = (tool or {}).get("pkgview")
    said = noted.get("lfs") if isinstance(noted, dict) else None
    return said if isinstance(said, bool) else truth(os.environ.get(VARIABLE))


def noted(lock: bytes, inputs: Iterable[bytes]) -> bytes:
    """A lock of uv's with a note at each package whose name `inputs`, a project's files, tell."""
    names: dict[str, bool] = {}
    for name, wanted in (one for text in inputs if b"lfs" in text for one in _names(text)):
        names[normalised(name)] = wanted or names.get(normalised(name), False)
    if not names:
        return lock
    lines, name = [], ""
    for line in lock.decode().splitlines(keepends=True):
        lines.append(line)
        if line.startswith("name = "):
            name = line[len("name = ") :].strip().strip('"')
        elif line.startswith("vcs = ") and normalised(name) in names:
            lines.append(f"{_NOTE.format(str(names[normalised(name)]).lower())}\n")
    return "".join(lines).encode()


def _names(data: bytes) -> Iterator[tuple[str, bool]]:
    """Packages, and whether their files are wanted; those of which nothing is said are left out."""
    text = data.decode(errors="replace")
    for found in _ASKED.finditer(text):
        before = text[max(0, found.start() - _LONGEST) : found.start() + 1]
        start = 1 + max(before.rfind(one) for one in " \t\r\n\"'")
        name, _, address = before[start:].partition("git+")
        named = _NAME.search(before[:start][-400:] + name) if "#" in address else None
        if named:
            yield named[1], True
    with suppress(tomllib.TOMLDecodeError, RecursionError, TypeError, AttributeError, KeyError):
        document = parse(text)  # uv has read it: another form is not TOML at all
        for package in document.get("package", []):
            if _LOCKED.search(package["source"].get("git", "")):
                yield package["name"], True
        sources = document.get("tool", {}).get("uv", {}).get("sources", {})
        for name, source in sources.items():
            several = source if isinstance(source, list) else [source]
            said = [one["lfs"] for one in several if "lfs" in one]
            if said:
                yield name, any(said)
