"""The OCI distribution specification 1.1, as far as needed: manifests and blobs of a repository.

Registries as they are: some answer 404 for a manifest without `Accept`; `tags/list` ignores `n`,
and most know no referrers, so neither is asked; a manifest has 4 MiB at most; a `POST` with a
digest is taken for the beginning of an upload; each `Location` is good for one request; a chunk
with a wrong `Content-Range` may be appended all the same, so after a fault the offset is asked for
first, and where nobody knows it the upload begins anew (Debian's ends an upload with the connection
that breaks). What is sent is checked there by its digest.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import trio

from unionfs.store.remote.oci.artifacts import DIGEST, MANIFEST, digest_of
from unionfs.store.remote.transport import RemoteError, Transient
from unionfs.store.remote.web.exchange import NOTHING
from unionfs.store.remote.web.messages import Sent
from unionfs.store.remote.web.ranges import read_range

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from pathlib import Path

    from unionfs.store.remote.web.exchange import Exchange
    from unionfs.store.remote.web.guard import Scopes
    from unionfs.store.remote.web.messages import Answer

LARGEST_MANIFEST: Final = 4 << 20
"""Bytes, by the specification."""

CHUNK: Final = 32 << 20
"""Bytes of one request of an upload. Smaller blobs go in one."""

_PIECE: Final = 1 << 18
_LARGEST_ANSWER: Final = 1 << 20
_HELD = re.compile(r"(?:bytes=)?0-(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is uploaded: bytes, or a file; its digest as registries write it, its size."""

    digest: str
    size: int
    data: bytes | Path

    def part(self, start: int, end: int) -> Callable[[], AsyncIterator[bytes]]:
        """The bytes [start, end), made anew for each try."""

        async def pieces() -> AsyncIterator[bytes]:
            if isinstance(self.data, bytes):
                yield self.data[start:end]
                return
            async with await trio.open_file(self.data, "rb") as file:
                await file.seek(start)
                left = end - start
                while left:
                    piece = await file.read(min(left, _PIECE))
                    if not piece:
                        raise RemoteError(f"{self.data} became shorter while it was sent")
                    left -= len(piece)
                    yield piece

        return pieces


def source_of(path: Path) -> Source:
    """A file, read whole."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(digest=f"sha256:{digest}", size=file.tell(), data=path)


class Registry:
    """One repository. `beside` are others there whose blobs may be mounted."""

    def __init__(self, exchange: Exchange, repository: str, beside: Sequence[str] = ()) -> None:
        self.exchange = exchange
        self.repository = repository
        self._root = f"/v2/{repository}"
        self._pull: Scopes = (f"repository:{repository}:pull",)
        # One set of scopes for all that is done when something is sent: one token.
        self._push: Scopes = (
            f"repository:{repository}:pull,push", *(f"repository:{one}:pull" for one in beside),
        )  # fmt: skip
        # One is asked: an answer of no is the beginning of an upload already.
        self.beside = next(iter(beside), "")

    # -- manifests -------------------------------------------------------------------------------

    async def manifest(self, reference: str, accepted: Sequence[str] = (MANIFEST,)) -> bytes | None:
        """The manifest of that tag or digest; None where there is none."""
        what = f"its manifest {reference} cannot be read"

        async def attempt() -> bytes | None:
            answer = await self.exchange.ask(
                "GET", f"{self._root}/manifests/{quote(reference, safe=':')}",
                accepted=frozenset({200}) | NOTHING, most=LARGEST_MANIFEST, what=what,
                scopes=self._pull, sent=Sent(headers={"Accept": ", ".join(accepted)}),
            )  # fmt: skip
            if answer.status in NOTHING:
                return None
            told = answer.headers.get("Docker-Content-Digest", "")
            if DIGEST.fullmatch(told) and digest_of(answer.body) != told:
                raise Transient("it did not arrive as it was sent")
            return answer.body

        return await self.exchange.patiently(attempt, what)

    async def put_manifest(self, reference: str, manifest: bytes) -> None:
        """Have that tag lead to a manifest; all that it refers to has to be there."""
        what = f"the manifest {reference} cannot be sent there"
        if len(manifest) > LARGEST_MANIFEST:
            raise self.exchange.error(f"{what}: it has more than 4 MiB, which no registry takes")

        async def attempt() -> None:
            await self.exchange.ask(
                "PUT", f"{self._root}/manifests/{quote(reference)}",
                accepted=frozenset({200, 201}), most=_LARGEST_ANSWER, what=what,
                scopes=self._push, sent=Sent(headers={"Content-Type": MANIFEST}, content=manifest),
            )  # fmt: skip

        await self.exchange.patiently(attempt, what)

    # -- blobs -----------------------------------------------------------------------------------

    async def has_blob(self, digest: str) -> bool:
        """Whether a blob is there."""
        what = f"it cannot be asked for {digest}"

        async def attempt() -> bool:
            answer = await self.exchange.ask(
                "HEAD", f"{self._root}/blobs/{digest}", accepted=frozenset({200}) | NOTHING,
                most=0, what=what, scopes=self._pull,
            )  # fmt: skip
            return answer.status not in NOTHING

        return await self.exchange.patiently(attempt, what)

    def read(self, digest: str, size: int, start: int, end: int) -> AsyncGenerator[bytes]:
        """Some of a blob's bytes, as `read_range` has it."""
        return read_range(
            self.exchange, f"{self._root}/blobs/{digest}", size=size, start=start, end=end,
            what=f"{digest} cannot be read", scopes=self._pull,
        )  # fmt: skip

    async def blob(self, digest: str, size: int, most: int) -> bytes:
        """A small blob, whole and verified."""
        what = f"{digest} cannot be read"
        if size > most:
            raise self.exchange.error(f"{what}: it has {size:,} bytes, and {most:,} are read")

        async def attempt() -> bytes:
            answer = await self.exchange.ask(
                "GET", f"{self._root}/blobs/{digest}", accepted=frozenset({200}), most=size,
                what=what, scopes=self._pull,
            )  # fmt: skip
            if digest_of(answer.body) != digest:
                raise Transient("it did not arrive as it was sent")
            return answer.body

        return await self.exchange.patiently(attempt, what)

    async def mount(self, digest: str, other: Registry) -> bool:
        """Have a blob of another repository of this registry; False where that cannot be."""
        if other.exchange.place.host != self.exchange.place.host:
            return False
        return await self.begin(digest, other.repository) is None

    async def put_blob(self, source: Source, sent: Callable[[int], None] = lambda _: None) -> bool:
        """Have a blob there; False: it was. `sent` is told of bytes, of < 0 as it begins anew."""
        if await self.has_blob(source.digest):
            return False
        what = f"{source.digest} cannot be sent there"
        upload = _Upload(self, source, sent)
        await self.exchange.patiently(upload.attempt, what, lambda: upload.furthest)
        return True

    # -- uploads, for `_Upload` ------------------------------------------------------------------

    async def begin(self, digest: str, other: str = "") -> str | None:
        """Where to send it; None: the `other` repository had it, and so has this one now."""
        url = f"{self._root}/blobs/uploads/"
        if other:
            url += f"?{urlencode({'mount': digest, 'from': other})}"
        answer = await self.asked("POST", url, {201, 202})
        return None if answer.status == 201 else self.location(answer)  # noqa: PLR2004 - RFC 9110

    async def asked(
        self, method: str, url: str, accepted: set[int], sent: Sent | None = None
    ) -> Answer:
        """One step of an upload."""
        return await self.exchange.ask(
            method, url, accepted=frozenset(accepted), most=_LARGEST_ANSWER,
            what="the upload was refused", scopes=self._push, sent=sent or Sent(),
        )  # fmt: skip

    def location(self, answer: Answer) -> str:
        """Where an answer says to go on."""
        there = answer.headers.get("Location", "")
        if not there:
            raise self.exchange.error("it does not say where to send things to")
        return self.exchange.joined(answer.url, there)


class _Upload:
    """One blob on its way, for as many attempts as it takes."""

    def __init__(self, registry: Registry, source: Source, sent: Callable[[int], None]) -> None:
        self._registry = registry
        self._source = source
        self._sent = sent
        self._location = ""
        self._offset = 0
        self.furthest = 0
        """The most bytes of it that have been there."""

    async def attempt(self) -> None:
        """Go on, or begin; `Transient` where it broke off."""
        registry, source = self._registry, self._source
        await self._find_offset()
        if not self._location:
            location = await registry.begin(source.digest, registry.beside)
            if location is None:
                self._moved(source.size)
                return
            self._location = location
        while source.size > CHUNK and self._offset < source.size:
            end = min(self._offset + CHUNK, source.size)
            location, self._location = self._location, ""
            try:
                answer = await registry.asked("PATCH", location, {202, 204}, self._part(end))
            except Transient:
                self._location = location
                raise
            self._location = registry.location(answer)
            self._moved(_held(answer, end))
        mark = "&" if "?" in self._location else "?"
        url = f"{self._location}{mark}{urlencode({'digest': source.digest})}"
        self._location = ""  # whatever becomes of it, this one is used
        if source.size > CHUNK:
            await registry.asked("PUT", url, {201, 204})
        else:
            await registry.asked("PUT", url, {201, 204}, self._part(source.size))
            self._moved(source.size)

    def _part(self, end: int) -> Sent:
        start = self._offset
        headers = {"Content-Type": "application/octet-stream"}
        if self._source.size > CHUNK:
            headers["Content-Range"] = f"{start}-{end - 1}"
        return Sent(headers=headers, content=self._source.part(start, end), size=end - start)

    async def _find_offset(self) -> None:
        """After a fault: how much of it is there; where nobody knows, none."""
        location, self._location = self._location, ""
        if location:
            try:
                answer = await self._registry.asked("GET", location, {204})
                held = _held(answer, 0)
                if held <= self._source.size:
                    self._location = self._registry.location(answer)
                    self._moved(held)
                    return
            except RemoteError:
                pass  # it is ended, or the registry was
        self._moved(0)

    def _moved(self, offset: int) -> None:
        self._sent(offset - self._offset)
        self._offset = offset
        self.furthest = max(self.furthest, offset)


def _held(answer: Answer, otherwise: int) -> int:
    """How many bytes of an upload a registry says that it has."""
    found = _HELD.fullmatch(answer.headers.get("Range", ""))
    return int(found[1]) + 1 if found else otherwise
