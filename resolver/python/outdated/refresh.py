"""A project's own lock, compared with the project's files and made anew where that may be.

| the lock | outdated, it is |
|---|---|
| `uv.lock`, that of a script (`script.py.lock`) | refreshed by `uv lock` |
| `pylock.toml` of `pkgview lock` | locked as then, with its versions where they will do |
| any other, or not to be written | used as it is, and what it lacks is said |

With `frozen` nothing is compared, with `locked` an outdated lock is an error, as in uv. Where
nobody has asked for it by a command (`no_build`) the project's files stay as they are: what they
ask for is resolved in the state, with the lock's versions where they will do.

Whether a `uv.lock` is outdated uv says, but not to those who only look: it might build for that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.naming import shell_word
from resolver.project import trust
from resolver.project.changes import changes
from resolver.python.choices.own import own_choices
from resolver.python.choices.phrases import variable_part
from resolver.python.declared.files import declared, digest, of_script
from resolver.python.declared.lists import Names, expanded
from resolver.python.declared.mark import mark_of
from resolver.python.declared.written import located
from resolver.python.index import user_indexes, user_named_indexes
from resolver.python.lock import lock, write_lock
from resolver.python.lockfile import only_one
from resolver.python.locks.chosen import Chosen
from resolver.python.locks.own import asked_again, document_of, two_locks, which_to_delete
from resolver.python.outdated.compare import (
    differing,
    lacking,
    locked_versions,
    recorded,
    recorded_of_script,
    versions,
)
from resolver.python.project import (
    Origin,
    project_at,
    project_of_script,
    project_without_lock,
)
from resolver.python.uv.run import run_uv
from resolver.toml import parse

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.project.changes import Change
    from resolver.python.declared.mark import Mark
    from resolver.python.interpreter import Interpreter
    from resolver.python.lockfile import Lock
    from resolver.python.project import PythonProject

_OUTDATED = "needs to be updated"
"""What uv says of a lock that `--check` finds outdated."""

_MOST_SAID = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a lock is wanted; `extras` and `groups` besides the project's default ones."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    offline: bool = False
    frozen: bool = False
    locked: bool = False
    no_build: bool = False
    decides: bool = False

    @property
    def renews(self) -> bool:
        """Whether newer versions are asked for."""
        return self.upgrade or bool(self.upgrade_packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A lock, and the project: another object where its lock has been made anew.

    `current`: it is known to hold what the project's files ask for; `own`: it is the project's own
    lock, not one resolved beside it. `said` is a sentence for who uses it, "" where there is
    nothing to say, `renewed` what is otherwise in a lock that was made anew.
    """

    lock: Lock
    project: PythonProject
    current: bool = True
    own: bool = True
    said: str = ""
    renewed: tuple[Change, ...] = ()


async def current_lock(
    project: PythonProject, interpreter: Interpreter, asked: Asked, state: Path
) -> Found:
    """The project's lock as it is wanted; `PkgviewError` where there is none to be had."""
    one = _One(project, interpreter, asked, state)
    try:
        if project.uv_lock is not None:
            return await one.of_uv()
        if project.origin is Origin.PYLOCK:
            return await one.of_pylock()
        return await one.found()
    except PkgviewError as error:
        raise located(error, project.inputs) from error


class _One:
    """One lock that is asked for."""

    def __init__(
        self, project: PythonProject, interpreter: Interpreter, asked: Asked, state: Path
    ) -> None:
        self.project = project
        self.interpreter = interpreter
        self.asked = asked
        self.state = state
        self.path = project.uv_lock or project.inputs[0]
        self.named = self.path.name

    async def found(
        self,
        project: PythonProject | None = None,
        *,
        current: bool = True,
        said: str = "",
        more: Mark | None = None,
        preferred: bytes | None = None,
    ) -> Found:
        """The lock of the project as it is, or of one that its lock is not to be asked of."""
        project, asked = project or self.project, self.asked
        # Without a lock of its own it is compared by its fingerprint, and that is no guess.
        own = project.origin is Origin.PYLOCK or project.uv_lock is not None
        had = expanded(asked_again(more, project), project) if more else Names()
        made = await lock(
            project,
            self.interpreter,
            extras=(*had.extras, *asked.extras),
            groups=(*had.groups, *asked.groups),
            state=self.state,
            upgrade=asked.upgrade,
            upgrade_packages=asked.upgrade_packages,
            offline=asked.offline,
            frozen=asked.frozen or (asked.locked and not own),
            no_build=asked.no_build,
            decides=asked.decides,
            preferred=preferred,
        )
        return Found(lock=made, project=project, current=current, said=said or made.said)

    # uv.lock

    async def of_uv(self) -> Found:
        """As `uv sync` does it."""
        asked = self.asked
        if asked.frozen:
            return await self.found(current=False)
        if asked.no_build:
            lacks = self._lacks_of_uv()
            return await (self._looked_at(lacks) if lacks else self.found())
        if asked.locked or not os.access(self.path, os.W_OK):
            if await self._is_current_for_uv():
                return await self.found()
            refreshes = os.access(self.path, os.W_OK)
            return await self._as_it_is(
                self._lacks_of_uv(), remedy=self._remedy(), refreshes=refreshes
            )
        before = read_input(self.path)
        async with only_one(self.path.parent):
            await self._uv_lock()
        if read_input(self.path) == before:
            return await self.found()
        root = self.project.root
        again = project_of_script(root) if root.is_file() else project_at(os.fspath(root))
        were, are = (_all_of(parse(text.decode())) for text in (before, read_input(self.path)))
        found = await self.found(again, said=self._refreshed())
        return replace(found, renewed=changes(were, are))

    async def _uv_lock(self, *options: str) -> None:
        """Run `uv lock`."""
        asked = self.asked
        options += ("--upgrade",) if asked.upgrade else ()
        options += tuple(f"--upgrade-package={name}" for name in asked.upgrade_packages)
        if self.project.dynamic and self.project.name:
            # uv keeps what a back end said, and does not know which files that had read.
            options += (f"--refresh-package={self.project.name}",)
        if self.project.origin is Origin.SCRIPT:
            options += (f"--script={self.project.root.name}",)
        chosen = Chosen(place=self.project.root, project=self.project)
        await run_uv(
            ["lock", f"--python={self.interpreter.executable}", *options],
            cwd=self.project.directory,
            # Other indexes than uv's own would have all of it written anew.
            added=chosen.environment(self.interpreter.executable, indexes=False),
            offline=asked.offline,
            doing=f"cannot lock {self.project.root}",
        )

    async def _is_current_for_uv(self) -> bool:
        try:
            await self._uv_lock("--check")
        except PkgviewError as error:
            if _OUTDATED in error.what:
                return False
            raise
        return True

    def _lacks_of_uv(self) -> tuple[str, ...]:
        """What is asked for now, and was not when the lock was made; of all members."""
        document, root = document_of(self.path), self.path.parent
        if self.project.origin is Origin.SCRIPT:
            return differing(of_script(self.project.root), recorded_of_script(document))
        lacks: list[str] = []
        for place in self.project.inputs:
            if place.name != "pyproject.toml" or not place.is_relative_to(root):
                continue
            made_from = recorded(document, os.path.relpath(place.parent, root))
            wanted = declared(place.parent)
            if made_from is not None and wanted.whole:
                lacks += differing(wanted, made_from)
        return tuple(dict.fromkeys(lacks))

    def _remedy(self) -> str:
        if self.project.origin is Origin.SCRIPT:
            return f"Run `uv lock --script {shell_word(self.project.root)}`."
        return "Run `uv lock` there."

    # pylock.toml

    async def of_pylock(self) -> Found:
        """Ours is made anew; of others' it is looked whether they will do."""
        document, asked = document_of(self.path), self.asked
        source = project_without_lock(self.project.root)
        mark = mark_of(document) if source and source.uv_lock is None else None
        if source is None or mark is None:
            return await self._of_others(document, source)
        if asked.frozen:
            return await self.found(current=False)
        if mark.inputs == digest(source) and not asked.renews:
            return await self.found()
        lacks = lacking(document, declared(source.root), self.interpreter.environment)
        if asked.no_build:
            return await self._looked_at(lacks, source, mark)
        refreshes = os.access(self.path.parent, os.W_OK)
        if asked.locked or not refreshes:
            return await self._as_it_is(
                lacks, remedy="Run `pkgview lock` there.", refreshes=refreshes
            )
        again = asked_again(mark, source)
        await write_lock(
            self.project,
            self.interpreter,
            extras=again.extras,
            groups=again.groups,
            upgrade=asked.upgrade,
            upgrade_packages=asked.upgrade_packages,
            offline=asked.offline,
            python_version=mark.python,
        )
        done = changes(versions(document), versions(document_of(self.path)))
        root = self.project.root
        anew = project_of_script(root) if root.is_file() else project_at(os.fspath(root))
        return replace(await self.found(anew, said=self._refreshed()), renewed=done)

    async def _of_others(self, document: dict[str, Any], source: PythonProject | None) -> Found:
        if source is not None and source.uv_lock is not None:
            return await self._of_two(document, source, source.uv_lock)
        if self.asked.renews:
            raise PkgviewError(
                f"{self.project.root} is locked by a pylock.toml that pkgview has not written, "
                "which is used as it is",
                remedy="Renew it with what wrote it, or run `pkgview lock --upgrade` there: from "
                "then on it is pkgview's.",
            )
        if self.asked.frozen:
            return await self.found(current=False)
        wanted = declared(source.root) if source else None
        lacks = lacking(document, wanted, self.interpreter.environment) if wanted else ()
        if not lacks:
            return await self.found()
        remedy = "Make it anew with what wrote it, or with `pkgview lock`."
        return await self._as_it_is(lacks, remedy=remedy)

    async def _of_two(
        self, document: dict[str, Any], source: PythonProject, uv_lock: Path
    ) -> Found:
        """A pylock.toml counts, and whoever uses uv knows only the other: said as they differ."""
        if self.asked.renews:
            raise two_locks(self.project, uv_lock)
        lacks = lacking(document, declared(source.root), self.interpreter.environment)
        remedy = which_to_delete(uv_lock)
        if lacks and not self.asked.frozen:
            return await self._as_it_is(lacks, remedy=remedy)
        other = locked_versions(document_of(uv_lock))
        found = versions(document).items()
        differ = [f"{name} {one}" for name, one in found if one not in other.get(name, {one})]
        if self.asked.frozen or not differ:
            return await self.found(current=not self.asked.frozen)
        said = f"{self.path} is used, and {uv_lock} has other versions than {_listed(differ)}."
        return await self.found(current=False, said=f"{said} {remedy}")

    # What is outdated

    async def _looked_at(
        self, lacks: tuple[str, ...], source: PythonProject | None = None, mark: Mark | None = None
    ) -> Found:
        """For who only looks: resolved beside the lock, which stays as it is; else the lock."""
        what = (
            f"{self.path} is outdated ({self._some(lacks)})"
            if lacks
            else f"{self.path} is outdated"
        )
        remedy = "`pkgview up` refreshes it."
        try:
            made = await self._beside(source, mark)
        except PkgviewError:
            made = None
        if made is None:
            return await self.found(current=False, said=f"{what}. It is used as it is. {remedy}")
        said = f"{what}; what it lacks was resolved without changing it. {remedy}"
        return replace(made, project=self.project, current=False, own=False, said=said)

    async def _beside(self, source: PythonProject | None, mark: Mark | None) -> Found | None:
        """What the files ask for, with the lock's versions; None where they choose more.

        What only they choose nobody has been asked about.
        """
        uv_lock = self.project.uv_lock
        if source is None and self.project.origin is Origin.SCRIPT:
            inputs = tuple(path for path in self.project.inputs if path != uv_lock)
            source = replace(self.project, inputs=inputs)
        source = source or replace(self.project, origin=Origin.PYPROJECT)
        indexes = {variable_part(name): url for name, url in user_named_indexes().items()}
        wanted = own_choices(source, user_indexes(), indexes)
        if trust.not_agreed(self.project, self.state, wanted):
            return None
        # A script is locked in uv's own form, and prefers that.
        exported = uv_lock is not None and not self.project.is_script
        path = (await self.found()).lock.path if exported else self.path
        return await self.found(source, more=mark, preferred=read_input(path))

    async def _as_it_is(
        self, lacks: tuple[str, ...], *, remedy: str, refreshes: bool = False
    ) -> Found:
        """An outdated lock that is not to be changed: an error, or a word.

        `refreshes`: without --locked it would be made anew.
        """
        what = f"{self.path} is outdated" + (f": {self._some(lacks)}" if lacks else "")
        if self.asked.locked:
            done = "refreshed" if refreshes else "used as it is"
            raise PkgviewError(what, remedy=f"{remedy} Without --locked it is {done}.")
        return await self.found(current=False, said=f"{what}. It is used as it is. {remedy}")

    def _some(self, lacks: tuple[str, ...]) -> str:
        listed = self.project
        if listed.origin is Origin.PYLOCK:
            listed = project_without_lock(listed.root) or listed
        who = "pyproject.toml"
        if listed.origin is Origin.SCRIPT:
            who = "the script"
        elif listed.origin is Origin.REQUIREMENTS:
            who = "requirements.txt"
        elif listed.uv_lock is not None and listed.uv_lock.parent != listed.root:
            who = "a pyproject.toml of its workspace"
        return f"{who} asks for {_listed(list(lacks))}"

    def _refreshed(self) -> str:
        if self.asked.renews:
            return f"Renewed {self.named}."
        return f"{self.named} was outdated, and is refreshed."


def _all_of(document: dict[str, Any]) -> dict[str, str]:
    return {name: ", ".join(sorted(some)) for name, some in locked_versions(document).items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_SAID} more" if len(names) > _MOST_SAID else ""
    return ", ".join(names[:_MOST_SAID]) + more
