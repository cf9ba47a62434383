"""Programs on PATH, above all the first Python.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Name = str | Path


def first_python(environ: Mapping[str, str]) -> str | None:
    """The first `python3` on PATH."""
    return next(pythons(environ), None)


def pythons(environ: Mapping[str, str]) -> Iterator[str]:
    """Every `python3` on PATH.

    A shim (pyenv's `shims/python3`) is a script that picks by working directory: it would answer
    differently tomorrow, so the installations that are chosen for everywhere are taken instead.
    """
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        if not directory.startswith("/"):
            continue
        if is_shims(directory):
            yield from _pyenv_global(os.path.dirname(directory.rstrip("/")), environ)
        elif may_run(path := os.path.join(directory, "python3")):
            yield path


def _pyenv_global(root: str, environ: Mapping[str, str]) -> Iterator[str]:
    chosen = environ.get("PYENV_VERSION", "").split(":")
    try:
        with open(f"{root}/version", encoding="utf-8") as file:
            chosen += file.read().split()
    except (OSError, UnicodeDecodeError):
        pass  # none is chosen
    for version in filter(None, chosen):
        if may_run(path := f"{root}/versions/{os.path.basename(version)}/bin/python3"):
            yield path


def is_shims(directory: Name) -> bool:
    """Whether it holds scripts that pick an interpreter by the working directory (pyenv's)."""
    return os.path.basename(os.fspath(directory).rstrip("/")) == "shims"


def may_run(path: Name) -> bool:
    """Whether there is such a program; where we may not even look, as after `su`, there is none."""
    try:
        return os.access(path, os.X_OK) and stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
