"""What the user asked for, of a project of Python's."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from resolver.project.project import fingerprint
from resolver.project.resolved import decided
from resolver.python.declared.lists import NONE, Names, expanded
from resolver.python.project import Origin, PythonProject
from resolver.python.uv.cachekeys import own_state
from resolver.python.uv.settings import build_settings
from resolver.remembered import FORMAT
from unionfs.formats.kind import Wish

if TYPE_CHECKING:
    from resolver.python.interpreter import Interpreter
    from resolver.python.layers.listed import HandLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonWish(Wish):
    """What the user asked for, of a project of Python's.

    `requirements` are added for this one run, each as `--with` has it. `asked` is what the user
    said of the Python, and is kept; `python` may also be that of the last view. `lists` are the
    extras and groups as they were asked for, by this command or before; of what was asked for
    before, `passed_over` is what the project does not define (now). `fetch_python`: uv fetches one
    that lacks. With `no_build` the project itself is taken as its files say, and what
    would have to be built is an error. `settings_of` has the settings of uv for what is added where
    no project counts (`settings_at`). `layers` are laid in front for this one run, and those
    distributions are preferred that are in `preferring`.
    """

    project: PythonProject
    python: str | None = None
    asked: str = ""
    lists: Names = NONE
    passed_over: Names = NONE
    requirements: tuple[str, ...] = ()
    fetch_python: bool = False
    settings_of: PythonProject | None = None
    layers: tuple[HandLayer, ...] = ()
    preferring: tuple[str, ...] = ()

    @property
    def is_for_once(self) -> bool:
        """Whether something is added that no later command would know of."""
        return bool(self.requirements or self.layers or self.preferring)

    @property
    def prefer(self) -> tuple[str, ...]:
        """First what is preferred for this run."""
        return (*self.preferring, *self.project.prefer)

    @property
    def settled_by(self) -> PythonProject:
        """Whose settings count for what is added, fetched and built."""
        return self.settings_of or self.project

    def named(self) -> Names:
        """The extras and groups that it comes to."""
        asked, less = self.lists, self.passed_over
        extras = tuple(one for one in asked.extras if one not in less.extras)
        groups = tuple(one for one in asked.groups if one not in less.groups)
        return expanded(Names(extras, groups), self.project)

    def fingerprint(self, interpreter: Interpreter) -> str:
        """Equal as long as the same view would come out, newer releases aside.

        After `resolved.DECIDED` from which indexes.
        """
        # Directories are what comes out differently if nothing is built.
        unbuilt = ("unbuilt",) if self.no_build else ()
        settings = "" if self.no_build else build_settings(self.project.root)
        if self.project.origin in {Origin.REQUIREMENTS, Origin.PYPROJECT}:
            from resolver.python.constraints.named import facts_of  # noqa: PLC0415 - others need none

            settings += facts_of(self.project, unbuilt=self.no_build)
        indexes = ""
        if self.project.origin is not Origin.PYLOCK and self.project.uv_lock is None:
            from resolver.python.locks.indexes import indexes_of  # noqa: PLC0415 - the same

            indexes = indexes_of(self.project)
        if self.project.package and not self.no_build:
            settings += own_state(self.project.directory).hex()
        made = fingerprint(
            self.project,
            FORMAT,
            interpreter.executable,
            interpreter.full,
            "\0".join(self.lists.extras),
            "\0".join(self.lists.groups),
            *(["passed over", *self.passed_over.options()] if any(self.passed_over) else ()),
            *unbuilt,
            *([settings] if settings else []),
        )
        return decided(made, indexes)


def of_python(wish: Wish, **wishes: Any) -> PythonWish:  # noqa: ANN401 - as `PythonWish` has them
    """A plain wish, with those that only Python has."""
    common = {one.name: getattr(wish, one.name) for one in fields(Wish)}
    return PythonWish(**common, **wishes)
