"""A package that a lock wants for one machine: one layer of a view, from whatever manager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.fetch.wanted import Download
    from resolver.manifest import Grafts


class Archives(Protocol):
    """What a store knows of them."""

    def archive_of(self, key: str) -> str | None:
        """The archive that `key` became, if it is here."""
        ...

    def open(self, name: str) -> Any:  # noqa: ANN401 - a store's own
        """The archive of that name; it has `meta`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package; a kind's own class of it may know more.

    `key` is under what a store remembers which archive it became; None: it is made anew each time.
    `download` is the file that it is made from; None where there is nothing to fetch. `built`: its
    kind has to run something to make it. `grafts`: where its archive's directories go. `forgo` is
    told why the file cannot be had, where the view can do without; None: it cannot.
    """

    name: str
    version: str
    grafts: Grafts
    key: str | None
    download: Download | None
    built: bool = False
    forgo: Callable[[str], None] | None = None

    def archive_in(self, store: Archives) -> str | None:
        """The archive that it became, by what that store remembers."""
        return store.archive_of(self.key) if self.key else None
