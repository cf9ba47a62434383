"""The requests that the running kernel need not send, and why it must send others.

A file system that answers OPEN with ENOSYS is never asked to open again, by anybody: the largest
gain there is. Some kernels have a fault there, CVE-2025-68821: while a file is read ahead, memory
reclaim can evict it and wait for ever for the page that is being read. Its commit (e26ee4efbc79)
came with Linux 6.9 and was put into older stable series in October 2025; the fix followed in
December. `docs/kernel.md` says more. What is not known to be fixed is not relied upon.

Pure: the kernel's release and version are arguments.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from unionfs.kernel.abi import Init

Version = tuple[int, int, int]

_FAULTY: Final[tuple[tuple[Version, Version], ...]] = (
    ((5, 15, 196), (5, 15, 198)),
    ((6, 1, 158), (6, 1, 160)),
    ((6, 6, 115), (6, 6, 120)),
    ((6, 9, 0), (6, 12, 64)),
    ((6, 13, 0), (6, 18, 3)),
)
"""From the first version that has CVE-2025-68821 to the first that is without it again; from the
CVE's record. The series 6.9 to 6.11 and 6.13 to 6.17 ended before the fix."""

_FIXED_SINCE: Final[Version] = (6, 19, 0)
"""Kernels that descend from this have the fix, whatever their vendor did to them."""

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_DEBIAN = re.compile(r"Debian (\d+\.\d+(?:\.\d+)?)-")
_VENDOR = re.compile(r"\.(?:el|amzn|fc)\d|-(?:generic|lowlatency|aws|azure|gcp|oracle|kvm|default)")
"""Releases of vendors who put changes of their own choice into a version that keeps its number."""


class Gain(NamedTuple):
    """Whether something is switched on, and why, as `pkgview status` shows it."""

    on: bool
    why: str


def opens(offered: int, release: str, version: str) -> Gain:
    """Whether OPEN may be refused; `release` and `version` are those of uname(2)."""
    if not offered & Init.NO_OPEN_SUPPORT:
        return Gain(on=False, why="the kernel insists on being asked")
    numbers = _upstream(release, version)
    if numbers is None:
        return Gain(on=False, why=f"kernel {release} is not known to be without CVE-2025-68821")
    shown = ".".join(map(str, numbers))
    for first, fixed in _FAULTY:
        if first <= numbers < fixed:
            return Gain(on=False, why=f"kernel {shown} has CVE-2025-68821")
    return Gain(on=True, why=f"kernel {shown} is without CVE-2025-68821")


def opendirs(offered: int) -> Gain:
    """Whether OPENDIR may be refused: directories are not read ahead, so the fault is not there."""
    if offered & Init.NO_OPENDIR_SUPPORT:
        return Gain(on=True, why="the kernel keeps listings")
    return Gain(on=False, why="the kernel insists on being asked (before Linux 5.1)")


def _upstream(release: str, version: str) -> Version | None:
    """The stable version that a kernel was made from; None where that says little."""
    found = _NUMBERS.match(release)
    if found is None:
        return None
    numbers = _triple(found)
    if numbers >= _FIXED_SINCE:
        return numbers
    # Debian's release keeps its number (6.1.0-49-amd64); its version names the real one.
    debian = _DEBIAN.search(version)
    if debian is not None:
        inner = _NUMBERS.match(debian[1])
        return None if inner is None else _triple(inner)
    return None if _VENDOR.search(release) else numbers


def _triple(found: re.Match[str]) -> Version:
    return int(found[1]), int(found[2]), int(found[3] or 0)
