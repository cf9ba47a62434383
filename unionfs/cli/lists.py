"""Which of a project's lists a command takes: `--extra`, `--group`, and what is short for many.

uv's options of the same names. `--all-extras` and `--all-groups` are those that the project's files
have now, written down one by one; a group that is left out has "-" before its name
(`resolver.python.lock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce, wraps
from typing import TYPE_CHECKING, Any, TypedDict

import click

from resolver.python.project import PythonProject

if TYPE_CHECKING:
    from collections.abc import Callable

    from resolver.project.project import Project

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


class Chosen(TypedDict):
    """As a wish for a view has them."""

    extras: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What the options say."""

    extras: tuple[str, ...]
    groups: tuple[str, ...]
    all_extras: bool = False
    all_groups: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything that is not so anyway."""
        return bool(self.extras or self.groups or self.all_extras or self.all_groups)

    def of(self, project: Project) -> Chosen:
        """The extras and the groups of that project of Python's."""
        if not (self.all_extras or self.all_groups) or not isinstance(project, PythonProject):
            return {"extras": self.extras, "groups": self.groups}
        from resolver.python.declared.files import offered  # noqa: PLC0415 - hardly ever asked for

        extras, groups = offered(project)
        return {
            "extras": tuple(dict.fromkeys((*(extras if self.all_extras else ()), *self.extras))),
            # Those that are left out come last: they win.
            "groups": tuple(dict.fromkeys((*(groups if self.all_groups else ()), *self.groups))),
        }


def with_lists(command: Callable[..., None]) -> Callable[..., None]:
    """All of these options, as one argument `lists` of the command."""

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
        lists = Lists(
            extras=extras,
            groups=(*groups, *(f"-{name}" for name in less)),
            all_extras=all_extras,
            all_groups=all_groups,
        )
        command(*arguments, lists=lists, **others)

    return reduce(lambda done, option: option(done), reversed(_OPTIONS), packed)
