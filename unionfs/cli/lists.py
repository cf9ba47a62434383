"""What a command takes of a project's lists, and by hand: `--extra`, `--group`, `--layer`.

The first two are as uv has them; what they come to `resolver.python.declared.lists` says.
"""

from __future__ import annotations

from functools import reduce, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from resolver.errors import PkgviewError
from resolver.python.declared.files import declared
from resolver.python.declared.lists import ALL, Names, offered
from resolver.python.layers.listed import HandLayer, named_layer
from resolver.python.project import PythonProject
from resolver.python.requirements import normalised
from unionfs.cli.completing import distributions, extras, groups, names_of, paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resolver.project.project import Project

_OPTIONS = (
    click.option(
        "--extra",
        "extras",
        multiple=True,
        metavar="NAME",
        shell_complete=names_of(extras),
        help="Add an extra; may be repeated.",
    ),
    click.option("--all-extras", is_flag=True, help="Add all extras that there are."),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME",
        shell_complete=names_of(groups),
        help="Add a dependency group (PEP 735); may be repeated.",
    ),
    click.option("--all-groups", is_flag=True, help="Add all groups that there are."),
    click.option(
        "--no-group",
        "left_out",
        multiple=True,
        metavar="NAME",
        shell_complete=names_of(groups),
        help="Leave a group out; may be repeated.",
    ),
    click.option("--no-dev", is_flag=True, help="The same as `--no-group dev`."),
)


def _laid(_: click.Context, __: click.Parameter, named: tuple[str, ...]) -> tuple[HandLayer, ...]:
    return tuple(named_layer(one, Path.cwd()) for one in named)


class ByHand(NamedTuple):
    """What is laid for one run, as `PythonWish` has it."""

    layers: tuple[HandLayer, ...]
    preferring: tuple[str, ...]


def with_layers(command: Callable[..., None]) -> Callable[..., None]:
    """`--layer` and `--prefer`, as one argument `by_hand` of the command."""

    @wraps(command)
    def packed(
        *arguments: Any,  # noqa: ANN401 - the command's own
        layers: tuple[HandLayer, ...],
        preferring: tuple[str, ...],
        **others: Any,  # noqa: ANN401 - the same
    ) -> None:
        names = tuple(map(normalised, preferring))
        command(*arguments, by_hand=ByHand(layers, names), **others)

    prefer = click.option(
        "--prefer",
        "preferring",
        multiple=True,
        metavar="NAME",
        shell_complete=names_of(distributions),
        help="Where several distributions have the same file, this one's is seen, for this run; "
        "may be repeated.",
    )
    layer = click.option(
        "--layer",
        "layers",
        multiple=True,
        callback=_laid,
        metavar="PATH",
        shell_complete=paths,
        help="Lay a directory, egg, wheel, Zip file or source tree in front of all packages, as it "
        "is, for this run: nothing is resolved, nothing built; may be repeated.",
    )
    return layer(prefer(packed))


def with_lists(command: Callable[..., None]) -> Callable[..., None]:
    """All of these options, as one argument `lists` of the command, as `Names` has them."""

    @wraps(command)
    def packed(  # noqa: PLR0913 - one an option
        *arguments: Any,  # noqa: ANN401 - the command's own
        extras: tuple[str, ...],
        groups: tuple[str, ...],
        left_out: tuple[str, ...],
        all_extras: bool,
        all_groups: bool,
        no_dev: bool,
        **others: Any,  # noqa: ANN401 - the same
    ) -> None:
        less = (*left_out, *(("dev",) if no_dev else ()))
        lists = Names(
            extras=(*((ALL,) if all_extras else ()), *extras),
            # Those that are left out come last: they win.
            groups=(*((ALL,) if all_groups else ()), *groups, *(f"-{name}" for name in less)),
        )
        command(*arguments, lists=lists, **others)

    return reduce(lambda done, option: option(done), reversed(_OPTIONS), packed)


def refuse_undefined(project: Project, groups: Sequence[str]) -> None:
    """An error where a group is left out ("-" before its name) that the project does not define.

    As uv has it, where a typing mistake would have left a group in. `--no-dev` is no mistake.
    """
    left_out = [name[1:] for name in groups if name.startswith("-") and name != "-dev"]
    if not left_out or not isinstance(project, PythonProject):
        return
    there = {*offered(project).groups}
    if project.root == project.directory:
        there |= declared(project.directory).groups.keys()
    for name in left_out:
        if normalised(name) not in map(normalised, there):
            raise PkgviewError(
                f"{project.root} has no group {name!r} that could be left out",
                remedy=f"It has {', '.join(sorted(there))}."
                if there
                else "It has none: leave the option out.",
            )
