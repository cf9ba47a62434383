"""What each state needs of a store, told to all others that collect there.

    <root>/users/<uid>-<hash>   of one state: a line of JSON that says which, then names
    <root>/before               what was there before everybody told, a name a line

A state is told by an id of its own, since two may have one path: in containers, for one. What it
told goes once it is certain that there is no such state any more: in this boot, where the
directories above it are the same as for whoever told, and none of what is missing was a mount. Of
all others nobody knows, and what they told stays.

Earlier versions told nothing in a store of one user, who may have several states all the same. So
what such a store has when somebody tells for the first time stays `GRACE` seconds for whoever may
need it: every state tells all that it needs when its daemon begins, and whenever it collects.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from resolver.atomic import Alone, make_private, write_atomically
from resolver.boot import boot_id
from unionfs.archive.meta import digest_of_name
from unionfs.store.directory import explained, make

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

GRACE: Final = 30 * 24 * 3600.0
"""Seconds that archives from before everybody told stay."""

_ID = "id"

Way = list[list[int]]
"""Device and inode of every directory down to a state, the root first; it ends where one is not."""


class Claims:
    """What the user of one state tells, and what others do; neither it nor the store need exist.

    `PkgviewError` where nothing can be told.
    """

    def __init__(self, root: Path, state: Path) -> None:
        self._root = root
        self._users = root / "users"
        self._before = root / "before"
        self._state = state

    def begin(self) -> None:
        """From now on everybody tells; to be called before anything is added."""
        if self._is_shared() or self._before.exists():
            return
        with Alone(self._root):  # else another's first archives would be listed, too
            if not self._before.exists():
                self._write(self._before, self._archives())

    def are_whole(self) -> bool:
        """Whether all is told that the state needs."""
        return bool(_read(self._own())[0].get("whole"))

    def tell(self, names: Collection[str], *, whole: bool = False, instead: bool = False) -> None:
        """That these are needed, too, or `instead` of what was told before.

        `whole`: nothing else is needed that has not been told. What others told who are gone goes.
        """
        self.begin()
        with Alone(self._state):
            own = self._own()
            before, told = _read(own)
            head = {
                "state": os.fspath(self._state), "id": own.name.rpartition("-")[2],
                "boot": boot_id(), "way": _way(self._state),
                "whole": whole or bool(before.get("whole")),
            }  # fmt: skip
            now = {*names} if instead else {*told, *names}
            if now != told or head != before:
                self._write(own, now, json.dumps(head))
        if instead:
            of_earlier_version = self._users / f"{os.geteuid()}-{_hash(self._state)}"
            for path in (of_earlier_version, *filter(_is_gone, self._others())):
                with suppress(OSError):  # another user's
                    path.unlink(missing_ok=True)

    def of_others(self) -> set[str]:
        """What others than the user of that state need, or may need, as far as anybody knows."""
        found = set().union(*(_read(path)[1] for path in self._others() if not _is_gone(path)))
        try:
            if time.time() - self._before.stat().st_mtime < GRACE:
                found |= _read(self._before)[1]
        except OSError:
            found |= set() if self._is_shared() else self._archives()
        return found

    def _is_shared(self) -> bool:
        """Whether others may write here: then earlier versions told, too."""
        with suppress(FileNotFoundError):
            return bool(self._root.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        return False

    def _own(self) -> Path:
        with explained(self._state):
            make_private(self._state)
            with suppress(FileExistsError):
                (self._state / _ID).symlink_to(secrets.token_hex(8))  # it is made in one step
            return self._users / f"{os.geteuid()}-{os.readlink(self._state / _ID)}"

    def _others(self) -> list[Path]:
        names = set(os.listdir(self._users)) if self._users.is_dir() else set()
        with suppress(OSError):
            names.discard(f"{os.geteuid()}-{os.readlink(self._state / _ID)}")
        return [self._users / name for name in names if not name.startswith(".")]

    def _archives(self) -> set[str]:
        with suppress(FileNotFoundError):
            names = os.listdir(self._root / "archives")
            return {name for name in names if digest_of_name(name) is not None}
        return set()

    def _write(self, path: Path, names: Collection[str], *head: str) -> None:
        with explained(path):
            make(path.parent, self._root)
            write_atomically(
                path, "".join(f"{line}\n" for line in (*head, *sorted(names))).encode()
            )
            path.chmod(0o644)


def _hash(state: Path) -> str:
    return hashlib.sha256(os.fsencode(state)).hexdigest()[:16]


def _read(path: Path) -> tuple[dict[str, Any], set[str]]:
    """Who tells, and the names: nothing where it cannot be read."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return {}, set()
        first, *lines = path.read_text("utf-8", "replace").splitlines() or [""]
    except OSError:
        return {}, set()
    with suppress(ValueError):
        if isinstance(head := json.loads(first), dict):
            return head, set(lines)
    return {}, {first, *lines} - {""}


def _way(state: str | Path) -> Way:
    found: Way = []
    path = ""
    with suppress(FileNotFoundError, NotADirectoryError):
        for part in os.fspath(state).split("/"):
            path += f"{part}/"
            status = os.stat(path)  # noqa: PTH116 - strings
            found.append([status.st_dev, status.st_ino])
    return found


def _is_gone(path: Path) -> bool:
    """Whether there is no state any more of which that file tells."""
    head = _read(path)[0]
    try:
        state, then = head["state"], [[int(device), int(inode)] for device, inode in head["way"]]
        with suppress(OSError):
            if os.readlink(f"{state}/{_ID}") == head["id"]:
                return False
        now = _way(state)
    except (KeyError, TypeError, ValueError, OSError):
        return False
    same = next((n for n, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), len(now))
    if head.get("boot") != boot_id() or not 0 < same < len(then):
        return False
    was_mounted = then[same][0] != then[same - 1][0]
    is_mounted = same < len(now) and now[same][0] != now[same - 1][0]
    return not was_mounted and not is_mounted
