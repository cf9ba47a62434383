"""What a store as files (`layout`) is asked, wherever these are: for a size, and for a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from unionfs.store.remote import wire
from unionfs.store.remote.static import layout
from unionfs.store.remote.transport import Blob, RemoteError, Statement, name_of_beginning

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reading(ABC):
    """The half of a `Transport` that asks. `url` is the store's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._found: dict[str, Blob] = {}
        self._beginnings: Mapping[str, int] = {}
        self._has_told: set[str] = set()
        """The archives of which all beginnings are known."""

    @abstractmethod
    async def _text(self, path: str) -> bytes | None:
        """A small file there; None where there is none."""

    @abstractmethod
    async def _size(self, path: str) -> int | None:
        """The size of a file there; None where there is none, or none that could be ours."""

    async def find(self, name: str) -> Blob | None:
        """An archive by its name: one question, or none."""
        if name not in self._found:
            size = await self._size(layout.archive(name))
            if size is None:
                return None
            self._found[name] = self._blob(name, size)
        return self._found[name]

    async def beginning(self, name: str, by: str) -> Blob | None:
        """An archive's beginning for who has that zstd: one request, or none after `view`."""
        called, address = name_of_beginning(name, by), layout.beginning(name, by)
        size = self._beginnings.get(called)
        if size is None and name not in self._has_told:
            size = await self._size(address)
        return None if size is None else Blob(name=called, size=size, address=address)

    async def derived(self, key: str) -> tuple[Statement, ...]:
        """Who says which archive `key` became: one request."""
        text = await self._text(layout.derived(key))
        try:
            return () if text is None else wire.from_bytes(text)
        except ValueError as error:
            raise self._odd(key) from error

    async def view(self, reference: str) -> Statement | None:
        """The statement of a view: one request."""
        text = await self._text(layout.view(reference))
        if text is None:
            return None
        try:
            statement, sizes, self._beginnings = layout.view_from_bytes(text)
        except ValueError as error:
            raise self._odd(reference) from error
        for name, size in sizes.items():
            self._found.setdefault(name, self._blob(name, size))
        self._has_told = set(sizes)
        return statement

    def _odd(self, what: str) -> RemoteError:
        return RemoteError(
            f"{self.url}: what it has for {what} is none of pkgview's",
            remedy="Let whoever keeps it write it anew with `pkgview store copy --views`.",
        )

    @staticmethod
    def _blob(name: str, size: int) -> Blob:
        return Blob(name=name, size=size, address=layout.archive(name))
