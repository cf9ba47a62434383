"""One mount's file system: store, registry and bindings put together.

Concurrency: `Filesystem`, `Catalog` and their `Registry` belong to the trio thread.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.python.uv import note as note_files
from unionfs.archive.layer import LayerError
from unionfs.daemon.binding_requests import Operations
from unionfs.daemon.compile_jobs import CompileJobs
from unionfs.daemon.served_from import told
from unionfs.daemon.service import (
    SUPERVISED,
    TRANSPORT_VARIABLE,
    TRANSPORTS,
    WORKERS_VARIABLE,
    Service,
    workers_named,
)
from unionfs.daemon.use_requests import UseRequests
from unionfs.kernel import devfuse
from unionfs.publishing.default import ensure_default
from unionfs.publishing.publish import tell_needs
from unionfs.store.ordered import Stores
from unionfs.store.remote.lazy.asking import Fetches
from unionfs.store.remote.use.traces import Recorder
from unionfs.view.catalog import Catalog
from unionfs.view.filesystem import Filesystem
from unionfs.view.nodeid import PACKING
from unionfs.view.outside import Notes
from unionfs.view.registry import Registry
from unionfs.waiting.current import Current
from unionfs.waiting.resolving import Resolving

if TYPE_CHECKING:
    from resolver.places import Places
    from unionfs.control.request import Request
    from unionfs.daemon.service import Answer, Serve
    from unionfs.daemon.worker_protocol import ServerLink
    from unionfs.kernel.gains import Gain
    from unionfs.view.nodeid import Packing
    from unionfs.view.told import Told

TELL_SECONDS = 6 * 3600.0
"""Between two times that a daemon tells what its state needs (`unionfs.store.claims`). The clock
stands still while the machine sleeps, so it is about daily for one that mostly does."""

NOTE_LOOKS, NOTE_SECONDS = 4, 2.0
"""How many notes are looked after at once, and how long one may take: its files may lie where
nothing answers."""


def build_filesystem(
    places: Places,
    packing: Packing = PACKING,
    fetches: Fetches | None = None,
    told_before: Told | None = None,
) -> tuple[Filesystem, Current]:
    """Everything a transport serves at `places.mount`, and who decides what `current` is."""
    store = Stores(places)
    registry = Registry.of(places)
    catalog = Catalog(places, store, registry, packing, told_before)
    catalog.go_on()  # before the default view gets a number
    current = Current(catalog, ensure_default(places, store, registry))
    owner = {"uid": os.getuid(), "gid": os.getgid()}
    filesystem = Filesystem(catalog, current, **owner, notes=_notes(places), fetch=fetches)
    return filesystem, current


def _notes(places: Places) -> Notes:
    """Those that this user's `up` has written for uv, about the user's own files."""
    looking = trio.CapacityLimiter(NOTE_LOOKS)

    async def refresh(note: bytes) -> None:
        with trio.move_on_after(NOTE_SECONDS):
            await trio.to_thread.run_sync(
                note_files.refresh, Path(os.fsdecode(note)),
                limiter=looking, abandon_on_cancel=True,
            )  # fmt: skip

    return Notes(directory=os.fsencode(note_files.notes(places.state)), refresh=refresh)


async def _tell(places: Places) -> None:
    """Tell what the state needs, and go on; never returns. The store may not answer."""
    tell = partial(tell_needs, places, all_of_it=True)
    while True:
        with contextlib.suppress(PkgviewError, OSError):
            await trio.to_thread.run_sync(tell, abandon_on_cancel=True)
        await trio.sleep(TELL_SECONDS)


def _running(places: Places) -> list[dict[str, Any]]:
    from unionfs.upkeep.running import running  # noqa: PLC0415 - few ask

    return list(running(places))


def chosen_transport(before: str = "") -> str:
    """The transport that the environment names, or that the mount had before, or the default."""
    known = before if before in TRANSPORTS else TRANSPORTS[0]
    name = os.environ.get(TRANSPORT_VARIABLE) or known
    if name not in TRANSPORTS:
        raise PkgviewError(
            f"there is no transport {name!r}",
            remedy=f"{TRANSPORT_VARIABLE} may be {' or '.join(TRANSPORTS)}.",
        )
    return name


def chosen_workers(transport: str, before: int = 1) -> int:
    """How many processes the environment wants, or the mount had before, or one."""
    text = os.environ.get(WORKERS_VARIABLE) or str(before if transport == SUPERVISED else 1)
    number = workers_named(text)
    if number > 1 and transport != SUPERVISED:
        raise PkgviewError(
            f"a mount with the transport {transport} is served by one process, not by {number}",
            remedy=f"Mount with `--transport {SUPERVISED}`, or with `--workers 1`.",
        )
    return number


def assemble_worker(
    places: Places, server: ServerLink, packing: Packing, told_before: Told
) -> Answer:
    """What a worker serves: the same file system, but for `current`, which it asks the server."""
    registry = Registry.of(places)
    catalog = Catalog(places, Stores(places), registry, packing, told_before)
    catalog.opened = server.opened
    owner = {"uid": os.getuid(), "gid": os.getgid()}
    fetches = Fetches(places)
    server.remote = fetches.gauges
    filesystem = Filesystem(catalog, server, **owner, notes=_notes(places), fetch=fetches)
    return partial(devfuse.answer, filesystem)


def assemble(
    places: Places,
    transport: str = SUPERVISED,
    packing: Packing = PACKING,
    told_before: Told | None = None,
) -> Service:
    """What pkgview really serves; `packing`, `told_before` are those of a mount that is there."""
    fetches = Fetches(places)
    filesystem, current = build_filesystem(places, packing, fetches, told_before)
    gained: dict[str, Gain] = {}
    catalog, binder = filesystem.catalog, current.binder
    operations = Operations(binder, current.by_hand, current.known, partial(_running, places))
    resolving = Resolving(places, binder)
    background = CompileJobs(places, binder.refresh)
    recorder = Recorder(places, catalog.store.frames)
    catalog.opened = background.consider
    serve: Serve | None = None
    if transport != SUPERVISED:
        from unionfs.kernel import libfuse  # noqa: PLC0415 - 2 MB, few mounts need it

        serve = partial(libfuse.serve, filesystem)

    def gauges() -> dict[str, Any]:
        frames = catalog.store.frames
        return {
            "views": catalog.loaded_views,
            "bindings": len(binder.bindings),
            "looks": binder.looks,
            "look_seconds": binder.look_seconds,
            "resolving": resolving.running,
            "compiling": background.pending,
            "gains": {name: gain._asdict() for name, gain in gained.items()},
            "frames": {"bytes": frames.size, "hits": frames.hits, "misses": frames.misses},
            "remote": fetches.gauges(),
            "refused": catalog.told.refused,
        }

    def greet() -> dict[str, Any]:
        catalog.go_on()
        return {"refused": catalog.told.refused}

    def knows(view: str) -> bool:
        with contextlib.suppress(LayerError):
            return catalog.view_number(ViewId(view)) is not None
        return False

    async def view_of(tid: int) -> ViewId:
        return ViewId((await filesystem.current(tid)).decode().removeprefix("views/"))

    def look_into(view: ViewId) -> None:
        with contextlib.suppress(LayerError, PkgviewError, OSError):
            catalog.view(view)

    async def refresh(_: Request) -> None:
        resolving.look_again()
        binder.refresh()

    return Service(
        transport=transport,
        gauges=gauges,
        operations={
            "refresh": refresh,
            "resolve": resolving.answer,
            **operations.table,
            **UseRequests(filesystem).table,
        },
        places=told(places),
        greet=greet,
        knows=knows,
        use=lambda view: current.known.use(ViewId(view)),
        alongside=(
            operations.tend,
            operations.enclose,
            background.tend,
            current.tend,
            partial(_tell, places),
            recorder.tend,
        ),
        serve=serve,
        answer=partial(devfuse.answer, filesystem, gained=gained) if serve is None else None,
        view_of=view_of,
        look_into=look_into,
    )
