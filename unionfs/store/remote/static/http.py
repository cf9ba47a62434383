"""A store on any HTTP server: files at fixed addresses (`layout`), only read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from unionfs.store.remote.static import layout
from unionfs.store.remote.static.reading import Reading
from unionfs.store.remote.transport import LARGEST_STATEMENT, RemoteError
from unionfs.store.remote.web.exchange import NOTHING
from unionfs.store.remote.web.messages import Sent
from unionfs.store.remote.web.ranges import read_range
from unionfs.store.remote.wire import LARGEST_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from unionfs.store.remote.transport import Blob, Statement
    from unionfs.store.remote.web.exchange import Exchange
    from unionfs.store.remote.web.messages import Answer

_TOTAL = re.compile(r"bytes 0-0/(\d{1,18})")


class HttpTransport(Reading):
    """A `Transport`. `path` is the store's below its host, "/" at its end; use as a context."""

    def __init__(self, url: str, exchange: Exchange, path: str) -> None:
        super().__init__(url)
        self._exchange = exchange
        self._path = path

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exchange.__aexit__(*exc)

    def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes [start, end) of its file."""
        return read_range(
            self._exchange, self._path + layout.in_address(blob.address), size=blob.size,
            start=start, end=end, what=f"{blob.name} cannot be read",
        )  # fmt: skip

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
