"""The links of projects in a mount: their numbers, and the view that each leads to now."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from resolver.project import resolved, trust
from unionfs.archive.layer import LayerError
from unionfs.view.told import Sort, Telling, what_is

if TYPE_CHECKING:
    from resolver.manifest import ViewId
    from resolver.places import Places
    from unionfs.view.nodeid import ProjectNo
    from unionfs.view.registry import Registry
    from unionfs.view.told import Told

logger = logging.getLogger(__name__)

_KEY = re.compile(r"[A-Za-z0-9._-]+-[0-9a-f]{10}")


class Projects:
    """One mount's. `LayerError` where a number means another project to its kernel."""

    def __init__(self, places: Places, registry: Registry, told: Told) -> None:
        self._records = places.state / "projects"
        self._state = places.state
        self._registry = registry
        self._told = told

    def all(self) -> list[tuple[ProjectNo, str]]:
        """The links of all projects that have a view, in the order of their numbers."""
        found = []
        for path in self._records.glob("*.json"):
            try:
                number = self.number(path.stem)
            except LayerError as error:
                logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
            else:
                found += [] if number is None else [(number, path.stem)]
        return sorted(found)

    def number(self, key: str) -> ProjectNo | None:
        """The number of a project's link; None if there is no such, or none with a yes."""
        if self._newest_view(key) is None:
            return None
        number = self._registry.register_project(key)
        self._tell(number, key)
        return number

    def view(self, number: ProjectNo) -> ViewId | None:
        """The newest view of a project."""
        key = self._registry.project_key(number)
        if key is None:
            return None
        self._tell(number, key)
        return self._newest_view(key)

    def _tell(self, number: ProjectNo, key: str) -> None:
        self._told.tell(Sort.PROJECTS, [Telling(number, what_is(key), 0, f"project {key}")])

    def _newest_view(self, key: str) -> ViewId | None:
        if not _KEY.fullmatch(key):
            return None
        project = resolved.load_key(self._records, key)
        if project is None or not trust.shows(project, self._state):
            return None
        newest = project.newest
        return None if newest is None else newest.view
