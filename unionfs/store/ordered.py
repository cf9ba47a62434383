"""Stores in order: the user's own, those that `config.toml` names, those of the system.

What is new goes into the user's own; the others are only read. The first that has an archive
whole gives it: one that is missing, gone with its network, or damaged is looked for in the next,
frame by frame if need be.

**Whose archives are believed.** A name is the digest of all that an archive holds, so bytes need
no trust. Two things do. That an archive's own table tells the truth about its members: whatever
was not packed here is read whole before it is used first (`unionfs.publishing.publish`). And that a
wheel *became* that archive, which no digest says. Whose word for it counts:

* the user's own store: what was made here, and what the user imported;
* a store that the user added, or root (a system store), if nobody but this user and root may write
  there, or if the user has said that whoever may is believed (`shared`). Nothing of it is recorded
  in the user's own: when it is removed, its word is gone;
* **a project's**, `.pkgview/` beside its files, for that project alone, and only if its user has
  said so (`pkgview trust`). Who owns those files says nothing of who made up their content: they
  came with a clone, and without that word each package is derived again from the file that the
  lock names. The archives that it brings are copied into the user's own store, whose serving
  daemon knows nothing of projects, and are not recorded as what the lock's hash became: to every
  other project they are unknown.

What nobody could prove and everybody would run, skeletons and bytecode, is made here (`MADE_HERE`):
no other store is asked for it. A store that does not count is passed over, and told by `up` and
`pkgview store list`.

Partial archives (`unionfs.store.partial`) are the user's own store's, and come after all
that are whole.

The configuration is read again when its file is another one: a store that is added counts at once
for a daemon that runs. Any thread may call any method.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resolver import config
from resolver.naming import shell_word
from resolver.ownership import faults
from unionfs.archive.layer import LayerError
from unionfs.store.local import Store
from unionfs.store.partial import Partials
from unionfs.store.sources import ORIGINS, is_made_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places
    from unionfs.archive.reader import Archive

SYSTEM: tuple[Path, ...] = (Path("/usr/share/pkgview"), Path("/var/lib/pkgview"))
"""Where distributors and administrators put archives for everybody. They need not exist."""

PROJECT: Final = ".pkgview"
"""The directory of a project that is a store."""

MOST_TAKEN: Final = 8 << 30
"""Bytes of one archive of it, as in `pkgview store import`."""

UNPROVED: Final = "it came with the project, and proves nothing of what it says"
"""Why a project's store is passed over unless its user has said that it is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of the stores. `rank` is "project", "user", "added" or "system".

    `problem` says why it is passed over, "" if it is not.
    """

    root: Path
    rank: str
    shared: bool = False
    problem: str = ""


class Stores(Store):
    """The user's own store with the others behind it.

    `project` is a directory that may bring a store of its own, for a view that its user has asked
    for; it counts only if it is `believed`: its user has said so.
    """

    def __init__(
        self, places: Places, project: Path | None = None, *, believed: bool = False
    ) -> None:
        super().__init__(places.store)
        self.own = Store(places.store, self.frames)
        self.partials = Partials(places.store)
        self._places = places
        self._project = project
        self._believed = believed
        self.of_project: set[str] = set()
        """The archives that were taken by the project's word."""
        self.damaged: list[str] = []
        """What of the project's could not be taken, a sentence each."""
        self._config: tuple[int, ...] | None = None
        self._found: tuple[Place, ...] = ()
        self._others: tuple[Store, ...] = ()

    def paths(self, name: str) -> Iterator[Path]:
        """Where the archive of that name may lie, the user's own store first."""
        yield self.path(name)
        for other in self.others:
            yield other.path(name)

    def has(self, name: str) -> bool:
        """Whether there is one of that name, whole or not."""
        return super().has(name) or self.partials.has(name)

    def names(self) -> list[str]:
        """All archives of the user's own store, sorted, partial ones too."""
        return sorted({*super().names(), *self.partials.names()})

    def _opened(self, name: str) -> Archive:
        try:
            return super()._opened(name)
        except LayerError:
            if not self.partials.has(name):
                raise
            try:
                return self.partials.open(name, self.frames, partial(self.paths, name))
            except LayerError:
                if self.partials.has(name):
                    raise
            return super()._opened(name)  # it became whole meanwhile

    def archive_of(self, key: str) -> str | None:
        """The archive that `key` became, by the first store that knows and has it."""
        found = super().archive_of(key)
        if found is not None or is_made_here(key):
            return found
        found = self._taken(key)
        if found is not None:
            return found
        known = (other.archive_of(key) for other in self.others)
        return next((name for name in known if name is not None), None)

    @property
    def others(self) -> tuple[Store, ...]:
        """The stores behind the user's own that count now."""
        self._look()
        return self._others

    @property
    def order(self) -> tuple[Place, ...]:
        """All stores in order, those that are passed over included."""
        self._look()
        own = Place(root=self.root, rank="user")
        return (*self._of_project(), own, *self._found)

    @property
    def passed_over(self) -> tuple[Place, ...]:
        """Those that were named by somebody, or are there, and do not count."""
        return tuple(place for place in self.order if place.problem)

    def _look(self) -> None:
        try:
            status = os.stat(config.path(self._places))  # noqa: PTH116 - with every question
            seen: tuple[int, ...] = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            seen = ()
        # A store may come and go with its network: what does not count is looked at again.
        if seen == self._config and not any(place.problem for place in self._found):
            return
        found = tuple(_configured(self._places))
        with self._lock:
            if found != self._found:
                self._others = tuple(Store(p.root, self.frames) for p in found if not p.problem)
            self._found, self._config = found, seen

    def _of_project(self) -> Iterator[Place]:
        if self._project is not None:
            root = self._project / PROJECT
            if (root / "archives").is_dir():
                unproved = "" if self._believed else UNPROVED
                yield Place(root=root, rank="project", problem=problem(root) or unproved)

    def _taken(self, key: str) -> str | None:
        """The same from the project's store, copied into the user's own."""
        for place in self._of_project():
            if place.problem:
                continue
            store = Store(place.root, self.frames)
            name = store.archive_of(key)
            if name is None:
                continue
            try:
                self.take(store.path(name), name, MOST_TAKEN)
            except LayerError as error:
                self.damaged.append(
                    f"{store.path(name)} is not what its name says, and is made anew: {error}."
                )
                continue
            self.of_project.add(name)
            return name
        return None


def _configured(places: Places) -> Iterator[Place]:
    for named in config.load(places).stores:
        root = Path(named.path)
        yield Place(
            root=root,
            rank="added",
            shared=named.shared,
            problem=problem(root, shared=named.shared),
        )
    for root in SYSTEM:
        if root.is_dir():
            yield Place(root=root, rank="system", problem=problem(root))


def problem(root: Path, *, shared: bool = False) -> str:
    """Why that directory does not count as a store, "" if it does."""
    real = Path(os.path.realpath(root))
    try:
        os.listdir(real / "archives")
    except OSError as error:
        return f"its archives cannot be read: {error.strerror}"
    if shared:
        return ""
    holding = {real, real / "archives"}
    holding.update(real / origin for origin in ORIGINS if (real / origin).exists())
    fault = next(faults(holding, os.geteuid()), None)
    return "" if fault is None else fault.said


def remedy_for(place: Place) -> str:
    """What to do about a store that is passed over."""
    if place.problem == UNPROVED:
        return (
            f"Its packages are had from where the lock says. If you believe whoever made it: "
            f"`pkgview trust {shell_word(place.root.parent)}`."
        )
    if place.rank != "added":
        return f"Let it be root's or yours alone, or remove it: {place.root}."
    if "read" in place.problem:
        return f"Mount it or make it readable, or run `pkgview store remove {place.root}`."
    return (
        f"If you trust everybody who may write there: `pkgview store add --shared {place.root}`; "
        f"else `pkgview store remove {place.root}`."
    )
