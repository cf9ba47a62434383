"""Which of a project's lists a command takes: `--extra`, `--group`, and what is short for many.

uv's options of the same names; what they come to `resolver.python.declared.lists` says.
"""

from __future__ import annotations

from functools import reduce, wraps
from typing import TYPE_CHECKING, Any

import click

from resolver.python.declared.lists import ALL, Names

if TYPE_CHECKING:
    from collections.abc import Callable

_OPTIONS = (
    click.option(
        "--extra", "extras", multiple=True, metavar="NAME", help="Add an extra; may be repeated."
    ),
    click.option("--all-extras", is_flag=True, help="Add all extras that there are."),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME",
        help="Add a dependency group (PEP 735); may be repeated.",
    ),
    click.option("--all-groups", is_flag=True, help="Add all groups that there are."),
    click.option(
        "--no-group",
        "left_out",
        multiple=True,
        metavar="NAME",
        help="Leave a group out; may be repeated.",
    ),
    click.option("--no-dev", is_flag=True, help="The same as `--no-group dev`."),
)


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
