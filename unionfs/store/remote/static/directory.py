"""The same store as a directory on this machine: written here, served by whichever HTTP server.

Each file is written beside its place, synced, and renamed, in the order in which they refer to each
other, so whoever is served meanwhile, or copies it, has all that anything there refers to. A writer
that is killed leaves whole files. Others may write there, too; who adds to what is said of one key
holds the directory's lock.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import trio

from resolver.atomic import Alone, write_atomically
from resolver.errors import PkgviewError
from unionfs.store.local import Store
from unionfs.store.remote import wire
from unionfs.store.remote.static import layout
from unionfs.store.remote.transport import (
    Blob,
    RemoteError,
    Statement,
    Transient,
    name_of_beginning,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

_PIECE = 1 << 18


class DirectoryTransport:
    """A `Transport`. What is made there is for others, as the umask has it."""

    def __init__(self, root: Path) -> None:
        self.url = str(root)
        self.sent: Callable[[int], None] = lambda _: None
        """Told of bytes as they are there."""
        self._root = root
        self._store = Store(root)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def find(self, name: str) -> Blob | None:
        """An archive by its name."""
        return self._blob(name, layout.archive(name))

    async def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes [start, end) of its file."""
        left = min(end, blob.size) - start
        try:
            async with await trio.open_file(self._root / blob.address, "rb") as file:
                await file.seek(start)
                while left > 0:
                    piece = await file.read(min(left, _PIECE))
                    if not piece:
                        raise Transient("it ends before")
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise self._unusable(error) from error

    async def beginning(self, name: str, by: str) -> Blob | None:
        """An archive's beginning for who has that zstd."""
        return self._blob(name_of_beginning(name, by), layout.beginning(name, by))

    async def derived(self, key: str) -> tuple[Statement, ...]:
        """Who says which archive `key` became."""
        return self._derived(key)

    async def view(self, reference: str) -> Statement | None:
        """The statement of a view."""
        text = self._text(layout.view(reference))
        try:
            return None if text is None else layout.view_from_bytes(text)[0]
        except ValueError as error:
            raise self._odd(reference) from error

    async def put_archive(self, name: str, path: Path) -> bool:
        """Copy an archive's file; False: it was there and whole."""
        size = await trio.to_thread.run_sync(self._take, name, path)
        self.sent(size)
        return size > 0

    async def put_beginning(self, name: str, by: str, data: bytes) -> None:
        """Have an archive's beginning there, in the place of the one by the same zstd."""
        await trio.to_thread.run_sync(self._write, layout.beginning(name, by), data)

    async def put_derived(self, key: str, statement: Statement) -> None:
        """Add a statement to what is said of `key`."""
        await trio.to_thread.run_sync(self._add_derived, key, statement)

    async def put_view(
        self, references: Sequence[str], statement: Statement, archives: Sequence[Blob]
    ) -> None:
        """Publish a view under its id and tags."""
        sizes = {blob.name: blob.size for blob in archives}
        text = layout.view_to_bytes(statement, sizes, self._beginnings_of(tuple(sizes)))
        for reference in references:
            await trio.to_thread.run_sync(self._write, layout.view(reference), text)

    def _blob(self, name: str, address: str) -> Blob | None:
        try:
            size = (self._root / address).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        return Blob(name=name, size=size, address=address)

    def _beginnings_of(self, names: tuple[str, ...]) -> dict[str, int]:
        begun = tuple(name_of_beginning(name, "") for name in names)
        with suppress(FileNotFoundError):
            return {
                path.name: path.stat().st_size
                for path in (self._root / layout.BEGINNINGS).iterdir()
                if path.name.startswith(begun)
            }
        return {}

    def _take(self, name: str, path: Path) -> int:
        """The bytes that came; 0: it was there."""
        self._make("archives")
        return path.stat().st_size if self._store.take(path, name) else 0

    def _add_derived(self, key: str, statement: Statement) -> None:
        path = layout.derived(key)
        self._make("said/derived")
        with Alone(self._root / "said/derived"):
            known = self._derived(key)
            try:
                every = wire.merged(known, statement)
            except ValueError as error:
                raise RemoteError(f"{self.url}: {key}: {error}") from error
            if every != known:
                self._write(path, wire.to_bytes(every))

    def _derived(self, key: str) -> tuple[Statement, ...]:
        text = self._text(layout.derived(key))
        try:
            return () if text is None else wire.from_bytes(text)
        except ValueError as error:
            raise self._odd(key) from error

    def _text(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def _write(self, path: str, text: bytes) -> None:
        place = self._root / path
        try:
            self._make(os.path.dirname(path))  # noqa: PTH120 - a name, no path of this machine
            write_atomically(place, text)
            # For whoever may look into the directory: it is for others.
            place.chmod(place.parent.stat().st_mode & 0o666)
        except OSError as error:
            raise self._unusable(error) from error

    def _make(self, folder: str) -> None:
        try:
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _odd(self, what: str) -> RemoteError:
        return RemoteError(
            f"{self.url}: what it has for {what} is none of pkgview's",
            remedy="Remove that file, and fill the directory again.",
        )

    def _unusable(self, error: OSError) -> PkgviewError:
        return PkgviewError(
            f"{error.filename or self.url} cannot be used: {error.strerror}",
            remedy="Make room there, or make it readable and writable for you.",
        )
