"""Files under way in `<cache>/downloads`, each with two names while it grows.

`<key>.part` is where processes that want the same file meet: whoever holds the lock (flock(2),
which a dead process loses) appends to it, the others wait. `fetch-<random>/<n>/<filename>` is a
hard link that each process makes for itself *before* it waits, so that nobody can take a whole
file from under another one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from resolver.atomic import make_private
from resolver.errors import PkgviewError
from resolver.fetch.wanted import Digests, key_of
from resolver.scratch import claim

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.fetch.wanted import Download

SESSION = "fetch-"
"""What the name of a fetch's own directory begins with."""

KEPT = 7 * 24 * 3600.0
"""Seconds after which what was left behind is swept away."""


def sweep_parts(downloads: Path, kept: float = KEPT) -> None:
    """Remove what nobody has gone on with for so many seconds, and nobody fetches now."""
    oldest = time.time() - kept
    for path in list(downloads.glob("*.part")):
        with contextlib.suppress(OSError):
            part = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(part).st_mtime <= oldest and not _is_taken(part):
                    path.unlink()
            finally:
                os.close(part)


def _is_taken(part: int) -> bool:
    """Whether somebody appends to it; where the file system knows no locks, its age decides."""
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


class Session:
    """The directory of one fetch, and the sweeping of what others left behind."""

    def __init__(self, downloads: Path) -> None:
        make_private(downloads)
        sweep_parts(downloads)
        self.downloads = downloads
        self._own, self._lock = claim(downloads, SESSION)
        # Keeps a discard from taking the directory away, and the lock with it.
        self._open_mark = self._own / "open"
        self._open_mark.touch()
        self._count = 0
        self._open: dict[Path, Path | None] = {}

    def open(self, file: Download) -> tuple[Path, Path | None]:
        """The file's own name, and the one it shares with other processes where it has a hash.

        On a file system without hard links nothing is shared.
        """
        self._count += 1
        own = self._own / str(self._count) / file.filename
        own.parent.mkdir()
        key = key_of(file)
        part = self.downloads / f"{key}.part" if file.hashes else None
        while part is not None:
            os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            try:
                os.link(part, own, follow_symlinks=False)
                break
            except FileNotFoundError:
                continue  # another process has finished with it just now
            except OSError:
                part.unlink(missing_ok=True)
                part = None
        if part is None:
            own.touch(mode=0o600)
        self._open[own] = part
        return own, part

    def keep(self, own: Path) -> None:
        """From here on the file belongs to whoever gets it."""
        del self._open[own]

    def close(self) -> None:
        """Drop what is not whole; the shared name stays for the next time."""
        for own in self._open:
            drop(own, None)

    def release(self) -> None:
        """Give the directory up, to whoever sweeps it if files are left in it."""
        with contextlib.suppress(OSError):
            self._open_mark.unlink()
            self._own.rmdir()
        os.close(self._lock)


class Part:
    """The bytes that are here: appended, hashed, thrown away."""

    def __init__(self, own: Path, file: Download) -> None:
        self.path = own
        self._file = file
        self.descriptor = os.open(own, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._digests = Digests(file)
        self.length = 0

    def lock(self) -> bool:
        """Whether no other process, and no other fetch in this one, has it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def size(self) -> int:
        """Bytes on disk, whoever wrote them."""
        return os.fstat(self.descriptor).st_size

    def take_over(self) -> None:
        """Go on from what is on disk. Takes as long as hashing it does."""
        while chunk := os.pread(self.descriptor, 1 << 20, self.length):
            self._count(chunk)

    def append(self, chunk: bytes) -> None:
        """Write what has come, and count it."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.pwrite(self.descriptor, rest, self.length + len(chunk) - len(rest)) :]
        self._count(chunk)

    def restart(self) -> None:
        """Throw away what is here."""
        os.ftruncate(self.descriptor, 0)
        self._digests = Digests(self._file)
        self.length = 0

    def wrong(self) -> tuple[str, str] | None:
        """As of `Digests`."""
        return self._digests.wrong()

    def close(self) -> None:
        """Close the file, and give up its lock."""
        os.close(self.descriptor)

    def _count(self, chunk: bytes) -> None:
        self._digests.update(chunk)
        self.length += len(chunk)


def unwritable(downloads: Path, error: OSError) -> PkgviewError:
    """What the operating system says about the directory, as a sentence with a remedy."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return PkgviewError(
            f"no room left for downloads in {downloads}",
            remedy="Make room there, or name another directory in XDG_CACHE_HOME; what has come "
            "so far is kept.",
        )
    return PkgviewError(
        f"cannot use {downloads}: {error.strerror}",
        remedy="Make it writable, or name another directory in XDG_CACHE_HOME.",
    )


def drop(own: Path, part: Path | None) -> None:
    """Remove a file's own name, its shared one if it is still the same file, and the directory."""
    with contextlib.suppress(OSError):
        if part is not None and part.samefile(own):
            part.unlink()
    with contextlib.suppress(OSError):
        own.unlink()
    with contextlib.suppress(OSError):
        own.parent.rmdir()
        own.parent.parent.rmdir()
