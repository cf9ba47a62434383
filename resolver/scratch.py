"""Temporary directories that live as long as the process that made them, and no longer.

How that is known after a process was killed: `resolver.atomic`.

Why not below /tmp: what is left there nobody would find again, and it is often too small for a
build, or memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import is_locked, make_private, sweep
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory below `parent`, removed at the end; `PkgviewError` if it cannot be made."""
    try:
        path, lock = claim(parent, prefix)
    except OSError as error:
        raise PkgviewError(
            f"cannot make a directory in {parent}: {error.strerror}",
            remedy="Make room there, or make it writable, or name another place in XDG_CACHE_HOME.",
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def claim(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new directory and the descriptor whose closing gives it up; sweeps first."""
    make_private(parent)
    sweep(parent, prefix)
    while True:
        path = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # a sweeper was faster
        if is_locked(lock):
            return path, lock
