"""The seam to stores beyond this machine: what every transport can do.

A transport moves bytes and believes nobody. It checks the form of what it hands on (sizes, names,
that a text is one), never whether it is true: an archive's bytes are proved by its name, frame by
frame, and whose statement counts is for others to say (`unionfs.store.remote`).

Transports run in trio, any number of calls at once; each bounds its own connections. Nothing in
them knows of views, projects, or the mount.

**Failures.** `RemoteError` names the store, what of it was asked for and what it answered: another
try will not help, another store may. `Transient` is worth another try: a connection that broke, an
answer that stopped, a server that is busy (`wait`: the seconds it asks for). What is asked for and
is simply not there is None, or an empty tuple.

Questions and `put_…` try again by themselves, with patience; **`read` does not**: it yields what
came, in order, and raises `Transient` where it stops, so that whoever reads keeps what it has and
asks for the rest. It never yields more bytes than `[start, end)` has, and never ends early without
raising. It is an asynchronous generator: close it (`contextlib.aclosing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from resolver.errors import PkgviewError
from resolver.fetch.client import Transient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

__all__ = ["LARGEST_STATEMENT", "Blob", "RemoteError", "Statement", "Transient", "Transport"]

LARGEST_STATEMENT: Final = 8 << 20
"""Bytes of a statement, and of its signatures together; more is refused."""


class RemoteError(PkgviewError):
    """A remote store refuses, lacks, or says what cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """An archive's file in a remote store.

    `name` is the archive's, `size` the file's in bytes, `address` where it is, in its transport's
    own words: kept with what was fetched (`partial/<name>.from`), it is good for `read` later, by
    a transport for the same store.
    """

    name: str
    size: int
    address: str


def name_of_beginning(name: str, by: str) -> str:
    """What an archive's beginning is called, for who has that version of zstd."""
    return f"{name}.{by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What somebody says: canonical JSON (bytes), and signatures over exactly these bytes.

    Signatures are armoured (SSHSIG); there may be none. Nothing in it has been looked at.
    """

    said: bytes
    signatures: tuple[str, ...] = ()


class Transport(Protocol):
    """A store beyond this machine. See the module for errors and concurrency."""

    @property
    def url(self) -> str:
        """The store, as its user named it, without anybody's password; fit for messages."""
        ...

    async def find(self, name: str) -> Blob | None:
        """An archive by its name."""
        ...

    def read(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes [start, end) of its file, as they come; one request."""
        ...

    async def beginning(self, name: str, by: str) -> Blob | None:
        """An archive's beginning (`unionfs.store.remote.lazy.beginning`) for who has that zstd.

        What `read` reads of it has no archive's name, but `name_of_beginning`.
        """
        ...

    async def derived(self, key: str) -> tuple[Statement, ...]:
        """Who says which archive `key` became; a key is one of `unionfs.store.sources`."""
        ...

    async def view(self, reference: str) -> Statement | None:
        """The statement that holds the manifest of a view, by its id or by a tag."""
        ...

    async def put_archive(self, name: str, path: Path) -> bool:
        """Send an archive's file; False: it was there. `LayerError` if that file is damaged."""
        ...

    async def put_beginning(self, name: str, by: str, data: bytes) -> None:
        """Have an archive's beginning there, in the place of the one by the same zstd."""
        ...

    async def put_derived(self, key: str, statement: Statement) -> None:
        """Add a statement to what is said of `key`; signatures of an equal one are put together."""
        ...

    async def put_view(
        self, references: Sequence[str], statement: Statement, archives: Sequence[Blob]
    ) -> None:
        """Publish a view under its id and tags; what it needs has to be there already."""
        ...
