"""The HTTP side of fetching: one GET at a time, with whose credentials, and what a failure means.

A server is believed in nothing: redirects are followed by hand, and every index, and every
host, gets only its own credentials.
"""

from __future__ import annotations

import base64
import contextlib
import netrc
import os
import re
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urljoin, urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import nearest, without_userinfo
from resolver.fetch.wanted import host_of, origin, shown

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import httpx2

    from resolver.fetch.wanted import Download

MOST_REDIRECTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """How to reach servers.

    `verify`: an ssl context, a file of certificates, or None for the system's and certifi's.
    `proxy`: a URL, or None for what the environment says. `auth`: addresses, as
    `resolver.fetch.addresses.canonical` has them, to user and password for what lies below; hosts
    of which it knows none are looked up in netrc. `tokens`: the same for what is no pair (Bearer).
    """

    verify: ssl.SSLContext | Path | None = None
    proxy: str | None = field(default=None, repr=False)
    auth: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When to give up. Times in seconds; `attempts` in a row that bring nothing new."""

    attempts: int = 4
    first_wait: float = 0.25
    longest_wait: float = 60.0
    connect: float = 10.0
    stall: float = 30.0


class Transient(Exception):  # noqa: N818 - not an error yet
    """Worth another try: `why` is a clause, `wait` what the server asks for, in seconds."""

    def __init__(self, why: str, *, wait: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait


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
        import httpx2  # noqa: PLC0415 - 0.05 s, which only those pay who fetch

        proxy, limit = self._settings.proxy, self._limit
        try:
            self._client = httpx2.AsyncClient(
                verify=_context(self._settings.verify),
                proxy=proxy,
                timeout=httpx2.Timeout(self._patience.stall, connect=self._patience.connect),
                limits=httpx2.Limits(max_connections=limit, max_keepalive_connections=limit),
            )
        except (ValueError, ImportError) as error:
            which = shown(proxy) if proxy else "that the environment names (ALL_PROXY and its like)"
            raise PkgviewError(
                f"the proxy {which} cannot be used",
                remedy="pkgview speaks to http:// and https:// proxies; name one of those.",
            ) from error
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
                chunks = response.aiter_raw()
                try:
                    yield response, chunks
                finally:
                    await response.aclose()
                    # httpx2 nests generators. Closing the outermost leaves the innermost to the
                    # garbage collector, so they are run to their end, which is near now.
                    with contextlib.suppress(Exception):
                        async for _ in chunks:
                            pass
            finally:
                await response.aclose()
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise PkgviewError(
                f"{file.filename} cannot be fetched: {shown(file.url)} is no http or https URL",
                remedy="Lock the project again with `pkgview lock`.",
            ) from error
        except httpx2.TransportError as error:
            why = _clause(error)
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


def _context(verify: ssl.SSLContext | Path | None) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - as certifi

    if isinstance(verify, ssl.SSLContext):
        return verify
    try:
        context = ssl.create_default_context(cafile=verify)
    except OSError as error:
        raise PkgviewError(
            f"the certificates in {verify} cannot be read: {error.strerror or error}",
            remedy="Name a file of certificates in PEM form.",
        ) from error
    if verify is None:
        # The system's, so that an organisation's own are there; certifi's where it has none.
        import certifi  # noqa: PLC0415 - only where files are fetched

        context.load_verify_locations(certifi.where())
    return context


def _refusal(file: Download, response: httpx2.Response) -> PkgviewError | Transient:
    status, host, url = response.status_code, host_of(file.url), shown(file.url)
    if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004 - RFC 9110 §15.6
        wait = _retry_after(response.headers.get("Retry-After", ""))
        return Transient(f"the server answers {status}", wait=wait)
    if status in {401, 403, 407}:
        return PkgviewError(
            f"{host} does not let us have {file.filename} ({status}): {url}",
            remedy=f"Put the user and password for {host} into ~/.netrc, or where pip or uv "
            "are told of that index.",
        )
    if status in {404, 410}:
        return PkgviewError(
            f"{file.filename} is not at {url} ({status})",
            remedy="It was deleted or moved since it was locked: run `pkgview lock --upgrade`.",
        )
    return PkgviewError(
        f"{host} answers {status} for {file.filename}: {url}",
        remedy="Try again later; if it stays so, run `pkgview lock --upgrade`.",
    )


def _retry_after(text: str) -> float:
    """Seconds, from a number of them or a date (RFC 9110 §10.2.3); 0 for anything else."""
    if text.isdecimal():
        return float(min(int(text[:9]), 1 << 20))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def _clause(error: BaseException) -> str:
    """What went wrong, in the words of whatever caused it: httpx2 often has none of its own."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        if isinstance(cause, BaseExceptionGroup):  # one for each address of the host
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    texts = (getattr(cause, "strerror", None) or str(cause) for cause in reversed(causes))
    named = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    text = next((text for text in texts if text), named)
    return text if text.isprintable() else ascii(text)
