"""Which extras and dependency groups are meant: by their names, or all that there are.

A wish, a project's record and the mark of a lock have them as they were asked for: `ALL` for
`--all-extras` and `--all-groups`, "-dev" for a group that is left out. What that comes to the
project's files say, as they are when it counts.
"""

from __future__ import annotations

from itertools import chain, filterfalse
from typing import TYPE_CHECKING, NamedTuple

from resolver.python.declared.files import declared, document_at, texts
from resolver.python.declared.mark import mark_of
from resolver.python.project import Origin
from resolver.python.requirements import normalised
from resolver.toml import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from resolver.python.declared.mark import Mark
    from resolver.python.project import PythonProject

ALL = "*"


class Names(NamedTuple):
    """Extras and groups, as they were asked for or as they are called."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def options(self) -> Iterator[str]:
        """Each as it is asked for on a command line."""
        yield from ("--all-extras" if one == ALL else f"--extra {one}" for one in self.extras)
        for one in self.groups:
            if one == ALL:
                yield "--all-groups"
            else:
                yield f"--no-group {one[1:]}" if one.startswith("-") else f"--group {one}"


NONE = Names()


def expanded(asked: Names, project: PythonProject) -> Names:
    """The same by their names, where it is all that there are."""
    if ALL not in {*asked.extras, *asked.groups}:
        return asked
    return _replaced(asked, offered(project))


def without_undefined(asked: Names, project: PythonProject) -> tuple[Names, Names]:
    """What of it the project's files know now, and the rest."""
    if not any(asked):
        return asked, asked
    there, fixed = offered(project), _fixed_groups(project)
    any_extra = _tells_extras_by_a_build(project)

    def is_extra(name: str) -> bool:
        return any_extra or name == ALL or normalised(name) in there.extras

    def is_group(name: str) -> bool:
        if name.startswith("-"):
            return normalised(name[1:]) not in fixed
        return name == ALL or normalised(name) in there.groups

    return (
        Names(tuple(filter(is_extra, asked.extras)), tuple(filter(is_group, asked.groups))),
        Names(
            tuple(filterfalse(is_extra, asked.extras)), tuple(filterfalse(is_group, asked.groups))
        ),
    )


def passed_over_remark(names: Names) -> str:
    """What is said where these are not there any more; "" where there are none."""
    said = " ".join(names.options())
    return said and f"Without {said}, which the last `up` had: the project has no such one now."


def joined(*asked: Names) -> Names:
    """All of them; what is named again counts at its last place."""
    return Names(
        extras=_last(one for names in asked for one in names.extras),
        groups=_last(one for names in asked for one in names.groups),
    )


def union(*names: Iterable[str]) -> tuple[str, ...]:
    """All of them, normalised; one with "-" before it leaves out what was named before."""
    found: dict[str, None] = {}
    for name in chain(*names):
        if name.startswith("-"):
            found.pop(normalised(name[1:]), None)
        else:
            found[normalised(name)] = None
    return tuple(found)


def built_in(mark: Mark, directory: Path, usual: Iterable[str]) -> Names:
    """What a lock of `pkgview lock` has in it anyway; `usual` are the project's default groups."""
    found = _replaced(Names(mark.extras, mark.groups), _declared(directory))
    return Names(union(found.extras), union(usual, found.groups))


def offered(project: PythonProject) -> Names:
    """What can be asked for in a project, normalised."""
    if project.root != project.directory:
        return Names()  # a script
    if project.origin is not Origin.PYLOCK:
        return _declared(project.directory)
    document = document_at(project.inputs[0])
    own = [Names(texts(document.get("extras")), texts(document.get("dependency-groups")))]
    if (mark := mark_of(document)) is not None:
        own.append(built_in(mark, project.directory, project.default_groups))
    return Names(union(*(one.extras for one in own)), union(*(one.groups for one in own)))


def _fixed_groups(project: PythonProject) -> tuple[str, ...]:
    """Those that cannot be left out: they are built into the lock."""
    if project.origin is not Origin.PYLOCK:
        return ()
    mark = mark_of(document_at(project.inputs[0]))
    return built_in(mark, project.directory, project.default_groups).groups if mark else ()


def _declared(directory: Path) -> Names:
    found = declared(directory)
    return Names(tuple(found.extras), tuple(found.groups))


def _tells_extras_by_a_build(project: PythonProject) -> bool:
    """Whether only its build back end knows all of its extras."""
    if not project.dynamic or project.origin is Origin.PYLOCK:
        return False
    fields = table_of(document_at(project.directory / "pyproject.toml"), "project")
    return "optional-dependencies" in texts(fields.get("dynamic"))


def _replaced(asked: Names, there: Names) -> Names:
    """With those that are there in the place of `ALL`."""
    return Names(
        extras=_last(one for name in asked.extras for one in _all(name, there.extras)),
        groups=_last(one for name in asked.groups for one in _all(name, there.groups)),
    )


def _all(name: str, there: tuple[str, ...]) -> tuple[str, ...]:
    return there if name == ALL else (name,)


def _last(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(reversed(dict.fromkeys(reversed(tuple(names)))))
