"""The transport for a remote store, by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unionfs.store.remote.transport import RemoteError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from resolver.places import Places
    from unionfs.store.remote.transport import Transport


def transport_for(places: Places, url: str) -> AbstractAsyncContextManager[Transport]:
    """It, to be entered; `RemoteError` for what names no kind of store that is known."""
    del places  # config.toml may say how to speak to it
    scheme = url.partition("://")[0]
    if scheme in {"http", "https"}:
        from unionfs.store.remote.lazy.plain import Plain  # noqa: PLC0415 - it loads an HTTP client

        return Plain(url)
    raise RemoteError(f"{url!r} names no store that could be read")
