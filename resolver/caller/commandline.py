"""Interpreters known by their file's name, and what their arguments tell them to run."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERPRETER = re.compile(r"(python|pypy)(\d+(?:\.\d+)?)?(t?)(?:d|-dbg|-c)?")
_VERSION_DIRECTORY = re.compile(
    r"(?:c?python|pypy)?-?(\d+\.\d+)(?:\.\d+)?(\+freethreaded|t)?(?:-.*)?"
)


def interpreter_of(exe: str) -> str | None:
    """The Python version of an executable: "3.11", "3.13t", "pypy3.10", "" if it does not say.

    None if it is no Python. The file's own name counts (links were followed by the kernel), then
    the nearest directory that is named like a version, as pyenv's and uv's are. PyPy has a name of
    its own, so that no CPython view is taken for one that was made for it.
    """
    directory, _, name = exe.removesuffix(" (deleted)").rpartition("/")
    match = _INTERPRETER.fullmatch(name)
    if match is None:
        return None
    prefix = "pypy" if match[1] == "pypy" else ""
    if match[2] and "." in match[2]:
        return f"{prefix}{match[2]}{match[3]}"
    for part in reversed(directory.split("/")):
        if found := _VERSION_DIRECTORY.fullmatch(part):
            return f"{prefix}{found[1]}{'t' if found[2] or match[3] else ''}"
    return prefix


class Runs(enum.Enum):
    """What a Python was told to run."""

    SCRIPT = enum.auto()
    MODULE = enum.auto()
    CODE = enum.auto()
    STDIN = enum.auto()
    NOTHING = enum.auto()


class Command(NamedTuple):
    """The script's path, the module's name or the code; b"" for the others.

    `safe_path`: it was told (-P, -I) not to import from where it is.
    """

    kind: Runs
    value: bytes = b""
    safe_path: bool = False


# Python/getopt.c and Python/initconfig.c, the same from 3.11 to 3.14.
_FLAGS = frozenset(b"bBdEiIOPqRsStuvx")
_SAFE = frozenset(b"IP")
_WITH_ARGUMENT = frozenset(b"WX")
_CHECKS = ([b"default"], [b"always"], [b"never"])


def parse_command(argv: Sequence[bytes]) -> Command:  # noqa: C901, PLR0911, PLR0912 - one branch an option, as getopt.c has them
    """What `python ARGV[1:]` runs, by the rules of Python's own `getopt.c`.

    NOTHING where Python only prints (-h, -V) or refuses the command line.
    """
    at, safe = 1, False
    while at < len(argv):
        word = argv[at]
        if word in (b"", b"-") or not word.startswith(b"-"):
            break
        at += 1
        if word == b"--":
            break
        if word in (b"--help", b"--version"):
            return Command(Runs.NOTHING)
        rest = word[1:]
        while rest:
            option, rest = rest[0], rest[1:]
            if option in _FLAGS:
                safe = safe or option in _SAFE
                continue
            if option == ord("-"):  # also in the middle of a word: -B-check-hash-based-pycs
                if rest != b"check-hash-based-pycs" or [*argv[at : at + 1]] not in _CHECKS:
                    return Command(Runs.NOTHING)  # --help-all and its like, or an unknown one
                at += 1
                break
            if option not in _WITH_ARGUMENT and option not in b"cm":
                return Command(Runs.NOTHING)  # -h, -?, -V, or an unknown one
            if not rest:
                if at >= len(argv):
                    return Command(Runs.NOTHING)
                rest = argv[at]
                at += 1
            if option == ord("c"):
                return Command(Runs.CODE, rest, safe)
            if option == ord("m"):
                return Command(Runs.MODULE, rest, safe)
            break
    if at >= len(argv) or argv[at] == b"-":
        return Command(Runs.STDIN, b"", safe)
    return Command(Runs.SCRIPT, argv[at], safe) if argv[at] else Command(Runs.NOTHING)
