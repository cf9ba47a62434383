"""The transport for a remote store, by its URL, as config.toml says how to speak to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolver import config
from unionfs.store.remote.addresses import address
from unionfs.store.remote.stores import transport

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from resolver.places import Places
    from unionfs.store.remote.transport import Transport


def transport_for(places: Places, url: str) -> AbstractAsyncContextManager[Transport]:
    """It, to be entered; `PkgviewError` for what names no store that could be asked."""
    at = address(url)
    insecure = any(
        one.insecure and address(one.url).url == at.url for one in config.load(places).remotes
    )
    return transport(at, insecure=insecure)
