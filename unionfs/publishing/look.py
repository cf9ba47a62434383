"""Looks on behalf of the daemon: `resolver.looks` with its mount, and with what its user has said.

Whoever reads a project's files because a program has started, and not because somebody has named
the project, does it within one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resolver.caller.process import Inside, follow, mount_names
from resolver.looks import Look
from resolver.project import trust
from resolver.project.project import Project
from resolver.python.choices.phrases import variable_choice

if TYPE_CHECKING:
    from resolver.places import Places


def look(places: Places, mount: frozenset[str] | None = None, *, limited: bool = True) -> Look:
    """One look; `mount` is what `mount_names` gives of the mount that asks, by default their own.

    Not `limited`: files of any size, for a process of its own whose time is.
    """
    names = mount_names(places.mount) if mount is None else mount

    def is_inside(path: str) -> bool:
        return isinstance(follow(path, names), Inside)

    def may_know(root: str, variable: str) -> bool:
        project = Project(root=Path(root), origin="", inputs=())
        return variable_choice(variable) in trust.agreed_choices(project, places.state)

    return Look(is_inside, may_know, limited=limited)
