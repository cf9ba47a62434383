"""A store in a bucket that is spoken to by S3: objects as `layout` has the files, through obstore.

obstore brings what S3 is beside HTTP: signatures, keys that a cloud gives its machines, uploads in
parts. It is an extra of ours, and loaded by whoever has a transport for `s3://` and by nobody else.

**Concurrency.** Its calls wait in threads, `limit` at once; who is cancelled leaves them, and each
ends by itself, as the time for it is bounded. It tries again by itself, `Patience.attempts` times.

**Writing.** An object is there whole or not at all, so all that is needed is the pushing's order.
What is said of one key, to which several may add at once, is only replaced if it is still what was
read (`If-Match`), and in any case where a server knows no such condition.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import trio

from resolver.errors import PkgviewError
from unionfs.archive.framecache import FrameCache
from unionfs.archive.reader import Archive
from unionfs.store.remote import wire
from unionfs.store.remote.static import layout
from unionfs.store.remote.static.reading import Reading
from unionfs.store.remote.transport import (
    LARGEST_STATEMENT,
    Blob,
    RemoteError,
    Statement,
    Transient,
    name_of_beginning,
)
from unionfs.store.remote.web.place import is_loopback
from unionfs.store.remote.wire import LARGEST_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence

    from obstore import GetResult, PutMode
    from obstore.store import S3Store

    from resolver.fetch.client import Patience

T = TypeVar("T")

PART: Final = 8 << 20
"""Bytes of a part of an upload; what is no larger goes at once."""

_MOST_PARTS: Final = 9_000
"""Of one object; S3 takes 10,000."""

_PARTS_AT_ONCE: Final = 2
"""Of one object, and of all those under way each has so many."""

_UPLOAD: Final = timedelta(minutes=15)
"""For one request that sends something, whose time is the line's."""

_PIECE: Final = 1 << 18
_RACES: Final = 20
"""How often somebody else may be faster."""

_NO_KEYS = re.compile(r"/latest/(?:api/token|meta-data)")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_REGION = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>|expecting '([a-z0-9-]{1,40})'")
_OTHER_REGION = re.compile(
    r"AuthorizationHeaderMalformed|IllegalLocationConstraint|PermanentRedirect|redirect without LOC"
)
_KEYS_REFUSED: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
"""What S3 says of keys by 400."""


class S3Transport(Reading):
    """A `Transport`. `told` is `aws.settings`; `prefix` what is below the bucket, or ""."""

    def __init__(  # noqa: PLR0913 - all but the place by name
        self,
        url: str,
        bucket: str,
        prefix: str,
        *,
        told: Mapping[str, str],
        insecure: bool,
        limit: int,
        patience: Patience,
    ) -> None:
        super().__init__(url)
        self.sent: Callable[[int], None] = lambda _: None
        """Told of bytes as they are on their way."""
        self._bucket = bucket
        self._turns = trio.CapacityLimiter(limit)
        endpoint = urlsplit(told.get("endpoint", ""))
        plain = endpoint.scheme == "http"
        if plain and not (insecure or is_loopback(endpoint.hostname or "")):
            raise PkgviewError(
                f"{url}: {endpoint.scheme}://{endpoint.netloc} is not spoken to without TLS",
                remedy="Use https://. Where you trust the whole of the network, say --insecure.",
            )
        config: Any = dict(told)
        store: Any = partial(
            _client(url), bucket, prefix=prefix or None, config=config,
            retry_config={
                "max_retries": patience.attempts - 1,
                "backoff": {"init_backoff": timedelta(seconds=patience.first_wait)},
                "retry_timeout": timedelta(seconds=patience.attempts * patience.stall),
            },
        )  # fmt: skip
        options = {"allow_http": plain, "connect_timeout": timedelta(seconds=patience.connect)}
        if authority := os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE"):
            options["root_certificate"] = _certificates(authority)
        stall = timedelta(seconds=patience.stall)
        lasting = {**options, "read_timeout": stall, "timeout": timedelta(days=1)}
        try:
            self._reading: S3Store = store(client_options=lasting)
            self._writing: S3Store = store(client_options={**options, "timeout": _UPLOAD})
        except Exception as error:  # of settings that it cannot use, in several classes
            raise PkgviewError(
                f"{url}: {_said(str(error))}", remedy="Check the variables AWS_…, and ~/.aws."
            ) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes [start, end) of its file."""
        end = min(end, blob.size)
        if not 0 <= start < end:
            return
        what = f"{blob.name} cannot be read"
        got = await self._call(partial(self._got, blob.address, (start, end)), what)
        if got is None:
            raise self._error(f"{what}: it is gone")
        if got.meta["size"] != blob.size:
            raise self._error(
                f"{what}: it has {got.meta['size']:,} bytes now, and had {blob.size:,}"
            )
        pieces, left = iter(got.stream(min_chunk_size=_PIECE)), end - start
        while left:
            piece = (await self._call(partial(next, pieces, b""), what))[:left]
            if not piece:
                raise Transient("the connection was closed early")
            left -= len(piece)
            yield piece

    async def put_archive(self, name: str, path: Path) -> bool:
        """Send an archive's file, in parts if it is large; False: it was there."""
        address = layout.archive(name)
        size = await self._size(address)  # whatever a view has said of it
        fresh = size is None
        if size is None:
            size = await trio.to_thread.run_sync(_verified, name, path)
            if size <= PART:
                await self._put(address, await trio.to_thread.run_sync(path.read_bytes))
                self.sent(size)
            else:
                there = trio.lowlevel.current_trio_token()
                pieces = _pieces(path, lambda count: there.run_sync_soon(self.sent, count))
                await self._put(address, pieces, part=max(PART, size // _MOST_PARTS))
        self._found[name] = self._blob(name, size)
        return fresh

    async def put_beginning(self, name: str, by: str, data: bytes) -> None:
        """Have an archive's beginning there, in the place of the one by the same zstd."""
        await self._put(layout.beginning(name, by), data)

    async def put_derived(self, key: str, statement: Statement) -> None:
        """Add a statement to what is said of `key`."""
        address = layout.derived(key)
        for _ in range(_RACES):
            got = await self._whole(address)
            try:
                known = () if got is None else wire.from_bytes(got[0])
                every = wire.merged(known, statement)
            except ValueError as error:
                raise self._error(f"{key}: {error}") from error
            if every == known:
                return
            mode: PutMode = "create" if got is None else {"e_tag": got[1]}
            if await self._put(address, wire.to_bytes(every), mode=mode):
                return
        raise self._error(f"{key}: others add to what is said of it all the time")

    async def put_view(
        self, references: Sequence[str], statement: Statement, archives: Sequence[Blob]
    ) -> None:
        """Publish a view under its id and tags."""
        sizes = {blob.name: blob.size for blob in archives}
        begun = tuple(name_of_beginning(name, "") for name in sizes)

        def listed() -> dict[str, int]:
            import obstore  # noqa: PLC0415 - loaded by now

            found = (one for page in obstore.list(self._reading, layout.BEGINNINGS) for one in page)
            sized = {one["path"].rpartition("/")[2]: one["size"] for one in found}
            return {name: size for name, size in sized.items() if name.startswith(begun)}

        beginnings = await self._surely(listed, "what it has cannot be listed")
        text = layout.view_to_bytes(statement, sizes, beginnings)
        for reference in references:
            await self._put(layout.view(reference), text)

    async def _text(self, path: str) -> bytes | None:
        got = await self._whole(path)
        return None if got is None else got[0]

    async def _whole(self, path: str) -> tuple[bytes, str | None] | None:
        """A small object, and what its version is called."""
        what = f"{path} cannot be read"

        def read() -> tuple[bytes, str | None] | None:
            got = self._got(path)
            if got is None:
                return None
            if got.meta["size"] > 2 * LARGEST_STATEMENT:
                raise self._error(f"{what}: it has {got.meta['size']:,} bytes")
            return bytes(got.bytes()), got.meta["e_tag"]

        return await self._surely(read, what)

    async def _size(self, path: str) -> int | None:
        def read() -> int | None:
            # No HEAD: to that nobody says what is wrong.
            got = self._got(path, (0, 1))
            return None if got is None or not bytes(got.bytes()) else got.meta["size"]

        size = await self._surely(read, f"it cannot be asked for {path}")
        return size if size is not None and 0 < size <= LARGEST_FILE else None

    def _got(self, path: str, part: tuple[int, int] | None = None) -> GetResult | None:
        """In a thread: an object, or the bytes [start, end) of it; None where there is none."""
        import obstore  # noqa: PLC0415 - loaded by now

        try:
            return obstore.get(self._reading, path, options={"range": part} if part else None)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise
            return None

    async def _put(
        self,
        path: str,
        data: bytes | Iterator[bytes],
        *,
        mode: PutMode = "overwrite",
        part: int = PART,
    ) -> bool:
        """Have an object there; False: it is not what `mode` expects."""
        from obstore import exceptions, put  # noqa: PLC0415 - loaded by now

        def write() -> bool:
            send = partial(
                put, self._writing, path, data, use_multipart=not isinstance(data, bytes),
                chunk_size=part, max_concurrency=_PARTS_AT_ONCE,
            )  # fmt: skip
            try:
                send(mode=mode)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
            except (NotImplementedError, exceptions.BaseError) as error:
                if mode == "overwrite" or "NotImplemented" not in f"{type(error)}{error}":
                    raise
                send()
            return True

        return await self._surely(write, f"{path} cannot be sent there")

    async def _surely(self, do: Callable[[], T], what: str) -> T:
        """`_call`, which has tried often enough."""
        try:
            return await self._call(do, what)
        except Transient as error:
            raise self._error(
                f"{what}: {error.why}",
                remedy="Check the network and the proxy, and run the command again.",
            ) from error

    async def _call(self, do: Callable[[], T], what: str) -> T:
        """What `do` returns, in a thread; its failure as one of ours."""
        from obstore.exceptions import BaseError  # noqa: PLC0415 - loaded by now

        try:
            return await trio.to_thread.run_sync(do, abandon_on_cancel=True, limiter=self._turns)
        except (BaseError, FileNotFoundError, ValueError) as error:
            raise self._failure(str(error), what) from error

    def _failure(self, text: str, what: str) -> RemoteError | Transient:
        """What obstore's words mean. Of them no more is said than the server's own code."""
        status, code = _STATUS.search(text), _CODE.search(text)
        answer = " ".join(found[1] for found in (status, code) if found)
        told = code[1] if code else ""
        first = _said(text)
        if _NO_KEYS.search(first):
            return self._error(
                "there are no keys for it: neither AWS_ACCESS_KEY_ID nor a profile in ~/.aws",
                remedy="Set them. For a bucket that anybody may read: AWS_SKIP_SIGNATURE=true.",
            )
        if told == "NoSuchBucket":
            return self._error(
                f"there is no bucket {self._bucket}",
                remedy="Make it, or name another. Where it is not Amazon's: AWS_ENDPOINT_URL.",
            )
        if _OTHER_REGION.search(text) or answer.startswith("301"):
            region = _REGION.search(text)
            where = region[1] or region[2] if region else "another region than is said"
            return self._error(
                f"the bucket {self._bucket} is in {where}",
                remedy="Name its region: AWS_REGION, or region in ~/.aws/config.",
            )
        if answer.startswith(("401", "403")) or told in _KEYS_REFUSED:
            return self._error(
                f"{what}: it refuses ({answer})",
                remedy="Check AWS_ACCESS_KEY_ID, or AWS_PROFILE. To read takes s3:GetObject and "
                "s3:ListBucket, to write s3:PutObject.",
            )
        if answer.startswith("4"):
            return self._error(f"{what}: it answers {answer}")
        reason = re.search(r'message: "([^"\\]{1,200})"', text)
        said = f"it answers {answer}" if answer else first.rpartition(" - ")[2][:200]
        why = reason[1] if reason else said
        if "TimedOut" in text:
            why = "it does not answer"
        elif wrong := re.search(r"InvalidCertificate\(\s*(\w+)", text):
            why = f"its certificate does not count ({wrong[1]})"
        return Transient(why if why.isprintable() else ascii(why))

    def _error(self, what: str, *, remedy: str = "") -> RemoteError:
        return RemoteError(f"{self.url}: {what}", remedy=remedy)


def _said(text: str) -> str:
    """The one line of obstore's that is for people."""
    return text.partition("\n")[0].removeprefix("Generic S3 error: ")[:500]


def _client(url: str) -> type[S3Store]:
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - an extra, for those who have a bucket
    except ImportError as error:
        raise PkgviewError(
            f"{url}: obstore is not installed, by which pkgview speaks S3",
            remedy="Install it: pip install 'pkgview[s3]'.",
        ) from error
    return S3Store


def _certificates(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise PkgviewError(
            f"the certificates in {file} cannot be read: {error.strerror}",
            remedy="Name a file of certificates in PEM form.",
        ) from error


def _verified(name: str, path: Path) -> int:
    """Its size; `LayerError` if that is not the archive of that name, whole."""
    Archive.open(path, FrameCache(0), name=name).verify()
    return path.stat().st_size


def _pieces(path: Path, moved: Callable[[int], object]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            moved(len(piece))
            yield piece
