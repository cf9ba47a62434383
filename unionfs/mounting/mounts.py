"""What the kernel has mounted: its own table, and what is a mount of ours in it.

A mount whose daemon died answers everything below it with ENOTCONN, and one whose daemon is
stopped answers nothing at all, so the rule of this module is: *a mount point is never touched*
(no stat, no open, no realpath of it) before the kernel's own table says that nothing is mounted
there. The table is `/proc/self/mountinfo`, proc(5): ten or more fields, where space, tab, newline
and backslash in a path are written as three octal digits.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Sequence

FSTYPE = "fuse.pkgview"

_SOURCE = "pkgview"
"""What a mount says it is of; `pkgview-NAME` where it has another transport than the default, and
`pkgview-NAME-N` where N processes serve it."""

_OPTIONS = frozenset(
    {
        "subtype=pkgview",
        "default_permissions",
        # fusermount3 lets everybody ask for these. `ro` is more than a promise: on a mount that
        # may be written each readlink marks the access time stale, and the next stat asks again.
        "ro",
        "nosuid",
        "nodev",
    }
)
"""Mount options, fuse(8)."""

MAX_LINKS = 40
"""Symbolic links followed from a mount point before it counts as a loop, path_resolution(7)."""

ALLOW_OTHER = "allow_other"
"""The option that lets other users in, fuse(8)."""

_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the kernel's table; `device` is (major, minor), `owner` FUSE's `user_id`.

    `shared`: other users are let in.
    """

    number: int
    parent: int
    device: tuple[int, int]
    path: Path
    fstype: str
    source: str
    owner: int | None
    shared: bool = False

    @property
    def ours(self) -> bool:
        """Whether a pkgview of this user (or of anybody, for root) serves or served it."""
        return self.fstype == FSTYPE and (self.owner == os.geteuid() or os.geteuid() == 0)

    @property
    def transport(self) -> str:
        """The transport it was mounted with, which thus outlives its daemon; "": the default."""
        return self._said[0]

    @property
    def workers(self) -> int:
        """How many processes were to serve it, in the same way."""
        return int(self._said[1]) if self._said[1].isdecimal() else 1

    @property
    def _said(self) -> tuple[str, str]:
        transport, _, workers = self.source.removeprefix(_SOURCE).removeprefix("-").partition("-")
        return transport, workers


def options(transport: str = "", *, shared: bool, workers: int = 1) -> set[str]:
    """What a mount of ours is made with; `shared`: other users are let in.

    More than one of `workers` only with a transport.
    """
    source = f"{_SOURCE}-{transport}" if transport else _SOURCE
    source += f"-{workers}" if workers > 1 else ""
    return {*_OPTIONS, f"fsname={source}", *([ALLOW_OTHER] if shared else [])}


def table() -> list[Mount]:
    """Every mount that this process's mount namespace shows."""
    return parse(Path("/proc/self/mountinfo").read_bytes())


def parse(content: bytes) -> list[Mount]:
    """Read the format of `/proc/self/mountinfo`; a line that is not of it is left out."""
    found = []
    for line in content.split(b"\n"):
        left, _, right = line.partition(b" - ")
        fields, tail = left.split(b" "), right.split(b" ")
        try:
            major, _, minor = fields[2].partition(b":")
            owner = re.search(rb"(?:^|,)user_id=(\d+)", tail[2])
            found.append(
                Mount(
                    number=int(fields[0]),
                    parent=int(fields[1]),
                    device=(int(major), int(minor)),
                    path=Path(os.fsdecode(unescape(fields[4]))),
                    fstype=os.fsdecode(unescape(tail[0])),
                    source=os.fsdecode(unescape(tail[1])),
                    owner=int(owner[1]) if owner else None,
                    shared=ALLOW_OTHER.encode() in tail[2].split(b","),
                )
            )
        except (ValueError, IndexError):
            continue
    return found


def unescape(field: bytes) -> bytes:
    """A field of the table as it really is."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)


def mounted_at(path: Path, mounts: Sequence[Mount] | None = None) -> Mount | None:
    """The mount that a walk to `path` (canonical) ends in, if it is a mount point."""
    here = [mount for mount in (table() if mounts is None else mounts) if mount.path == path]
    covered = {mount.parent for mount in here}
    uppermost = [mount for mount in here if mount.number not in covered]
    return uppermost[-1] if uppermost else None


def canonical(path: Path, mounts: Sequence[Mount] | None = None) -> Path:
    """`path` without symbolic links, as the kernel's table names it; a mount point is not touched.

    A mount point that is itself a link (`~/.pkgview -> /scratch/me/pkgview`) is followed.
    """
    known = {mount.path for mount in (table() if mounts is None else mounts)}
    current = path
    for _ in range(MAX_LINKS):
        current = Path(os.path.abspath(current))  # noqa: PTH100 - resolve() would touch it
        try:
            current = Path(os.path.realpath(current.parent), current.name)
            if current in known or not current.is_symlink():
                return current
            current = current.parent / current.readlink()
        except OSError as error:
            raise PkgviewError(
                f"{path}: cannot be reached: {error.strerror}",
                remedy="Name another mount point: `pkgview mount MOUNTPOINT`, or PKGVIEW_MOUNT.",
            ) from error
    raise PkgviewError(
        f"{path} is a loop of symbolic links",
        remedy=f"Remove the link, `rm {path}`, or name another mount point with PKGVIEW_MOUNT.",
    )
