"""The HTTP client, and what its failures mean, for whoever speaks to a server.

How servers are reached (proxies, certificates), how patiently, and how a body that streams is
read and left. What is asked, and with whose credentials, is for others to say.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.fetch.wanted import shown

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import httpx2


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """How to reach servers.

    `verify`: an ssl context, a file of certificates, or None for the system's and certifi's.
    `proxy`: a URL, or None for what the environment says. `auth`: addresses, as
    `resolver.fetch.addresses.canonical` has them, to user and password for what lies below; hosts
    of which it knows none are looked up in netrc.
    """

    verify: ssl.SSLContext | Path | None = None
    proxy: str | None = field(default=None, repr=False)
    auth: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When to give up. Times in seconds; `attempts` in a row that bring nothing new."""

    attempts: int = 4
    first_wait: float = 0.25
    longest_wait: float = 60.0
    connect: float = 10.0
    stall: float = 30.0

    def pause(self, vain: int, wait: float = 0.0) -> float:
        """Seconds before another try after `vain` in a row; the server asks for `wait`."""
        backoff = self.first_wait * 2.0 ** max(0, vain - 1)
        # Spread out, so that those who broke off together do not come back at one moment.
        spread = backoff * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        return min(max(spread, wait), self.longest_wait)


class Transient(Exception):  # noqa: N818 - not an error yet
    """Worth another try: `why` is a clause, `wait` what the server asks for, in seconds."""

    def __init__(self, why: str, *, wait: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait


def client(
    settings: FetchSettings, limit: int, patience: Patience, *, keep: float = 5.0
) -> httpx2.AsyncClient:
    """One with at most `limit` connections, kept for so many idle seconds. Use it as a context.

    It follows no redirect.
    """
    import httpx2  # noqa: PLC0415 - 0.05 s, which only those pay who fetch

    # It would log each address whole, and some are as good as a password (a query that is signed).
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    proxy = settings.proxy
    try:
        return httpx2.AsyncClient(
            verify=_context(settings.verify),
            proxy=proxy,
            timeout=httpx2.Timeout(patience.stall, connect=patience.connect),
            limits=httpx2.Limits(
                max_connections=limit, max_keepalive_connections=limit, keepalive_expiry=keep
            ),
        )
    except (ValueError, ImportError) as error:
        which = shown(proxy) if proxy else "that the environment names (ALL_PROXY and its like)"
        raise PkgviewError(
            f"the proxy {which} cannot be used",
            remedy="pkgview speaks to http:// and https:// proxies; name one of those.",
        ) from error


@contextlib.asynccontextmanager
async def body_of(response: httpx2.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body as it comes. Leaving ends the response, whole or not."""
    chunks = response.aiter_raw()
    try:
        yield chunks
    finally:
        await response.aclose()
        # httpx2 nests generators. Closing the outermost leaves the innermost to the
        # garbage collector, so they are run to their end, which is near now.
        with contextlib.suppress(Exception):
            async for _ in chunks:
                pass


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


def retry_after(text: str) -> float:
    """Seconds, from a number of them or a date (RFC 9110 §10.2.3); 0 for anything else."""
    if text.isdecimal():
        return float(min(int(text[:9]), 1 << 20))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def clause(error: BaseException) -> str:
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
