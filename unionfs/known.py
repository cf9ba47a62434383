"""What the binding rules ask, answered from the state directory.

Called from the binder's threads, several at a time: it reads files, and keeps nothing that changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resolver import resolved
from resolver.binding import Binding, Candidate
from resolver.project import find_project, project_of_script, trust_problem
from unionfs.catalog import manifest_path

if TYPE_CHECKING:
    from resolver.caller import Caller
    from resolver.manifest import ViewId
    from resolver.places import Places
    from resolver.project import Project


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
