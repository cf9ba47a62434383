"""Discovery: which Python a project gets, of those that there are."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.onpath import first_python, may_run, pythons
from resolver.python.installed import (
    directories,
    named_installation,
    versions,
    without_projects,
)
from resolver.python.interpreter import OLDEST, inspect, recalled
from resolver.python.uv.request import VersionRequest, version_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject

_SIMPLE = re.compile(r"\s*(>=|<)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,3})\s*")
"""A clause of requires-python such as nearly all projects have, and no others."""

_PATCHES = 100
"""Releases of one minor version, at most."""


class MissingPythonError(PkgviewError):
    """There is no such Python here; `request` is how uv would be asked for one."""

    def __init__(self, what: str, request: str) -> None:
        super().__init__(
            what,
            remedy=f"`uv python install {shlex.quote(request)}` brings one, and so does "
            "--python-fetch, an option of `pkgview up`, `run`, `add`, `tool` and their like. "
            "One that is elsewhere is named with --python PATH.",
        )
        self.request = request


def find_interpreter(
    project: PythonProject | None,
    request: str | None,
    state: Path,
    *,
    environ: Mapping[str, str] | None = None,
    lookup: bool = False,
) -> Interpreter:
    """The interpreter for a project.

    The first of these that is given decides: `request` (a path, a command's name, or what
    `resolver.python.uv.request` reads), `[tool.pkgview] python`, `.python-version`. Otherwise it is
    the first on PATH, then of pyenv's and uv's, that fits `requires-python`: `python3`, then
    pythonX.Y from the newest to the oldest. `MissingPythonError` where there is none.

    With `lookup` nobody has asked for it: whatever the project's files say, only Pythons are run
    that its user or root has installed (`resolver.python.installed`), outside of all projects.
    """
    env = os.environ if environ is None else environ
    if lookup:
        env = without_projects(env, project)
    required = project.needed_python() if project else None
    for said, origin in _asked(project, request):
        by_project = lookup and not request
        asked = named_installation(said, origin, project, env) if by_project else said
        found = _find(asked, origin, project, state, env, required)
        if required and not fits(found, required):
            raise PkgviewError(
                f"{project.root if project else ''} needs Python {required}, and {origin} asks "
                f"for {found.full} at {found.executable}",
                remedy=f"Ask for a Python {required}, or change requires-python.",
            )
        return found
    seen: dict[str, Interpreter] = {}
    for path in _candidates(env):
        try:
            found = inspect(path, state)
        except PkgviewError:
            continue  # one broken or ancient Python on PATH is no reason not to use the next
        if not required or fits(found, required):
            return found
        seen.setdefault(found.executable, found)
    if not seen:
        oldest = ".".join(map(str, OLDEST))
        raise MissingPythonError(f"no Python {oldest} or newer on PATH", required or f">={oldest}")
    listed = ", ".join(f"{one.full} at {one.executable}" for one in seen.values())
    raise MissingPythonError(
        f"{project.root if project else 'the project'} needs Python {required}; found {listed}",
        required or "",
    )


def find_or_fetch(
    project: PythonProject | None, request: str | None, state: Path, *, offline: bool = False
) -> Interpreter:
    """As `find_interpreter`, for a command; one that is missing is fetched first, by uv."""
    from resolver.python.uv.pythons import fetch_python  # noqa: PLC0415 - hardly ever

    try:
        return find_interpreter(project, request, state)
    except MissingPythonError as missing:
        fetch_python(missing.request, offline=offline)
        return find_interpreter(project, request, state)


def is_first(
    interpreter: Interpreter, project: PythonProject, request: str | None, state: Path
) -> bool:
    """Whether it was chosen for being the first on PATH, and would be by any project of its kind.

    So it follows from that program's file, and from what the project says.
    """
    asked = [name for name, _ in _asked(project, request)]
    path = first_python(os.environ)
    if path is None or (asked and version_request(asked[0]) is None):
        return False
    return recalled(Path(path), state) == interpreter


def _asked(project: PythonProject | None, request: str | None) -> Iterator[tuple[str, str]]:
    if request:
        given = request, "--python"
    elif project and project.settings.python:
        given = project.settings.python, "[tool.pkgview] python"
    elif project and project.python_pin and not _is_excluded(project, project.python_pin):
        given = project.python_pin, ".python-version"
    else:
        return
    if version_request(given[0]) != VersionRequest():  # any will do
        yield given


def _is_excluded(project: PythonProject, pin: str) -> bool:
    """Whether a script's own `requires-python` has no version that a `.python-version` means.

    For uv the file then says nothing of that script; of a project it is an error.
    """
    required, wanted = project.requires_python, version_request(pin)
    if not (project.is_script and required and wanted and len(wanted.numbers) > 1):
        return False
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - as below

    major, minor, *patch = wanted.numbers
    versions = (f"{major}.{minor}.{one}" for one in patch or range(_PATCHES))
    try:
        return not any(SpecifierSet(required).filter(versions, prereleases=True))
    except InvalidSpecifier:
        return False  # `fits` says so


def _find(  # noqa: PLR0913, PLR0917 - all that decides it
    asked: str,
    origin: str,
    project: PythonProject | None,
    state: Path,
    env: Mapping[str, str],
    required: str | None,
) -> Interpreter:
    if "/" in asked:
        base = Path.cwd() if origin == "--python" or project is None else project.directory
        return inspect(_at_path(base / Path(asked).expanduser(), origin), state)
    if (wanted := version_request(asked)) is not None:
        return _of_version(wanted, asked, origin, state, env, required)
    for directory in directories(env):
        if may_run(path := directory / asked):
            return inspect(path, state)
    raise PkgviewError(
        f"{origin} names {asked}, and there is no such command on PATH",
        remedy="Name an interpreter by its path, or a version such as 3.12.",
    )


def _at_path(path: Path, origin: str) -> Path:
    """The interpreter at a path, which may be a virtual environment's or installation's root."""
    if os.access(path, os.X_OK) and path.is_dir():
        for inside in (path / "bin/python3", path / "bin/python"):
            if may_run(inside):
                return inside
    if not os.access(path, os.F_OK) or not path.is_file():
        raise PkgviewError(
            f"{origin} names {path}, and there is no interpreter",
            remedy="Name an existing interpreter.",
        )
    return path


def _of_version(  # noqa: PLR0913, PLR0917 - the same
    wanted: VersionRequest,
    said: str,
    origin: str,
    state: Path,
    env: Mapping[str, str],
    required: str | None,
) -> Interpreter:
    """The first such one that `requires-python` allows too, else the first."""
    numbers = wanted.numbers
    if numbers and numbers < OLDEST[: len(numbers)]:
        raise PkgviewError(
            f"{origin} asks for Python {said}, too old for a view",
            remedy=f"Use Python {'.'.join(map(str, OLDEST))} or newer.",
        )
    seen: dict[str, str] = {}
    first = None
    for path in _candidates(env):
        try:
            found = inspect(path, state)
        except PkgviewError:
            continue
        if _is_such(found, wanted):
            if not required or fits(found, required):
                return found
            first = first or found
        seen[found.executable] = found.full
    if first is not None:
        return first
    listed = ", ".join(f"{full} at {path}" for path, full in seen.items()) or "none"
    asked = ".".join(map(str, numbers)) + "t" * wanted.threads if wanted.here and numbers else said
    raise MissingPythonError(f"{origin} asks for Python {said}; found {listed}", asked)


def _is_such(found: Interpreter, wanted: VersionRequest) -> bool:
    if not wanted.here or found.free_threaded != wanted.threads:
        return False
    if wanted.specifier:
        return fits(found, wanted.specifier)
    return found.version[: len(wanted.numbers)] == wanted.numbers


def fits(interpreter: Interpreter, required: str) -> bool:
    """Whether it is one of those that `requires-python` allows."""
    clauses = [_SIMPLE.fullmatch(clause) for clause in required.split(",")]
    simple = [clause for clause in clauses if clause]
    if len(simple) == len(clauses) and interpreter.full[-1].isdecimal():
        return all(_within(interpreter.version, clause) for clause in simple)
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - 10 ms

    try:
        return SpecifierSet(required).contains(interpreter.full, prereleases=True)
    except InvalidSpecifier as error:
        raise PkgviewError(
            f"requires-python {required!r} is no version specifier",
            remedy='Write it as in requires-python = ">=3.11".',
        ) from error


def _within(version: tuple[int, ...], clause: re.Match[str]) -> bool:
    """What packaging says of a final release, without the 10 ms that importing it takes."""
    bound = tuple(map(int, clause[2].split(".")))
    while bound[-1:] == (0,):
        bound = bound[:-1]  # 3.12.0 is 3.12, and no shorter than it
    return version >= bound if clause[1] == ">=" else version < bound


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    """Interpreters to try, cheap and usual ones first."""
    yield from map(Path, pythons(env))
    named = re.compile(r"python3\.(\d+)t?")
    numbered: list[tuple[int, int, Path]] = []
    for order, directory in enumerate((*directories(env), *versions(env))):
        with suppress(OSError):
            numbered += [
                (-int(match[1]), order, directory / match[0])
                for match in map(named.fullmatch, os.listdir(directory))
                if match
            ]
    yield from (path for _, _, path in sorted(numbered))
