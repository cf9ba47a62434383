"""Where Pythons are installed: the directories of PATH, pyenv's and uv's.

And which of them count where somebody only *looks* at a project: then no program may be run that
the project chose, by a path in one of its files or by a directory of its own that has come to be
on PATH (an activated environment, a tool that sets PATH as one enters a directory). What counts is
what the user or root has installed, outside of all projects.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.onpath import is_shims, may_run
from resolver.ownership import parents
from resolver.python.uv.request import version_request
from resolver.remembered import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from resolver.python.project import PythonProject

SYSTEM = ("/usr/bin", "/usr/local/bin", "/bin")
"""Where root installs Pythons, beside PATH. Only what is in these themselves: below /usr and /opt
servers have their clones as well."""

_SHARED = ("/usr", "/usr/local", "/usr/src", "/usr/local/src", "/opt", "/nix/store", "/snap")
"""What is below one of these is of one piece with what is beside it, as far as nobody says more: a
clone, say, with a project in one directory and a Python in another."""

_COMMAND = re.compile(r"(?:python|pypy)[0-9.]*t?")
"""What the file of a Python is called, which a project may ask PATH for."""


def directories(env: Mapping[str, str]) -> list[Path]:
    """PATH, absolute directories only, those of shims left out."""
    return list(dict.fromkeys(path for path in map(Path, _path(env)) if not is_shims(path)))


def _path(env: Mapping[str, str]) -> list[str]:
    return [one for one in env.get("PATH", os.defpath).split(os.pathsep) if one.startswith("/")]


def versions(env: Mapping[str, str]) -> Iterator[Path]:
    """The directories of programs of all that pyenv and uv have installed."""
    yield from _pyenv_versions(env)
    root = _uv_root(env)
    with suppress(OSError):
        # In that order the link for 3.12 comes before 3.12.1, to which it leads for a while.
        yield from (root / name / "bin" for name in sorted(os.listdir(root)))


def _uv_root(env: Mapping[str, str]) -> Path:
    """UV_PYTHON_INSTALL_DIR, or where uv puts them without it."""
    data = env.get("XDG_DATA_HOME") or f"{env.get('HOME') or '/'}/.local/share"
    return Path(env.get("UV_PYTHON_INSTALL_DIR") or f"{data}/uv/python")


def _pyenv_versions(env: Mapping[str, str]) -> Iterator[Path]:
    for root in dict.fromkeys(_pyenv_roots(env)):
        with suppress(OSError):
            yield from (
                root / "versions" / version / "bin" for version in os.listdir(root / "versions")
            )


def _pyenv_roots(env: Mapping[str, str]) -> Iterator[Path]:
    if env.get("PYENV_ROOT", "").startswith("/"):
        yield Path(env["PYENV_ROOT"])
    for text in env.get("PATH", "").split(os.pathsep):
        if text.startswith("/") and is_shims(Path(text)):
            yield Path(text).parent
    if env.get("HOME", "").startswith("/"):
        yield Path(env["HOME"]) / ".pyenv"


def without_projects(env: Mapping[str, str], project: PythonProject | None) -> dict[str, str]:
    """The environment without what leads into that project, or into any other."""
    kept = [one for one in _path(env) if not _is_of_project(one, env, project)]
    found = {**env, "PATH": os.pathsep.join(kept)}
    for name in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME"):
        if _is_of_project(env.get(name, "/"), env, project):
            del found[name]
    return found


def named_installation(
    asked: str, origin: str, project: PythonProject | None, env: Mapping[str, str]
) -> str:
    """What a project asks for, as it may be looked up: a version, a Python's name, or its path.

    `env` is one `without_projects`. A path is followed to its end first, so an environment of the
    project's stands for the installation that it was made from, and its own files (`pyvenv.cfg`)
    are not read by what is run. `PkgviewError` where that is none that the user or root installed.
    """
    base = Path("/") if project is None else project.directory
    if "/" not in asked:
        if any(letter.isalpha() for letter in asked) and not _is_name(asked):
            raise _refused(asked, origin, base)
        return asked
    path = base / Path(asked).expanduser()
    inside = (path, path / "bin/python3", path / "bin/python")
    real = next((os.path.realpath(one) for one in inside if may_run(one)), "")
    named = _COMMAND.fullmatch(os.path.basename(real))  # noqa: PTH119 - as text
    if not (real and named and _is_known(real, env)) or _is_of_project(real, env, project):
        raise _refused(asked, origin, base)
    return real


def is_installed(executable: str, env: Mapping[str, str]) -> bool:
    """Whether user or root have put that file there, outside of all projects, links followed."""
    kept = without_projects(env, None)
    whole = {**kept, "PATH": os.pathsep.join(p for p in _path(kept) if not _is_in_clone(p, kept))}
    return all(
        # pyenv is a clone of its own, which its shims on PATH lead to.
        _is_known(one, whole, versions(kept)) and not _is_of_project(one, whole, None)
        for one in {executable, os.path.realpath(executable)}
    )


def _is_known(path: str, env: Mapping[str, str], installed: Iterator[Path] | None = None) -> bool:
    """Whether it lies where discovery looks, in that very directory; `installed` are `versions`."""
    further = versions(env) if installed is None else installed
    places = (*map(Path, SYSTEM), *directories(env), *further)
    inside = Path(path).parent
    return any(inside in {place, Path(os.path.realpath(place))} for place in places)


def _is_name(asked: str) -> bool:
    """Whether that is a Python's, or a version in one of the ways to write it, as "cp312"."""
    return bool(_COMMAND.fullmatch(asked)) or version_request(asked) is not None


def _refused(asked: str, origin: str, directory: Path) -> PkgviewError:
    return PkgviewError(
        f"{origin} in {directory} names {asked}, which is no Python that you or root installed",
        remedy=f"If it may be run: `pkgview trust {shell_word(directory)}`.",
    )


def _is_of_project(path: str, env: Mapping[str, str], project: PythonProject | None) -> bool:
    """Whether it lies in that project's tree, or below what looks like any other's.

    A home directory with a requirements.txt in it is no clone: what lies there is its user's.
    """
    if not path.startswith("/"):
        return False
    real = os.path.realpath(path)
    above = (real, *parents(real))
    if project is not None and any(one in above for one in _trees_of(project, env)):
        return True
    of_user = _of_user(env)
    return any(
        os.path.isfile(f"{one}/{mark}")  # noqa: PTH113 - as text
        for one in above
        if one not in of_user
        for mark in MARKS
    )


def _trees_of(project: PythonProject, env: Mapping[str, str]) -> Iterator[str]:
    """The project's directory, and those above that are of the same clone, or may be."""
    own = os.path.realpath(project.directory)
    yield own
    of_nobody = {*_of_user(env), *_SHARED, "/"}
    for one in parents(own):
        shared = any(one.startswith(f"{place}/") for place in _SHARED)
        if one not in of_nobody and (shared or _is_repository(one)):
            yield one


def _is_in_clone(path: str, env: Mapping[str, str]) -> bool:
    real, of_user = os.path.realpath(path), _of_user(env)
    return any(_is_repository(one) for one in (real, *parents(real)) if one not in of_user)


def _is_repository(directory: str) -> bool:
    return os.path.lexists(f"{directory}/.git")


def _of_user(env: Mapping[str, str]) -> set[str]:
    home = os.path.realpath(env.get("HOME") or "/")
    return {home, *parents(home)}
