"""What is done elsewhere before the file system answers, as it asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from unionfs.archive.reader import Archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Files outside of the mount that archives link to, and what is done before they are read."""

    directory: bytes
    refresh: Callable[[bytes], Awaitable[None]]


class Fetch(Protocol):
    """Has frames of a partial archive fetched, for a thread (0: nobody knows which).

    `LayerError` where they cannot be had; `InterruptedError` where that thread shall not wait any
    longer. `again`: they were here, and could not be read.
    """

    async def __call__(
        self, archive: Archive, frames: Sequence[int], tid: int = 0, *, again: bool = False
    ) -> None:
        """Return when they are here."""
        ...

    def was_here(self) -> None:
        """A read of a partial archive lacked nothing; it is counted."""
        ...

    def watches(self, tid: int) -> bool:
        """Whether a thread waits, and it is seen here if it shall not wait any longer."""
        ...
