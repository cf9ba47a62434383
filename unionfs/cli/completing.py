"""What shells offer for an argument's value where that is no option, file or choice of click's own.

Whoever presses TAB waits, and sees no errors: what cannot be found out is not offered.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import click
    from click.shell_completion import CompletionItem

    from resolver.python.declared.files import Declared
    from resolver.python.declared.lists import Names
    from resolver.python.project import PythonProject

    Found = Callable[[click.Context], Iterable[str]]
    Offered = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def paths(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Files and directories, as the shell completes them."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - nobody else needs it

    return [CompletionItem(begun, type="file")]


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*")
"""What a shell takes as it stands. A clone's files have names, too: others are not offered."""


def names_of(found: Found, *, or_paths: bool = False) -> Offered:
    """The names that are found; and `or_paths`, too."""

    @wraps(found)
    def offered(
        context: click.Context, parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - nobody else needs it

        there: list[str] = []
        with suppress(PkgviewError, OSError):
            names = {name for name in found(context) if _NAME.fullmatch(name)}
            there += sorted(name for name in names if name.startswith(begun))
        more = paths(context, parameter, begun) if or_paths else []
        return [*more, *map(CompletionItem, there)]

    return offered


def commands(context: click.Context, parameter: click.Parameter, begun: str) -> list[Any]:
    """Of a command to run the first word: one of the project's, or on PATH; and files."""

    def found(context: click.Context) -> Iterator[str]:
        if context.params.get(parameter.name or "") or not begun or "/" in begun:
            return
        project = _project(context)
        own = [] if project is None else [project.directory / ".venv/bin"]
        for directory in (*own, *map(Path, os.get_exec_path())):
            with suppress(OSError):
                yield from (one for one in os.listdir(directory) if one.startswith(begun))

    return names_of(found, or_paths=True)(context, parameter, begun)


def extras(context: click.Context) -> Iterable[str]:
    """The extras of the project."""
    return _offered(context).extras


def groups(context: click.Context) -> Iterable[str]:
    """The dependency groups of the project."""
    return _offered(context).groups


def distributions(context: click.Context) -> Iterator[str]:
    """What the project's view has."""
    from resolver.places import Places  # noqa: PLC0415 - see above
    from unionfs.publishing.repeat import last_shown  # noqa: PLC0415 - the same
    from unionfs.view.catalog import read_manifest  # noqa: PLC0415 - the same

    places, project = Places.from_environ(), _project(context)
    view = None if project is None else last_shown(places, project)
    if view is not None:
        yield from (layer.name for layer in read_manifest(places, view.view).layers if layer.name)


def listed(context: click.Context) -> Iterator[str]:
    """What the project's files list, wherever they do."""
    from resolver.python.declared.files import declared, of_script  # noqa: PLC0415 - the same
    from resolver.python.editing.listing import name_of  # noqa: PLC0415 - the same

    script, project = context.params.get("script"), _project(context)
    found: Declared | None = None
    if script is not None:
        found = of_script(Path(script))
    elif project is not None:
        found = declared(project.directory)
    yield from () if found is None else filter(None, map(name_of, found.all))


def tools(_: click.Context) -> Iterator[str]:
    """The tools that are installed."""
    from resolver.places import Places  # noqa: PLC0415 - the same
    from unionfs.publishing.tools import installed  # noqa: PLC0415 - the same

    yield from (one.name for one in installed(Places.from_environ()))


def _offered(context: click.Context) -> Names:
    from resolver.python.declared.lists import NONE, offered  # noqa: PLC0415 - the same

    project = _project(context)
    return NONE if project is None else offered(project)


def _project(context: click.Context) -> PythonProject | None:
    """The one that is named so far, else the one here."""
    from resolver.python.project import PythonProject  # noqa: PLC0415 - the same
    from unionfs.formats.kind import projects_at  # noqa: PLC0415 - the same

    named = context.params.get("directory") or "."
    found = (one for _, one in projects_at(Path(named), ["python"]))
    return next((one for one in found if isinstance(one, PythonProject)), None)
