"""The links of one project to its view: which can be made, and making them."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.node.project import NodeProject
from resolver.project import resolved
from unionfs.cli import console, quick, quick_node
from unionfs.kinds import NODE, PYTHON, link_of
from unionfs.publishing import link, mountable
from unionfs.publishing.ignored import hide
from unionfs.publishing.members import link_members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from resolver.places import Places
    from resolver.project.project import Project
    from unionfs.formats.kind import Kind
    from unionfs.publishing.up import Made


def link_at(kind: Kind, project: Project) -> Path | None:
    """Where a project has its link; None for a script, which has no directory of its own."""
    return project.root / link_of(kind.name) if project.root == project.directory else None


def linkable(
    places: Places, projects: Sequence[tuple[Kind, Project]], *, named: bool, force: bool
) -> list[tuple[Kind, Project]]:
    """The projects whose links can be made; an error where one cannot that was asked for.

    Not asked for is a node_modules of npm's own in a project of several kinds.
    """
    kept = []
    for kind, project in projects:
        path = link_at(kind, project)
        if path is None:
            kept.append((kind, project))
            continue
        record = resolved.load(places.state / "projects", str(project.root))
        had = record.view_for(None, kind.name) is not None
        asked = named or had or len(projects) == 1 or kind.name == PYTHON
        if not asked and not force and link.is_foreign(path, places):
            console.note(quick_node.stays(path, kind.name))
            continue
        link.refuse_foreign(path, places, force=force, replaced=had and not path.is_symlink())
        kept.append((kind, project))
    return kept


@contextmanager
def mountable_at(
    places: Places, project: Project, *, asked: bool = False, force: bool = False
) -> Iterator[None]:
    """Have a directory in the link's place where a project of Node's wants one, or it is `asked`.

    For making the view, which is another one for that. Says so where it is new; gone again if there
    comes no view.
    """
    if not isinstance(project, NodeProject) or not (asked or project.mounted):
        yield
        return
    path = project.root / link_of(NODE)
    new = not mountable.is_mountable(path)
    aside = link.make_mountable(path, places, force=force)
    if aside is not None:
        console.note(f"What was at {path.name} is now at {aside}.")
    try:
        yield
    except BaseException:
        if new and link.is_linked(path, places, link.NONE):
            new = False
            with suppress(PkgviewError, OSError):
                link.unlink(path, places)
                if aside is not None:
                    link.put_back(aside, path)
        raise
    finally:
        if new:
            _say_made(path)


def _say_made(path: Path) -> None:
    hidden = hide(str(path))
    console.note(f"Made {path}{hidden}: `pkgview run` and `shell` mount the view there.")


def link_project(  # noqa: PLR0913 - all but the first four by name
    places: Places, path: Path, project: Project, made: Made, *, force: bool, quiet: bool
) -> None:
    """Make the link at `path`, and those of the project's members; say what was in the way."""
    # Of another mount's view nothing is known here: that it is moved away is said.
    first = not link.is_of(path, places)
    aside = link.link(path, places, made.view, force=force)
    if aside is not None:
        console.note(f"What was at {path.name} is now at {aside}.")
    if first:
        quick.say_linked(f"{path}", quiet=quiet)
    further = link_members(project.root, places, made.manifest, made.before, force=force)
    for other in further.aside:
        console.note(f"What was there before is now at {other}.")
    for other in further.left:
        console.note(
            f"{other} is not pkgview's and stays as it is, so what the lock has for it is not "
            "seen there: `pkgview up --force` sets it aside."
        )
    for other in further.outside:
        console.note(
            f"{other} is not made: a link leads out of the project, or to another place in it, so "
            "what the lock has for it is not seen there."
        )
