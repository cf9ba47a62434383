"""Python projects that are described for other tools only: what they are, and what to do.

Locks of theirs are not read, and no tool of theirs is run to read them: poetry and pdm load plugins
that a project names, and what comes out depends on their version. Each writes a `pylock.toml` by
one command, which is named.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resolver import looks
from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.ownership import parents
from resolver.python.project import Origin
from resolver.toml import parse

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

_FILES = {
    "Pipfile": Foreign(
        "is pipenv's, which pkgview does not read",
        f"Have pipenv write what it locks into a pylock.toml (`{EXPORTS['Pipfile.lock']}`), or go "
        "over to uv: `uvx migrate-to-uv`.",
    ),
    "setup.py": Foreign(
        "would have to be run to know what it needs, and nothing else says so",
        "Write a requirements.txt with the line `-e .`: then `pkgview up` builds it. Or describe "
        "it in pyproject.toml, with a [project] table (PEP 621).",
    ),
    "setup.cfg": Foreign(
        "says what it needs to setuptools only",
        "Write a requirements.txt with the line `-e .`: then `pkgview up` builds it. Or describe "
        "it in pyproject.toml, with a [project] table (PEP 621).",
    ),
    "environment.yml": Foreign(
        "is conda's: what it lists are packages of conda's channels, of which pkgview has none",
        "List those that are Python's, by their names on PyPI, in a requirements.txt. What is not "
        "Python's (compilers, CUDA, R) has to come from elsewhere.",
    ),
    "pixi.toml": Foreign(
        "is pixi's: what it lists are packages of conda's channels, of which pkgview has none",
        "List those that are Python's, by their names on PyPI, in a requirements.txt.",
    ),
}
_FILES["environment.yaml"] = _FILES["environment.yml"]


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
    tool: dict[str, Any] = {}
    if has_pyproject:
        with suppress(PkgviewError, tomllib.TOMLDecodeError, RecursionError):
            tool = parse(read_text(pyproject)).get("tool", {})
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
    if "metadata" in tool.get("flit", {}):
        yield Foreign(
            f"{pyproject} describes it to flit only, in [tool.flit.metadata]",
            "Describe it in a [project] table (PEP 621), which flit reads since its version 3.2.",
        )
    for name, (said, remedy) in _FILES.items():
        if (directory / name).is_file():
            yield Foreign(f"{directory / name} {said}", remedy)
    if has_pyproject:
        yield Foreign(
            f"{pyproject} has no [project] table",
            "Write one (PEP 621), with a name, a version and dependencies; or list what it needs "
            "in a requirements.txt.",
        )
