"""What a project's views need, on its way to a remote store.

In this order, so that nothing there refers to what is missing, whenever it breaks off: the files of
archives, side by side; what sources became them (`derived` statements), side by side; the views.
What is there already is not sent: whoever pushes again goes on.

Statements are made here and nowhere else, and `sign` is asked for the signatures of all of them.

What is said of sources is this user's own word and what this user believes: whoever signs it
vouches for both. Bytecode travels, since a view's manifest names it, and it counts elsewhere only
if a listed key has signed; skeletons travel for the same reason, and nothing is said of them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from resolver.errors import PkgviewError
from resolver.failures import single_failure
from unionfs.archive.frames import ZSTD
from unionfs.archive.layer import LayerError
from unionfs.bytecode.companion import KIND as BYTECODE
from unionfs.store.remote.lazy import beginning
from unionfs.store.remote.statement import Derived, StatementError, View, next_serial, read
from unionfs.store.remote.transport import RemoteError, Statement
from unionfs.store.remote.use.traces import load, to_bytes, trace_key
from unionfs.store.sources import is_made_here, is_of_this_machine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from resolver.manifest import Manifest, ViewId
    from resolver.places import Places
    from unionfs.store.ordered import Stores
    from unionfs.store.remote.transport import Blob, Transport

T = TypeVar("T")

SIDE_BY_SIDE: Final = 6
"""Archives under way at once; each is read and compressed bytes go out, so more gain nothing."""


PACKED_AT_ONCE: Final = 2
"""Beginnings: each takes some hundred megabytes while it is made."""


class Signing(Protocol):
    """Signs texts, whose signatures come in their order."""

    def __call__(self, texts: Sequence[bytes]) -> Sequence[tuple[str, ...]]:
        """`PkgviewError` where that cannot be."""
        ...


def unsigned(texts: Sequence[bytes]) -> Sequence[tuple[str, ...]]:
    """Nobody signs."""
    return [() for _ in texts]


class Progress(Protocol):
    """Told from the trio thread."""

    def sending(self, total: int) -> None:
        """Once, first: so many bytes of archives, of which some may be there."""
        ...

    def sent(self, count: int) -> None:
        """So many bytes more are there; fewer than none where one begins anew."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What is to be there: views with their tags ("" for none), and archives with their sources.

    `traces` has the frames of archives that are touched first, as far as that is known.
    """

    views: tuple[tuple[Manifest, str], ...]
    archives: tuple[str, ...]
    sources: Mapping[str, str]
    traces: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Pushed:
    """Archives and bytes that were sent, and how many archives were there; statements, views."""

    archives: int = 0
    size: int = 0
    kept: int = 0
    statements: int = 0
    views: list[ViewId] = field(default_factory=list)


def parcel(
    stores: Stores,
    views: Sequence[tuple[Manifest, str]],
    *,
    further: Iterable[str] = (),
    places: Places | None = None,
) -> Parcel:
    """All that these views need, and `further` archives. `PkgviewError` if one of them is gone."""
    names = {name for manifest, _ in views for name in manifest.archives} | set(further)
    if gone := next((name for name in sorted(names) if not stores.has(name)), None):
        raise PkgviewError(
            f"{gone} is in no store any more",
            remedy="Run `pkgview up` in the project: it fetches what is missing.",
        )
    found: dict[str, str] = {}
    for store in (stores, *stores.others):  # itself: it knows of partial archives
        known = store.known_sources()
        found = {k: n for k, n in known.items() if n in names and travels(k)} | found
    traces = {} if places is None else {name: load(places, name) for name in names}
    return Parcel(
        views=tuple(views), archives=tuple(sorted(names)), sources=found,
        traces={name: frames for name, frames in traces.items() if frames},
    )  # fmt: skip


def travels(key: str) -> bool:
    """Whether what a key became means something elsewhere."""
    made = is_made_here(key) and not key.startswith(f"{BYTECODE}-")
    return not made and not is_of_this_machine(key)


async def push(  # noqa: PLR0913 - what, whereto, and by whom
    remote: Transport,
    stores: Stores,
    what: Parcel,
    progress: Progress,
    sign: Signing = unsigned,
    *,
    seen: Callable[[str], int] = lambda _: 0,
    address: str | None = None,
) -> Pushed:
    """Have all of it there. `PkgviewError` names what could not be; what was sent before stays.

    `progress` is told of what was there; of what is sent by the transport (`sent`). `sign` is asked
    once, before anything is sent or drawn: it may have a question to its user. `seen` is the serial
    of the latest view that was believed under a tag; `address` what others call the store, "" if
    any store may have the same. Default: as it is called here.
    """
    done = Pushed()
    keys = sorted(what.sources)
    texts = [Derived(source=key, archive=what.sources[key]).to_bytes() for key in keys]
    address = remote.url if address is None else address
    views = []
    for manifest, tag in what.views:
        known = await _known(remote, tag or manifest.id)
        serial = next_serial(time.time(), known.serial if known and tag else 0, seen=seen(tag))
        views.append((_view(manifest, tag, what.sources, address, serial), known))
    texts += [view.to_bytes() for view, _ in views]
    said = [
        Statement(said=text, signatures=signatures)
        for text, signatures in zip(texts, sign(texts), strict=True)
    ]
    with stores.held():
        sizes = {name: _path(stores, name).stat().st_size for name in what.archives}
        progress.sending(sum(sizes.values()))

        async def archive(name: str) -> None:
            fresh = await _first(stores, name, lambda path: remote.put_archive(name, path))
            if fresh:
                done.archives += 1
                done.size += sizes[name]
            else:
                done.kept += 1
                progress.sent(sizes[name])

        # The largest first: they take longest.
        await _each(sorted(sizes, key=lambda name: -sizes[name]), archive)
    of_key = dict(zip(keys, said, strict=False))

    async def derived(key: str) -> None:
        await remote.put_derived(key, of_key[key])
        done.statements += 1

    await _each(keys, derived)

    await _send_traces(remote, stores, what.traces)
    for (view, known), statement in zip(views, said[len(keys) :], strict=True):
        # The same is there, perhaps signed: who signs nothing leaves it.
        if known is None or statement.signatures or _says(known) != _says(view):
            await _put_view(remote, view, statement)
        done.views.append(view.id)
    return done


async def _send_traces(
    remote: Transport, stores: Stores, traces: Mapping[str, Sequence[int]]
) -> None:
    """Have there which frames are touched first, and these themselves, each archive's in one."""
    packing = trio.CapacityLimiter(PACKED_AT_ONCE)

    async def send(name: str) -> None:
        if not await remote.derived(trace_key(name)):  # the first is as good as any
            said = to_bytes(name, traces[name])
            await remote.put_derived(trace_key(name), Statement(said=said))
        if await remote.beginning(name, ZSTD) is None:
            data = await trio.to_thread.run_sync(
                _beginning, stores, name, traces[name], limiter=packing
            )
            if data:
                await remote.put_beginning(name, ZSTD, data)

    await _each(sorted(traces), send)


def _view(
    manifest: Manifest, tag: str, sources: Mapping[str, str], address: str, serial: int
) -> View:
    """What is to be said of a view."""
    needed = set(manifest.archives)
    return View(
        manifest=manifest,
        sources={key: name for key, name in sources.items() if name in needed},
        made=int(time.time()),
        serial=serial,
        name=tag,
        store=address if tag else "",
    )


async def _put_view(remote: Transport, view: View, statement: Statement) -> None:
    blobs: dict[str, Blob] = {}

    async def find(name: str) -> None:
        blob = await remote.find(name)
        if blob is None:
            raise RemoteError(
                f"{remote.url} has no {name}, which was there a moment ago",
                remedy="Somebody removed it: run the command again.",
            )
        blobs[name] = blob

    names = sorted(set(view.manifest.archives))
    await _each(names, find)
    references = [view.id, view.name] if view.name else [view.id]
    await remote.put_view(references, statement, [blobs[name] for name in names])


async def _known(remote: Transport, reference: str) -> View | None:
    """What is said of a view there now; None where there is nothing that can be read."""
    known = await remote.view(reference)
    try:
        found = None if known is None else read(known.said)
    except StatementError:
        return None
    return found if isinstance(found, View) else None


def _says(view: View) -> tuple[object, ...]:
    """All but when it was said."""
    return view.id, dict(view.sources), view.name, view.store


async def _each(names: Sequence[str], do: Callable[[str], Awaitable[None]]) -> None:
    """Do it for each, some at once; the first failure ends all."""
    waiting = iter(names)

    async def work() -> None:
        for name in waiting:
            await do(name)

    with single_failure():
        async with trio.open_nursery() as nursery:
            for _ in range(min(SIDE_BY_SIDE, len(names))):
                nursery.start_soon(work)


async def _first(stores: Stores, name: str, use: Callable[[Path], Awaitable[T]]) -> T:
    """What `use` makes of the archive in the first store that has it whole."""
    fault: LayerError | None = None
    for path in stores.paths(name):
        if os.path.exists(path):  # noqa: ASYNC240, PTH110 - of a local store
            try:
                return await use(path)
            except LayerError as error:
                fault = fault or error
    raise PkgviewError(
        f"{name} cannot be sent: {fault or 'it is in no store'}",
        remedy="Run `pkgview store verify --repair`.",
    )


def _beginning(stores: Stores, name: str, frames: Sequence[int]) -> bytes:
    try:
        return beginning.written(stores.open(name), frames)
    except LayerError as error:
        raise PkgviewError(
            f"{name} cannot be sent: {error}", remedy="Run `pkgview store verify --repair`."
        ) from error


def _path(stores: Stores, name: str) -> Path:
    return next((path for path in stores.paths(name) if path.is_file()), stores.path(name))
