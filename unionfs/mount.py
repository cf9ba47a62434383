"""One mount's file system: store, registry and bindings put together.

Concurrency: `Filesystem`, `Catalog` and their `Registry` belong to the trio thread. What the
rules ask (`Known`) runs in the binder's threads, so it reads files only; a notice is made in a
thread with a registry connection of its own.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from resolver import resolved
from resolver.binder import Binder
from resolver.binding import Binding, Candidate
from resolver.manifest import Manifest, ViewId
from resolver.procfs import Tid
from resolver.project import find_project, project_of_script, trust_problem
from unionfs.catalog import Catalog, manifest_path
from unionfs.default import ensure_default
from unionfs.filesystem import Filesystem
from unionfs.kernel import libfuse
from unionfs.made import notice_layer
from unionfs.publish import publish
from unionfs.registry import Registry
from unionfs.service import Service
from unionfs.store import Store

if TYPE_CHECKING:
    from resolver.caller import Caller
    from resolver.places import Places
    from resolver.project import Project
    from unionfs import control

logger = logging.getLogger(__name__)

MOST_NOTICES = 256
"""Different notices of one mount: their texts come from callers, and each is a view."""


class Known:
    """What the binding rules ask, answered from the state directory."""

    def __init__(self, places: Places, default: ViewId) -> None:
        self._places = places
        self._default = default

    def by_hand(self, caller: Caller) -> Binding | None:
        """Nothing is bound by hand yet."""
        del caller
        return None

    def knows(self, view: ViewId) -> bool:
        """Whether there is such a view."""
        return manifest_path(self._places, view).exists()

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        """The project that a directory belongs to."""
        return self._candidate(find_project(Path(directory)), uid)

    def script_project(self, script: str, uid: int) -> Candidate | None:
        """The project that a script belongs to, or is."""
        path = Path(script)
        # A directory with a __main__.py is a script, too, and a project of its own at best.
        found = find_project(path) if path.is_dir() else project_of_script(path)
        return self._candidate(found, uid)

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        """The project's view for that Python, else its newest."""
        found = resolved.load(self._places.state / "projects", project).view_for(python)
        return None if found is None else found.view

    def default_view(self, python: str | None) -> ViewId | None:
        """The user's default, as it was when the mount began."""
        del python
        return self._default

    @staticmethod
    def _candidate(project: Project | None, uid: int) -> Candidate | None:
        if project is None:
            return None
        return Candidate(str(project.root), trust_problem(project, uid) or "")


class Current:
    """Where `current` leads: the binding's view, or one that says why there is none."""

    def __init__(self, places: Places, store: Store, default: ViewId) -> None:
        self._places = places
        self._store = store
        self._default = default
        self._notices: dict[str, ViewId] = {}
        self._making = trio.Lock()
        self.binder = Binder(Known(places, default), mount=places.mount)

    async def __call__(self, tid: int) -> ViewId:
        """The view of a thread's process; never fails while the default view is there."""
        binding = await self.binder.binding_for(Tid(tid))
        if binding.view is not None:
            return binding.view
        if binding.project is not None:
            text = f"{binding.project} has no view yet\n  Run `pkgview up {binding.project}`."
        else:
            text = binding.why
        # The text holds paths, which may hold anything, and goes to somebody's terminal.
        shown = "\n".join(line if line.isprintable() else ascii(line) for line in text.split("\n"))
        return await self._notice(f"pkgview: {shown}\n")

    async def _notice(self, text: str) -> ViewId:
        async with self._making:
            view = self._notices.get(text)
            if view is None and len(self._notices) >= MOST_NOTICES:
                return self._default
            if view is None:
                try:
                    view = await trio.to_thread.run_sync(self._make_notice, text)
                except Exception:
                    # A full disk must not keep an interpreter from starting.
                    logger.exception("a notice could not be made")
                    return self._default
                self._notices[text] = view
        return view

    def _make_notice(self, text: str) -> ViewId:
        registry = Registry(self._places.state / "registry.sqlite3")
        try:
            path = manifest_path(self._places, self._default)
            bare = Manifest.from_bytes(path.read_bytes(), expected=self._default)
            layers = (notice_layer(self._store, text), *bare.layers)
            manifest = Manifest(python=bare.python, layers=layers)
            return publish(self._places, manifest, self._store, registry)
        finally:
            registry.close()


def build_filesystem(places: Places) -> tuple[Filesystem, Current]:
    """Everything a transport serves at `places.mount`, and who decides what `current` is."""
    store = Store(places.store)
    registry = Registry(places.state / "registry.sqlite3")
    current = Current(places, store, ensure_default(places, store, registry))
    filesystem = Filesystem(
        Catalog(places, store, registry), current, uid=os.getuid(), gid=os.getgid()
    )
    return filesystem, current


def assemble(places: Places) -> Service:
    """What pkgview really serves."""
    filesystem, current = build_filesystem(places)
    catalog, binder = filesystem.catalog, current.binder

    def gauges() -> dict[str, Any]:
        frames = catalog.store.frames
        return {
            "views": catalog.loaded_views,
            "bindings": len(binder.bindings),
            "frames": {"bytes": frames.size, "hits": frames.hits, "misses": frames.misses},
        }

    async def bindings(_: control.Request) -> list[dict[str, Any]]:
        return [
            {
                "pid": bound.identity.tgid,
                "command": os.fsdecode(bound.command),
                "rule": bound.binding.rule.name.lower(),
                "project": bound.binding.project,
                "view": bound.binding.view,
                "why": bound.binding.why,
            }
            for bound in binder.bindings
        ]

    async def refresh(_: control.Request) -> None:
        binder.refresh()

    return Service(
        serve=partial(libfuse.serve, filesystem),
        transport="libfuse",
        gauges=gauges,
        operations={"bindings": bindings, "refresh": refresh},
    )
