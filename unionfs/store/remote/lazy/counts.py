"""What was fetched from which remote store, as the fetchers of a store have counted it.

`<store>/partial/fetched.json`: {URL: {"requests": N, "bytes": N}}. It only informs: where it is
damaged or lost it begins anew.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from resolver.atomic import Alone, write_atomically

if TYPE_CHECKING:
    from unionfs.store.partial import Partials

_NAME: Final = "fetched.json"
_LARGEST: Final = 1 << 20
KINDS: Final = ("requests", "bytes")


def fetched(partials: Partials) -> dict[str, dict[str, int]]:
    """By URL of the store: requests, and bytes that came."""
    try:
        with (partials.directory / _NAME).open("rb") as file:
            found = json.loads(file.read(_LARGEST))
        return {str(url): {kind: int(one[kind]) for kind in KINDS} for url, one in found.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


class Counts:
    """Those of one fetcher, since they were written down."""

    def __init__(self, partials: Partials) -> None:
        self._partials = partials
        self._new: Counter[tuple[str, str]] = Counter()

    def add(self, url: str, size: int) -> None:
        """A request brought so many bytes."""
        self._new[url, "requests"] += 1
        self._new[url, "bytes"] += size

    def write(self) -> None:
        """Add what is new; in a thread: it waits for the disk."""
        new, self._new = self._new, Counter()
        if not new:
            return
        with suppress(OSError), Alone(self._partials.directory):
            found = fetched(self._partials)
            for (url, kind), count in new.items():
                found.setdefault(url, dict.fromkeys(KINDS, 0))[kind] += count
            write_atomically(self._partials.directory / _NAME, json.dumps(found).encode())
