"""One process as /proc shows it to who looks for views: nothing, where it does not."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from resolver.caller.procfs import Absence, read_stat

if TYPE_CHECKING:
    from resolver.caller.procfs import Stat

LONGEST = 1 << 22
"""Bytes read of one file of /proc."""

VIEW = re.compile(r"/views/[0-9a-f]{32}( \(deleted\))?$")
"""The end of a path that is a view."""


def shown(pid: int, stat: Stat) -> str | None:
    """Where /proc shows what a process has; None where it has ended.

    Where its main thread alone has ended, only at another of its threads.
    """
    if not stat.dead:
        return f"/proc/{pid}"
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    return next((f"/proc/{pid}/task/{tid}" for tid in threads if tid != str(pid)), None)


def has_ended(pid: int, stat: Stat) -> bool:
    """Whether the process that was so has ended since, or is about to: its memory goes first."""
    now = read_stat(pid)
    if isinstance(now, Absence) or now.start_time != stat.start_time:
        return True
    base = shown(pid, now)
    return base is None or not (read(f"{base}/cmdline") or read(f"{base}/maps"))


def read(path: str) -> bytes:
    """The beginning of a file."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - thousands of them
            return file.read(LONGEST)
    except OSError:
        return b""


def link(path: str) -> str:
    """Where a link leads."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def open_files(base: str) -> dict[str, str]:
    """What each descriptor of the process at `base` (`/proc/<pid>`) is, by its number."""
    try:
        numbers = os.listdir(f"{base}/fd")
    except OSError:
        return {}
    return {number: link(f"{base}/fd/{number}") for number in numbers}


def pinned(base: str, files: dict[str, str]) -> list[str]:
    """The views that an interpreter pinned itself to, which it holds, and so has said which."""
    return [
        path
        for number, path in files.items()
        if VIEW.search(path) and _is_path(read(f"{base}/fdinfo/{number}"))
    ]


def _is_path(fdinfo: bytes) -> bool:
    """Whether a descriptor was made with O_PATH, as nobody does by chance; proc(5)."""
    found = re.search(rb"^flags:\s*0([0-7]+)$", fdinfo, re.MULTILINE)
    return found is not None and bool(int(found[1], 8) & os.O_PATH)
