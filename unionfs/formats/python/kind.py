"""Python as a kind of namespace: a view is a virtual environment for one interpreter.

What has come out of a `pkgview up` is kept for the next start that finds the same bytes
(`resolver.remembered`), so that most of them need not come here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from resolver import remembered
from resolver.errors import PkgviewError
from resolver.local import named_place
from resolver.project import resolved, trust
from resolver.project.project import fingerprint
from resolver.project.resolved import UNCHECKED, ResolvedView
from resolver.python.declared.further import situation_of
from resolver.python.declared.lists import Names, passed_over_remark
from resolver.python.discovery import find_interpreter, find_or_fetch, is_first
from resolver.python.project import Origin, PythonProject, project_at, project_of_script
from resolver.python.requirements import normalised
from resolver.python.target import KIND as NAME
from resolver.python.target import python_of
from resolver.python.uv.once import read_anew
from unionfs.formats.kind import described
from unionfs.formats.python.wish import PythonWish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from resolver.fetch.client import FetchSettings
    from resolver.manifest import LayerSpec, Manifest
    from resolver.places import Places
    from resolver.project.changes import Change
    from resolver.project.package import Package
    from resolver.project.project import Project
    from resolver.python.interpreter import Interpreter
    from resolver.python.lockfile import Lock
    from resolver.python.outdated.refresh import Found
    from resolver.python.selection import Choice
    from unionfs.formats.python.packages import PythonPackage
    from unionfs.store.ordered import Stores


class PythonMaking:
    """A view of Python's in the making (`unionfs.formats.kind.Making`)."""

    def __init__(self, places: Places, wish: PythonWish) -> None:
        self._places = places
        self._wish = wish
        # Taken before the inputs are read: an edit meanwhile makes the next `up` look again.
        self._before = _situation(wish, places.state)
        self._interpreter = _interpreter(wish, places.state)
        self.variant = self._interpreter.python.version
        self.fingerprint = None if wish.is_for_once else wish.fingerprint(self._interpreter)
        # What `up` would have made, where that comes out alike though nothing was built.
        as_by_up = replace(wish, no_build=False) if wish.no_build else wish
        self._built = None if wish.is_for_once else as_by_up.fingerprint(self._interpreter)
        self._unbuilt = False
        self._inputs = ""
        self._found: Found | None = None
        self.remark = wish.project.pins_remark
        self.renewed: tuple[Change, ...] = ()
        self._said: list[str] = []  # by threads
        self._choices: tuple[Choice, ...] | None = None
        self._of_project = False

    def settings(self) -> FetchSettings:
        """Those that pip and uv users have."""
        from unionfs.formats.python.fetching import fetch_settings  # noqa: PLC0415 - nothing to do needs none

        return fetch_settings(self._wish.settled_by, self._wish.requirements)

    async def packages(self, locking: Callable[[str], None]) -> Sequence[Package]:
        """The lock, through uv, and what of it this interpreter needs."""
        from resolver.python.build import BuiltFor  # noqa: PLC0415 - nothing to do needs none
        from resolver.python.outdated.refresh import (  # noqa: PLC0415 - the same
            Asked,
            current_lock,
        )
        from resolver.python.selection import remark_on, select  # noqa: PLC0415 - the same
        from resolver.python.uv.pips import not_followed  # noqa: PLC0415 - the same
        from unionfs.formats.python.fetching import with_passwords  # noqa: PLC0415 - the same
        from unionfs.formats.python.packages import (  # noqa: PLC0415 - the same
            package_of,
            packages_unbuilt,
        )

        wish = self._wish
        self._inputs = fingerprint(wish.project)  # before they are read, for the same reason
        locking(str(wish.project.root))
        named = wish.named()
        asked = Asked(
            extras=named.extras,
            groups=named.groups,
            upgrade=wish.upgrade,
            upgrade_packages=wish.upgrade_packages,
            offline=wish.offline,
            frozen=wish.frozen,
            locked=wish.locked,
            no_build=wish.no_build,
            decides=wish.decides,
        )
        found = await current_lock(wish.project, self._interpreter, asked, self._places.state)
        by_uv = found.project.is_script or found.project.uv_lock is not None
        passed = "" if wish.no_build else not_followed(pip=not by_uv)
        less = passed_over_remark(wish.passed_over)
        said = " ".join(filter(None, (found.said, less, wish.project.pins_remark, passed)))
        self._found, self.remark = found, said or self.remark
        self.renewed = found.renewed or self.renewed  # of a second attempt the first one's
        if found.project is not wish.project:
            wish = self._read_again(found.project)
        if wish.requirements:
            chosen = await self._overlaid(found.lock)
        else:
            chosen = select(found.lock, self._interpreter)
        self.remark = " ".join(filter(None, (self.remark, remark_on(chosen))))
        chosen = self._choices = with_passwords(chosen, wish.settled_by, wish.requirements)
        if wish.no_build:
            packages = packages_unbuilt(chosen, self._interpreter, wish.project, self._places)
            self._unbuilt = any(one.unbuilt or one.earlier for one in packages)
            return packages
        state, accept = self._places.state, wish.project.settings.accept
        by = wish.settled_by
        built_for = BuiltFor(place=by.root, choices=tuple(chosen), project=by)
        return [package_of(one, self._interpreter, state, accept, built_for) for one in chosen]

    def _read_again(self, project: PythonProject) -> PythonWish:
        """Its lock has been made anew, which was the user's own doing, and so is what it says."""
        read_anew()
        self._wish = wish = replace(self._wish, project=project)
        self._before = _situation(wish, self._places.state)
        self.fingerprint = None if wish.is_for_once else wish.fingerprint(self._interpreter)
        self._built = self.fingerprint  # who only looks has no lock made anew
        self._inputs = fingerprint(project)
        kind = _Python()
        agreed = trust.agreed_choices(project, self._places.state)
        trust.agree(project, self._places.state, agreed | kind.choices(project, users=frozenset()))
        return wish

    async def _overlaid(self, found: Lock) -> tuple[Choice, ...]:
        """The same with what `--with` adds to it."""
        from resolver.python.added.additions import addition  # noqa: PLC0415 - as above
        from resolver.python.added.overlay import overlay  # noqa: PLC0415 - the same

        wish = self._wish
        laid = await overlay(
            found,
            self._interpreter,
            [addition(one) for one in wish.requirements],
            state=self._places.state,
            offline=wish.offline,
            place=wish.settings_of,
        )
        self.remark = " ".join(filter(None, (self.remark, laid.said)))
        return laid.choices

    async def build(self, package: PythonPackage, source: Path | None, within: Path) -> Path | str:
        """By the distribution's own back end, or, where nothing may run, from its files."""
        from unionfs.formats.python.packages import build, needs_build  # noqa: PLC0415 - as above

        if package.earlier is not None:
            return package.earlier
        if self._wish.no_build and package.unbuilt is None:  # it was in the store a moment ago
            raise needs_build(f"{package.name} is not built", self._wish.project.directory)
        return await build(package, source, self._interpreter, within, offline=self._wish.offline)

    def add(self, store: Stores, package: PythonPackage, path: Path) -> str:
        """A wheel, or the tree of an editable build."""
        from unionfs.formats.python.packages import add  # noqa: PLC0415 - as above

        return add(store, package, path, self._interpreter, self._said.append)

    async def completed(
        self, store: Stores, layers: Sequence[LayerSpec], told: Callable[[str], None]
    ) -> Sequence[LayerSpec]:
        """As they are: a distribution is built by itself."""
        del store, told
        return layers

    def further(self, archives: Sequence[str]) -> Sequence[str]:
        """What their sources were compiled to, for this interpreter."""
        from unionfs.bytecode.companion import companion_key  # noqa: PLC0415 - as above

        if not self._interpreter.cache_tag:
            return ()
        return [companion_key(name, self._interpreter) for name in archives]

    def manifest(self, store: Stores, layers: Sequence[LayerSpec]) -> Manifest:
        """The skeleton comes first, so that no distribution can replace a part of it."""
        from unionfs.bytecode.companion import with_companions  # noqa: PLC0415 - as above
        from unionfs.formats.python.generated import skeleton_layer  # noqa: PLC0415 - the same

        self._of_project = bool(store.of_project)
        said, self._said = self._said, []
        self.remark = " ".join(filter(None, (self.remark, *sorted(said))))
        with_pip = any(layer.name == "pip" for layer in layers)
        _refuse_unknown(self._wish.preferring, layers)
        own = skeleton_layer(store, self._interpreter, with_pip=with_pip)
        laid = self._laid(store, layers)
        manifest = self._interpreter.python.manifest([own, *laid])
        return with_companions(manifest, self._interpreter, store.archive_of)

    def _laid(self, store: Stores, layers: Sequence[LayerSpec]) -> Sequence[LayerSpec]:
        """With the layers by hand, those of this run foremost."""
        by_hand = (*self._wish.layers, *self._wish.project.settings.layers)
        if not by_hand:
            return layers
        from unionfs.formats.python.layers import laid  # noqa: PLC0415 - hardly any has one

        found = laid(store, self._interpreter, layers, by_hand)
        self.remark = " ".join(filter(None, (self.remark, found.said)))
        return found.layers

    def record(self, manifest: Manifest) -> ResolvedView:
        """With what was asked for besides, which is meant to stay."""
        wish = self._wish
        agreed = trust.agreed_choices(wish.project, self._places.state)
        return ResolvedView(
            kind=NAME,
            variant=self.variant,
            view=manifest.id,
            fingerprint=self._recorded(),
            inputs=self._inputs,
            extras=wish.lists.extras,
            groups=wish.lists.groups,
            unbuilt=self._unbuilt,
            asked=wish.asked,
            word_of=resolved.identity_text(wish.project.directory) if self._of_project else "",
            choices=tuple(sorted(agreed - {trust.STORE})),  # that one `word_of` says
        )

    def _recorded(self) -> str:
        """The fingerprint by which the next `up` knows whether this view is the one it wants."""
        found = self._found
        if found is None or not found.own:
            return ""
        known = self.fingerprint if self._unbuilt else self._built
        if known is None:
            return "" if found.current else UNCHECKED
        # A lock that is there may have been made in another shell.
        known = resolved.decided(known, found.lock.indexes)
        return known if found.current else UNCHECKED + known

    def settled(self, manifest: Manifest, record: ResolvedView) -> None:
        """Keep what this came to, unless more counts than bytes, or they changed meanwhile."""
        wish, before = self._wish, self._before
        read_anew()  # as whoever comes next will find them
        now = before and _situation(wish, self._places.state)
        if before is None or now is None or now.here != before.here:
            return
        if now.archives != before.archives:
            return
        state = self._places.state
        interpreter = find_interpreter(wish.project, wish.python, state)
        if not wish.requirements and record.fingerprint != wish.fingerprint(interpreter):
            return
        if wish.requirements and self._needs_other_places():
            return
        agreed = trust.of(str(wish.project.root), state)
        if agreed is None:
            return  # who finds it there has nothing to say yes to
        # Without what only `pkgview trust` says: who finds this has said no such thing.
        choices = trust.choices_json(agreed.choices - {trust.STORE})
        entry = remembered.Entry(
            record.view,
            interpreter.executable,
            self.remark if wish.requirements else described(manifest),
            resolved.to_json(record),
            choices,
            now.archives,
        )
        keys = [now.shown(record.view, interpreter.executable)] if wish.kept else []
        if any(wish.passed_over):
            pass  # by a command that names it, it is an error
        elif wish.python is None and is_first(interpreter, wish.project, None, state):
            keys += [now.here, now.anywhere] if self._is_same_anywhere() else [now.here]
        elif wish.requirements and remembered.shown_python(before.directory, str(state)) == (
            interpreter.executable
        ):
            keys = [now.here]
        with suppress(PkgviewError):  # it only saves time
            remembered.remember(str(state), keys, entry)

    def _is_same_anywhere(self) -> bool:
        """Whether the view is the same wherever the project lies, by anybody's word but its own."""
        if self._choices is None:
            return False
        project = self._wish.project
        local = [choice for choice in self._choices if choice.path is not None]
        return (
            project.origin in {Origin.PYLOCK, Origin.UV}
            and not project.package
            and not self._of_project
            and not self._wish.requirements
            and all(choice.absolute for choice in local)
            and {*project.archives} <= {choice.path for choice in local}
        )

    def _needs_other_places(self) -> bool:
        """Whether what `--with` names leads to directories that nobody looks at."""
        from resolver.python.selection import Source  # noqa: PLC0415 - as above

        places = {place[0] for place in map(named_place, self._wish.requirements) if place}
        places.add(str(self._wish.project.root))
        return any(
            choice.kind is Source.DIRECTORY and str(choice.path) not in places
            for choice in self._choices or ()
        )


class _Python:
    """The kind (`unionfs.formats.kind.Kind`)."""

    name = NAME

    def project_at(self, directory: Path) -> PythonProject | None:
        """A directory, or a script with an inline block (PEP 723)."""
        if directory.is_dir():
            return project_at(os.fspath(directory))
        found = project_of_script(directory)
        return found if found is not None and found.root == directory else None

    def choices(self, project: Project, *, users: frozenset[str]) -> frozenset[str]:
        """Other indexes, addresses, paths, variables and settings of uv."""
        from resolver.fetch.addresses import EVERYBODYS  # noqa: PLC0415 - nothing to do needs none
        from resolver.python.choices.own import own_choices  # noqa: PLC0415 - the same
        from resolver.python.index import user_indexes  # noqa: PLC0415 - the same

        # So it is in nearly all locks: a word about it is for those who want it nowhere.
        return own_choices(_python(project), users | (user_indexes() & {EVERYBODYS}))

    def making(self, places: Places, wish: PythonWish) -> PythonMaking:
        """A view for the project's interpreter, or the one that was asked for."""
        return PythonMaking(places, wish)

    def again(self, project: Project, view: ResolvedView, manifest: Manifest) -> PythonWish:
        """The same Python, extras and groups."""
        return PythonWish(
            project=_python(project),
            python=python_of(manifest).executable,
            asked=view.asked,
            lists=Names(view.extras, view.groups),
            no_build=view.unbuilt,
        )

    def roots(self, manifest: Manifest) -> Sequence[str]:
        """Where modules are: mostly one directory."""
        schemes = python_of(manifest).schemes
        return tuple(dict.fromkeys((schemes.purelib, schemes.platlib)))

    def describe(self, manifest: Manifest) -> str:
        """Such as "Python 3.11"."""
        return f"Python {python_of(manifest).version}"


KIND = _Python()


def _python(project: Project) -> PythonProject:
    if not isinstance(project, PythonProject):
        raise TypeError(f"{project} is no project of Python's")
    return project


def _refuse_unknown(preferred: Sequence[str], layers: Sequence[LayerSpec]) -> None:
    there = {layer.name for layer in layers}
    if lacking := [name for name in preferred if name not in map(normalised, there)]:
        raise PkgviewError(
            f"{', '.join(lacking)} cannot be preferred: no such distribution is in the view",
            remedy="Name one that `pkgview list` shows.",
        )


def _interpreter(wish: PythonWish, state: Path) -> Interpreter:
    needed = wish.project.needed_python(wish.named().groups)
    project = replace(wish.project, requires_python=needed, group_pythons={})
    if not wish.fetch_python:
        return find_interpreter(project, wish.python, state)
    return find_or_fetch(project, wish.python, state, offline=wish.offline)


def _situation(wish: PythonWish, state: Path) -> remembered.Situation | None:
    if wish.no_build or wish.settings_of is not None:
        return None
    if wish.layers or wish.preferring or wish.project.is_live:
        return None  # names of directories count, too
    return situation_of(wish.project, *wish.lists, wish.requirements, state)
