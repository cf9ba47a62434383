"""Python projects that are described for other tools only: what they are, and what to do.

Locks of theirs are not read, and no tool of theirs is run to read them: poetry and pdm load plugins
that a project names, and what comes out depends on their version. Each writes a `pylock.toml` by
one command, which is named.
"""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resolver import looks
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.ownership import parents
from resolver.python.project import Origin
from resolver.toml import parse, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.python.project import PythonProject


class Foreign(NamedTuple):
    """What a directory is that is no project of pkgview's, as a sentence's end; and the remedy."""

    said: str
    remedy: str


EXPORTS = {
    "poetry.lock": "poetry export --all-groups --format pylock.toml --output pylock.toml",
    "pdm.lock": "pdm export --format pylock --output pylock.toml",
    "Pipfile.lock": "pipenv pylock --generate",
}
"""The command by which each becomes a `pylock.toml`; poetry's needs poetry-plugin-export."""

_CONDA = "what it lists are packages of conda's channels, of which pkgview has none"
_LISTED = "List those that are Python's, by their names on PyPI, in a requirements.txt."
_BUILT = (
    "Write a requirements.txt with the line `-e .`: then `pkgview up` builds it. Or describe it in "
    "pyproject.toml, with a [project] table (PEP 621)."
)
_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")
"""A name that can be shown in a command."""

_FILES = {
    "Pipfile": Foreign(
        "is pipenv's, which pkgview does not read",
        f"Have pipenv write what it locks into a pylock.toml (`{EXPORTS['Pipfile.lock']}`), or go "
        "over to uv: `uvx migrate-to-uv`.",
    ),
    "setup.py": Foreign(
        "would have to be run to know what it needs, and nothing else says so", _BUILT
    ),
    "setup.cfg": Foreign("says what it needs to setuptools only", _BUILT),
    "environment.y*ml": Foreign(
        f"is conda's: {_CONDA}",
        f"{_LISTED} What is not Python's (compilers, CUDA, R) has to come from elsewhere.",
    ),
    "conda-lock.y*ml": Foreign(f"is conda's: {_CONDA}", _LISTED),
    "pixi.toml": Foreign(f"is pixi's: {_CONDA}", _LISTED),
    **{
        name: Foreign(
            f"is a lock of {command.split()[0]}'s, which pkgview does not read",
            f"Have it written as a pylock.toml: `{command}`.",
        )
        for name, command in EXPORTS.items()
    },
    "pylock.*.toml": Foreign(
        "is a lock, and only one that is called pylock.toml is picked",
        "Give it that name: `ln -s {name} pylock.toml`.",
    ),
    "requirements.in": Foreign(
        "is what a requirements.txt is made from, and that is missing",
        "`uv pip compile requirements.in -o requirements.txt` writes it; or write one with the "
        "line `-r requirements.in`.",
    ),
    **dict.fromkeys(
        ("requirements[-_.]*.txt", "requirements/*.txt", "*[-_.]requirements.txt"),
        Foreign(
            "is not picked: only a requirements.txt is",
            "Write a requirements.txt with the line `-r {name}`.",
        ),
    ),
}
"""By a name, or a pattern of names; "{name}" stands for the one that is there."""

_TOOLS = {
    ("flit", "metadata"): Foreign(
        "describes it to flit only, in [tool.flit.metadata]",
        "Describe it in a [project] table (PEP 621), which flit reads since its version 3.2.",
    ),
    ("pixi",): Foreign(
        f"describes it to pixi only, in [tool.pixi]: {_CONDA}",
        "Add a [project] table (PEP 621) with what of it is Python's, which pixi reads too.",
    ),
    ("rye",): Foreign(
        "has settings of rye's, in [tool.rye], and no [project]",
        "Describe it in a [project] table (PEP 621), which rye reads, and uv, that followed it.",
    ),
    ("hatch", "envs"): Foreign(
        "describes environments to hatch only, in [tool.hatch.envs]",
        "Describe it in a [project] table (PEP 621), which hatch reads too, with dependency groups "
        "(PEP 735) for what these environments have besides.",
    ),
}
"""By the keys in `[tool]`: what a pyproject.toml without [project] says."""


def foreign(start: Path) -> Foreign | None:
    """The nearest such directory, of `start` and those above; None where there is nothing known."""
    path = os.path.realpath(start)
    above = parents(path)
    for directory in (path, *above) if Path(path).is_dir() else above:
        found = next(_at(Path(directory)), None)
        if found is not None:
            return found
    return None


def unread_lock(project: PythonProject) -> str:
    """A sentence on the lock of another tool that a project has and nobody reads; "" without.

    One that is listed in a requirements.txt, beside that lock, says itself what it is made from.
    """
    for name, command in EXPORTS.items() if project.origin is Origin.PYPROJECT else ():
        if looks.is_file(project.root / name):
            return f"{name} is not read: `{command}` writes a pylock.toml, which is."
    return ""


def _at(directory: Path) -> Iterator[Foreign]:
    pyproject = directory / "pyproject.toml"
    has_pyproject = pyproject.is_file()
    document: dict[str, Any] = {}
    if has_pyproject:
        with suppress(PkgviewError, tomllib.TOMLDecodeError, RecursionError):
            document = parse(read_text(pyproject))
    tool = table_of(document, "tool")
    if "poetry" in tool:
        yield Foreign(
            f"{pyproject} describes it to poetry only, in [tool.poetry], and has no [project]",
            "Describe it in a [project] table (PEP 621), which poetry 2 reads too; `uvx "
            "migrate-to-uv` rewrites it for uv. Or have poetry write a pylock.toml, with "
            f"poetry-plugin-export: `{EXPORTS['poetry.lock']}`.",
        )
    if "workspace" in tool.get("uv", {}):
        yield Foreign(
            f"{pyproject} is the root of a uv workspace and no project itself, and there is no "
            "uv.lock",
            "Run `uv lock` there: then it has what all its members need. Or name a member, which "
            "is a project of its own.",
        )
    for keys, (said, remedy) in _TOOLS.items():
        *above, last = keys
        if last in table_of(tool, *above):
            yield Foreign(f"{pyproject} {said}", remedy)
    if document.get("dependency-groups"):
        yield Foreign(
            f"{pyproject} has dependency groups, and no [project] table",
            "Write one (PEP 621), with a name and a version; or an empty requirements.txt beside "
            "it: then `pkgview up --group NAME` has a group.",
        )
    for pattern, (said, remedy) in _FILES.items():
        name = next(iter(_named(directory, pattern)), None)
        if name is not None:
            yield Foreign(f"{directory / name} {said}", remedy.replace("{name}", name))
    if has_pyproject:
        yield Foreign(
            f"{pyproject} has no [project] table",
            "Write one (PEP 621), with a name, a version and dependencies; or list what it needs "
            "in a requirements.txt.",
        )


def _named(directory: Path, pattern: str) -> list[str]:
    """The files there that have that name, relative to the directory."""
    if not set("*[") & set(pattern):
        return [pattern] if (directory / pattern).is_file() else []
    files = (one for one in directory.glob(pattern) if one.is_file())
    names = (os.fspath(one.relative_to(directory)) for one in files)
    return sorted(filter(_PLAIN.fullmatch, names))
