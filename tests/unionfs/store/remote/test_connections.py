"""Connections are kept: what a link costs is mostly their beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unionfs.store.remote import servers
from unionfs.store.remote.addresses import address
from unionfs.store.remote.static import layout
from unionfs.store.remote.stores import transport
from unionfs.store.remote.transport import Blob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = f"six-1.{'a' * 64}.tar.zst"
BODY = bytes(range(256)) * 400


async def test_ranges_one_after_the_other_are_one_connection(
    tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("nginx")
    file = tmp_path / "www/env" / layout.archive(NAME)
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    blob = Blob(name=NAME, size=len(BODY), address=layout.archive(NAME))
    with (
        servers.nginx(tmp_path / "nginx", tmp_path / "www") as server,
        servers.relay(server) as (host, relay),
    ):
        async with transport(address(f"http://{host}/env")) as remote:
            came = b""
            for start in range(0, len(BODY), 10_000):
                pieces = [one async for one in remote.read(blob, start, start + 10_000)]
                came += b"".join(pieces)
            assert came == BODY
            assert relay.connections == 1
