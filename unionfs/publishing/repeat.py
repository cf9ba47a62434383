"""Options of the last `pkgview up`, for all that gives none.

Only `up` decides which Python, extras and groups a project's view has, by its own options and the
project's files, as `uv sync` does: an option that it is not given holds no more. Whatever else
makes the view anew (`run`, `shell`, `bind`, a program that starts) repeats the last `up`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.project import resolved
from resolver.python.declared.lists import Names, expanded, joined, without_undefined
from resolver.python.discovery import find_interpreter
from resolver.python.requirements import normalised
from resolver.python.target import KIND, python_of
from unionfs.kinds import NODE, link_of
from unionfs.view.catalog import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.manifest import Manifest
    from resolver.places import Places
    from resolver.project.project import Project
    from resolver.project.resolved import ResolvedView
    from unionfs.formats.node.wish import NodeWish
    from unionfs.formats.python.wish import PythonWish


def repeated(places: Places, wish: PythonWish) -> PythonWish:
    """The wish, with what it leaves open as in the last `up`; what it asks for is added."""
    last = last_up(places, wish.project)
    if last is None:
        return wish
    again = with_lists(wish, Names(last.extras, last.groups))
    return replace(
        again,
        python=wish.python or last.asked or _python(places, wish, last),
        asked=wish.asked or last.asked,
    )


def with_lists(wish: PythonWish, had: Names) -> PythonWish:
    """With the lists of before; those that the project does not define now are passed over.

    They are meant again where it does: on another branch, say.
    """
    given = wish.lists
    _, undefined = without_undefined(had, wish.project)
    passed_over = Names(
        tuple(one for one in undefined.extras if one not in given.extras),
        tuple(one for one in undefined.groups if one not in given.groups),
    )
    return replace(wish, lists=joined(had, given), passed_over=passed_over)


def repeated_by_edit(places: Places, wish: PythonWish) -> PythonWish:
    """The same where a list of the project was edited, which the wish names.

    A default group is there without being asked for.
    """
    again, usual = repeated(places, wish), wish.project.default_groups
    named = {normalised(name) for name in wish.lists.groups} & set(map(normalised, usual))
    groups = (one for one in again.lists.groups if normalised(one.removeprefix("-")) not in named)
    return replace(again, lists=again.lists._replace(groups=tuple(groups)))


def last_up(places: Places, project: Project) -> ResolvedView | None:
    """The view that the project's link shows, else its own; None where there is none.

    The link may also show what the view of that Python was before.
    """
    record = resolved.load(places.state / "projects", str(project.root))
    try:
        shown = os.path.basename(os.readlink(project.directory / link_of(KIND)))  # noqa: PTH119 - a name
    except OSError:
        return record.own()
    found = next((view for view in record.views if view.view == shown), None)
    if found is None and (manifest := _manifest(places, shown)) is not None:
        found = record.exactly(python_of(manifest).version)
    return found or record.own()


def last_shown(places: Places, project: Project) -> ResolvedView | None:
    """The same, else whichever view there is."""
    record = resolved.load(places.state / "projects", str(project.root))
    return last_up(places, project) or record.view_for(None)


def forgotten(places: Places, wish: PythonWish) -> Iterator[str]:
    """Options of the last `up` that this one is given no more, as they were written."""
    last = last_up(places, wish.project)
    if last is None:
        return
    if last.asked and not wish.python:
        yield f"--python {last.asked}"
    usual = wish.project.default_groups
    had = Names(last.extras, tuple(one for one in last.groups if one not in usual))
    defined, _ = without_undefined(had, wish.project)
    given = {*wish.lists.options(), *expanded(wish.lists, wish.project).options()}
    yield from (option for option in defined.options() if option not in given)


def forgotten_by_node(places: Places, wish: NodeWish) -> Iterator[str]:
    """The same for a project of Node's."""
    from resolver.node.npmrc import settings  # noqa: PLC0415 - Python's projects have none

    last = last_omitted(places, wish.project) or ()
    now = wish.omit or (settings(wish.project.root).omitted if last else ())
    for one in last:
        if one not in now:
            yield f"--omit {one}"


def last_omitted(places: Places, project: Project) -> tuple[str, ...] | None:
    """What the last `up` left out of a project of Node's by options; None: nothing."""
    last = resolved.load(places.state / "projects", str(project.root)).view_for(None, NODE)
    found = tuple(one.removeprefix("-") for one in last.groups) if last is not None else ()
    return found or None


def _python(places: Places, wish: PythonWish, last: ResolvedView) -> str | None:
    """The last one's own, as long as the project's files leave it open and it fits them."""
    project = wish.project
    manifest = _manifest(places, last.view)
    if manifest is None or project.settings.python or project.python_pin:
        return None
    path = python_of(manifest).executable
    try:
        had = find_interpreter(project, path, places.state).executable
        usual = find_interpreter(project, None, places.state).executable
    except PkgviewError:
        return None
    return None if had == usual else had


def _manifest(places: Places, view: str) -> Manifest | None:
    try:
        manifest = read_manifest(places, ViewId(view))
    except (OSError, PkgviewError, ValueError):
        return None
    return manifest if manifest.kind == KIND else None
