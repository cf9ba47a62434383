"""Where `current` leads: the view of a binding, or one that says why there is none.

A notice is made in a thread, with a registry connection of its own; everything else here belongs
to the trio thread.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from resolver.binding.binder import Binder
from resolver.binding.observer import OwnEyes
from resolver.caller.procfs import Tid
from resolver.errors import PkgviewError
from resolver.naming import shell_word, spelled, visible
from resolver.python.target import python_of
from unionfs.archive.layer import LayerError
from unionfs.bindings.manual import ManualBindings
from unionfs.deputies.adoption import Adoption
from unionfs.deputies.client import Deputies
from unionfs.formats.python.generated import notice_layer
from unionfs.publishing.publish import publish
from unionfs.publishing.view_index import ViewIndex
from unionfs.view.catalog import read_manifest
from unionfs.view.registry import Registry
from unionfs.view.used import used_until_now
from unionfs.waiting.resolving import refused_notice
from unionfs.waiting.views import Waiting

if TYPE_CHECKING:
    from resolver.binding.rules import Binding
    from resolver.manifest import ViewId
    from unionfs.view.catalog import Catalog

logger = logging.getLogger(__name__)

MOST_NOTICES = 256
"""Different notices of one mount: their texts come from callers, and each is a view."""


class Current:
    """Where `current` leads: the binding's view, or one that says why there is none."""

    def __init__(self, catalog: Catalog, default: ViewId) -> None:
        self._catalog = catalog
        self._places = catalog.places
        self._store = catalog.store
        self._default = default
        self._notices: dict[str, ViewId] = {}
        self._making = trio.Lock()
        self._waiting = Waiting(catalog.places, catalog.store, default)
        self.by_hand = ManualBindings(catalog.places)
        self.known = ViewIndex(catalog.places, default, self.by_hand)
        mount = catalog.places.mount
        own = OwnEyes(self.known, mount)
        # Only root can become another user; without, others get what they may name themselves.
        self._deputies = Deputies(own) if os.geteuid() == 0 else None
        self._adoption = Adoption(catalog.places, self._deputies) if self._deputies else None
        self.binder = Binder(self.known, mount=mount, observer=self._deputies or own)

    async def __call__(self, tid: int) -> ViewId:
        """The view of a thread's process; never fails while the default view is there."""
        binding = await self.binder.binding_for(Tid(tid))
        if self._adoption is not None and binding.hand is None:
            uid = bound.uid if (bound := self.binder.bound(Tid(tid))) is not None else None
            if uid not in {None, os.geteuid()} and not self._is_plain(binding):
                return await self._for_another(binding, uid or 0, self._adoption)
        if binding.view is None and binding.project is not None:
            bound = self.binder.bound(Tid(tid))
            view = await self._waiting.view_for(binding.project, bound)
            if view is not None:
                return view
        if binding.refused is not None:
            return await self._notice(refused_notice(binding.refused))
        text = self._fault(binding)
        if text is None:
            return binding.view or self._default
        # The text holds paths, which may hold anything, and goes to somebody's terminal.
        shown = "\n".join(line if line.isprintable() else ascii(line) for line in text.split("\n"))
        return await self._notice(f"pkgview: {shown}\n")

    async def tend(self) -> None:
        """While it is mounted: nothing, and then end what looks at other users' processes."""
        try:
            await trio.sleep_forever()
        finally:
            if self._deputies is not None:
                self._deputies.close()

    def _is_plain(self, binding: Binding) -> bool:
        """Whether there is a view and nothing to be said, as nearly always."""
        return binding.view is not None and binding.refused is None and self._shows(binding.view)

    def _shows(self, view: ViewId) -> bool:
        try:
            # The catalog remembers what has been collected meanwhile.
            return view == self._default or (
                used_until_now(self._places, view) and self._catalog.view(view) is not None
            )
        except (LayerError, PkgviewError, OSError):
            return False

    async def _for_another(self, binding: Binding, uid: int, adoption: Adoption) -> ViewId:
        """What another user's process sees whose view is not simply there.

        What it is told names nothing: every user of the mount may read every notice on it.
        """
        if binding.view is not None and binding.project is not None:
            if await adoption.adopt(uid, binding.view, self._shows):
                return binding.view
            said = "the view of this project cannot be served here\n  Run `pkgview up` in it; "
            return await self._notice(
                f"pkgview: {said}if that does not help, root's log says why.\n"
            )
        if binding.project is not None:
            said = "this project has no view yet, or has changed since\n  Run `pkgview up` in it."
        elif binding.refused is not None:
            said = (
                "this project is not used, because it is not yours alone\n"
                "  Run `pkgview trust` in it, which says why and allows it."
                if binding.refused.refused
                else "this project is not used, because you have not said yes to it\n"
                "  If what it lists may run in programs that start there: `pkgview trust`."
            )
        elif binding.view is None:
            said = "this project cannot be read\n  Run `pkgview up` in it: it says why."
        else:
            return self._default
        return await self._notice(f"pkgview: {said}\n")

    def _fault(self, binding: Binding) -> str | None:
        """What a program has to be told instead of being shown the binding's view."""
        project = spelled(binding.project) if binding.project else None
        again = f"Run `pkgview up {shell_word(binding.project)}`." if binding.project else ""
        if binding.view is None:
            return f"{project} has no view yet\n  {again}" if project else binding.why
        if binding.view == self._default:
            return None
        try:
            # Opened now instead of a moment later: whoever asks for the link goes there next.
            if self._catalog.view(binding.view) is not None:
                return None
            error = f"there is no view {binding.view}"
        except (LayerError, PkgviewError, OSError) as caught:
            logger.error("%s", caught)  # noqa: TRY400 - the sentence says it all
            error = visible(str(caught), binding.project or "")
        whose = f"the view of {project}" if project else "a view"
        remedy = again or "Run `pkgview up` in the project that it belongs to."
        return f"{whose} cannot be shown: {error}\n  {remedy}"

    async def _notice(self, text: str) -> ViewId:
        async with self._making:
            view = self._notices.get(text)
            if view is not None and not used_until_now(self._places, view):
                del self._notices[text]  # it was collected meanwhile
                view = None
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
        registry = Registry.of(self._places)
        try:
            with self._store.held():
                bare = read_manifest(self._places, self._default)
                layers = (notice_layer(self._store, python_of(bare), text), *bare.layers)
                manifest = replace(bare, layers=layers)
                return publish(self._places, manifest, self._store, registry)
        finally:
            registry.close()
