"""The archive of each source: of a wheel, an sdist, or anything else that has a digest.

    <root>/derived/<key>       link to `../archives/<name>`: made here, from the file of that key
    <root>/imported/<key>      the same by the word of somebody whom the user wants believed
    <root>/vouched/<key>       the same by a word that is kept beside (`unionfs.store.vouched`)

A link says no more than that: whether the archive is there is the store's to say. Where it lies
says **where its word is from**. Records of earlier versions, in `sources`, do not say, and a
project may have put them there: they count for nothing (`unionfs.upkeep.verify` finds and drops
them).
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from resolver.atomic import ABANDONED_AFTER
from resolver.errors import PkgviewError
from unionfs.store.directory import TEMPORARY_PREFIX, explained, make, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LINK_PREFIX: Final = "../archives/"
"""What a source's link begins with; the archive's name follows."""

DERIVED: Final = "derived"
IMPORTED: Final = "imported"
VOUCHED: Final = "vouched"
ORIGINS: Final = (DERIVED, IMPORTED, VOUCHED)
"""The folders of records, the one that counts first first."""

PARTIAL: Final = "partial"
"""Where archives lie that are not whole (`unionfs.store.partial`)."""

FORMER: Final = "sources"
"""Where versions before these kept all records alike."""

MADE_HERE: Final = ("made-", "bytecode-")
"""What keys begin with of things that no package file is the source of: skeletons, notices,
bytecode. Nobody could prove them, and anybody's would run in every program, so a store believes
its own only."""

OF_THIS_MACHINE: Final = ("noted-", "editable-", "directory-")
"""The same of archives that lead to files of this machine, or were made of them: no other machine
has such a one."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,199}")


class Sources:
    """The links of the store at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def record(self, key: str, archive: str, origin: str) -> None:
        """Have `key` lead to that archive, by that word."""
        self.link(origin, {key: LINK_PREFIX + archive})

    def link(self, folder: str, targets: Mapping[str, str]) -> None:
        """Have the links of these keys lead there, each in one step."""
        links = {self._link(key, folder): target for key, target in targets.items()}
        changed = False
        with explained(self._root / folder):
            make(self._root / folder, self._root)
            for link, target in links.items():
                try:
                    # Nearly always there is none yet; making it is one step that leaves nothing.
                    link.symlink_to(target)
                except FileExistsError:
                    if os.readlink(link) == target:
                        continue
                    self._replace(link, target)
                changed = True
            if changed:
                sync(self._root / folder)

    def targets(self, folder: str) -> list[tuple[str, str]]:
        """Where the links of all keys lead, sorted; none where there is no such folder."""
        try:
            keys = filter(is_source_key, os.listdir(self._root / folder))
        except OSError:
            return []
        found = ((key, self.target(folder, key)) for key in sorted(keys))
        return [(key, target) for key, target in found if target]

    def archives(self, origin: str) -> list[tuple[str, str]]:
        """Keys and their archives, by one kind of word; these may be gone."""
        found = self.targets(origin)
        return [(key, target.removeprefix(LINK_PREFIX)) for key, target in found]

    def target(self, folder: str, key: str) -> str:
        """Where the link of a key leads; "" where there is none."""
        try:
            return os.readlink(self._link(key, folder))
        except OSError:
            return ""

    def archives_of(self, key: str) -> Iterator[str]:
        """What `key` leads to, by the better word first; none where that is not known."""
        for origin in ORIGINS:
            with suppress(OSError):
                yield os.readlink(self._link(key, origin)).removeprefix(LINK_PREFIX)

    def known(self) -> set[str]:
        """All that are known; none where there is no store. `OSError` else."""
        found: set[str] = set()
        for origin in ORIGINS:
            with suppress(FileNotFoundError):
                found.update(filter(is_source_key, os.listdir(self._root / origin)))
        return found

    def forget(self, key: str) -> None:
        """Have `key` lead nowhere; in a shared store what another user wrote may stay."""
        for origin in ORIGINS:
            with suppress(OSError):
                self._link(key, origin).unlink()

    def forget_lost(self) -> None:
        """Remove the links to archives that are not there any more."""
        for origin in ORIGINS:
            self._sweep(self._root / origin)
            with suppress(OSError):
                for key in os.listdir(self._root / origin):
                    if is_source_key(key) and not self._is_here(self._link(key, origin)):
                        self._link(key, origin).unlink()

    def _is_here(self, link: Path) -> bool:
        """Whether it leads to an archive, whole or partial."""
        if link.exists():
            return True
        with suppress(OSError):
            return is_there(self._root, os.readlink(link).removeprefix(LINK_PREFIX))
        return False

    def former(self) -> int:
        """How many records of earlier versions there are, which do not say where they are from."""
        try:
            return len(os.listdir(self._root / FORMER))
        except OSError:
            return 0

    def drop_former(self) -> None:
        """Remove these."""
        with explained(self._root / FORMER), suppress(FileNotFoundError):
            shutil.rmtree(self._root / FORMER)

    def _replace(self, link: Path, target: str) -> None:
        self._sweep(link.parent)
        temporary = link.parent / f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}"
        try:
            temporary.symlink_to(target)
            temporary.replace(link)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def _sweep(self, directory: Path) -> None:
        """Remove what killed processes left. A link cannot be locked: the age alone decides."""
        for left in directory.glob(f"{TEMPORARY_PREFIX}*"):
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime > ABANDONED_AFTER:
                    left.unlink()

    def _link(self, key: str, origin: str) -> Path:
        if not is_source_key(key):
            raise PkgviewError(f"{key!r} cannot name the source of an archive")
        return self._root / origin / key


def is_there(root: Path, archive: str) -> bool:
    """Whether the store at `root` has that archive, whole or partial."""
    # It may become whole between the two: so the first is asked again.
    folders = ("archives", PARTIAL, "archives")
    return any((root / folder / archive).exists() for folder in folders)


def is_source_key(key: str) -> bool:
    """Whether that can name the source of an archive."""
    return _KEY.fullmatch(key) is not None


def is_made_here(key: str) -> bool:
    """Whether it is the key of something that only its own store's word counts for."""
    return key.startswith(MADE_HERE)


def is_of_this_machine(key: str) -> bool:
    """Whether what it leads to means nothing elsewhere."""
    return key.startswith(OF_THIS_MACHINE)
