"""The archive of each source: of a wheel, an sdist, or anything else that has a digest.

    <root>/sources/<key>      link to `../archives/<name>`

A link says no more than that: whether the archive is there is the store's to say.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from resolver.atomic import ABANDONED_AFTER
from resolver.errors import PkgviewError
from unionfs.store.directory import TEMPORARY_PREFIX, explained, make, sync

if TYPE_CHECKING:
    from pathlib import Path

LINK_PREFIX: Final = "../archives/"
"""What a source's link begins with; the archive's name follows."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,199}")


class Sources:
    """The links of the store at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / "sources"

    def record(self, key: str, archive: str) -> None:
        """Have `key` lead to that archive."""
        link, target = self._link(key), LINK_PREFIX + archive
        with explained(self._directory):
            make(self._directory, self._root)
            try:
                # Nearly always there is none yet; making it is one step that leaves nothing.
                link.symlink_to(target)
            except FileExistsError:
                if os.readlink(link) == target:
                    return
                self._replace(link, target)
            sync(self._directory)

    def archive_of(self, key: str) -> str | None:
        """What `key` leads to; None if that is not known."""
        try:
            return os.readlink(self._link(key)).removeprefix(LINK_PREFIX)
        except OSError:
            return None

    def known(self) -> list[str]:
        """All that are known; none where there is no store. `OSError` else."""
        try:
            return [key for key in os.listdir(self._directory) if is_source_key(key)]
        except FileNotFoundError:
            return []

    def forget_lost(self) -> None:
        """Remove the links to archives that are not there any more."""
        self._sweep()
        with suppress(OSError):
            for key in self.known():
                if not self._link(key).exists():
                    self._link(key).unlink()

    def _replace(self, link: Path, target: str) -> None:
        self._sweep()
        temporary = self._directory / f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}"
        try:
            temporary.symlink_to(target)
            temporary.replace(link)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def _sweep(self) -> None:
        """Remove what killed processes left. A link cannot be locked: the age alone decides."""
        for left in self._directory.glob(f"{TEMPORARY_PREFIX}*"):
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime > ABANDONED_AFTER:
                    left.unlink()

    def _link(self, key: str) -> Path:
        if not is_source_key(key):
            raise PkgviewError(f"{key!r} cannot name the source of an archive")
        return self._directory / key


def is_source_key(key: str) -> bool:
    """Whether that can name the source of an archive."""
    return _KEY.fullmatch(key) is not None
