"""Programs on PATH, above all the first Python.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Name = str | Path


def first_python(environ: Mapping[str, str]) -> str | None:
    """The first `python3` on PATH; None where that would be a shim, which picks by directory."""
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        if directory.startswith("/"):
            if is_shims(directory):
                return None
            path = os.path.join(directory, "python3")
            if may_run(path):
                return path
    return None


def is_shims(directory: Name) -> bool:
    """Whether it holds scripts that pick an interpreter by the working directory (pyenv's)."""
    return os.path.basename(os.fspath(directory).rstrip("/")) == "shims"


def may_run(path: Name) -> bool:
    """Whether there is such a program; where we may not even look, as after `su`, there is none."""
    try:
        return os.access(path, os.X_OK) and stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
