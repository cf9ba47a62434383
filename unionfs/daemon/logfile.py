"""The log of a user's daemons: where it is, how it is opened, what libfuse wrote into it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from resolver.atomic import make_private
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places

MAX_LOG = 1 << 20
"""Bytes after which the log is turned; one older log is kept."""


def log_path(places: Places) -> Path:
    """The log of this user's daemons."""
    return places.state / "daemon.log"


def log_named(places: Places) -> str:
    """Where to read what the daemon says; one in the foreground has no file."""
    path = log_path(places)
    return str(path) if path.exists() else "standard error of `pkgview mount --foreground`"


def open_log(path: Path) -> int:
    """The log's descriptor, for appending; a full log is turned first."""
    try:
        make_private(path.parent)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > MAX_LOG:
                path.replace(path.with_suffix(".log.1"))
        return os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        raise PkgviewError(
            f"{path} cannot be written: {error.strerror}",
            remedy="Set XDG_STATE_HOME to a directory you may write to.",
        ) from error


def lines_of_fuse(log: Path, offset: int) -> list[str]:
    """What libfuse and fusermount3 said since: they write their reasons nowhere else."""
    try:
        with log.open("rb") as stream:
            stream.seek(offset)
            lines = stream.read(1 << 16).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith(("fuse", "mount:"))][-3:]
