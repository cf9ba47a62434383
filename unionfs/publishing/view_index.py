"""Answers to the questions of the binding rules, from the state directory.

Called from the binder's threads, several at a time: it reads files, and what it keeps it compares
with them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.binding.rules import Binding, Candidate
from resolver.caller.process import mount_names
from resolver.errors import PkgviewError
from resolver.project import resolved, trust
from resolver.project.freshness import MOST_KEPT, Freshness
from resolver.python.project import find_project, project_of_script
from unionfs.publishing.look import look
from unionfs.view.catalog import manifest_path
from unionfs.view.used import used_until_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.caller.process import Caller
    from resolver.manifest import ViewId
    from resolver.places import Places
    from resolver.project.resolved import ResolvedView
    from resolver.python.project import PythonProject
    from unionfs.bindings.manual import ManualBindings

CPYTHON = re.compile(r"3\.\d{1,3}t?")
"""The interpreters that views are made for."""


class ViewIndex:
    """Answers to the questions of the binding rules, from the state directory.

    `mount` is what `mount_names` gives of the mount that asks, by default that of the places.
    """

    def __init__(
        self,
        places: Places,
        default: ViewId,
        by_hand: ManualBindings | None = None,
        mount: frozenset[str] | None = None,
    ) -> None:
        self._places = places
        self._mount = mount_names(places.mount) if mount is None else mount
        self._by_hand = by_hand
        self._default = default
        self._freshness = Freshness()
        self._projects: dict[str, PythonProject] = {}

    def by_hand(self, caller: Caller) -> Binding | None:
        """What was said of the process, of one above it, or of its cgroup."""
        said = None if self._by_hand is None else self._by_hand.binding(caller, self.view_of)
        if said is None or said.project is None or trust.stands(said.project, self._places.state):
            return said
        return None  # another directory lies there now, of which nobody has said anything

    def knows(self, view: ViewId) -> bool:
        """Whether there is such a view."""
        return manifest_path(self._places, view).exists()

    def has_places(self, named: Mapping[str, object]) -> bool:
        """Whether these are its own, where they are named: the state, the store, the settings."""
        own = {one: os.fspath(getattr(self._places, one)) for one in ("state", "store", "config")}
        return all(named.get(name, path) == path for name, path in own.items())

    def use(self, view: ViewId) -> bool:
        """Whether there is such a view; if so it was somebody's until now."""
        return used_until_now(self._places, view)

    def project_of(self, directory: str, uid: int) -> Candidate | None:
        """The project that a directory belongs to; none where the directory cannot be read."""
        try:
            if uid != os.geteuid():
                return _of_another(directory, uid)
            with look(self._places, self._mount):
                found = find_project(Path(directory))
            candidate = self._candidate(found, uid)
            # Asked here only, since it takes 40 µs: who runs a project's script means it.
            if found is None or candidate is None:
                return None
            with look(self._places, self._mount):
                return candidate._replace(agreed=trust.is_agreed(found, self._places.state))
        except OSError:
            return None  # on a file system that has died, or in a directory of somebody else's

    def script_project(self, script: str, uid: int) -> Candidate | None:
        """The project that a script belongs to, or is."""
        if uid != os.geteuid():
            return _of_another(script, uid)
        path = Path(script)
        try:
            # A directory with a __main__.py is a script, too, and a project of its own at best.
            with look(self._places, self._mount):
                found = find_project(path) if path.is_dir() else project_of_script(path)
            return self._candidate(found, uid)
        except OSError:
            return None

    def view_of(self, project: str, python: str | None) -> ViewId | None:
        """The project's view for that Python, None where there is none or its inputs have changed.

        Nor is there one that was made with choices which its user agrees to no more.

        For what is no CPython (a shell, an editor, PyPy, "") it is the project's own, however old:
        nothing could be made for it meanwhile, and it does not wait.
        """
        record = resolved.load(self._places.state / "projects", project)
        if python is None or not CPYTHON.fullmatch(python):
            own = record.own()
            return own.view if own and self._counts(project, own) else None
        found = record.exactly(python)
        if found is None or self._is_stale(project, found) or not self._counts(project, found):
            return None
        return found.view

    def _counts(self, project: str, view: ResolvedView) -> bool:
        known = self._projects.get(project)
        return trust.counts(view, project, self._places.state, known)

    def _is_stale(self, project: str, view: ResolvedView) -> bool:
        known = self._projects.get(project)
        if known is None:
            return False
        try:
            with look(self._places, self._mount):
                return self._freshness.is_stale(known, view)
        except PkgviewError:
            return False  # what cannot be read now cannot be made anew either

    def default_view(self, python: str | None) -> ViewId | None:
        """The user's default, as it was when the mount began."""
        del python
        return self._default

    def _candidate(self, project: PythonProject | None, uid: int) -> Candidate | None:
        if project is None:
            return None
        root = str(project.root)
        if len(self._projects) >= MOST_KEPT:
            self._projects.clear()
        self._projects[root] = project
        return Candidate(root, trust.problem(project, uid, self._places.state) or "")


def _of_another(path: str, uid: int) -> Candidate:
    """What another user's path counts for where `allow_other` lets that user in: nothing.

    Not even whether it is a project is found out: the daemon, perhaps root, would read files on
    behalf of somebody who may not, and quote from them what it cannot understand.
    """
    own = os.geteuid()
    refused = f"this mount is user {own}'s, and looks at no files for user {uid}"
    return Candidate(path, refused, told=False)
