"""Where `current` leads: the view of a binding, or one that says why there is none.

A notice is made in a thread, with a registry connection of its own; everything else here belongs
to the trio thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from resolver.binder import Binder
from resolver.manifest import Manifest, ViewId
from resolver.procfs import Tid
from unionfs.catalog import manifest_path
from unionfs.known import Known
from unionfs.made import notice_layer
from unionfs.publish import publish
from unionfs.registry import Registry

if TYPE_CHECKING:
    from resolver.places import Places
    from unionfs.store import Store

logger = logging.getLogger(__name__)

MOST_NOTICES = 256
"""Different notices of one mount: their texts come from callers, and each is a view."""


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
