"""Files of a project, read as what they are: anybody's.

`pkgview up` with nothing to do imports this: it loads nothing that takes time.
"""

from __future__ import annotations

import os
import stat
from _thread import _local

from resolver.errors import PkgviewError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Protocol

    Name = str | Path

    class Look(Protocol):
        """What bounds the reading of a thread: `resolver.looks.Look`."""

        is_inside: Callable[[str], bool]
        may_know: Callable[[str, str], bool]

        def refuse(self, path: Name) -> None:
            """Before a file is opened."""

        def count(self, path: Name, size: int) -> None:
            """Before its text is understood."""


LARGEST_INPUT = 64 * 1024 * 1024
"""Bytes; the largest uv.lock files seen are below 10 MiB."""

_thread = _local()


def current_look() -> Look | None:
    """The look that this thread is in (`resolver.looks`), if it is in one."""
    return getattr(_thread, "look", None)


def set_look(look: Look | None) -> None:
    """From here on it is in that one, or in none."""
    _thread.look = look


def read_input(path: Name) -> bytes:
    """A regular file's bytes. Never blocks on a FIFO or a device, never reads without bound."""
    if (look := current_look()) is not None:
        look.refuse(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise PkgviewError(
                    f"{path} is not a regular file",
                    remedy="Put a regular file in its place, or take its name out of the project.",
                )
            data = _read(descriptor, found.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise PkgviewError(
            f"cannot read {path}: {error.strerror}",
            remedy="Make it readable, or take its name out of the project.",
        ) from error
    if len(data) > LARGEST_INPUT:
        raise PkgviewError(
            f"{path} is larger than {LARGEST_INPUT >> 20} MiB, no project file is",
            remedy="Check what the file is.",
        )
    return data


def _read(descriptor: int, size: int) -> bytes:
    """All of it, and one byte beyond the limit at most; `size` is what is expected.

    Not by a file object: they cost more than a small file's bytes, at every start of a program.
    """
    parts: list[bytes] = []
    left = LARGEST_INPUT + 1
    while left and (part := os.read(descriptor, min(left, max(size, 4096) + 1))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_text(path: Name, *, wide: bool = False) -> str:
    """The same as text: UTF-8, with or without a byte order mark.

    `wide`: or UTF-16, with one.
    """
    data = read_input(path)
    if (look := current_look()) is not None:
        look.count(path, len(data))
    utf16 = wide and data[:2] in {b"\xff\xfe", b"\xfe\xff"}
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PkgviewError(
            f"{path}, line {line}: not UTF-{16 if utf16 else 8} text",
            remedy="Save the file as UTF-8.",
        ) from error
