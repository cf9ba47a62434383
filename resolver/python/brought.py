"""Pythons that uv brings where there is none that fits: for a command that asks for it, never else.

uv takes a build of CPython from where its user's settings say, checks it, and keeps it in its own
directory, where it is found from then on (`installed.versions`).
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.python.discovery import MissingPythonError, find_interpreter
from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject


def find_or_fetch(
    project: PythonProject | None, request: str | None, state: Path, *, offline: bool = False
) -> Interpreter:
    """As `find_interpreter`; one that is missing is fetched first."""
    try:
        return find_interpreter(project, request, state)
    except MissingPythonError as missing:
        _fetch(missing.request, offline=offline)
        return find_interpreter(project, request, state)


def _fetch(request: str, *, offline: bool) -> None:
    """`uv python install`, which draws its progress. It leaves no command on PATH."""
    environ = {name: value for name, value in os.environ.items() if name != "UV_PYTHON"}
    command = [uv_binary(), "python", "install", "--no-bin", *(["--offline"] if offline else [])]
    # Not in the project, whose settings could name another source.
    ended = subprocess.run([*command, "--", request], cwd="/", env=environ, check=False)
    if ended.returncode:
        raise PkgviewError(
            f"uv could not bring Python {request}: above it says why",
            remedy="Install one yourself, and name it with --python PATH where it is not on PATH.",
        )
