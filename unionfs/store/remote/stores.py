"""A transport for the address of each remote store, and which of them the user has named."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from resolver import config
from resolver.errors import PkgviewError
from resolver.fetch.client import FetchSettings, Patience
from unionfs.store.remote.addresses import Address, address
from unionfs.store.remote.oci.registry import Registry
from unionfs.store.remote.oci.repository import OciTransport
from unionfs.store.remote.static import aws
from unionfs.store.remote.static.http import HttpTransport
from unionfs.store.remote.static.s3 import S3Transport
from unionfs.store.remote.web import credentials
from unionfs.store.remote.web.exchange import Exchange
from unionfs.store.remote.web.guard import Guard
from unionfs.store.remote.web.place import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from resolver.places import Places

CONNECTIONS: Final = 8
"""To one store at once."""

_HUB_HOST = "registry-1.docker.io"


def transport(
    at: Address, *, insecure: bool = False, patience: Patience | None = None
) -> OciTransport | HttpTransport | S3Transport:
    """A transport, to be used as an asynchronous context.

    `insecure`: HTTP without TLS is spoken there, too. `PkgviewError` for what is plain HTTP and
    must not be.
    """
    if at.scheme == "oci":
        return repository(at, insecure=insecure, patience=patience)
    if at.scheme == "s3":
        return bucket(at, insecure=insecure, patience=patience)
    place = Place(named=at.url, scheme=at.scheme, host=at.host, insecure=insecure)
    if at.scheme == "http" and not place.plain:
        raise PkgviewError(
            f"{at.url} is not spoken to without TLS: anybody on the way could read and change it",
            remedy="Use https://. Where you trust the whole of the network, say --insecure.",
        )
    return HttpTransport(at.url, _exchange(place, partial(_of_netrc, at.host), patience), at.path)


def bucket(at: Address, *, insecure: bool = False, patience: Patience | None = None) -> S3Transport:
    """The same for a bucket. `PkgviewError` where obstore is not installed, too."""
    return S3Transport(
        at.url, at.host, at.path.strip("/"), told=aws.settings(), insecure=insecure,
        limit=CONNECTIONS, patience=patience or Patience(),
    )  # fmt: skip


def repository(
    at: Address,
    *,
    insecure: bool = False,
    beside: Sequence[str] = (),
    patience: Patience | None = None,
) -> OciTransport:
    """The same for a repository. `beside`: others there, whose blobs need not be sent once more."""
    host = _HUB_HOST if at.host == credentials.HUB else at.host
    place = Place(named=at.url, scheme="", host=host, insecure=insecure)
    known = partial(credentials.for_registry, at.host, at.path)
    return OciTransport(at.url, Registry(_exchange(place, known, patience), at.path, beside))


def _exchange(
    place: Place,
    known: Callable[[], Awaitable[credentials.Credential | None]],
    patience: Patience | None,
) -> Exchange:
    return Exchange(place, Guard(known), FetchSettings(), CONNECTIONS, patience or Patience())


def configured(places: Places) -> list[OciTransport | HttpTransport | S3Transport]:
    """A transport for each remote store of `config.toml`, in its order."""
    return [
        transport(address(one.url), insecure=one.insecure) for one in config.load(places).remotes
    ]


def beside(places: Places, at: Address) -> list[str]:
    """The other repositories of that registry that the user has named."""
    found = [address(one.url) for one in config.load(places).remotes]
    return [
        one.path
        for one in found
        if one.scheme == at.scheme == "oci" and one.host == at.host and one.path != at.path
    ]


async def _of_netrc(host: str) -> credentials.Credential | None:
    await trio.lowlevel.checkpoint()
    return credentials.of_netrc(host)
