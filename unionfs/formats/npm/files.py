"""The files of a tarball at their places, where later entries have replaced earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.formats.npm import paths
from unionfs.formats.tar import entries as tar
from unionfs.formats.tar.fault import UnsoundTarballError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENTRY_LIMIT: Final = 262_144
"""Most entries of a tarball, and most directories that these lie in. The largest packages have
about 50,000."""

_FAULT_LIMIT = 50


class File(NamedTuple):
    """One file: `size` bytes from `start` of the stream; or `content`, where that was changed."""

    executable: bool
    start: int
    size: int
    content: bytes | None = None


class Files(dict[str, File]):
    """Path in the package -> file. `links` and `beside` count what was left out.

    That are links, and files that lie in no directory whose name could be dropped.
    """

    def __init__(self, entries: Iterable[tar.Entry]) -> None:
        """Place them; raises `UnsoundTarballError` with all faults."""
        super().__init__()
        self.links = 0
        self.beside = 0
        self._ignores: set[tuple[str, str]] = set()
        faults: list[str] = []
        for number, entry in enumerate(entries):
            if number >= ENTRY_LIMIT:
                raise UnsoundTarballError(f"it has more than {ENTRY_LIMIT} entries")
            try:
                top, path = paths.installed(entry.path.decode("utf-8", "replace"))
            except ValueError as error:
                faults.append(f"{tar.shown(entry.path)} {error}")
                if len(faults) >= _FAULT_LIMIT:
                    break
            else:
                self._place(entry, top, path)
        faults.extend(self._collisions())
        if faults:
            raise UnsoundTarballError(*faults)

    def _place(self, entry: tar.Entry, top: str, path: str) -> None:
        if entry.kind is not tar.FILE:
            self.links += entry.kind is not tar.DIRECTORY
            return
        if not path:
            self.beside += 1
            return
        if path.endswith("ignore"):
            path = self._as_npmignore(top, path)
            if not path:
                return
        executable = bool(entry.mode & 0o111)
        if (before := self.get(path)) is not None:
            executable = before.executable  # npm writes over a file, and leaves its mode
        self[path] = File(executable, entry.start, entry.size)

    def _as_npmignore(self, top: str, path: str) -> str:
        """A `.gitignore` becomes `.npmignore`, unless there was one before: then it is left out."""
        above, _, base = path.rpartition("/")
        if base == ".npmignore":
            self._ignores.add((top, above))
        elif base == ".gitignore":
            renamed = f"{above}/.npmignore" if above else ".npmignore"
            return "" if (top, above) in self._ignores else renamed
        return path

    def _collisions(self) -> Iterator[str]:
        """Files that would have to be directories too."""
        directories: set[str] = set()
        for path in self:
            above = path.rpartition("/")[0]
            while above and above not in directories:
                directories.add(above)
                above = above.rpartition("/")[0]
            if len(directories) > ENTRY_LIMIT:
                raise UnsoundTarballError(f"it has more than {ENTRY_LIMIT} directories")
        for path in sorted(directories & self.keys()):
            yield f"{path!r} is a file, and a directory"
