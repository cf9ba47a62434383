"""Traces: which frames of an archive the programs touched that used it first, until it went quiet.

    <state>/traces/<digest of the archive>     JSON, as `Trace`: recorded here, or had from a store

A server records, for each archive that has no trace yet, which frames are loaded from when the
first one is until none of any archive was for `QUIET` seconds, for `LONGEST` at most (`Recorder`):
where a machine is busy, a program that has come to another archive may be back much later. A push
sends the traces of a view's archives as statements under keys of their own, and what they name
(`unionfs.store.remote.lazy.beginning`). Who begins an archive has that, or asks for its trace, and
the frames are fetched first, in few requests.

A trace is a hint and proves nothing: nobody signs it, and the worst that a wrong one does is to
have fetched what nobody reads.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import trio

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from unionfs.archive.meta import digest_of_name
from unionfs.store.remote.lazy.meeting import trace_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resolver.places import Places
    from unionfs.archive.framecache import FrameCache, Key

logger = logging.getLogger(__name__)

QUIET: Final = 5.0
LONGEST: Final = 60.0
"""Seconds without a frame of any archive, and since an archive's first, after which its trace is
whole."""

LOOKS, IDLE_LOOKS = 1.0, 5.0
"""Seconds between looks at what was loaded, and where nothing is."""

SMALLEST: Final = 1 << 16
"""Bytes of an archive that is worth one: a smaller one comes as a whole with its tables."""

LARGEST: Final = 1 << 18
"""Bytes of a trace."""

MOST: Final = 1 << 20
"""Frames of one."""

_RANGE = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?")


class TraceError(Exception):
    """What was read is no trace."""


def trace_key(archive: str) -> str:
    """Under which key a remote store has an archive's trace."""
    digest = digest_of_name(archive)
    if digest is None:
        raise PkgviewError(f"{archive!r} is no archive's name")
    return f"trace-{digest.hex()}"


def to_bytes(archive: str, frames: Iterable[int]) -> bytes:
    """A trace as it is kept and sent."""
    said = {"pkgview": 1, "type": "trace", "archive": archive, "frames": _ranges(frames)}
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def from_bytes(data: bytes, archive: str) -> list[int]:
    """The frames, sorted; `TraceError` for what is no trace of that archive."""
    try:
        said = json.loads(data[: LARGEST + 1])
        whose = (said["pkgview"], said["type"], said["archive"])
        matches = [_RANGE.fullmatch(part) for part in said["frames"].split(",") if part]
        ranges = [(int(one[1]), int(one[2] or one[1])) for one in matches if one is not None]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TraceError(str(error)) from error
    if whose != (1, "trace", archive) or None in matches:
        raise TraceError("it is another's, or its frames are none")
    if sum(max(0, last - first) + 1 for first, last in ranges) > MOST:
        raise TraceError("it has too many frames")
    return sorted({frame for first, last in ranges for frame in range(first, last + 1)})


def load(places: Places, archive: str) -> list[int]:
    """The trace of an archive, if one is known; else []."""
    try:
        with trace_path(places, archive).open("rb") as file:
            return from_bytes(file.read(LARGEST + 1), archive)
    except (OSError, TraceError):
        return []


def keep(places: Places, archive: str, frames: Iterable[int]) -> None:
    """Write one down; what is known stays. Never an error: it only saves time."""
    with suppress(OSError, PkgviewError):
        file = trace_path(places, archive)
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, to_bytes(archive, frames))


def _ranges(frames: Iterable[int]) -> str:
    numbers = sorted(set(frames))
    ends = [one for one, after in pairwise([*numbers, -1]) if after != one + 1]
    starts = [one for before, one in pairwise([-2, *numbers]) if one != before + 1]
    return ",".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(starts, ends, strict=True)
    )


class _Begun:
    """A trace that is being recorded."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.frames: set[int] = set()


class Recorder:
    """Those of one server. `names`: of archives that are in use, for their digests."""

    def __init__(self, places: Places, cache: FrameCache) -> None:
        self._places = places
        self._cache = cache
        self._begun: dict[bytes, _Begun] = {}
        self._last = 0.0
        self._done: set[bytes] = set()
        cache.loaded = []

    async def tend(self) -> None:
        """Record, for as long as it is served."""
        while True:
            await trio.sleep(LOOKS if self._begun else IDLE_LOOKS)
            self.take(self._cache.taken(), trio.current_time())
            for digest in self.quiet(trio.current_time()):
                frames = self._begun.pop(digest).frames
                self._done.add(digest)
                await trio.to_thread.run_sync(self._keep, digest, frames)

    def take(self, loaded: Sequence[Key], now: float) -> None:
        """These frames were loaded since it was asked last."""
        self._last = now if loaded else self._last
        for digest, frame in loaded:
            if digest in self._done:
                continue
            begun = self._begun.get(digest)
            if begun is None:
                begun = self._begun[digest] = _Begun(now)
            begun.frames.add(frame)

    def quiet(self, now: float) -> list[bytes]:
        """The archives whose traces are whole."""
        return [
            digest
            for digest, one in self._begun.items()
            if now - self._last >= QUIET or now - one.since >= LONGEST
        ]

    def _keep(self, digest: bytes, frames: set[int]) -> None:
        end = f".{digest.hex()}.tar.zst"
        for folder in ("archives", "partial"):
            for found in (self._places.store / folder).glob(f"*{end}"):
                if found.stat().st_size >= SMALLEST:
                    keep(self._places, found.name, frames)
                return
