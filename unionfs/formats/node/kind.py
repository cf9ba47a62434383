"""Node as a kind of namespace: a view holds the node_modules that npm would have made."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.fetch.client import FetchSettings
from resolver.manifest import Manifest
from resolver.node.choices import own_choices
from resolver.node.clone import Pattern
from resolver.node.machine import this_machine
from resolver.node.npmrc import settings as npm_settings
from resolver.node.project import KIND as NAME
from resolver.node.project import NodeProject, project_at
from resolver.project.project import fingerprint
from resolver.project.resolved import UNCHECKED, ResolvedView
from unionfs.formats.kind import of_every_kind
from unionfs.formats.node.layout import MODULES
from unionfs.formats.node.remembering import Outcome, remember, situation
from unionfs.formats.node.wish import NodeWish, again, of_node

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resolver.manifest import LayerSpec
    from resolver.node.allowed import Allowed
    from resolver.node.lock import Entry
    from resolver.node.locked import Found
    from resolver.node.selection import Selection
    from resolver.places import Places
    from resolver.project.changes import Change
    from resolver.project.package import Package
    from resolver.project.project import Project
    from unionfs.formats.kind import Wish
    from unionfs.formats.node.packages import NodePackage
    from unionfs.formats.node.scripted import Scripted
    from unionfs.store.ordered import Stores

_ALLOWING = {"allowScripts", "pnpm", "trustedDependencies"}
"""Keys of package.json that may allow install scripts (`resolver.node.allowed`)."""

_NAMED = 8
"""Packages that a remark names."""


class NodeMaking:
    """A view of Node's in the making (`unionfs.formats.kind.Making`)."""

    variant = ""

    def __init__(self, places: Places, wish: NodeWish) -> None:
        self._places = places
        self._wish = wish
        # Taken before the inputs are read: an edit meanwhile makes the next `up` look again.
        self._before = situation(wish, places.state)
        self._machine = this_machine()
        self._settings = npm_settings(wish.project.root)
        asked = wish.omit
        self._omitted = self._settings.omitted if asked is None else frozenset(asked)
        self._built_with = self._counted_for_scripts()
        self._scripts = (
            self._settings.values.get("allow-scripts", ""),
            self._settings.says("ignore-scripts"),
            *self._built_with,
        )
        self.fingerprint: str | None = wish.fingerprint(self._machine, self._omitted, self._scripts)
        self.remark = ""
        self.renewed: tuple[Change, ...] = ()
        self._said: list[str] = []  # by threads
        self._of_lock = ""
        self._forgone: dict[str, str] = {}  # by place
        self._inputs = ""
        self._found: Found | None = None
        self._selection: Selection | None = None
        self._scripted: dict[str, Scripted] = {}
        self._said_always = ""
        self._pattern: Pattern | None = None

    def _counted_for_scripts(self) -> list[str]:
        """What install scripts are run with, where any may be allowed."""
        allows = _ALLOWING & self._wish.project.manifest.keys()
        if not allows and "allow-scripts" not in self._settings.values:
            return []
        from resolver.node.scripts import build_settings  # noqa: PLC0415 - mostly none

        return build_settings(os.environ)

    def settings(self) -> FetchSettings:
        """Npm's."""
        values = self._settings.values
        certificates = values.get("cafile")
        proxy = values.get("https-proxy") or values.get("proxy") or None
        return FetchSettings(
            verify=self._wish.project.root / Path(certificates).expanduser()
            if certificates
            else None,
            proxy=None if proxy in {"null", "false"} else proxy,
            auth=self._settings.basic,
            tokens=self._settings.bearer,
        )

    async def packages(self, locking: Callable[[str], None]) -> Sequence[Package]:
        """The lock, through npm where it has to be made, and what of it this machine needs."""
        from resolver.node.locked import Asked, current_lock  # noqa: PLC0415 - nothing to do needs none
        from resolver.node.selection import asked_by, select  # noqa: PLC0415 - the same
        from unionfs.formats.node.packages import package_of  # noqa: PLC0415 - the same
        from unionfs.formats.node.remarks import (  # noqa: PLC0415 - the same
            said_of_engines,
            said_of_scripts,
        )

        wish = self._wish
        self._inputs = fingerprint(wish.project)  # before they are read
        locking(str(wish.project.root))
        asked = Asked(
            beside=len(list(of_every_kind(wish.project.root))) > 1,
            upgrade=wish.upgrade,
            upgrade_packages=wish.upgrade_packages,
            offline=wish.offline,
            frozen=wish.frozen,
            locked=wish.locked,
        )
        found = await current_lock(wish.project, self._settings, asked, self._places)
        if found.project is not wish.project:
            self._wish = wish = replace(wish, project=found.project)
            self.fingerprint = wish.fingerprint(self._machine, self._omitted, self._scripts)
            self._inputs = fingerprint(found.project)
            self._before = situation(wish, self._places.state)
        self._found = found
        self.renewed = found.renewed or self.renewed  # of a second attempt the first one's
        self._of_lock = found.said or self._of_lock  # the same
        self._selection = select(
            *(found.lock, self._machine, self._omitted, self._settings, self._forgone),
            asked_by(wish.project),
        )
        policy = self._allowed()
        self._scripted = {}
        if policy.asked_for and not policy.never:
            from unionfs.formats.node.scripted import scripted  # noqa: PLC0415 - mostly none

            self._scripted = scripted(
                found.lock, self._selection, policy, self._machine, self._built_with
            )
        less = sorted(set(self._forgone.values()))
        scripts = said_of_scripts(wish.project, self._selection, policy)
        engines = said_of_engines(self._selection, self._machine, self._settings)
        self._said_always = " ".join(filter(None, (engines, scripts)))
        self.remark = " ".join(filter(None, (self._of_lock, *less, self._said_always)))
        keys = {place: one.key for place, one in self._scripted.items()}
        return [
            package_of(one, keys.get(one.entry.location), self._forgo_of(one.entry))
            for one in self._selection.choices
        ]

    def _forgo_of(self, entry: Entry) -> Callable[[str], None] | None:
        """How an optional package is left out that cannot be fetched, as by npm."""
        if not entry.optional or self._wish.locked:
            return None

        def forgo(why: str) -> None:
            self._forgone[entry.location] = f"Without {entry.title}, which is optional: {why}."

        return forgo

    async def build(self, package: NodePackage, source: Path | None, within: Path) -> Path | str:
        """What npm has to pack first: a git repository at a commit, a directory."""
        del source
        from unionfs.formats.node.packages import build  # noqa: PLC0415 - as above

        if self._wish.no_build:
            raise PkgviewError(
                f"{package.name} has to be packed first", remedy="Run `pkgview up`: it may do that."
            )
        root = self._wish.project.root
        return await build(package, root, within, offline=self._wish.offline)

    def add(self, store: Stores, package: NodePackage, path: Path) -> str:
        """A tarball."""
        from unionfs.formats.node.packages import add  # noqa: PLC0415 - as above

        archive, odd = add(store, package, path)
        if odd:
            self._said.append(f"{package.name} {package.version}: {'; '.join(odd)}.")
        return archive

    async def completed(
        self, store: Stores, layers: Sequence[LayerSpec], told: Callable[[str], None]
    ) -> Sequence[LayerSpec]:
        """With what the install scripts that the project allows make of their packages."""
        found, selection = self._found, self._selection
        if not self._scripted or found is None or selection is None:
            return layers
        from unionfs.formats.node.scripted import Running, refuse_running  # noqa: PLC0415 - as above

        if self._wish.no_build:
            refuse_running(store, self._scripted)
        running = Running(
            places=self._places, store=store, lock=found.lock, kept=selection.kept, told=told,
            offline=self._wish.offline,
        )  # fmt: skip
        places = [choice.entry.location for choice in selection.choices]
        archives = {place: one.archive for place, one in zip(places, layers, strict=True)}
        archives, said = await running.run(self._scripted, archives)
        self.remark = " ".join(filter(None, (self.remark, *said)))
        return [
            replace(layer, archive=archives[place])
            for place, layer in zip(places, layers, strict=True)
        ]

    def _allowed(self) -> Allowed:
        from resolver.node.allowed import allowed  # noqa: PLC0415 - as above

        project = self._wish.project
        return allowed(project.manifest, self._settings, project.root)

    def further(self, archives: Sequence[str]) -> Sequence[str]:
        """Nothing belongs to an archive of Node's."""
        del archives
        return ()

    def manifest(self, store: Stores, layers: Sequence[LayerSpec]) -> Manifest:
        """With the files of npm's own, and the links."""
        from unionfs.formats.node.executable import make_executable  # noqa: PLC0415 - as above
        from unionfs.formats.node.generated import generated_layers  # noqa: PLC0415 - as above
        from unionfs.formats.node.remembering import is_alike  # noqa: PLC0415 - as above
        from unionfs.formats.node.writable import writable_in  # noqa: PLC0415 - as above

        found, selection = self._found, self._selection
        assert found is not None  # noqa: S101 - `packages` comes first
        assert selection is not None  # noqa: S101 - the same
        said, self._said = sorted(self._said), []
        more = [f"And {len(said) - _NAMED} packages more."] if len(said) > _NAMED else []
        self.remark = " ".join(filter(None, (self.remark, *said[:_NAMED], *more)))
        if not self._wish.no_build:
            make_executable(found.project, found.lock, selection.kept)
        own = generated_layers(
            store, self._places, found.project, found.lock, selection.kept, layers
        )
        if is_alike(found.project, found.lock, selection):
            inside = writable_in(found.project, layers)
            self._pattern = Pattern(own.placed, self._said_always, inside, own.links)
        machine = self._machine
        target = {
            "cpu": machine.cpu,
            "libc": machine.libc,
            "node": machine.major,
            "os": machine.os,
        }
        return Manifest(kind=NAME, target=target, layers=(*own.layers, *layers))

    def record(self, manifest: Manifest) -> ResolvedView:
        """With what was left out by this command, which is meant to stay."""
        wish = self._wish
        # What could not be had is tried again by the next `up`.
        unchecked = UNCHECKED if wish.frozen or self._forgone else ""
        return ResolvedView(
            kind=NAME,
            variant=self.variant,
            view=manifest.id,
            fingerprint=f"{unchecked}{self.fingerprint}",
            inputs=self._inputs,
            groups=tuple(f"-{one}" for one in wish.omit or ()),
        )

    def settled(self, manifest: Manifest, record: ResolvedView) -> None:
        """See that what tools write into is there, and keep what this came to."""
        from unionfs.formats.node.writable import make_writable, writable_in  # noqa: PLC0415 - as above

        wish = self._wish
        inside = writable_in(wish.project, manifest.layers)
        writable = make_writable(self._places, str(wish.project.root), inside)
        if record.fingerprint == self.fingerprint:
            what = Outcome(manifest, record, writable, self._pattern)
            remember(wish, self._places.state, self._before, what)


class _Node:
    """The kind (`unionfs.formats.kind.Kind`)."""

    name = NAME

    def project_at(self, directory: Path) -> NodeProject | None:
        """A directory with a package.json, and npm's lock or something that is to be locked."""
        return project_at(directory) if directory.is_dir() else None

    def choices(self, project: Project, *, users: frozenset[str]) -> frozenset[str]:
        """Other registries, addresses, repositories and places."""
        del users  # npm's own settings say it
        return own_choices(_node(project))

    def making(self, places: Places, wish: Any) -> NodeMaking:  # noqa: ANN401 - its own, or a plain one
        """A view for this machine."""
        return NodeMaking(places, wish if isinstance(wish, NodeWish) else of_node(wish))

    def again(self, project: Project, view: ResolvedView, manifest: Manifest) -> Wish:
        """With the same left out."""
        del manifest
        return again(_node(project), view)

    def roots(self, manifest: Manifest) -> Sequence[str]:
        """Where packages are."""
        del manifest
        return (MODULES,)

    def describe(self, manifest: Manifest) -> str:
        """Such as "Node 20"."""
        return f"Node {manifest.target.get('node', '')}".strip()


KIND = _Node()


def _node(project: Project) -> NodeProject:
    if not isinstance(project, NodeProject):
        raise TypeError(f"{project} is no project of Node's")
    return project
