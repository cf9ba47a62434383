"""How much of remote stores' archives is here, and what was fetched for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unionfs.archive.layer import LayerError
from unionfs.store.partial import Partials
from unionfs.store.remote.lazy.counts import fetched

if TYPE_CHECKING:
    from resolver.places import Places


@dataclass(slots=True, kw_only=True)
class Held:
    """Of one remote store, in bytes.

    `archives` that are partial, of together `size`, of which `here` are. `fetched`: all that came
    by reading, in so many `requests`, also of archives that are whole by now or gone.
    """

    archives: int = 0
    size: int = 0
    here: int = 0
    fetched: int = 0
    requests: int = 0


def held(places: Places) -> dict[str, Held]:
    """By the URL of each store of which anything is known; an archive counts for its first one."""
    partials = Partials(places.store)
    found: dict[str, Held] = {}
    for name, here in partials.sizes().items():
        with suppress(LayerError):  # `store verify` says so
            origin = partials.origin(name)
            one = found.setdefault(origin.sources[0].store, Held())
            one.archives += 1
            one.size += origin.size
            one.here += min(here, origin.size)
    for url, counts in fetched(partials).items():
        one = found.setdefault(url, Held())
        one.fetched, one.requests = counts["bytes"], counts["requests"]
    return found
