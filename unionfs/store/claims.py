"""What each state needs of a store, told to all others that collect there.

    <root>/users/<uid>-<id>     of one state: a line of JSON that says which, then names
    <root>/before               what was there before everybody told, a name a line

Nobody can see from here whether there still is a state: it may be another machine's, container's
or mount namespace's. So what it told counts `COUNTS` seconds from when it last told, and it tells
again whenever it makes something, imports or collects, and while it has a daemon.

A state is told by an id of its own, since two may have one path. The id is of the very file it is
kept in, and of no copy of that: a state that is copied, restored or cloned, or is part of an image,
gets a new one, and what was told under the other stays as another's.

Earlier versions told nothing in a store of one user, who may have several states all the same. So
what such a store has when somebody tells for the first time counts as long, for whoever may need
it.

Who only added a store (`unionfs.store.ordered`) tells there what the own one has not, if it is
somebody's own store and can be written to.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from resolver.atomic import Alone, write_atomically
from resolver.boot import machine_id
from resolver.naming import sha256
from resolver.ownership import identity
from unionfs.archive.meta import digest_of_name
from unionfs.store.directory import explained, make

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

COUNTS: Final = 30 * 24 * 3600.0
"""Seconds that what was told counts: longer than most machines are off, or their users away. Who
comes back later has what is gone fetched again."""


class Claims:
    """What the user of one state tells, and what others do; neither it nor the store need exist.

    `PkgviewError` where nothing can be told. Where the store cannot be written to, nothing is, and
    that is no error: who has something to add there is told so anyway.
    """

    def __init__(self, root: Path, state: Path) -> None:
        self._root = root
        self._users = root / "users"
        self._before = root / "before"
        self._state = state
        # Of this machine: several may have one state, on a network file system.
        self._id = state / f"id-{sha256(machine_id().encode()).hexdigest()[:16]}"

    def begin(self) -> None:
        """From now on everybody tells; to be called before anything is added."""
        if self._is_fixed() or self._is_shared() or self._before.exists():
            return
        with Alone(self._root):  # else another's first archives would be listed, too
            if not self._before.exists():
                self._write(self._before, self._archives())

    def tell_again(self) -> bool:
        """What was told counts from now; False where not all was that the state needs."""
        if self._is_fixed():
            return True
        own = self._own()
        if own is None or not _read(own)[0].get("whole"):
            return False
        with explained(own), suppress(FileNotFoundError):
            os.utime(own)
            return True
        return False

    def tell(self, names: Collection[str], *, whole: bool = False, instead: bool = False) -> None:
        """That these are needed, too, or `instead` of what was told before.

        `whole`: nothing else is needed that has not been told. What counts no more goes.
        """
        if self._is_fixed():
            return
        self.begin()
        with Alone(self._state), explained(self._state):
            own = self._own() or self._drawn()
            before, told = _read(own)
            head = {"state": os.fspath(self._state), "whole": whole or bool(before.get("whole"))}
            now = {*names} if instead else {*told, *names}
            if now != told or head != before:
                self._write(own, now, json.dumps(head))
            else:
                os.utime(own)
        if instead:
            for path, _ in self._others(counting=False):
                with suppress(OSError):  # another user's
                    path.unlink()

    def withdraw(self) -> None:
        """Nothing that was told is needed any more."""
        own = self._own()
        if own is not None:
            with suppress(OSError):
                own.unlink()

    def of_others(self) -> set[str]:
        """What others than the user of that state need, or may need, as far as anybody knows."""
        found = set().union(*(_read(path)[1] for path, _ in self._others(counting=True)))
        try:
            if _counts(self._before.stat()):
                found |= _read(self._before)[1]
        except OSError:
            found |= set() if self._is_shared() else self._archives()
        return found

    def silent(self) -> tuple[tuple[int, float], ...]:
        """Whose words count no more: the user, and the time when each was last told."""
        others = self._others(counting=False)
        return tuple(sorted((status.st_uid, status.st_mtime) for _, status in others))

    def _is_fixed(self) -> bool:
        return self._root.exists() and not os.access(self._root, os.W_OK)

    def _is_shared(self) -> bool:
        """Whether others may write here: then earlier versions told, too."""
        with suppress(FileNotFoundError):
            return bool(self._root.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        return False

    def _own(self) -> Path | None:
        """Where the state tells; None where it has no id, or another's."""
        try:
            os.utime(self._id)  # an overlay makes a file of its own of what an image has
            name, _, which = self._id.read_text("ascii").partition(" ")
        except (OSError, ValueError):
            return None
        return self._users / f"{os.geteuid()}-{name}" if which == _which(self._id) else None

    def _drawn(self) -> Path:
        """The same, by a new id."""
        for path in self._state.glob("id-*"):
            if path == self._id or not _counts(path.lstat()):  # of a machine that there was
                path.unlink()
        name = os.urandom(8).hex()
        self._id.touch(0o600)  # who reads it now, or if this is killed, has no id
        self._id.write_text(f"{name} {_which(self._id)}", "ascii")
        return self._users / f"{os.geteuid()}-{name}"

    def _others(self, *, counting: bool) -> Iterator[tuple[Path, os.stat_result]]:
        """What others told that counts, or that does no more."""
        own = self._own()
        for name in os.listdir(self._users) if self._users.is_dir() else ():
            path = self._users / name
            if path == own or name.startswith("."):
                continue
            with suppress(FileNotFoundError):
                status = path.lstat()
                if _counts(status) is counting:
                    yield path, status

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


def is_told(root: Path) -> bool:
    """Whether a store is somebody's own, and so collected: whose it is tells there."""
    return (root / "users").is_dir()


def can_be_told(root: Path) -> bool:
    """Whether this user can tell in such a store."""
    return all(os.access(place, os.W_OK) for place in (root, root / "users"))


def _counts(status: os.stat_result) -> bool:
    return time.time() - status.st_mtime < COUNTS


def _which(path: str | Path) -> str:
    """What tells a file from all copies of it; snapshots of one are in another file system."""
    return "-".join(f"{number:x}" for number in (*identity(path)[:2], os.statvfs(path).f_fsid))


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
