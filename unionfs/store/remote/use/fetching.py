"""What is lacking of partial archives is fetched, for who asks for all of it by a command."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from resolver.errors import PkgviewError
from resolver.failures import single_failure
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import LayerError
from unionfs.store.partial import Partials
from unionfs.store.remote.lazy.asking import Fetches
from unionfs.store.remote.use.traces import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from resolver.places import Places

LOOKS: Final = 0.2
"""Seconds between looks at how much is here."""

VERIFYING: Final = 60.0
"""Seconds after the last byte in which an archive is verified as a whole."""


class Progress(Protocol):
    """Told from the trio thread."""

    def receiving(self, total: int) -> None:
        """Once, first: so many bytes are lacking."""
        ...

    def advanced(self, filename: str, count: int) -> None:
        """So many bytes more."""
        ...


def lacking(places: Places, archives: Iterable[str]) -> dict[str, int]:
    """Those that are partial, and about how many bytes of each are not here."""
    partials = Partials(places.store)
    here = partials.sizes()
    found = {}
    for name in dict.fromkeys(archives):
        if name in here:
            try:
                found[name] = max(0, partials.path(name).stat().st_size - here[name])
            except FileNotFoundError:
                continue  # it became an ordinary one
    return found


def have_whole(places: Places, archives: Iterable[str], progress: Progress, *, log: int) -> int:
    """Have all of these archives here; how many bytes were lacking. `PkgviewError`.

    `log` is where a fetcher that is started for it writes.
    """
    wanted = lacking(places, archives)
    if not wanted:
        return 0
    total = sum(wanted.values())
    progress.receiving(total)

    async def watch() -> None:
        shown = 0
        while True:
            await trio.sleep(LOOKS)
            come = total - sum(lacking(places, wanted).values())
            progress.advanced("", max(0, come - shown))
            shown = max(come, shown)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            # Not as "rest": that is for what nobody waits for, and has two connections.
            await Fetches(places, log=log).want(dict.fromkeys(wanted), "traced")
            with trio.move_on_after(VERIFYING):
                while lacking(places, wanted):  # noqa: ASYNC110 - another process
                    await trio.sleep(LOOKS / 4)
            nursery.cancel_scope.cancel()

    _run(run)
    return total


def touched_first(places: Places, archives: Iterable[str], *, log: int) -> None:
    """Have fetched what traces say will be touched; nobody waits for it."""
    wanted = {
        name: frames for name in lacking(places, archives) if (frames := _traced(places, name))
    }
    if wanted:

        async def run() -> None:
            await Fetches(places, log=log).want(wanted, "traced", wait=False)

        with suppress(PkgviewError):  # it is fetched when it is read
            _run(run)


def _traced(places: Places, name: str) -> list[int]:
    """What of its trace is not here."""
    frames = load(places, name)
    if not frames:
        return []
    try:
        archive = Partials(places.store).open(name, FrameCache(0))
    except LayerError:
        return []  # it became an ordinary one, or whoever reads it finds out
    return archive.absent_of(one for one in frames if one < archive.contents.frame_count)


def follow(places: Places, archives: Iterable[str], *, log: int) -> None:
    """Have them fetched beside all else; nobody waits for it."""
    wanted = lacking(places, archives)
    if wanted:

        async def run() -> None:
            await Fetches(places, log=log).want(dict.fromkeys(wanted), "rest", wait=False)

        with suppress(PkgviewError):  # the same
            _run(run)


def _run(run: Callable[[], Awaitable[None]]) -> None:
    try:
        with single_failure():
            trio.run(run)
    except (LayerError, OSError) as error:
        raise PkgviewError(
            f"not all of it could be fetched: {error}",
            remedy="What came is kept. Run `pkgview pull` again when the network is there.",
        ) from error
