"""Fetching the files of a lock: side by side, checked while they stream, resumed, shared.

    async with fetch(wanted, cache=..., settings=..., progress=..., offline=False) as arrivals:
        async for fetched in arrivals:      # as they complete; pack while others download
            pack(fetched.path)
            fetched.discard()               # or leave(), where it could not be packed

In `<cache>/downloads` a file has two names while it grows. `<sha256>.part` is where processes that
want the same file meet: whoever holds the lock (flock(2), which a dead process loses) appends to
it, the others wait. `fetch-<random>/<n>/<filename>` is a hard link that each process makes for
itself *before* it waits, so that nobody can take a whole file from under another one. `discard`
removes both; until then a killed process's work is found again under the first name. The directory
with the second one is swept by whoever fetches next.

A server is believed in nothing. A file counts when its hash is the lock's; what resuming put
together wrongly is fetched once more from its start before the server is blamed.

Concurrency: one trio task for each of `limit` files. Writing and hashing a chunk of 64 KiB takes
about 0.1 ms and is done inline; hashing what was there before goes to a thread. A lock is polled,
never waited for, and a file that is locked goes to the back of the queue.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import math
import netrc
import os
import random
import re
import stat
import time
from collections import deque
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import unquote, urljoin, urlsplit

import trio

from resolver.errors import PkgviewError
from resolver.scratch import claim

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    import httpx

LARGEST = 16 << 30
"""Bytes; a file whose size neither lock nor server tells may have no more."""

KEPT = 7 * 24 * 3600.0
"""Seconds after which what was left behind is swept away."""

MOST_REDIRECTS = 10
LONGEST_NAME = 255
"""Bytes of a file name (NAME_MAX)."""

# What a lock may rest on (PEP 751 leaves the choice to whoever writes it), the best known first.
_STRONG = ("sha256", "sha512", "sha384", "sha3_256", "sha3_512", "blake2b")
_POLL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One file of a lock.

    `url` is http, https, file, or an absolute path; `size` in bytes; `hashes` algorithm to
    hexadecimal digest, empty only for a direct URL that nobody has locked.
    """

    url: str
    filename: str
    size: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """How to reach servers.

    `verify`: an ssl context, a file of certificates, or None for the system's and certifi's.
    `proxy`: a URL, or None for what the environment says. `auth`: host or `host:port` to user and
    password; hosts that are not in it are looked up in netrc.
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


class Progress(Protocol):
    """Told from the trio thread; `advanced` may be negative where a file had to start over."""

    def started(self, total_files: int, total_bytes: int | None) -> None:
        """Once, first. None: some file's size is not known."""
        ...

    def advanced(self, filename: str, count: int) -> None:
        """So many bytes more are here, from wherever they came."""
        ...

    def finished(self, filename: str) -> None:
        """The file is whole, and is what the lock says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A whole file whose hashes are right. `path` ends in the download's file name."""

    download: Download
    path: Path
    part: Path | None = None
    temporary: bool = True

    def discard(self) -> None:
        """Call it when the file is packed. A local file, which is the user's, stays."""
        if self.temporary:
            _drop(self.path, self.part)

    def leave(self) -> None:
        """Call it where the file could not be packed: the next fetch finds it again, whole."""
        if self.temporary:
            _drop(self.path, None)


class Arrivals:
    """The files, as they complete. What came before the first failure comes, then the failure."""

    def __init__(self, channel: trio.MemoryReceiveChannel[Fetched]) -> None:
        self._channel = channel
        self.failure: PkgviewError | None = None
        self.held = contextlib.ExitStack()
        """What must not be given up before the last file is packed."""

    def __aiter__(self) -> Arrivals:
        return self

    async def __anext__(self) -> Fetched:
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            if self.failure is not None:
                raise self.failure from None
            raise StopAsyncIteration from None


def forget(files: Iterable[Download], cache: Path) -> None:
    """Remove what a killed process has left of files that nobody will fetch again.

    Whoever may be fetching one just now has a name of its own for it.
    """
    for file in files:
        with contextlib.suppress(OSError):
            (cache / "downloads" / f"{_key(file)}.part").unlink()


@contextlib.asynccontextmanager
async def fetch(  # noqa: PLR0913 - all but `wanted` by name
    wanted: Sequence[Download],
    *,
    cache: Path,
    settings: FetchSettings,
    progress: Progress,
    offline: bool = False,
    limit: int = 8,
    patience: Patience | None = None,
) -> AsyncIterator[Arrivals]:
    """Fetch all that is wanted; a file that is wanted twice comes once. See the module's example.

    `PkgviewError` at entry for what cannot even be tried, and out of the iteration for all else.
    Leaving the block ends what is still under way; it is resumed the next time. Leave it only
    when all that came is packed: what lies in the session's directory is then anybody's to sweep.
    """
    files = list({(file.filename, _key(file)): file for file in wanted}.values())
    remote = [file for file in files if local_path(file) is None]
    if offline and remote:
        names = [file.filename for file in remote]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""  # noqa: PLR2004 - a line
        raise PkgviewError(
            f"these files are needed and not in the store: {', '.join(names[:8])}{more}",
            remedy="Run the command again without --offline.",
        )
    sizes = [file.size for file in files]
    known = [size for size in sizes if size is not None]
    progress.started(len(files), sum(known) if len(known) == len(sizes) else None)
    send, receive = trio.open_memory_channel[Fetched](math.inf)
    arrivals, failed = Arrivals(receive), None
    with arrivals.held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                _fetch_all, files, cache, settings, progress, limit, patience or Patience(),
                send, arrivals,
            )  # fmt: skip
            try:
                yield arrivals
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, not in the nursery's group
                failed = error
            nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed


async def _fetch_all(  # noqa: PLR0913, PLR0917 - called once, above
    files: list[Download],
    cache: Path,
    settings: FetchSettings,
    progress: Progress,
    limit: int,
    patience: Patience,
    send: trio.MemorySendChannel[Fetched],
    arrivals: Arrivals,
) -> None:
    async with send, contextlib.AsyncExitStack() as stack:
        web = session = None
        try:
            if any(local_path(file) is None for file in files):
                web = await stack.enter_async_context(_Web(settings, limit, patience))
                session = _Session(cache / "downloads")
                arrivals.held.callback(session.release)
                stack.callback(session.close)
            transfers = [_Transfer(file, session, web, progress, patience) for file in files]
        except OSError as error:
            arrivals.failure = _unwritable(cache / "downloads", error)
            return
        except PkgviewError as error:
            arrivals.failure = error
            return
        # The largest first: they take longest to come, and then to pack.
        waiting = deque(sorted(transfers, key=lambda transfer: -(transfer.file.size or 0)))

        async def work(scope: trio.CancelScope) -> None:
            while waiting:
                transfer = waiting.popleft()
                try:
                    fetched = await transfer.attempt()
                except PkgviewError as error:
                    arrivals.failure = arrivals.failure or error
                    scope.cancel()
                    return
                if fetched is None:
                    waiting.append(transfer)
                    await trio.sleep(_POLL)
                else:
                    progress.finished(transfer.file.filename)
                    send.send_nowait(fetched)

        async with trio.open_nursery() as nursery:
            for _ in range(min(limit, len(waiting))):
                nursery.start_soon(work, nursery.cancel_scope)


class _Transient(Exception):  # noqa: N818 - not an error yet
    """Worth another try: `why` is a clause, `wait` what the server asks for, in seconds."""

    def __init__(self, why: str, *, wait: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait


class _Session:
    """The directory of one fetch, and the sweeping of what others left behind."""

    def __init__(self, downloads: Path) -> None:
        downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
        oldest = time.time() - KEPT
        for old in downloads.iterdir():
            with contextlib.suppress(OSError):
                if old.suffix == ".part" and old.lstat().st_mtime < oldest:
                    old.unlink()
        self.downloads = downloads
        self._own, self._lock = claim(downloads, "fetch-")
        # Keeps a discard from taking the directory away, and the lock with it.
        self._open_mark = self._own / "open"
        self._open_mark.touch()
        self._count = 0
        self._open: dict[Path, Path | None] = {}

    def open(self, file: Download) -> tuple[Path, Path | None]:
        """The file's own name, and the one it shares with other processes where it has a hash.

        On a file system without hard links nothing is shared.
        """
        self._count += 1
        own = self._own / str(self._count) / file.filename
        own.parent.mkdir()
        key = _key(file)
        part = self.downloads / f"{key}.part" if file.hashes else None
        while part is not None:
            os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            try:
                os.link(part, own, follow_symlinks=False)
                break
            except FileNotFoundError:
                continue  # another process has finished with it just now
            except OSError:
                part.unlink(missing_ok=True)
                part = None
        if part is None:
            own.touch(mode=0o600)
        self._open[own] = part
        return own, part

    def keep(self, own: Path) -> None:
        """From here on the file belongs to whoever gets it."""
        del self._open[own]

    def close(self) -> None:
        """Drop what is not whole; the shared name stays for the next time."""
        for own in self._open:
            _drop(own, None)

    def release(self) -> None:
        """Give the directory up, to whoever sweeps it if files are left in it."""
        with contextlib.suppress(OSError):
            self._open_mark.unlink()
            self._own.rmdir()
        os.close(self._lock)


class _Part:
    """The bytes that are here: appended, hashed, thrown away."""

    def __init__(self, own: Path, hashes: Mapping[str, str]) -> None:
        self.path = own
        self._expected = hashes
        self.descriptor = os.open(own, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._hashers = {name: hashlib.new(name) for name in hashes}
        self.length = 0

    def lock(self) -> bool:
        """Whether no other process, and no other fetch in this one, has it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def size(self) -> int:
        """Bytes on disk, whoever wrote them."""
        return os.fstat(self.descriptor).st_size

    def take_over(self) -> None:
        """Go on from what is on disk. Takes as long as hashing it does."""
        while chunk := os.pread(self.descriptor, 1 << 20, self.length):
            self._count(chunk)

    def append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.pwrite(self.descriptor, rest, self.length + len(chunk) - len(rest)) :]
        self._count(chunk)

    def restart(self) -> None:
        os.ftruncate(self.descriptor, 0)
        self._hashers = {name: hashlib.new(name) for name in self._expected}
        self.length = 0

    def wrong(self) -> tuple[str, str, str] | None:
        """The first hash that is not as expected: algorithm, expected, found."""
        for name, hasher in self._hashers.items():
            if hasher.hexdigest() != self._expected[name].lower():
                return name, self._expected[name].lower(), hasher.hexdigest()
        return None

    def close(self) -> None:
        os.close(self.descriptor)

    def _count(self, chunk: bytes) -> None:
        for hasher in self._hashers.values():
            hasher.update(chunk)
        self.length += len(chunk)


class _Transfer:
    """One file on its way."""

    def __init__(
        self,
        file: Download,
        session: _Session | None,
        web: _Web | None,
        progress: Progress,
        patience: Patience,
    ) -> None:
        self.file = file
        self._session = session
        self._web = web
        self._progress = progress
        self._patience = patience
        self._hashes = _strong(file)
        self._names: tuple[Path, Path | None] | None = None
        self._reported = 0
        self._etag = ""
        self._resumed = False

    async def attempt(self) -> Fetched | None:
        """The whole file; None while another process is at it."""
        local = local_path(self.file)
        if local is not None:
            await trio.to_thread.run_sync(_check_local, local, self.file, self._hashes)
            self._report(local.stat().st_size)
            return Fetched(download=self.file, path=local, temporary=False)
        assert self._session is not None  # noqa: S101 - made where anything is not local
        try:
            if self._names is None:
                self._names = self._session.open(self.file)
            own, shared = self._names
            part = _Part(own, self._hashes)
            try:
                if not part.lock():
                    self._report(part.size())
                    return None
                await trio.to_thread.run_sync(part.take_over)
                await self._complete(part)
            finally:
                part.close()
        except OSError as error:
            raise _unwritable(self._session.downloads, error) from error
        except PkgviewError:
            if self._names and self._names[0].exists() and not self._names[0].stat().st_size:
                _drop(*self._names)  # nothing in it that would be worth resuming
            raise
        self._session.keep(own)
        return Fetched(download=self.file, path=own, part=shared)

    async def _complete(self, part: _Part) -> None:
        size, vain, again = self.file.size, 0, False
        self._resumed = part.length > 0
        whole = part.length > 0 and size in {None, part.length} and part.wrong() is None
        if size is not None and part.length >= size and not whole:
            part.restart()
        self._report(part.length)
        while not whole:
            before = part.length
            try:
                await self._receive(part)
            except _Transient as error:
                vain = 0 if part.length > before else vain + 1
                if vain >= self._patience.attempts:
                    raise self._unreachable(error.why) from error
                await trio.sleep(self._pause(vain, error.wait))
                if part.length and not (self._hashes or self._etag):
                    part.restart()  # nothing would tell whether the rest belongs to it
                self._resumed = part.length > 0
                continue
            wrong = part.wrong()
            if wrong is None:
                return
            part.restart()
            self._report(0)
            if again or not self._resumed:
                name, expected, found = wrong
                raise PkgviewError(
                    f"{self.file.filename} from {shown(self.file.url)} is not the locked file: "
                    f"its {name} is {found}, the lock says {expected}",
                    remedy="If the file was replaced on purpose, run `pkgview lock --upgrade`; "
                    "if not, do not trust that server.",
                )
            again = True

    async def _receive(self, part: _Part) -> None:
        """One request and its answer, appended as it comes."""
        assert self._web is not None  # noqa: S101 - made where anything is not local
        headers = {"Accept-Encoding": "identity"}
        if part.length:
            headers["Range"] = f"bytes={part.length}-"
            if self._etag:
                headers["If-Range"] = self._etag
        async with self._web.response(self.file, headers) as (response, chunks):
            total = self._begin(part, response)
            size = self.file.size
            if total is not None and size is not None and total != size:
                part.restart()
                raise self._wrong_size(f"the server has {total} bytes")
            most = next(known for known in (size, total, LARGEST) if known is not None)
            async for chunk in chunks:
                if part.length + len(chunk) > most:
                    part.restart()
                    raise self._wrong_size("the server sends more bytes")
                part.append(chunk)
                self._report(part.length)
        end = size if size is not None else total
        if end is not None and part.length < end:
            raise _Transient("the connection was closed early")

    def _begin(self, part: _Part, response: httpx.Response) -> int | None:
        """Make the part fit the answer; the size of the whole file, if the server tells it."""
        etag = response.headers.get("ETag", "")
        length = response.headers.get("Content-Length", "")
        if response.status_code == 206:  # noqa: PLR2004 - the names of RFC 9110 say less
            found = re.fullmatch(
                r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", response.headers.get("Content-Range", "")
            )
            if found is None or int(found[1]) != part.length:
                part.restart()
                raise _Transient("the server answered with another part than was asked for")
            return int(found[2]) if found[2] != "*" else None
        if response.status_code == 416:  # noqa: PLR2004 - what is here is longer than what is there
            part.restart()
            raise _Transient("the server has less of it than was fetched before")
        if part.length:  # it ignores ranges, or the file is another one now
            part.restart()
            self._resumed = False
        self._etag = etag if etag.startswith('"') else ""
        return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None

    def _report(self, length: int) -> None:
        if length != self._reported:
            self._progress.advanced(self.file.filename, length - self._reported)
            self._reported = length

    def _pause(self, vain: int, wait: float) -> float:
        backoff = self._patience.first_wait * 2.0 ** max(0, vain - 1)
        # Spread out, so that eight transfers do not come back at one moment.
        spread = backoff * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        return min(max(spread, wait), self._patience.longest_wait)

    def _wrong_size(self, found: str) -> PkgviewError:
        expected = "" if self.file.size is None else f", the lock says {self.file.size}"
        return PkgviewError(
            f"{self.file.filename} from {shown(self.file.url)} has the wrong size: "
            f"{found}{expected}",
            remedy="If the file was replaced on purpose, run `pkgview lock --upgrade`.",
        )

    def _unreachable(self, why: str) -> PkgviewError:
        return PkgviewError(
            f"cannot fetch {self.file.filename} from {_host(self.file.url)}: {why}",
            remedy="Check the network and the proxy, and run the command again: it goes on from "
            "what has come so far.",
        )


class _Web:
    """HTTP as fetching needs it: pooled, redirected by hand, each failure sorted once.

    Redirects are followed here and not in httpx, so that every hop gets the credentials of its own
    host and no other's.
    """

    def __init__(self, settings: FetchSettings, limit: int, patience: Patience) -> None:
        self._settings = settings
        self._limit = limit
        self._patience = patience
        self._netrc: netrc.netrc | None = None
        self._client: httpx.AsyncClient

    async def __aenter__(self) -> Self:
        import httpx  # noqa: PLC0415 - 0.1 s, which only those pay who fetch

        proxy, limit = self._settings.proxy, self._limit
        try:
            self._client = httpx.AsyncClient(
                verify=_context(self._settings.verify),
                proxy=proxy,
                timeout=httpx.Timeout(self._patience.stall, connect=self._patience.connect),
                limits=httpx.Limits(max_connections=limit, max_keepalive_connections=limit),
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
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
        """The answer to a GET (status 200, 206 or 416), and its body as it comes."""
        import httpx  # noqa: PLC0415 - loaded by now

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
                    # httpx nests generators. Closing the outermost would leave the others to the
                    # garbage collector, so they are run to their end, which is near now.
                    with contextlib.suppress(Exception):
                        async for _ in chunks:
                            pass
            finally:
                await response.aclose()
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise PkgviewError(
                f"{file.filename} cannot be fetched: {shown(file.url)} is no http or https URL",
                remedy="Lock the project again with `pkgview lock`.",
            ) from error
        except httpx.TransportError as error:
            why = _clause(error)
            if "CERTIFICATE_VERIFY_FAILED" in why:
                raise PkgviewError(
                    f"{_host(file.url)} cannot be trusted for {file.filename}: {why}",
                    remedy="If the certificate is your organisation's own, name its file in "
                    "SSL_CERT_FILE.",
                ) from error
            raise _Transient(why) from error

    async def _follow(self, file: Download, headers: Mapping[str, str]) -> httpx.Response:
        url = _without_userinfo(file.url)
        for hop in range(MOST_REDIRECTS):
            credentials = self._credentials(url, file, first=hop == 0)
            request = self._client.build_request("GET", url, headers={**headers, **credentials})
            response = await self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            there = response.headers["Location"]
            try:
                there = _without_userinfo(urljoin(url, there))
                parts = urlsplit(there)
                followed = parts.scheme in {"https", urlsplit(url).scheme} and parts.port != 0
            except ValueError:
                break
            if not followed:
                break
            url = there
        raise PkgviewError(
            f"{file.filename} cannot be fetched: {shown(file.url)} is redirected to where pkgview "
            f"does not follow ({_host(there)})",
            remedy="Lock the project again with `pkgview lock`.",
        )

    def _credentials(self, url: str, file: Download, *, first: bool) -> dict[str, str]:
        """The URL's own where its host is asked, else the settings', else netrc's."""
        host, own = urlsplit(url), urlsplit(file.url)
        name = host.hostname or ""
        pair: tuple[str, str] | None = None
        if own.username and _origin(url) == _origin(file.url):
            pair = unquote(own.username), unquote(own.password or "")
        auth = self._settings.auth
        pair = pair or auth.get(":".join(map(str, _origin(url)[1:]))) or auth.get(name)
        # netrc's `default` is for any host the user names, not for any that a server names.
        if pair is None and self._netrc and (first or name in self._netrc.hosts):
            found = self._netrc.authenticators(name)
            pair = (found[0], found[2] or "") if found else None
        if pair is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}


def _context(verify: ssl.SSLContext | Path | None) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - as httpx

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
        import certifi  # noqa: PLC0415 - as httpx

        context.load_verify_locations(certifi.where())
    return context


def _refusal(file: Download, response: httpx.Response) -> PkgviewError | _Transient:
    status, host, url = response.status_code, _host(file.url), shown(file.url)
    if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004 - RFC 9110 §15.6
        wait = _retry_after(response.headers.get("Retry-After", ""))
        return _Transient(f"the server answers {status}", wait=wait)
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


def local_path(file: Download) -> Path | None:
    """The path of a file that need not be fetched: a file URL or an absolute path."""
    if file.url.startswith("/"):
        return Path(file.url)
    parts = urlsplit(file.url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    return None


def shown(url: str) -> str:
    """A URL fit for a message: without user, password, query and fragment, which hold secrets."""
    parts = urlsplit(_without_userinfo(url))
    text = parts._replace(query="", fragment="").geturl()
    return text if text.isprintable() else ascii(text)


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _host(url: str) -> str:
    try:
        return urlsplit(shown(url)).netloc
    except ValueError:
        return "a place that is no URL"


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; ValueError for what is no URL."""
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
    )


def _clause(error: BaseException) -> str:
    """What went wrong, in the words of whatever caused it: httpx often has none of its own."""
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


def _strong(file: Download) -> dict[str, str]:
    """The hashes that prove something. Weak ones beside them add nothing and are not looked at."""
    strong = {name: file.hashes[name] for name in _STRONG if name in file.hashes}
    for name, digest in strong.items():
        if not re.fullmatch(r"[0-9a-fA-F]+", digest):
            raise PkgviewError(
                f"the lock's {name} of {file.filename} is no hexadecimal number",
                remedy="Run `pkgview lock` to write the lock anew.",
            )
    if file.hashes and not strong:
        raise PkgviewError(
            f"the lock has only weak hashes of {file.filename}: {', '.join(sorted(file.hashes))}",
            remedy="Run `pkgview lock --upgrade`: it records SHA-256.",
        )
    return strong


def _key(file: Download) -> str:
    """What names a file's part: its digest, or for one without a digest, its URL's."""
    name = file.filename
    if (
        not name
        or "/" in name
        or "\0" in name
        or name in {".", ".."}
        or len(os.fsencode(name)) > LONGEST_NAME
    ):
        raise PkgviewError(
            f"the lock names a file {name!a}, which is no file name",
            remedy="Run `pkgview lock` to write the lock anew.",
        )
    try:
        _origin(file.url)
    except ValueError as error:
        raise PkgviewError(
            f"the lock names no URL for {name}: {error}",
            remedy="Run `pkgview lock` to write the lock anew.",
        ) from error
    for algorithm, digest in _strong(file).items():
        return digest.lower() if algorithm == "sha256" else f"{algorithm}-{digest.lower()}"
    return "url-" + hashlib.sha256(file.url.encode()).hexdigest()


def _check_local(path: Path, file: Download, hashes: Mapping[str, str]) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PkgviewError(f"{path} is no file", remedy=f"It should be {file.filename}.")
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            hashers = {name: hashlib.new(name) for name in hashes}
            while hashers and (chunk := opened.read(1 << 20)):
                for hasher in hashers.values():
                    hasher.update(chunk)
    except OSError as error:
        raise PkgviewError(
            f"cannot read {path}: {error.strerror}",
            remedy=f"{file.filename} is to come from there; put it back, or lock again.",
        ) from error
    for name, hasher in hashers.items():
        if hasher.hexdigest() != hashes[name].lower():
            raise PkgviewError(
                f"{path} is not the locked file: its {name} is {hasher.hexdigest()}, "
                f"the lock says {hashes[name].lower()}",
                remedy="If the file was replaced on purpose, run `pkgview lock --upgrade`.",
            )
    if file.size is not None and size != file.size:
        raise PkgviewError(
            f"{path} has {size} bytes, the lock says {file.size}",
            remedy="If the file was replaced on purpose, run `pkgview lock --upgrade`.",
        )


def _unwritable(downloads: Path, error: OSError) -> PkgviewError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return PkgviewError(
            f"no room left for downloads in {downloads}",
            remedy="Make room there, or name another directory in XDG_CACHE_HOME; what has come "
            "so far is kept.",
        )
    return PkgviewError(
        f"cannot write to {downloads}: {error.strerror}",
        remedy="Make it writable, or name another directory in XDG_CACHE_HOME.",
    )


def _drop(own: Path, part: Path | None) -> None:
    """Remove a file's own name, its shared one if it is still the same file, and the directory."""
    with contextlib.suppress(OSError):
        if part is not None and part.samefile(own):
            part.unlink()
    with contextlib.suppress(OSError):
        own.unlink()
    with contextlib.suppress(OSError):
        own.parent.rmdir()
        own.parent.parent.rmdir()
