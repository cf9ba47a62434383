"""Which remote stores there are, by their addresses, and a transport for each.

    oci://HOST[:PORT]/REPOSITORY[:TAG]      a repository of an OCI registry
    https://HOST[:PORT]/PATH                a directory of ours on an HTTP server

`http://` is for this machine itself, and where the user said `insecure`. An address has no user and
no password in it: those are had from where they are kept (`unionfs.store.remote.web.credentials`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from resolver import config
from resolver.errors import PkgviewError
from resolver.fetch.client import FetchSettings, Patience
from unionfs.store.remote.oci.registry import REPOSITORY, Registry
from unionfs.store.remote.oci.repository import OciTransport
from unionfs.store.remote.static.http import HttpTransport
from unionfs.store.remote.web import credentials
from unionfs.store.remote.web.exchange import Exchange
from unionfs.store.remote.web.guard import Guard
from unionfs.store.remote.web.place import Place
from unionfs.store.remote.wire import check_tag

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from resolver.places import Places

CONNECTIONS: Final = 8
"""To one store at once."""

LONGEST: Final = 1000
"""Characters of an address."""

_HUB_HOST = "registry-1.docker.io"
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A remote store's. `path`: a repository, or what is below the host with "/" at both ends."""

    scheme: str
    host: str
    path: str
    tag: str = ""

    @property
    def url(self) -> str:
        """Without the tag, and the same for what is equal."""
        return f"{self.scheme}://{self.host}{'/' if self.scheme == 'oci' else ''}{self.path}"


def is_remote(text: str) -> bool:
    """Whether somebody means an address and no directory."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def address(text: str) -> Address:
    """`PkgviewError` says what about it cannot be an address."""
    form = "Write oci://HOST/REPOSITORY[:TAG], or https://HOST/PATH."
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    # Said without what may be a password.
    host, _, path = rest.partition("/")
    if "@" in host:
        raise PkgviewError(
            f"{scheme}://…{host[host.rindex('@') :]}: an address has no user and password in it",
            remedy="Anybody on this machine could read them in the list of processes. Use "
            "`docker login`, `podman login`, or ~/.netrc.",
        )
    if scheme == "s3":
        raise PkgviewError(
            f"{text[:LONGEST]!a}: pkgview does not speak S3 itself",
            remedy="Name the bucket's https:// address; fill it with `pkgview store copy --views` "
            "and any tool that copies a directory there (docs/remote.md).",
        )
    fits = scheme in {"oci", "https", "http"} and len(text) <= LONGEST and _HOST.fullmatch(host)
    if not fits or not text.isascii() or not text.isprintable() or re.search(r"[\s?#\\]", text):
        raise PkgviewError(f"{text[:LONGEST]!a} is no remote store's address", remedy=form)
    host = host.lower()
    if scheme != "oci":
        parts = [part for part in path.split("/") if part]
        if {".", ".."} & set(parts):
            raise PkgviewError(f"{text!a} is no remote store's address", remedy=form)
        return Address(scheme=scheme, host=host, path="/".join(["", *parts, ""]))
    repository, _, tag = path.partition(":")
    if not REPOSITORY.fullmatch(repository):
        raise PkgviewError(
            f"{text!a} names no repository: these are small letters, digits and . _ - /",
            remedy=form,
        )
    if tag or path.endswith(":"):
        check_tag(tag)
    return Address(scheme=scheme, host=host, path=repository, tag=tag)


def transport(
    at: Address, *, insecure: bool = False, patience: Patience | None = None
) -> OciTransport | HttpTransport:
    """A transport, to be used as an asynchronous context.

    `insecure`: HTTP without TLS is spoken there, too. `PkgviewError` for what is plain HTTP and
    must not be.
    """
    if at.scheme == "oci":
        return repository(at, insecure=insecure, patience=patience)
    place = Place(named=at.url, scheme=at.scheme, host=at.host, insecure=insecure)
    if at.scheme == "http" and not place.plain:
        raise PkgviewError(
            f"{at.url} is not spoken to without TLS: anybody on the way could read and change it",
            remedy="Use https://. Where you trust the whole of the network, say --insecure.",
        )
    return HttpTransport(at.url, _exchange(place, partial(_of_netrc, at.host), patience), at.path)


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


def configured(places: Places) -> list[OciTransport | HttpTransport]:
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
