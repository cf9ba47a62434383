"""Which Python is asked for, as uv reads it (its documentation: "Requesting a version").

    3  3.12  3.12.1  v3.12  cp312  python3.12  cpython@3.12     a version
    cpython-3.12.1-linux-x86_64-gnu  3.12-linux                 for this system only
    3.13t  3.13+freethreaded                                    without the interpreter's lock
    >=3.11,<3.13  ~=3.11.0  ==3.11.*  3.15.0rc1                 a specifier (PEP 440)
    any  default  cpython                                       whichever is found

`.python-version` has one a line, and the first that can be read counts. pyenv and asdf write there
what only they know (`my-env-3.11`, `system`, `3.12-dev`, `pypy3.10-7.3.12`): uv passes over it
with a warning, and so do we. Also over paths that only they know (`3.12.1/envs/web`), where uv
gives up.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from resolver import looks

if TYPE_CHECKING:
    from pathlib import Path

ANY = frozenset({"any", "default", "cpython", "cp"})
"""Requests that leave it open."""

_VERSION = re.compile(
    r"(?:cp|cpython[@-]?|python|v)?(?P<numbers>\d{1,9}(?:\.\d{1,9}){0,2})"
    r"(?P<threads>t|\+freethreaded)?"
    r"(?P<system>-linux(?:-(?P<machine>[a-z0-9_]+?))?(?:-(?:gnu|musl|none))?)?",
    re.IGNORECASE | re.ASCII,
)
_EXACT = re.compile(r"v?(\d{1,9}\.\d{1,9}(?:\.\d{1,9})?(?:a|b|rc)\d{1,9})", re.ASCII)
_CLAUSE = re.compile(r"\s*(?:~=|===?|!=|<=?|>=?)\s*\d[0-9a-zA-Z.*+]{0,40}\s*", re.ASCII)
_OTHERS = re.compile(r"(?:pypy|graalpy|pyodide)[@-]?(?:3(?:\.\d{1,9}){0,2})?", re.ASCII)
_PATHS = ("/", "./", "../", "~")


class VersionRequest(NamedTuple):
    """A version of CPython: `numbers` as many as were said, or a `specifier`; else any.

    `here` is False for what is asked of another system than this.
    """

    numbers: tuple[int, ...] = ()
    threads: bool = False
    specifier: str = ""
    here: bool = True


def version_request(text: str) -> VersionRequest | None:
    """What a text asks for; None for what is no version."""
    text = text.strip()
    if text.lower() in ANY:
        return VersionRequest()
    if found := _VERSION.fullmatch(text):
        machine = found["machine"]
        here = machine is None or machine.lower() == os.uname().machine
        numbers = _numbers(found["numbers"])
        return VersionRequest(numbers=numbers, threads=bool(found["threads"]), here=here)
    if exact := _EXACT.fullmatch(text):
        return VersionRequest(specifier=f"=={exact[1]}")
    if all(map(_CLAUSE.fullmatch, text.split(","))):
        return VersionRequest(specifier=text)
    return None


def _numbers(text: str) -> tuple[int, ...]:
    """Both "3.12" and "312" (as in cp312) are (3, 12)."""
    if "." not in text and len(text) > 1:
        return int(text[0]), int(text[1:])
    return tuple(map(int, text.split(".")))


def pinned(text: str, directory: Path) -> tuple[str | None, str]:
    """What a `.python-version` asks for, and a sentence on what is passed over.

    `directory` is where relative paths in it lead from.
    """
    over: list[str] = []
    asked = None
    lines = (line.strip() for line in text.split("\n"))
    for said in (line for line in lines if line and not line.startswith("#")):
        if _is_read(said, directory):
            asked = said
            break
        over.append(said)
    remark = f".python-version names no Python by {', '.join(map(repr, over))}: passed over."
    return asked, remark if over else ""


def _is_read(said: str, directory: Path) -> bool:
    if "/" in said:  # else a path only for other tools: `3.12.1/envs/web`, `path:~/src/python`
        there = directory / said
        return said.startswith(_PATHS) or looks.is_file(there) or looks.is_directory(there)
    return version_request(said) is not None or _OTHERS.fullmatch(said) is not None
