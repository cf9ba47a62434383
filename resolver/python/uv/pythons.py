"""Pythons that uv brings: for a command that asks for it, never where somebody only looks.

uv takes a build of CPython from where its user's settings say, checks it, and keeps it in its own
directory, where it is found from then on (`resolver.python.installed.versions`).
"""

from __future__ import annotations

import os
import subprocess

from resolver.errors import PkgviewError
from resolver.python.uv.run import uv_binary


def fetch_python(request: str, *, offline: bool) -> None:
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
