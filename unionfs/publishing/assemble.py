"""Assembling: a lock's packages become layers of the store, by the shortest way for each.

What the store has under a package's key is used as it is. What is missing is fetched side by side,
and packed while other files are still on their way; what is no package file yet is built first.
Archives go into the store one by one, each whole: whatever stops us, the next run goes on from
there, and a file that came whole and could not be packed is not fetched again.

Concurrency: downloads are trio tasks; packing and builds run beside them, each under its limiter.
The store may be called from any thread. Nothing else is shared but `_Work.found`, which only
the trio thread touches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from resolver.atomic import sweep
from resolver.fetch.files import fetch, forget
from resolver.fetch.transfer import Progress as FetchProgress
from resolver.manifest import LayerSpec
from resolver.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from resolver.fetch.transfer import Fetched
    from resolver.fetch.wanted import Download
    from resolver.places import Places
    from resolver.project.package import Package
    from unionfs.formats.kind import Making
    from unionfs.store.ordered import Stores

PACKERS = 2
"""Packages packed at a time. Inflating, hashing, compressing run outside the interpreter lock."""

BUILD = "build-"
"""Prefix of the names of build directories."""

BUILDERS = 2
"""Builds at a time; each is a compiler's worth of processes."""


_File = tuple[str, tuple[tuple[str, str], ...]]
"""What makes two files the same: their name and hashes (or URL, where there are none)."""


class Progress(FetchProgress, Protocol):
    """Told what happens, from the trio thread only."""

    def locking(self, project: str) -> None:
        """The project's lock is looked at, and made where it is missing or outdated."""
        ...

    def packing(self, name: str) -> None:
        """A package's archive is being made."""
        ...

    def building(self, name: str) -> None:
        """A package is being built."""
        ...

    def made(self, name: str) -> None:
        """A package's archive is in the store."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What assembling works with."""

    places: Places
    store: Stores
    making: Making
    progress: Progress
    offline: bool


async def assemble(packages: Sequence[Package], means: Means) -> tuple[LayerSpec, ...] | None:
    """One layer for each package, in their order; `PkgviewError` for what cannot be had.

    None where the view can do without what cannot be had: `Package.forgo` knows, and the packages
    are others now.
    The version of one that has none yet (a directory, a commit) is what it was built as.
    Failures come in an exception group, as from any nursery.
    """
    work = _Work(packages, means)
    async with trio.open_nursery() as nursery:
        for number, package in enumerate(packages):
            if number not in work.found and package.download is None:
                nursery.start_soon(work.build, number)
        nursery.start_soon(work.fetch_all)
    if work.forgone:
        return None
    return tuple(
        LayerSpec(
            archive=work.found[number],
            grafts=package.grafts,
            name=package.name,
            version=package.version or means.store.open(work.found[number]).meta.version,
        )
        for number, package in enumerate(packages)
    )


class _Work:
    """One call of `assemble`. `found` holds the archive of each package that has one by now."""

    def __init__(self, packages: Sequence[Package], means: Means) -> None:
        self.packages = packages
        self.means = means
        self.found: dict[int, str] = {}
        self.forgone = False
        self._packers = trio.CapacityLimiter(PACKERS)
        self._builders = trio.CapacityLimiter(BUILDERS)
        for number, package in enumerate(packages):
            archive = package.archive_in(means.store)
            if archive is not None:
                self.found[number] = archive

    async def fetch_all(self) -> None:
        """Fetch what is missing, and give each file to a task of its own as it arrives."""
        wanted: dict[_File, list[int]] = {}
        downloads: list[Download] = []
        for number, package in enumerate(self.packages):
            if number not in self.found and package.download is not None:
                # One file may hold several packages, or be wanted at several places.
                numbers = wanted.setdefault(_file(package.download), [])
                numbers.append(number)
        for numbers in wanted.values():
            optional = all(self.packages[number].forgo is not None for number in numbers)
            first = self.packages[numbers[0]].download
            assert first is not None  # noqa: S101 - it is wanted
            downloads.append(replace(first, optional=optional))
        # Runs that were killed after packing could not tidy up any more.
        sweep(self.means.places.cache / "builds", BUILD)
        known = (self.packages[number].download for number in self.found)
        forget((download for download in known if download is not None), self.means.places.cache)
        if not wanted:
            return
        async with (
            fetch(
                downloads,
                cache=self.means.places.cache,
                settings=self.means.making.settings(),
                progress=self.means.progress,
                offline=self.means.offline,
            ) as arrivals,
            # Inside: the files lie in the fetch's own directory until they are packed.
            trio.open_nursery() as packing,
        ):
            async for fetched in arrivals:
                packing.start_soon(self._take, wanted[_file(fetched.download)], fetched)
        for download, error in arrivals.missing:
            for number in wanted[_file(download)]:
                forgo = self.packages[number].forgo
                assert forgo is not None  # noqa: S101 - else it is no optional one
                forgo(error.what)
                self.forgone = True

    async def _take(self, numbers: Sequence[int], fetched: Fetched) -> None:
        made: dict[str, str] = {}
        try:
            for number in numbers:
                key = self.packages[number].key
                if key is not None and key in made:  # it goes to several places
                    self.found[number] = made[key]
                    continue
                if self.packages[number].built:
                    await self.build(number, fetched.path)
                else:
                    await self._add(number, fetched.path)
                if key is not None:
                    made[key] = self.found[number]
        except BaseException:
            fetched.leave()
            raise
        fetched.discard()

    async def build(self, number: int, source: Path | None = None) -> None:
        """What is no package file yet: built, then packed. `source` is what was fetched for it."""
        package, means = self.packages[number], self.means
        with scratch(means.places.cache / "builds", BUILD) as here:
            async with self._builders:
                means.progress.building(package.name)
                built = await means.making.build(package, source, here)
            if isinstance(built, str):
                means.progress.made(package.name)
                self.found[number] = built
            else:
                await self._add(number, built)

    async def _add(self, number: int, path: Path) -> None:
        package, means = self.packages[number], self.means
        means.progress.packing(package.name)
        add: Callable[[], str] = partial(means.making.add, means.store, package, path)
        archive = await trio.to_thread.run_sync(add, limiter=self._packers)
        if package.key is not None:
            means.store.record_source(package.key, archive)
        means.progress.made(package.name)
        self.found[number] = archive


def _file(download: Download) -> _File:
    return download.filename, tuple(sorted(download.hashes.items())) or ((download.url, ""),)
