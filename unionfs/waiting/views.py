"""Views that wait: what a program sees whose project has no view yet, or an outdated one.

Such a view is the project's last one for that Python, else an empty environment, and above it one
layer that has the interpreter ask the daemon before its first import and start anew in the
project's view (`unionfs.environment.wait`). Whoever is no interpreter, or does not get as far as
that, sees what there is meanwhile.

It is made for the Python of whoever asks. A shell is not yet the interpreter that it will start:
it is shown that of the project, so that `~/.pkgview/bin/python` is the right one at once.

Concurrency: one trio task at a time makes one, in a thread, with a registry connection of its own.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from resolver.errors import PkgviewError
from resolver.project import resolved, trust
from resolver.python.interpreter import inspect
from resolver.python.target import python_of
from unionfs.control.endpoint import endpoint_of
from unionfs.formats.python.generated import bare_manifest, waiting_layer
from unionfs.publishing.look import look
from unionfs.publishing.publish import publish
from unionfs.publishing.resolve_job import project_at, wanted_interpreter
from unionfs.publishing.up import whole_manifest
from unionfs.publishing.view_index import CPYTHON
from unionfs.view.catalog import read_manifest
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from resolver.binding.rules import Bound
    from resolver.manifest import Manifest, ViewId
    from resolver.places import Places
    from unionfs.store.local import Store

logger = logging.getLogger(__name__)

KEPT = 2.0
"""Seconds for which the same question gets the same answer. One start of a program asks a dozen
times; an edit of `.python-version` shall count for the next."""

MOST_KEPT = 256


class _Question(NamedTuple):
    """What a view that waits follows from, but for the project's files."""

    root: str
    executable: str | None
    last: ViewId | None


class Waiting:
    """Makes views that wait, for one mount; belongs to one trio run."""

    def __init__(self, places: Places, store: Store, default: ViewId) -> None:
        self._places = places
        self._store = store
        self._default = default
        self._kept: dict[_Question, tuple[ViewId, float]] = {}
        self._making = trio.Lock()

    async def view_for(self, root: str, bound: Bound | None) -> ViewId | None:
        """The view that waits for the project at `root`; None where it cannot be made."""
        python = bound.python if bound else None
        if python is not None and not CPYTHON.fullmatch(python):
            return None  # PyPy: nothing will be made for it
        if bound is not None and bound.uid not in {None, 0, os.geteuid()}:
            return None  # another user's on a shared mount, who cannot ask our socket
        last = resolved.load(self._places.state / "projects", root).exactly(python)
        if last is not None and not trust.counts(last, root, self._places.state):
            last = None
        question = _Question(
            root=root,
            executable=bound.exe if bound and python else None,
            last=last.view if last else None,
        )
        async with self._making:
            now = trio.current_time()
            kept = self._kept.get(question)
            if kept is not None and now - kept[1] < KEPT:
                return kept[0]
            try:
                view = await trio.to_thread.run_sync(self._make, question)
            except Exception:
                # A full disk must not keep an interpreter from starting.
                logger.exception("a view that waits for %s could not be made", root)
                return None
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[question] = (view, now)
        return view

    def _make(self, question: _Question) -> ViewId:
        with self._store.held():
            last = whole_manifest(self._places, question.last) if question.last else None
            manifest = last or self._empty(question)
            socket = endpoint_of(self._places, self._places.mount).socket
            layer = waiting_layer(self._store, python_of(manifest), str(socket))
            waiting = replace(manifest, layers=(layer, *manifest.layers))
            registry = Registry.of(self._places)
            try:
                return publish(self._places, waiting, self._store, registry)
            finally:
                registry.close()

    def _empty(self, question: _Question) -> Manifest:
        state = self._places.state
        try:
            if question.executable is not None:
                return bare_manifest(self._store, inspect(Path(question.executable), state))
            with look(self._places):
                project = project_at(Path(question.root))
            return bare_manifest(self._store, wanted_interpreter(project, state))
        except PkgviewError as error:
            # No Python that the project wants: the one that there is will be told so.
            logger.info("%s: %s", question.root, error.what)
            return read_manifest(self._places, self._default)
