"""One file of a lock on its way: asked for, resumed, checked while it streams.

A server is believed in nothing. A file counts when its hash is the lock's; what resuming put
together wrongly is fetched once more from its start before the server is blamed.

Writing and hashing a chunk of 64 KiB takes about 0.1 ms and is done inline; hashing what was there
before goes to a thread. A lock is polled, never waited for.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from resolver.errors import PkgviewError
from resolver.fetch.client import Transient
from resolver.fetch.partial import Part, drop, unwritable
from resolver.fetch.wanted import (
    RENEW,
    Digests,
    NotHadError,
    host_of,
    local_path,
    shown,
    strong_hashes,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from resolver.fetch.client import Patience
    from resolver.fetch.partial import Session
    from resolver.fetch.wanted import Download
    from resolver.fetch.web import Web

LARGEST = 16 << 30
"""Bytes; a file whose size neither lock nor server tells may have no more."""


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
            drop(self.path, self.part)

    def leave(self) -> None:
        """Call it where the file could not be packed: the next fetch finds it again, whole."""
        if self.temporary:
            drop(self.path, None)


class Transfer:
    """One file on its way, for as many attempts as it takes."""

    def __init__(
        self,
        file: Download,
        session: Session | None,
        web: Web | None,
        progress: Progress,
        patience: Patience,
    ) -> None:
        self.file = file
        self._session = session
        self._web = web
        self._progress = progress
        self._patience = patience
        self._hashes = strong_hashes(file)
        self._names: tuple[Path, Path | None] | None = None
        self._reported = 0
        self._etag = ""
        self._resumed = False

    async def attempt(self) -> Fetched | None:
        """The whole file; None while another process is at it."""
        local = local_path(self.file)
        if local is not None:
            await trio.to_thread.run_sync(_check_local, local, self.file)
            self._report(local.stat().st_size)
            return Fetched(download=self.file, path=local, temporary=False)
        assert self._session is not None  # noqa: S101 - made where anything is not local
        try:
            if self._names is None:
                self._names = self._session.open(self.file)
            own, shared = self._names
            part = Part(own, self.file)
            try:
                if not part.lock():
                    self._report(part.size())
                    return None
                await trio.to_thread.run_sync(part.take_over)
                await self._complete(part)
            finally:
                part.close()
        except OSError as error:
            raise unwritable(self._session.downloads, error) from error
        except PkgviewError:
            if self._names and self._names[0].exists() and not self._names[0].stat().st_size:
                drop(*self._names)  # nothing in it that would be worth resuming
            raise
        self._session.keep(own)
        return Fetched(download=self.file, path=own, part=shared)

    async def _complete(self, part: Part) -> None:
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
            except Transient as error:
                vain = 0 if part.length > before else vain + 1
                if vain >= self._patience.attempts:
                    raise self._unreachable(error.why) from error
                await trio.sleep(self._patience.pause(vain, error.wait))
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
                what, remedy = wrong
                raise PkgviewError(
                    f"{self.file.filename} from {shown(self.file.url)} {what}", remedy=remedy
                )
            again = True

    async def _receive(self, part: Part) -> None:
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
            raise Transient("the connection was closed early")

    def _begin(self, part: Part, response: httpx2.Response) -> int | None:
        """Make the part fit the answer; the size of the whole file, if the server tells it."""
        etag = response.headers.get("ETag", "")
        length = response.headers.get("Content-Length", "")
        if response.status_code == 206:  # noqa: PLR2004 - the names of RFC 9110 say less
            found = re.fullmatch(
                r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", response.headers.get("Content-Range", "")
            )
            if found is None or int(found[1]) != part.length:
                part.restart()
                raise Transient("the server answered with another part than was asked for")
            return int(found[2]) if found[2] != "*" else None
        if response.status_code == 416:  # noqa: PLR2004 - what is here is longer than what is there
            part.restart()
            raise Transient("the server has less of it than was fetched before")
        if part.length:  # it ignores ranges, or the file is another one now
            part.restart()
            self._resumed = False
        self._etag = etag if etag.startswith('"') else ""
        return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None

    def _report(self, length: int) -> None:
        if length != self._reported:
            self._progress.advanced(self.file.filename, length - self._reported)
            self._reported = length

    def _wrong_size(self, found: str) -> PkgviewError:
        expected = "" if self.file.size is None else f", the lock says {self.file.size}"
        return PkgviewError(
            f"{self.file.filename} from {shown(self.file.url)} has the wrong size: "
            f"{found}{expected}",
            remedy=f"If the file was replaced on purpose, run {RENEW}.",
        )

    def _unreachable(self, why: str) -> PkgviewError:
        return NotHadError(
            f"cannot fetch {self.file.filename} from {host_of(self.file.url)}: {why}",
            remedy="Check the network and the proxy, and run the command again: it goes on from "
            "what has come so far.",
        )


def _check_local(path: Path, file: Download) -> None:
    digests = Digests(file)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PkgviewError(f"{path} is no file", remedy=f"It should be {file.filename}.")
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            while chunk := opened.read(1 << 20):
                digests.update(chunk)
    except OSError as error:
        raise PkgviewError(
            f"cannot read {path}: {error.strerror}",
            remedy=f"{file.filename} is to come from there; put it back, or lock again.",
        ) from error
    if (wrong := digests.wrong()) is not None:
        raise PkgviewError(f"{path} {wrong[0]}", remedy=wrong[1])
    if file.size is not None and size != file.size:
        raise PkgviewError(
            f"{path} has {size} bytes, the lock says {file.size}",
            remedy=f"If the file was replaced on purpose, run {RENEW}.",
        )
