"""Whose a user number is, where bounds hold by user: subordinate numbers are their user's.

subuid(5) gives a user 65536 more, which that user's programs are in user namespaces (rootless
containers): whoever counts numbers counts one user as thousands. Ranges that a directory service
keeps are not seen: their numbers count for themselves.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from pathlib import Path

SUBORDINATE = Path("/etc/subuid")


class Owners:
    """Reads the file again when it is another one. Any thread may ask."""

    def __init__(self, path: Path = SUBORDINATE) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._ranges: list[tuple[int, int]] = []

    def of(self, uid: int) -> int:
        """The first number of the range that `uid` is in; itself, if it is in none."""
        self._look()
        place = bisect_right(self._ranges, (uid, 1 << 32)) - 1
        if place >= 0:
            first, after = self._ranges[place]
            if first <= uid < after:
                return first
        return uid

    def _look(self) -> None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - with every question
            seen: tuple[int, ...] = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            seen = ()
        if seen != self._seen:
            self._ranges = self._read() if seen else []
            self._seen = seen

    def _read(self) -> list[tuple[int, int]]:
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            _, first, count = (*line.strip().split(":"), "", "")[:3]
            if first.isdecimal() and count.isdecimal():
                found.append((int(first), int(first) + int(count)))
        return sorted(found)
