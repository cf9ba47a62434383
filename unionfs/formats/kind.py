"""The seam between kinds of namespaces: the questions that each kind answers.

A kind is one package manager's namespace. The code that all kinds share (union, view, store,
publishing, mount, gc) asks a `Kind` which directories are its projects, and has it begin a
`Making`: one view in the making, with all decisions for it (which interpreter, say). A making
names packages, reads a package file as hostile input, and puts layers in order. Fetching, packing,
numbering and remembering are the same for all kinds (`unionfs.publishing`).

A new kind is `resolver/<kind>/` (projects, locks, what this machine needs of them),
`unionfs/formats/<kind>/` (its package files as archives, and its `kind` module), and its line in
`unionfs.kinds`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from resolver.errors import PkgviewError
from resolver.ownership import parents
from unionfs.kinds import KINDS, SETS, counts_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from resolver.fetch.client import FetchSettings
    from resolver.manifest import LayerSpec, Manifest
    from resolver.places import Places
    from resolver.project.changes import Change
    from resolver.project.package import Package
    from resolver.project.project import Project
    from resolver.project.resolved import ResolvedView
    from unionfs.store.ordered import Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The user's request; a kind may add wishes of its own.

    Unless `kept`, the view is for this one run, and the project's own stays what it was. `frozen`:
    nothing is resolved, the lock is used as it is; `locked`: an outdated lock is an error;
    `upgrade` is for all packages, `upgrade_packages` for these; `offline`: nothing is asked of the
    network. A view `beside` is for programs that run in its target, and the project's own stays
    the one of before. With `no_build` nobody has asked for it by a command: no code of any
    distribution is run, and a store that the project brings does not count. `decides`: it is by
    `up`, or as good as that; all others repeat what `up` has decided (`resolved.DECIDED`).
    """

    project: Project
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    offline: bool = False
    frozen: bool = False
    locked: bool = False
    kept: bool = True
    no_build: bool = False
    beside: bool = False
    decides: bool = False

    @property
    def prefer(self) -> tuple[str, ...]:
        """As `Project.prefer`."""
        return self.project.prefer


class Making(Protocol):
    """One view in the making. For a view that is there already only `settled` is called.

    Else first `packages`, then `settings`, `build` and `add` as each package needs them, then
    `completed` and `manifest`; all of that again if archives were collected meanwhile. At last
    `record`, `settled`.

    `variant`: which of a project's views it is, of those of its kind ("3.11"; "" where there is
    only one). `fingerprint`: equal as long as the same view would come out, newer releases aside;
    None where that is known only after `packages`, which may change it by making a lock anew.
    `remark`: after `packages`, what a person should know of the lock, or of what came out, a
    sentence; mostly "". `renewed`: what is otherwise in a lock that was made anew.
    """

    @property
    def variant(self) -> str: ...  # noqa: D102 - above

    @property
    def fingerprint(self) -> str | None: ...  # noqa: D102 - above

    @property
    def remark(self) -> str: ...  # noqa: D102 - above

    @property
    def renewed(self) -> tuple[Change, ...]: ...  # noqa: D102 - above

    def settings(self) -> FetchSettings:
        """How the project's files are fetched: certificates, proxy, credentials."""
        ...

    async def packages(self, locking: Callable[[str], None]) -> Sequence[Package]:
        """The packages that this machine needs of the lock, which is made if missing or outdated.

        If two have the same file the earlier wins. `locking` is told what is being locked.
        """
        ...

    async def build(self, package: Any, source: Path | None, within: Path) -> Path | str:  # noqa: ANN401 - one of its own
        """Build a package (`Package.built`) in the directory `within`, from the fetched `source`.

        Returns a path for `add`, or the name of an archive that is in the store already.
        """
        ...

    def add(self, store: Stores, package: Any, path: Path) -> str:  # noqa: ANN401 - one of its own
        """Read a package file as hostile input, add it to the store: the archive's name.

        Called in a thread. `PkgviewError` for a file that cannot be taken as what it should be.
        """
        ...

    async def completed(
        self, store: Stores, layers: Sequence[LayerSpec], told: Callable[[str], None]
    ) -> Sequence[LayerSpec]:
        """The packages' layers, in their order, with what can be made only when all are there.

        `told` is told the name of a package of which something is made.
        """
        ...

    def further(self, archives: Sequence[str]) -> Sequence[str]:
        """Keys of what belongs to these archives and can be had without making it: bytecode."""
        ...

    def manifest(self, store: Stores, layers: Sequence[LayerSpec]) -> Manifest:
        """The view of these layers, with the files that it has of its own."""
        ...

    def record(self, manifest: Manifest) -> ResolvedView:
        """Its entry in the project's record, or what would be where it is for one run."""
        ...

    def settled(self, manifest: Manifest, record: ResolvedView) -> None:
        """Called when the view is there: the kind may keep something to save time later."""
        ...


class Kind(Protocol):
    """One package manager's namespace, by its `name` in `unionfs.kinds`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - above

    def project_at(self, directory: Path) -> Project | None:
        """The project whose root is exactly that directory, or that is that file."""
        ...

    def choices(self, project: Project, *, users: frozenset[str]) -> frozenset[str]:
        """What it wants to do by its own choosing, each as an infinitive that a person can judge.

        That is all that leads away from packages of where its user takes them from anyway, which
        the addresses `users` say; whatever the kind does not understand is among it.
        """
        ...

    def making(self, places: Places, wish: Any) -> Making:  # noqa: ANN401 - its own kind of `Wish`
        """Begin a view; `PkgviewError` where nothing could come of it."""
        ...

    def again(self, project: Project, view: ResolvedView, manifest: Manifest) -> Wish:
        """The wish from which that view was made."""
        ...

    def roots(self, manifest: Manifest) -> Sequence[str]:
        """The directories of a view below which this kind looks names up, such as site-packages."""
        ...

    def describe(self, manifest: Manifest) -> str:
        """A view's target in words, such as "Python 3.11"."""
        ...


def described(manifest: Manifest) -> str:
    """A view in a few words, such as "3 distributions, Python 3.11"."""
    count = manifest.distributions
    what = f"{count} distribution{'' if count == 1 else 's'}"
    return f"{what}, {kind_named(manifest.kind).describe(manifest)}"


def kind_named(name: str) -> Kind:
    """The kind of that name, imported; `KeyError` where there is none."""
    return cast("Kind", import_module(SETS.get(name) or KINDS[name][0]).KIND)


def kinds_at(directory: str) -> list[str]:
    """The kinds of which the directory may be a project: it has one of their files."""
    return [
        name
        for name, (_, _, marks) in KINDS.items()
        if any(os.path.isfile(f"{directory}/{mark}") for mark in marks)  # noqa: PTH113 - many of them
    ]


def projects_at(
    start: Path, among: Collection[str] = (), unread: list[PkgviewError] | None = None
) -> list[tuple[Kind, Project]]:
    """All projects whose root is the nearest directory upwards that is one; or a script.

    Of the kinds `among`, or of any; [] where there is none. Of a kind that nobody named, beside
    another one's project, what cannot be read concerns only who asks for it: it goes to `unread`.
    """
    path = os.path.realpath(start)
    for candidate in (path, *parents(path)):
        marked = KINDS if Path(candidate).is_file() else kinds_at(candidate)
        found = list(_projects(candidate, among, marked, unread))
        if found:
            return found
    return []


def of_every_kind(root: Path) -> Iterator[tuple[Kind, Project]]:
    """What the directory, or script, could be a project of, asked for or not, if it can be read."""
    for name in KINDS if root.is_file() else kinds_at(str(root)):
        kind = kind_named(name)
        with suppress(PkgviewError):
            project = kind.project_at(root)
            if project is not None:
                yield kind, project


def _projects(
    path: str,
    among: Collection[str],
    marked: Collection[str],
    unread: list[PkgviewError] | None,
) -> Iterator[tuple[Kind, Project]]:
    any_yet = False
    for name in marked:
        if among and name not in among:
            continue
        beside = any_yet and not among
        if beside and not counts_beside(path, name):
            continue
        kind = kind_named(name)
        try:
            project = kind.project_at(Path(path))
        except PkgviewError as error:
            if not beside:
                raise
            if unread is not None:
                unread.append(error)
            continue
        if project is not None:
            any_yet = True
            yield kind, project
