"""What a project chooses itself, asked of by who is no yes to it: looks, and commands that show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.naming import shell_word
from resolver.project import trust
from resolver.python.choices.own import own_choices
from resolver.python.choices.phrases import variable_part
from resolver.python.index import user_indexes, user_named_indexes
from resolver.python.project import PythonProject
from resolver.python.unbuilt import is_inside, own_tree

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from resolver.project.project import Project

MOST_NAMED = 8
"""Choices of a project's own that an error names one by one."""


def check_choices(project: Project, state: Path) -> frozenset[str]:
    """What it chooses; `PkgviewError` names what of it its user has not said yes to."""
    if not isinstance(project, PythonProject):
        return frozenset()
    indexes = {variable_part(name): url for name, url in user_named_indexes().items()}
    wanted = own_choices(project, user_indexes(), indexes)
    if new := trust.not_agreed(project, state, wanted):
        raise not_allowed(project, new)
    return wanted


def not_allowed(project: PythonProject, choices: Collection[str]) -> PkgviewError:
    """That its user has not said yes to these, and the command that does."""
    new = sorted(choices)
    named = "".join(f"\n  {one}" for one in new[:MOST_NAMED])
    more = f"\n  and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else ""
    where = shell_word(project.root)
    remedy, tree = f"To allow it: `pkgview trust {where}`.", own_tree(project)
    if not all(is_inside(tree, one) for one in project.source_trees):
        remedy = f"`pkgview up {where}` allows it, and builds what is not in its own tree."
    return PkgviewError(f"you have not allowed {project.root} to{named}{more}", remedy=remedy)
