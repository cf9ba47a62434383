"""A project's own `pylock.toml`: what may be selected from it, and whose it is."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.inputs import read_text
from resolver.python.declared.lists import Names, built_in, union, without_undefined
from resolver.python.declared.mark import mark_of
from resolver.python.lockfile import Lock
from resolver.python.project import Origin, project_without_lock
from resolver.python.requirements import normalised
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from resolver.python.declared.mark import Mark
    from resolver.python.project import PythonProject


def document_of(path: Path) -> dict[str, Any]:
    """A lock that is there, of whichever form."""
    try:
        return parse(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if path.name != Origin.PYLOCK:
            remedy = "Restore it, or delete it and lock anew: uv mends none."
        elif path.with_name("uv.lock").exists():
            remedy = "Delete it: then the uv.lock beside it is used."
        else:
            remedy = "Write it anew with `pkgview lock`."
        raise PkgviewError(f"{path} is not valid TOML: {error}", remedy=remedy) from error


def own_lock(project: PythonProject, extras: Sequence[str], groups: Sequence[str]) -> Lock:
    """The project's own pylock.toml; asking for an extra or group that it has not is an error.

    In one of `pkgview lock` they are built in, which its mark says: there is nothing to select.
    """
    path = project.root / Origin.PYLOCK
    document = document_of(path)
    mark = mark_of(document)
    # Its default ones are built in, too; where that is not so any more it is outdated.
    fixed = built_in(mark, project.directory, project.default_groups) if mark else Names()
    built = {
        "extras": {*fixed.extras, *(union(project.settings.extras) if mark else ())},
        "dependency-groups": set(fixed.groups),
    }

    def offered(key: str) -> list[str]:
        names = document.get(key, [])
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def selected(key: str, asked: Iterable[str]) -> list[str]:
        """Those that are not built in anyway; what is, cannot be left out ("-" before it)."""
        return [name for name in asked if normalised(name) not in built[key]]

    def is_there(key: str, name: str) -> bool:
        if name.startswith("-"):
            return normalised(name[1:]) not in built[key]
        return normalised(name) in map(normalised, offered(key))

    for key, asked in (("extras", extras), ("dependency-groups", groups)):
        missing = [name for name in selected(key, asked) if not is_there(key, name)]
        if missing and missing[0].startswith("-"):
            raise PkgviewError(
                f"{path} has {missing[0][1:]!r} built in, which cannot be left out",
                remedy="Lock it without: `pkgview lock` takes the same options.",
            )
        if missing:
            listed = ", ".join((*offered(key), *sorted(built[key]))) or "none"
            raise PkgviewError(
                f"{path} has no {missing[0]!r} among its {key} ({listed})",
                remedy="Lock it with that choice built in: `pkgview lock` takes the same options.",
            )
    # The lock's defaults stand for what the project depends on itself: groups are added to them.
    return Lock(
        path=path,
        project=project,
        extras=union(
            _among(project.settings.extras, offered("extras")), selected("extras", extras)
        ),
        groups=union(
            offered("default-groups"),
            _among(project.settings.groups or (), offered("dependency-groups")),
            selected("dependency-groups", groups),
        ),
    )


def own_mark(project: PythonProject) -> Mark:
    """That of the pylock.toml, which thereby may be written anew; `PkgviewError` where it has none.

    Whoever only edits the project's list has not said that another's lock is to be replaced.
    """
    source = project_without_lock(project.root)
    if source is not None and source.uv_lock is not None:
        raise two_locks(project, source.uv_lock)
    mark = mark_of(document_of(project.root / Origin.PYLOCK))
    if mark is None:
        raise PkgviewError(
            f"{project.root} is locked by a pylock.toml that pkgview has not written, which is "
            "used as it is",
            remedy="Edit and lock with what wrote it, or run `pkgview lock` there: from then on it "
            "is pkgview's.",
        )
    return mark


def asked_again(mark: Mark, source: PythonProject) -> Names:
    """What was asked for then, for a lock that is made anew: without what is defined no more."""
    return without_undefined(Names(mark.extras, mark.groups), source)[0]


def two_locks(project: PythonProject, uv_lock: Path) -> PkgviewError:
    """Neither can be made anew: one counts here, and the other for uv."""
    return PkgviewError(
        f"{project.root} has a pylock.toml, which is used, and {uv_lock}, which is not",
        remedy=which_to_delete(uv_lock),
    )


def which_to_delete(uv_lock: Path) -> str:
    """The way out of that."""
    return f"Delete one of the two: pylock.toml to go on with uv's, or {uv_lock} and use no uv."


def _among(asked: Iterable[str], offered: Iterable[str]) -> list[str]:
    """Those that a lock has."""
    return [name for name in asked if normalised(name) in set(map(normalised, offered))]
