"""A store on any HTTP server: files at fixed addresses (`layout`), only read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from unionfs.store.remote import wire
from unionfs.store.remote.static import layout
from unionfs.store.remote.transport import (
    LARGEST_STATEMENT,
    Blob,
    RemoteError,
    Statement,
    name_of_beginning,
)
from unionfs.store.remote.web.exchange import NOTHING
from unionfs.store.remote.web.messages import Sent
from unionfs.store.remote.web.ranges import read_range
from unionfs.store.remote.wire import LARGEST_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from unionfs.store.remote.web.exchange import Exchange
    from unionfs.store.remote.web.messages import Answer

_TOTAL = re.compile(r"bytes 0-0/(\d{1,18})")


class HttpTransport:
    """A `Transport`. `path` is the store's below its host, "/" at its end; use as a context."""

    def __init__(self, url: str, exchange: Exchange, path: str) -> None:
        self.url = url
        self._exchange = exchange
        self._path = path
        self._found: dict[str, Blob] = {}
        self._beginnings: dict[str, int] = {}
        self._has_told: set[str] = set()
        """The archives of which all beginnings are known."""

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exchange.__aexit__(*exc)

    async def find(self, name: str) -> Blob | None:
        """An archive by its name: one request, or none; two where HEAD tells no size."""
        if name not in self._found:
            size = await self._size(layout.archive(name))
            if size is None:
                return None
            self._found[name] = self._blob(name, size)
        return self._found[name]

    def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes [start, end) of its file."""
        return read_range(
            self._exchange, self._path + layout.in_address(blob.address), size=blob.size,
            start=start, end=end, what=f"{blob.name} cannot be read",
        )  # fmt: skip

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

    async def put_archive(self, name: str, path: Path) -> bool:
        """It cannot."""
        del path
        raise self._unwritable(name)

    async def put_beginning(self, name: str, by: str, data: bytes) -> None:
        """It cannot."""
        del by, data
        raise self._unwritable(name)

    async def put_derived(self, key: str, statement: Statement) -> None:
        """It cannot."""
        del statement
        raise self._unwritable(key)

    async def put_view(
        self, references: Sequence[str], statement: Statement, archives: Sequence[Blob]
    ) -> None:
        """It cannot."""
        del statement, archives
        raise self._unwritable(", ".join(references))

    def _unwritable(self, what: str) -> RemoteError:
        return RemoteError(
            f"{self.url} is only read, so {what} cannot be sent there",
            remedy="Fill the directory that it serves: `pkgview store copy --views DIRECTORY`.",
        )

    def _odd(self, what: str) -> RemoteError:
        return RemoteError(
            f"{self.url}: what it has for {what} is none of pkgview's",
            remedy="Let whoever keeps it write it anew with `pkgview store copy --views`.",
        )

    @staticmethod
    def _blob(name: str, size: int) -> Blob:
        return Blob(name=name, size=size, address=layout.archive(name))

    async def _text(self, path: str) -> bytes | None:
        what = f"{path} cannot be read"

        async def attempt() -> Answer:
            return await self._exchange.ask(
                "GET", self._path + layout.in_address(path), accepted=frozenset({200}) | NOTHING,
                most=2 * LARGEST_STATEMENT, what=what,
            )  # fmt: skip

        answer = await self._exchange.patiently(attempt, what)
        return None if answer.status in NOTHING else answer.body

    async def _size(self, path: str) -> int | None:
        what, url = f"it cannot be asked for {path}", self._path + layout.in_address(path)

        async def attempt() -> int | None:
            answer = await self._exchange.ask(
                "HEAD", url, accepted=frozenset({200, 405, 501}) | NOTHING, most=0, what=what
            )
            if answer.status in NOTHING:
                return None
            length = answer.headers.get("Content-Length", "")
            if answer.status == 200 and re.fullmatch(r"\d{1,18}", length):  # noqa: PLR2004 - RFC 9110
                return int(length)
            first = await self._exchange.ask(
                "GET", url, accepted=frozenset({206}) | NOTHING, most=1, what=what,
                sent=Sent(headers={"Range": "bytes=0-0"}),
            )  # fmt: skip
            if first.status in NOTHING:
                return None
            found = _TOTAL.fullmatch(first.headers.get("Content-Range", ""))
            if found is None:
                raise self._exchange.error(f"{what}: it tells nobody how large it is")
            return int(found[1])

        size = await self._exchange.patiently(attempt, what)
        return size if size is not None and 0 < size <= LARGEST_FILE else None
