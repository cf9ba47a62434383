"""HTTP with one store: what goes where, how long it may take, and what an answer means.

* **Credentials** go to the store's own origin (scheme, host, port) and nowhere else. Redirects are
  followed by hand, ten at most, never from https to http, and only where reading is asked for.
* **Plain HTTP** is spoken with this machine itself (loopback) and where the user said `insecure`;
  a registry there is asked by TLS first.
* **Time.** An answer has to begin, and each piece of it to come, within `Patience.stall`; and a
  body that comes more slowly than `SLOWEST` on the whole is given up, so nobody holds us by a byte
  now and then. What the reader does meanwhile does not count.
* **Busy servers** (429, 503 with `Retry-After`) are left alone by all of this exchange's requests.
* **Failures** are sorted here and nowhere else: `Transient` or `RemoteError`. No secret can be in
  them: addresses are said without query, bodies not at all but for a registry's error code.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import urljoin, urlsplit

import trio

from resolver.fetch.addresses import without_userinfo
from resolver.fetch.client import Patience, Transient, body_of, clause, client, retry_after
from resolver.fetch.wanted import origin, shown
from unionfs.store.remote.transport import RemoteError
from unionfs.store.remote.web.messages import Answer, Sent, error_code, is_no_tls
from unionfs.store.remote.web.place import is_loopback

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Mapping,
    )

    import httpx2

    from resolver.fetch.client import FetchSettings
    from unionfs.store.remote.web.guard import Guard, Scopes
    from unionfs.store.remote.web.place import Place

T = TypeVar("T")

SLOWEST: Final = 4096.0
"""Bytes a second that a body has to bring (or take) on the whole."""

MOST_REDIRECTS: Final = 10

KEPT: Final = 60.0
"""Seconds that an idle connection is kept."""

LED: Final = 30.0
"""Seconds for which it is remembered where a redirect led: a file of a registry is read in many
ranges, and often lies elsewhere. Addresses that are signed hold for minutes."""

_MOST_LED: Final = 1000

NOTHING: Final = frozenset({404, 410})
"""Statuses of what is not there."""

_READING = frozenset({"GET", "HEAD"})
_UNSTEADY = frozenset({
    "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
})  # fmt: skip
"""What Debian's registry says, too, while another sends the same, or after it was started anew."""

_HOLDING_BACK = frozenset({408, 425, 429, 500, 502, 503, 504})


class Exchange:
    """Requests to one store, `limit` at a time. Use as an asynchronous context."""

    def __init__(
        self, place: Place, guard: Guard, settings: FetchSettings, limit: int, patience: Patience
    ) -> None:
        self.place = place
        self.patience = patience
        self._guard = guard
        self._settings = settings
        self._limit = limit
        self._turns = trio.Semaphore(limit)
        self._scheme = place.scheme
        self._settling = trio.Lock()
        self._not_before = 0.0
        self._led: dict[str, tuple[str, float]] = {}
        self._client: httpx2.AsyncClient

    async def __aenter__(self) -> Self:
        self._client = client(self._settings, self._limit, self.patience, keep=KEPT)
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def patiently(
        self, attempt: Callable[[], Awaitable[T]], what: str, reached: Callable[[], int] = int
    ) -> T:
        """Try until it succeeds, or `Patience.attempts` in a row did not: `RemoteError`.

        One that got further than any before, as `reached` says, is no vain one.
        """
        vain, furthest = 0, reached()
        while True:
            try:
                return await attempt()
            except Transient as error:
                vain = 1 if reached() > furthest else vain + 1
                furthest = max(furthest, reached())
                if vain >= self.patience.attempts:
                    raise self.error(
                        f"{what}: {error.why}",
                        remedy="Check the network and the proxy, and run the command again.",
                    ) from error
                await trio.sleep(self.patience.pause(vain, error.wait))

    def error(self, what: str, *, remedy: str = "") -> RemoteError:
        """A sentence about this store."""
        return RemoteError(f"{self.place.named}: {what}", remedy=remedy)

    async def ask(  # noqa: PLR0913 - all but two by name
        self,
        method: str,
        url: str,
        *,
        accepted: frozenset[int],
        most: int,
        what: str,
        scopes: Scopes = (),
        sent: Sent | None = None,
    ) -> Answer:
        """One request, its answer whole: at most so many bytes, with one of these statuses.

        `url` begins with "/", or is an address that the store has named.
        """
        async with self.streamed(
            method, url, accepted=accepted, what=what, scopes=scopes, sent=sent or Sent()
        ) as (response, pieces):
            body = bytearray()
            async for piece in pieces:
                body += piece
                if len(body) > most:
                    raise self.error(f"{what}: it sends more than {most:,} bytes")
            length = response.headers.get("Content-Length", "")
            if method != "HEAD" and length.isdecimal() and len(body) < int(length[:18]):
                raise Transient("the connection was closed early")
            return Answer(
                status=response.status_code,
                headers=response.headers,
                body=bytes(body),
                url=str(response.url),
            )

    @asynccontextmanager
    async def streamed(  # noqa: PLR0913 - all but two by name
        self,
        method: str,
        url: str,
        *,
        accepted: frozenset[int],
        what: str,
        scopes: Scopes,
        sent: Sent,
    ) -> AsyncIterator[tuple[httpx2.Response, AsyncIterator[bytes]]]:
        """One request and its answer as it comes, with one of the statuses that are accepted."""
        import httpx2  # noqa: PLC0415 - loaded by now

        async with self._turns:
            try:
                response = await self._authorised(method, url, scopes, sent)
                try:
                    async with (
                        body_of(response) as chunks,
                        aclosing(self._pieces(chunks)) as pieces,
                    ):
                        if response.status_code not in accepted:
                            raise await self._refusal(response, pieces, what)
                        if response.headers.get("Content-Encoding", "identity") != "identity":
                            raise self.error(f"{what}: it sends it encoded, unasked")
                        yield response, pieces
                finally:
                    await response.aclose()
            except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
                raise self.error(f"{what}: it is sent to what is no address") from error
            except httpx2.TransportError as error:
                raise self._broken(error, what) from error

    def _broken(self, error: Exception, what: str) -> RemoteError | Transient:
        why = clause(error)
        if "CERTIFICATE_VERIFY_FAILED" not in why:
            return Transient(why)
        return self.error(
            f"{what}: it cannot be trusted: {why}",
            remedy="If the certificate is your organisation's own, name its file in SSL_CERT_FILE.",
        )

    async def _pieces(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        came, waited = 0, 0.0
        while True:
            began = trio.current_time()
            allowed = self.patience.stall + came / SLOWEST - waited
            with trio.move_on_after(max(allowed, 0.0)) as scope:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
            if scope.cancelled_caught:
                raise Transient("it sends too slowly")
            waited += trio.current_time() - began
            came += len(chunk)
            yield chunk

    # -- one request -----------------------------------------------------------------------------

    async def _authorised(
        self, method: str, url: str, scopes: Scopes, sent: Sent
    ) -> httpx2.Response:
        """The answer, after as many proofs of who asks as the store wants and we have."""
        for _ in range(3):
            header = self._guard.header(scopes)
            response, at_home = await self._follow(method, url, header, sent)
            if response.status_code != 401 or not at_home:  # noqa: PLR2004 - RFC 9110 §15.5.2
                return response
            await response.aclose()
            challenges = response.headers.get_list("WWW-Authenticate")
            if not await self._guard.challenged(challenges, scopes, header, self._ask_token):
                break
        return response

    async def _follow(
        self, method: str, url: str, header: str, sent: Sent
    ) -> tuple[httpx2.Response, bool]:
        """The answer where all redirects lead, and whether that is the store's own origin."""
        await self._settle()
        home = f"{self._scheme}://{self.place.host}"
        url = asked = self.joined(home, url)
        there, until = self._led.pop(asked, ("", 0.0)) if method == "GET" else ("", 0.0)
        if until > trio.current_time():
            headers = {"Accept-Encoding": "identity", **sent.headers}
            response = await self._send(method, there, headers, sent)
            if response.status_code in {200, 206}:
                self._led[asked] = there, until
                return response, False
            await response.aclose()
        for _ in range(MOST_REDIRECTS):
            at_home = origin(url) == origin(home)
            headers = {"Accept-Encoding": "identity", **sent.headers}
            if at_home and header:
                headers["Authorization"] = header
            response = await self._send(method, url, headers, sent)
            if not response.has_redirect_location or method not in _READING:
                if not at_home and len(self._led) < _MOST_LED:
                    self._led[asked] = url, trio.current_time() + LED
                return response, at_home
            there = response.headers["Location"]
            await response.aclose()
            url = self.joined(url, there)
        raise self.error("it redirects in a circle")

    def joined(self, here: str, there: str) -> str:
        """Where an address that a server named leads; `RemoteError` where nobody should go."""
        refused = self.error(
            "it leads to where pkgview does not follow", remedy="Its administrator has to look."
        )
        try:
            url = without_userinfo(urljoin(here, there))
            parts, base = urlsplit(url), urlsplit(here)
            if "\\" in parts.netloc or parts.port == 0 or not parts.hostname:
                raise refused
        except ValueError:
            raise refused from None
        if parts.scheme == "http" and base.scheme == "https" and parts.netloc == base.netloc:
            # A registry behind something that speaks TLS for it, which it does not know.
            return parts._replace(scheme="https").geturl()
        is_plain = parts.scheme == "http" and base.scheme == "http"
        if parts.scheme != "https" and not (
            is_plain and (self.place.insecure or is_loopback(parts.hostname))
        ):
            raise refused
        return url

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], sent: Sent
    ) -> httpx2.Response:
        await trio.sleep_until(self._not_before)
        content = sent.content if isinstance(sent.content, bytes) else sent.content()
        sized = {} if isinstance(sent.content, bytes) else {"Content-Length": str(sent.size)}
        request = self._client.build_request(
            method, url, headers={**headers, **sized}, content=content or None
        )
        size = len(sent.content) if isinstance(sent.content, bytes) else sent.size
        allowed = self.patience.connect + self.patience.stall + size / SLOWEST
        with trio.move_on_after(allowed) as scope:
            response = await self._client.send(request, stream=True)
        if scope.cancelled_caught:
            raise Transient("it does not answer")
        if response.status_code in {429, 503}:
            wait = min(retry_after(response.headers.get("Retry-After", "")), 3600.0)
            pause = trio.current_time() + min(wait, self.patience.longest_wait)
            self._not_before = max(self._not_before, pause)
        return response

    async def _settle(self) -> None:
        """Find out, once, whether a store that may speak plain HTTP does."""
        import httpx2  # noqa: PLC0415 - loaded by now

        async with self._settling:
            if self._scheme:
                return
            if not self.place.plain:
                self._scheme = "https"
                return
            try:
                with trio.fail_after(self.patience.connect + self.patience.stall):
                    await self._client.head(f"https://{self.place.host}/v2/")
            except httpx2.TransportError as error:
                if "CERTIFICATE_VERIFY_FAILED" not in clause(error):
                    if not is_no_tls(error):
                        raise
                    self._scheme = "http"
                    return
            except trio.TooSlowError as error:
                raise Transient("it does not answer") from error
            self._scheme = "https"

    async def _ask_token(self, url: str, authorization: str, form: bytes | None) -> bytes:
        """From the server that gives tokens, which follows nobody's redirects."""
        what = "a token cannot be had"
        url = self.joined(f"{self._scheme}://{self.place.host}", url)
        headers = {"Authorization": authorization} if authorization else {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        response = await self._send(
            "GET" if form is None else "POST", url, headers, Sent(content=form or b"")
        )
        try:
            async with body_of(response) as chunks, aclosing(self._pieces(chunks)) as pieces:
                if response.status_code != 200:  # noqa: PLR2004 - RFC 9110 §15.3.1
                    raise await self._refusal(response, pieces, what)
                body = bytearray()
                async for piece in pieces:
                    body += piece
                    if len(body) > 1 << 20:
                        raise self.error(f"{what}: its answer is too long")
                return bytes(body)
        finally:
            await response.aclose()

    # -- what an answer means --------------------------------------------------------------------

    async def _refusal(
        self, response: httpx2.Response, pieces: AsyncIterator[bytes], what: str
    ) -> RemoteError | Transient:
        status = response.status_code
        if status in _HOLDING_BACK:
            wait = retry_after(response.headers.get("Retry-After", ""))
            return Transient(f"the server answers {status}", wait=wait)
        code = ""
        # Debian's registry promises the whole blob with a 416, and sends a sentence.
        if status != 416 and "json" in response.headers.get("Content-Type", ""):  # noqa: PLR2004
            code = await error_code(pieces)
            if code in _UNSTEADY and response.request.method not in _READING:
                return Transient(f"the server answers {status} ({code})")
        said = f"{what}: the server answers {status}{f' ({code})' if code else ''}"
        if status in {401, 403, 407}:
            host = urlsplit(f"//{self.place.host}").netloc
            known = "what is known does not do" if self._guard.has_credential else "none is known"
            return self.error(
                said,
                remedy=f"It wants another user or password ({known}): `docker login {host}`, "
                f"`podman login {host}`, or a line for it in ~/.netrc.",
            )
        if response.has_redirect_location:
            said += f", and leads to {shown(response.headers['Location'])}"
        return self.error(said, remedy="If it stays so, its administrator has to look at it.")
