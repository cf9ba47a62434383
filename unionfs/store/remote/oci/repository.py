"""A store in a repository of an OCI registry (`artifacts` says what is there).

A file of a lock is found by one request, and so is a view; what a registry collects is never what a
view or a statement needs. What a manifest says of an archive (digest and size of its file) is
remembered: whoever read a view asks no more for each of its archives. A lie there costs an error
when the first frame is read.

Two who say something of one key at the same moment may overwrite each other, since registries
change a tag without looking: so it is looked at once more, and said again if it is not there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

import trio

from resolver.errors import PkgviewError
from unionfs.archive.framecache import FrameCache
from unionfs.archive.reader import Archive
from unionfs.store.remote import wire
from unionfs.store.remote.oci import artifacts
from unionfs.store.remote.oci.artifacts import Artifact
from unionfs.store.remote.oci.registry import LARGEST_MANIFEST, Source, source_of
from unionfs.store.remote.transport import (
    LARGEST_STATEMENT,
    Blob,
    RemoteError,
    Statement,
    name_of_beginning,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from pathlib import Path

    from unionfs.store.remote.oci.registry import Registry

_TRIES = 3


class OciTransport:
    """A `Transport`. Use as an asynchronous context."""

    def __init__(self, url: str, registry: Registry) -> None:
        self.url = url
        self.sent: Callable[[int], None] = lambda _: None
        """Told of bytes as they have gone out; fewer than none where it begins anew."""
        self.registry = registry
        self._found: dict[str, Blob] = {}
        self._beginnings: dict[str, Blob] = {}
        self._has_told: set[str] = set()
        """The archives of which all beginnings are known."""
        self._has_config = False
        self._lock = trio.Lock()

    async def __aenter__(self) -> Self:
        await self.registry.exchange.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.registry.exchange.__aexit__(*exc)

    # -- reading ---------------------------------------------------------------------------------

    async def find(self, name: str) -> Blob | None:
        """An archive by its name: one request, or none."""
        if name not in self._found:
            await self._artifact(artifacts.archive_tag(name), artifacts.ARCHIVE)
        return self._found.get(name)

    def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes [start, end) of its file."""
        if not artifacts.DIGEST.fullmatch(blob.address):
            raise RemoteError(f"{self.url} has nothing at {blob.address!a}")
        return self.registry.read(blob.address, blob.size, start, end)

    async def beginning(self, name: str, by: str) -> Blob | None:
        """An archive's beginning for who has that zstd: one request, or none after `view`."""
        if name not in self._has_told:
            await self._artifact(artifacts.beginnings_tag(name), artifacts.BEGINNINGS)
            self._has_told.add(name)
        return self._beginnings.get(name_of_beginning(name, by))

    async def derived(self, key: str) -> tuple[Statement, ...]:
        """Who says which archive `key` became: one request."""
        found = await self._artifact(artifacts.derived_tag(key), artifacts.DERIVED)
        if found is None or found.annotations.get(artifacts.KEY) != key:
            return ()
        return self._statements(found.annotations.get(artifacts.SAID, "").encode(), key)

    async def view(self, reference: str) -> Statement | None:
        """The statement of a view: one request, two where it is long."""
        wire.check_tag(reference)
        found = await self._artifact(reference, artifacts.VIEW)
        if found is None:
            return None
        self._has_told.update(layer.name for layer in found.layers if layer.name)
        first = found.layers[0]
        if first.media != artifacts.STATEMENTS:
            raise self._odd(reference)
        text = first.data or await self.registry.blob(first.digest, first.size, LARGEST_STATEMENT)
        statements = self._statements(text, reference)
        if len(statements) != 1:
            raise self._odd(reference)
        return statements[0]

    async def _artifact(self, tag: str, kind: str) -> Artifact | None:
        text = await self.registry.manifest(tag)
        if text is None:
            return None
        try:
            found = Artifact.from_bytes(text, kind)
        except ValueError as error:
            raise self._odd(tag) from error
        for layer in found.layers:
            if layer.blob is not None:
                self._found.setdefault(layer.name, layer.blob)
            elif layer.begins:
                blob = Blob(name=layer.begins, size=layer.size, address=layer.digest)
                self._beginnings.setdefault(layer.begins, blob)
        return found

    def _statements(self, text: bytes, what: str) -> tuple[Statement, ...]:
        try:
            return wire.from_bytes(text)
        except ValueError as error:
            raise self._odd(what) from error

    def _odd(self, what: str) -> RemoteError:
        return RemoteError(
            f"{self.url}: what it has for {what} is none of pkgview's",
            remedy="Something else was pushed there: name another repository or tag.",
        )

    # -- writing ---------------------------------------------------------------------------------

    async def put_archive(self, name: str, path: Path) -> bool:
        """Send an archive's file, read whole before; False: one of that name was there."""
        there = await self._artifact(artifacts.archive_tag(name), artifacts.ARCHIVE)
        known = self._found.get(name) if there is not None else None
        if known is not None and await self.registry.has_blob(known.address):
            return False
        source = await trio.to_thread.run_sync(source_of, path)
        more = await trio.to_thread.run_sync(_described, name, path)
        await self.registry.put_blob(source, self.sent)
        blob = Blob(name=name, size=source.size, address=source.digest)
        await self._put_artifact(artifacts.archive_tag(name), artifacts.of_archive(blob, more))
        self._found[name] = blob
        return True

    async def put_beginning(self, name: str, by: str, data: bytes) -> None:
        """Have an archive's beginning there; that of others' zstd stays."""
        await self._artifact(artifacts.beginnings_tag(name), artifacts.BEGINNINGS)
        await self._put_small(data)
        called = name_of_beginning(name, by)
        blob = Blob(name=called, size=len(data), address=artifacts.digest_of(data))
        self._beginnings[called] = blob
        artifact = artifacts.of_beginnings(self._beginnings_of([name]))
        await self._put_artifact(artifacts.beginnings_tag(name), artifact)

    def _beginnings_of(self, names: Iterable[str]) -> list[Blob]:
        begun = tuple(name_of_beginning(name, "") for name in names)
        return [
            blob for called, blob in sorted(self._beginnings.items()) if called.startswith(begun)
        ]

    async def put_derived(self, key: str, statement: Statement) -> None:
        """Add a statement to what is said of `key`."""
        for _ in range(_TRIES):
            known = await self.derived(key)
            try:
                every = wire.merged(known, statement)
            except ValueError as error:
                raise RemoteError(f"{self.url}: {key}: {error}") from error
            if every == known:
                return
            blobs = await self._named_by(every)
            artifact = artifacts.of_derived(key, every, blobs)
            await self._put_artifact(artifacts.derived_tag(key), artifact)

    async def put_view(
        self, references: Sequence[str], statement: Statement, archives: Sequence[Blob]
    ) -> None:
        """Publish a view under its id and tags."""
        for reference in references:
            wire.check_tag(reference)
        text = wire.to_bytes([statement])
        if len(text) > LARGEST_STATEMENT:
            raise RemoteError(f"{self.url}: the view is too large for a statement")
        begun = self._beginnings_of(blob.name for blob in archives)
        artifact = artifacts.of_view(text, archives, begun)
        if len(artifact.to_bytes()) > LARGEST_MANIFEST:
            artifact = artifacts.of_view(text, archives)
        await self._put_small(text)
        for reference in references:
            await self._put_artifact(reference, artifact)

    async def _named_by(self, statements: Iterable[Statement]) -> list[Blob]:
        """The files of the archives that statements name, as far as they are there."""
        found: dict[str, Blob] = {}
        for one in statements:
            try:
                name = json.loads(one.said)["archive"]
                blob = await self.find(name)
            except (ValueError, LookupError, TypeError, RecursionError, PkgviewError):
                continue
            if blob is not None and await self.registry.has_blob(blob.address):
                found[name] = blob
        return list(found.values())

    async def _put_artifact(self, tag: str, artifact: Artifact) -> None:
        async with self._lock:
            if not self._has_config:
                await self._put_small(artifacts.CONFIG)
                self._has_config = True
        await self.registry.put_manifest(tag, artifact.to_bytes())

    async def _put_small(self, data: bytes) -> None:
        digest = artifacts.digest_of(data)
        await self.registry.put_blob(Source(digest=digest, size=len(data), data=data))


def _described(name: str, path: Path) -> dict[str, str]:
    """What people see of an archive who look at the registry; `LayerError` if it is damaged."""
    archive = Archive.open(path, FrameCache(0), name=name)
    archive.verify()
    meta = archive.meta
    said = {"kind": meta.kind, "name": meta.name, "version": meta.version, "origin": meta.origin}
    return {
        "org.opencontainers.image.title": name,
        **{f"pkgview.{key}": value for key, value in said.items() if value},
    }
