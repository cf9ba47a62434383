"""What other users' views may take of root's store: by view, by user, and of the disk.

Whatever a file said of its size before, it may grow while it is copied. So what is written counts,
a piece at a time, and the file system's free space is asked before each piece.

What a user had taken over stands in `<state>/adopted/<uid>`: names of views and archives, one a
line, each written down *before* it comes, so that one that is broken off counts, too. What
`pkgview gc` has removed counts no more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from resolver.atomic import Alone, make_private, write_atomically
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.archive.meta import digest_of_name
from unionfs.view.catalog import manifest_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    from resolver.places import Places

LARGEST_VIEW: Final = 32 << 30
LARGEST_USER: Final = 64 << 30
PART: Final = 8
"""And no user may have more than this part of the file system."""

RESERVE: Final = 1 << 30
"""Bytes that stay free in the store's file system: it is everybody's."""

LEAST: Final = 64 << 10
"""What a file counts at least: it takes an inode, and rows of the registry."""


class Room:
    """What one view of a user's may still take."""

    def __init__(self, places: Places, uid: int) -> None:
        self._places = places
        self._uid = uid
        self._ledger = places.state / "adopted" / str(uid)
        make_private(places.store)
        self._view = LARGEST_VIEW
        self._user = self._quota() - sum(self._counted().values())

    def note(self, view: ViewId, archives: Iterable[str]) -> None:
        """Write down what is about to come."""
        with Alone(self._ledger.parent):
            names = dict.fromkeys((*self._counted(), view, *archives))
            write_atomically(self._ledger, "".join(f"{name}\n" for name in names).encode())

    def check(self, size: int, what: str) -> None:
        """Refuse what will not fit."""
        size = max(size, LEAST)
        if size > self._view:
            raise PkgviewError(f"{what}: the view is larger than {LARGEST_VIEW >> 30} GiB")
        if size > self._user:
            raise PkgviewError(
                f"{what}: user {self._uid} has as much in root's store as one user may",
                remedy="Root's `pkgview gc` removes what nobody uses any more.",
            )
        there = os.statvfs(self._places.store)
        if there.f_bavail * there.f_frsize - size < RESERVE:
            raise PkgviewError(f"{what}: there is no room left for it")

    def take(self, size: int, what: str) -> None:
        """Count what is about to be written."""
        self.check(size, what)
        self._view -= size
        self._user -= size

    def _quota(self) -> int:
        there = os.statvfs(self._places.store)
        return min(LARGEST_USER, there.f_blocks * there.f_frsize // PART)

    def _counted(self) -> dict[str, int]:
        """What was taken over before and is here still, and its bytes."""
        try:
            names = self._ledger.read_text("utf-8").split("\n")
        except (OSError, ValueError):
            return {}
        found = {}
        for name in filter(None, names):
            try:
                found[name] = max(self._path(name).stat().st_size, LEAST)
            except OSError:
                continue
        return found

    def _path(self, name: str) -> Path:
        if digest_of_name(name) is not None:
            return self._places.store / "archives" / name
        return manifest_path(self._places, ViewId(name))


class Measured:
    """A file that is read for being written here: no more of it than it had, or than fits."""

    def __init__(self, file: BinaryIO, what: str, size: int, room: Room) -> None:
        self._file = file
        self._what = what
        self._left = size
        self._room = room

    def read(self, most: int = -1, /) -> bytes:
        """Up to `most` bytes, counted before anybody writes them; `PkgviewError` where it grew."""
        data = self._file.read(most)
        self._left -= len(data)
        if self._left < 0:
            raise PkgviewError(f"{self._what} grew while it was copied")
        if data:
            self._room.take(len(data), self._what)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
