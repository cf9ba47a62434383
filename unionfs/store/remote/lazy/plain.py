"""Reading from a directory on a web server, and nothing more.

To be replaced by the transports that know credentials, registries and writing.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from resolver.fetch.client import (
    FetchSettings,
    Patience,
    Transient,
    body_of,
    clause,
    client,
    retry_after,
)
from unionfs.store.remote.transport import Blob, RemoteError

OK, PARTIAL, BROKEN = 200, 206, 500

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from unionfs.store.remote.transport import Statement


class Plain:
    """A directory of ours on any HTTP server, read only."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        patience = Patience()
        self._client = await self._stack.enter_async_context(client(FetchSettings(), 16, patience))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def find(self, name: str) -> Blob | None:
        """An archive by its name."""
        response = await self._client.head(f"{self.url}/archives/{name}")
        if response.status_code != OK:
            return None
        return Blob(name=name, size=int(response.headers["Content-Length"]), address=name)

    async def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes [start, end) of its file, as they come."""
        import httpx2  # noqa: PLC0415 - loaded by now

        request = self._client.build_request(
            "GET",
            f"{self.url}/archives/{blob.address}",
            headers={"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"},
        )
        try:
            response = await self._client.send(request, stream=True)
            async with body_of(response) as parts:
                if response.status_code in {408, 425, 429} or response.status_code >= BROKEN:
                    wait = retry_after(response.headers.get("Retry-After", ""))
                    raise Transient(f"{self.url} answers {response.status_code}", wait=wait)
                if response.status_code not in {OK, PARTIAL}:
                    raise RemoteError(f"{self.url} answers {response.status_code} for {blob.name}")
                skip = start if response.status_code == OK else 0
                left = end - start
                async for received in parts:
                    part = received[skip : skip + left]
                    skip -= min(skip, len(received))
                    left -= len(part)
                    if part:
                        yield part
                    if not left:
                        return
        except httpx2.TransportError as error:
            raise Transient(f"{self.url}: {clause(error)}") from error
        if left:
            raise Transient(f"{self.url} sent {left} bytes too few")

    async def derived(self, key: str) -> tuple[Statement, ...]:
        """Not here."""
        raise NotImplementedError

    async def view(self, reference: str) -> Statement | None:
        """Not here."""
        raise NotImplementedError

    async def put_archive(self, name: str, path: Path) -> bool:
        """Not here."""
        raise NotImplementedError

    async def put_derived(self, key: str, statement: Statement) -> None:
        """Not here."""
        raise NotImplementedError

    async def put_view(
        self, references: Sequence[str], statement: Statement, archives: Sequence[Blob]
    ) -> None:
        """Not here."""
        raise NotImplementedError
