"""Packages whose install scripts are run: once for each, and what they made is an archive.

A script runs in a scratch directory, in a copy of its package. Around it lie copies of what the
package needs (of the places that the lock gives it, with their commands), and nothing else. So what
comes out follows from what the key says: the package and what it needs, by their hashes, the
platform and the Node, and the settings and variables by which tools build. What is below the
package's own directory then is packed, and stands in the place of what the tarball gave, for every
project of this user's. Whatever a script does elsewhere is not kept, and said where it lies beside
packages.

Only a command that somebody gave runs scripts (`Wish.no_build`), of packages that the project
allows (`resolver.node.allowed`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from resolver.atomic import make_private
from resolver.errors import PkgviewError
from resolver.node.hidden import bins
from resolver.node.scripts import GYP, install_scripts, run_scripts
from resolver.node.tree import Tree
from resolver.scratch import scratch
from unionfs.archive.meta import Meta
from unionfs.formats.node.copies import members, unpack
from unionfs.formats.node.layout import in_view
from unionfs.formats.npm import packagejson
from unionfs.formats.npm.reader import stem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from resolver.node.allowed import Allowed
    from resolver.node.lock import Entry, Lock
    from resolver.node.machine import Machine
    from resolver.node.selection import Selection
    from resolver.places import Places
    from unionfs.store.local import Store

FORMAT: Final = "npm1"
"""Raised where the same scripts shall be run anew."""

_PAUSE = 0.1
_BUILD = "build-"  # what `unionfs.publishing.assemble` sweeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """A place whose scripts are to be run. `needs` are the places of all that it needs, sorted.

    `unseen` are the project's own directories that it needs, by name: they are not beside it.

    `who` it is in a registry, name and version, by which it was allowed; None: by its address.

    `key`: under what a store remembers what became of it; None where that follows from more than a
    lock says (a directory), and they are run whenever a view is made.
    """

    entry: Entry
    needs: tuple[str, ...]
    unseen: tuple[str, ...]
    who: tuple[str, str] | None
    key: str | None


def scripted(
    lock: Lock, selection: Selection, allowed: Allowed, machine: Machine, settings: Sequence[str]
) -> dict[str, Scripted]:
    """By place, those that the project allows; what one needs comes before it, if it can.

    Whether they have scripts their files say: a lock does not know of what is for node-gyp, which
    is built where there is a binding.gyp.

    `settings` are what scripts make something else with (`resolver.node.scripts.build_settings`).
    """
    keys = {choice.entry.location: choice.key for choice in selection.choices}
    wanted = [choice.entry for choice in selection.choices if allowed.of(choice.entry)]
    if not wanted:
        return {}
    tree = Tree(lock)
    run = {entry.location for entry in wanted}
    found = {}
    for entry in wanted:
        needs = _needs(tree, entry.location, keys)
        places = (entry.location, *needs)
        said = sorted(f"{one in run}{_wired(tree, one, keys)}" for one in places)
        words = (FORMAT, machine.os, machine.cpu, machine.libc, machine.node, *said, *settings)
        digest = hashlib.sha256("\0".join((str(keys[entry.location]), *words)).encode())
        key = f"built-{digest.hexdigest()}" if all(keys[one] for one in places) else None
        own = {
            edge.name
            for place in places
            for edge in tree.edges(place)
            if edge.to is not None and tree.entries[edge.to].link
        }
        unseen = tuple(sorted(own))
        found[entry.location] = Scripted(
            entry=entry, needs=needs, unseen=unseen, who=allowed.who(entry), key=key
        )
    return dict(sorted(found.items(), key=lambda item: (len(item[1].needs), item[0])))


def _wired(tree: Tree, place: str, keys: Mapping[str, str | None]) -> str:
    """What lies at a place, what it finds there by which name, and its commands."""
    edges = sorted(
        (edge.name, str(keys.get(edge.to))) for edge in tree.edges(place) if edge.to is not None
    )
    return f"{keys[place]}{edges}{sorted(tree.entries[place].bins.items())}"


def _needs(tree: Tree, place: str, keys: Mapping[str, str | None]) -> tuple[str, ...]:
    """All that is found from a place, and from there; the project's own directories are not."""
    reached = [place]
    seen = {place}
    for one in reached:  # it grows while it is walked
        for edge in tree.edges(one):
            if edge.to is not None and edge.to in keys and edge.to not in seen:
                seen.add(edge.to)
                reached.append(edge.to)
    return tuple(sorted(seen - {place}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What running scripts takes. `told` is told a package's name when its scripts are run."""

    places: Places
    store: Store
    lock: Lock
    kept: Mapping[str, Entry]
    told: Callable[[str], None]
    offline: bool

    async def run(
        self, wanted: Mapping[str, Scripted], archives: Mapping[str, str]
    ) -> tuple[dict[str, str], list[str]]:
        """What became of each place, and what to say; `archives` are those of the tarballs.

        What is optional stays as its tarball gave it where its scripts fail.
        """
        now = dict(archives)
        said: list[str] = []
        ran: dict[str, None] = {}
        for place, one in wanted.items():
            known = self.store.archive_of(one.key) if one.key else None
            if known is None:
                async with _turn(self.places):
                    known = self.store.archive_of(one.key) if one.key else None
                    try:
                        known = known or await self._made(one, now, said, ran)
                    except PkgviewError as error:
                        if not one.entry.optional:
                            raise
                        said.append(f"{error.what} It is optional, and stays as it was published.")
                        continue
            now[place] = known
        if ran:
            said.insert(0, f"Ran the install scripts of {', '.join(ran)}.")
        return now, said

    async def _made(
        self, one: Scripted, archives: Mapping[str, str], said: list[str], ran: dict[str, None]
    ) -> str:
        entry = one.entry
        with scratch(self.places.cache / "builds", _BUILD) as here:
            lay = partial(self._lay_out, here, one, archives)
            ours = await trio.to_thread.run_sync(lay)
            directory = here / in_view(entry.location)
            found = _manifest(directory)
            scripts = install_scripts(found.data, has_gyp=(directory / GYP).is_file())
            if not scripts:
                if one.key is not None:
                    self.store.record_source(one.key, archives[entry.location])
                return archives[entry.location]
            if _is_another(one, found):
                said.append(
                    f"The install scripts of {entry.title} were not run: its package.json says "
                    f"that it is {f'{found.name} {found.version}'!a}."
                )
                return archives[entry.location]
            self.told(entry.package)
            before = _beside(here)
            await run_scripts(directory, scripts, title=entry.title, offline=self.offline)
            if others := sorted(_beside(here) - before):
                said.append(f"What {entry.title} wrote to {', '.join(others)} is not kept.")
            if one.unseen:
                named = ", ".join(one.unseen)
                said.append(
                    f"{entry.title} was not given {named}, of the project's own directories."
                )
            ran[entry.title] = None
            meta = Meta(
                kind="distribution", name=entry.package, version=entry.version,
                stem=stem(entry.package, entry.version),
            )  # fmt: skip
            files = members(directory, ours)
            add = partial(self.store.add, files, meta)
            archive = await trio.to_thread.run_sync(add)
            if one.key is not None:
                self.store.record_source(one.key, archive)
            return archive

    def _lay_out(self, here: Path, one: Scripted, archives: Mapping[str, str]) -> set[Path]:
        """Copies of the package and of all that it needs, each at its place, and their commands.

        Returns the paths of what is not the package's own.
        """
        places = (one.entry.location, *one.needs)
        for place in places:
            unpack(self.store, archives[place], here / in_view(place))
        ours = {here / in_view(place) for place in one.needs}
        around = {
            place: entry
            for place, entry in self.kept.items()
            if place in places
            or (entry.bundled and place.startswith(tuple(f"{one}/" for one in places)))
        }
        for parent, command, place in bins(around, self.lock):
            target = here / in_view(place) / around[place].bins[command]
            link = (here / in_view(parent) if parent else here) / "node_modules/.bin" / command
            if target.exists() and not os.path.lexists(link):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(os.path.relpath(target, link.parent))
                ours.add(link)
        return ours


@asynccontextmanager
async def _turn(places: Places) -> AsyncIterator[None]:
    """One at a time of all that this user runs: who waited finds what the other one made."""
    path = places.cache / "builds"
    make_private(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await trio.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _manifest(directory: Path) -> packagejson.PackageJson:
    try:
        return packagejson.parse((directory / "package.json").read_bytes())
    except (OSError, ValueError):
        return packagejson.PackageJson()


def _is_another(one: Scripted, found: packagejson.PackageJson) -> bool:
    """Whether it is not who was allowed: a lock may give a hash to another one's address.

    Registries leave what is after `+` out of a version.
    """
    if one.who is None:
        return False
    name, version = one.who
    itself = found.name, found.version.partition("+")[0]
    return itself != (name, version.partition("+")[0])


def _beside(here: Path) -> set[str]:
    """What lies beside the packages of a tree, in its own node_modules."""
    modules = here / "node_modules"
    return {*os.listdir(here), *(f"node_modules/{one}" for one in os.listdir(modules))}


def refuse_running(store: Store, wanted: Mapping[str, Scripted]) -> None:
    """Raise where scripts would have to be run; nobody has asked for that by a command."""
    for one in wanted.values():
        if one.key is None or store.archive_of(one.key) is None:
            raise PkgviewError(
                f"{one.entry.title} has install scripts that are to be run",
                remedy="Run `pkgview up`: it may do that.",
            )
