"""The HTTP side of fetching: one GET at a time, with whose credentials, and what a failure means.

A server is believed in nothing: redirects are followed by hand, and every index, and every
host, gets only its own credentials.
"""

from __future__ import annotations

import base64
import contextlib
import netrc
import os
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urljoin, urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import nearest, without_userinfo
from resolver.fetch.client import Transient, body_of, clause, client, retry_after
from resolver.fetch.wanted import RENEW, NotHadError, host_of, origin, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx2

    from resolver.fetch.client import FetchSettings, Patience
    from resolver.fetch.wanted import Download

MOST_REDIRECTS = 10


class Web:
    """HTTP as fetching needs it: pooled, redirected by hand, each failure sorted once.

    Redirects are followed here and not in httpx2, so that every hop gets the credentials of its own
    host and no other's.
    """

    def __init__(self, settings: FetchSettings, limit: int, patience: Patience) -> None:
        self._settings = settings
        self._limit = limit
        self._patience = patience
        self._netrc: netrc.netrc | None = None
        self._client: httpx2.AsyncClient

    async def __aenter__(self) -> Self:
        self._client = client(self._settings, self._limit, self._patience)
        with contextlib.suppress(OSError, netrc.NetrcParseError, RuntimeError):
            self._netrc = netrc.netrc(os.environ.get("NETRC"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def response(
        self, file: Download, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[httpx2.Response, AsyncIterator[bytes]]]:
        """The answer to a GET (status 200, 206 or 416), and its body as it comes."""
        import httpx2  # noqa: PLC0415 - loaded by now

        try:
            response = await self._follow(file, headers)
            try:
                if response.status_code not in {200, 206, 416}:
                    raise _refusal(file, response)
                async with body_of(response) as chunks:
                    yield response, chunks
            finally:
                await response.aclose()
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise PkgviewError(
                f"{file.filename} cannot be fetched: {shown(file.url)} is no http or https URL",
                remedy="Lock the project again with `pkgview lock`.",
            ) from error
        except httpx2.TransportError as error:
            why = clause(error)
            if "CERTIFICATE_VERIFY_FAILED" in why:
                raise PkgviewError(
                    f"{host_of(file.url)} cannot be trusted for {file.filename}: {why}",
                    remedy="If the certificate is your organisation's own, name its file in "
                    "SSL_CERT_FILE.",
                ) from error
            raise Transient(why) from error

    async def _follow(self, file: Download, headers: Mapping[str, str]) -> httpx2.Response:
        url = without_userinfo(file.url)
        for hop in range(MOST_REDIRECTS):
            credentials = self._credentials(url, file, first=hop == 0)
            request = self._client.build_request("GET", url, headers={**headers, **credentials})
            response = await self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            there = response.headers["Location"]
            try:
                there = without_userinfo(urljoin(url, there))
                parts = urlsplit(there)
                same = parts.scheme in {"https", urlsplit(url).scheme}
                followed = same and parts.port != 0 and "\\" not in parts.netloc
            except ValueError:
                break
            if not followed:
                break
            url = there
        raise PkgviewError(
            f"{file.filename} cannot be fetched: {shown(file.url)} is redirected to where pkgview "
            f"does not follow ({host_of(there)})",
            remedy="Lock the project again with `pkgview lock`.",
        )

    def _credentials(self, url: str, file: Download, *, first: bool) -> dict[str, str]:
        """The URL's own where its host is asked, else the settings', else netrc's."""
        host, own = urlsplit(url), urlsplit(file.url)
        name = host.hostname or ""
        pair: tuple[str, str] | None = None
        if own.username and origin(url) == origin(file.url):
            pair = unquote(own.username), unquote(own.password or "")
        auth, tokens = self._settings.auth, self._settings.tokens
        place = nearest(url, {**auth, **tokens})
        if pair is None and place in tokens:
            return {"Authorization": f"Bearer {tokens[place]}"}
        pair = pair or auth.get(place)
        # netrc's `default` is for any host the user names, not for any that a server names.
        if pair is None and self._netrc and (first or name in self._netrc.hosts):
            found = self._netrc.authenticators(name)
            pair = (found[0], found[2] or "") if found else None
        if pair is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}


def _refusal(file: Download, response: httpx2.Response) -> PkgviewError | Transient:
    status, host, url = response.status_code, host_of(file.url), shown(file.url)
    if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004 - RFC 9110 §15.6
        wait = retry_after(response.headers.get("Retry-After", ""))
        return Transient(f"the server answers {status}", wait=wait)
    if status in {401, 403, 407}:
        return NotHadError(
            f"{host} does not let us have {file.filename} ({status}): {url}",
            remedy=f"Put the user and password for {host} into ~/.netrc, or where pip or uv "
            "are told of that index.",
        )
    if status in {404, 410}:
        return NotHadError(
            f"{file.filename} is not at {url} ({status})",
            remedy=f"It was deleted or moved since it was locked: run {RENEW}.",
        )
    return NotHadError(
        f"{host} answers {status} for {file.filename}: {url}",
        remedy=f"Try again later; if it stays so, run {RENEW}.",
    )
