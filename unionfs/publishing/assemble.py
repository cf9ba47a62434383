"""Assembling: a lock's choices become layers of the store, by the shortest way for each.

What the store has under the lock's hashes is used as it is. What is missing is fetched side by
side, and packed while other files are still on their way; what has no wheel is built first.
Archives go into the store one by one, each whole: whatever stops us, the next run goes on from
there, and a file that came whole and could not be packed is not fetched again.

Concurrency: downloads are trio tasks; packing and builds run beside them, each under its limiter.
The store may be called from any thread. Nothing else is shared but `_Work.found`, which only
the trio thread touches.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from resolver.atomic import sweep
from resolver.fetch.files import fetch, forget
from resolver.fetch.transfer import Fetched
from resolver.fetch.transfer import Progress as FetchProgress
from resolver.fetch.wanted import Download
from resolver.manifest import LayerSpec
from resolver.python.build import build_editable, build_wheel, editable_key, static_editable
from resolver.python.directurl import direct_url
from resolver.python.selection import Choice, Source
from resolver.scratch import scratch
from unionfs.formats.wheel.editable import editable_members
from unionfs.formats.wheel.reader import open_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from resolver.fetch.web import FetchSettings
    from resolver.places import Places
    from resolver.project.project import Project
    from resolver.python.interpreter import Interpreter
    from unionfs.store.local import Store

PACKERS = 2
"""Wheels packed at a time. Inflating, hashing and compressing run outside the interpreter lock."""

BUILD = "build-"
"""What the names of directories begin with in which something is built."""

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
        """A distribution's archive is being made."""
        ...

    def building(self, name: str) -> None:
        """A distribution is being built."""
        ...

    def made(self, name: str) -> None:
        """A distribution's archive is in the store."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What assembling works with.

    Where nothing may be built, `unbuilt` is the project, which is taken as its files say, or as
    `earlier`, the archive of an earlier build; all other choices are wheels then (`select`).
    """

    places: Places
    store: Store
    interpreter: Interpreter
    settings: FetchSettings
    progress: Progress
    offline: bool
    unbuilt: Project | None = None
    earlier: str | None = None


async def assemble(choices: Sequence[Choice], means: Means) -> tuple[LayerSpec, ...]:
    """One layer for each choice, in their order; `PkgviewError` for what cannot be had.

    Failures come in an exception group, as from any nursery.
    """
    work = _Work(choices, means)
    async with trio.open_nursery() as nursery:
        for number, choice in enumerate(choices):
            if number not in work.found and choice.filename is None:
                nursery.start_soon(work.build, number)
        nursery.start_soon(work.fetch_all)
    return tuple(
        LayerSpec(archive=work.found[number], name=choice.name, version=choice.version or "")
        for number, choice in enumerate(choices)
    )


class _Work:
    """One call of `assemble`. `found` holds the archive of each choice that has one by now."""

    def __init__(self, choices: Sequence[Choice], means: Means) -> None:
        self.choices = choices
        self.means = means
        self.found: dict[int, str] = {}
        self._packers = trio.CapacityLimiter(PACKERS)
        self._builders = trio.CapacityLimiter(BUILDERS)
        for number, choice in enumerate(choices):
            key = self._key(choice)
            archive = means.store.archive_of(key) if key else None
            if archive is not None:
                self.found[number] = archive

    async def fetch_all(self) -> None:
        """Fetch what is missing, and give each file to a task of its own as it arrives."""
        wanted: dict[_File, list[int]] = {}
        for number, choice in enumerate(self.choices):
            if number not in self.found and choice.filename is not None:
                # One source archive may hold several distributions, each in a subdirectory.
                wanted.setdefault(_file(_download(choice)), []).append(number)
        # Runs that were killed after packing could not tidy up any more.
        sweep(self.means.places.cache / "builds", BUILD)
        known = (self.choices[number] for number in self.found)
        forget(
            (_download(choice) for choice in known if choice.filename is not None),
            self.means.places.cache,
        )
        if not wanted:
            return
        async with (
            fetch(
                [_download(self.choices[numbers[0]]) for numbers in wanted.values()],
                cache=self.means.places.cache,
                settings=self.means.settings,
                progress=self.means.progress,
                offline=self.means.offline,
            ) as arrivals,
            # Inside: the files lie in the fetch's own directory until they are packed.
            trio.open_nursery() as packing,
        ):
            async for fetched in arrivals:
                packing.start_soon(self._take, wanted[_file(fetched.download)], fetched)

    async def _take(self, numbers: Sequence[int], fetched: Fetched) -> None:
        try:
            for number in numbers:
                choice = self.choices[number]
                if choice.kind is Source.WHEEL:
                    add = partial(_add_wheel, self.means.store, fetched.path, choice)
                    await self._add(number, add)
                else:
                    await self.build(number, fetched.path)
        except BaseException:
            fetched.leave()
            raise
        fetched.discard()

    async def build(self, number: int, source: Path | None = None) -> None:
        """What is no wheel: built, then packed. `source` is the fetched file, if there is one."""
        choice, means = self.choices[number], self.means
        with scratch(means.places.cache / "builds", BUILD) as here:
            into = here / "built"
            async with self._builders:
                if means.unbuilt is not None:
                    if means.earlier is not None and means.store.has(means.earlier):
                        self.found[number] = means.earlier
                        return
                    await trio.to_thread.run_sync(static_editable, means.unbuilt, into)
                    await self._add(number, partial(_add_editable, means.store, into, choice))
                    return
                means.progress.building(choice.name)
                if choice.kind is Source.DIRECTORY and choice.editable and choice.path is not None:
                    tree = _tree(choice.path, choice)
                    await build_editable(
                        tree, means.interpreter, into, offline=means.offline, within=here
                    )
                    add = partial(_add_editable, means.store, into, choice)
                else:
                    wheel = await build_wheel(
                        choice, source, means.interpreter, into, offline=means.offline, within=here
                    )
                    add = partial(_add_wheel, means.store, wheel, choice)
            await self._add(number, add)

    async def _add(self, number: int, add: Callable[[], str]) -> None:
        choice, means = self.choices[number], self.means
        means.progress.packing(choice.name)
        archive = await trio.to_thread.run_sync(add, limiter=self._packers)
        key = self._key(choice)
        if key is not None:
            means.store.record_source(key, archive)
        means.progress.made(choice.name)
        self.found[number] = archive

    def _key(self, choice: Choice) -> str | None:
        """As `source_key`; nothing is remembered of what was taken as its files say."""
        if self.means.unbuilt is not None and choice.kind is not Source.WHEEL:
            return None
        return source_key(choice, self.means.interpreter)


def source_key(choice: Choice, interpreter: Interpreter) -> str | None:
    """Under which key the store remembers what a choice became; None if it has to be made anew.

    A wheel is known by its own hash. What is built depends on the interpreter, too. What no index
    offered says where it is from, so that is a part of its key. A directory has no version that
    could be compared; the project's fingerprint says when to build it again.
    """
    hashes = dict(choice.hashes)
    place = (direct_url(choice) or b"").decode()
    match choice.kind:
        case Source.WHEEL if "sha256" in hashes and place:
            digest = hashlib.sha256(f"{hashes['sha256']}\0{place}".encode())
            return f"direct-{digest.hexdigest()}"
        case Source.WHEEL if "sha256" in hashes:
            return f"sha256-{hashes['sha256']}"
        case Source.SDIST | Source.ARCHIVE if "sha256" in hashes:
            return _built_key(choice, interpreter, hashes["sha256"], place)
        case Source.VCS if choice.commit:
            return _built_key(
                choice, interpreter, choice.commit, str(choice.url or choice.path), place
            )
        case Source.DIRECTORY if choice.editable and choice.path is not None:
            return f"editable-{editable_key(_tree(choice.path, choice), interpreter)}"
        case _:
            return None


def _built_key(choice: Choice, interpreter: Interpreter, *parts: str) -> str:
    digest = hashlib.sha256(
        "\0".join((*parts, choice.subdirectory or "", interpreter.tag)).encode()
    )
    return f"built-{digest.hexdigest()}"


def _tree(path: Path, choice: Choice) -> Path:
    return path / (choice.subdirectory or "")


def _file(download: Download) -> _File:
    return download.filename, tuple(sorted(download.hashes.items())) or ((download.url, ""),)


def _download(choice: Choice) -> Download:
    return Download(
        url=str(choice.path) if choice.path is not None else choice.url or "",
        filename=choice.filename or "",
        size=choice.size,
        hashes=dict(choice.hashes),
    )


def _add_wheel(store: Store, path: Path, choice: Choice) -> str:
    # A fetched wheel has the lock's hashes; what was built is known by nobody's.
    sha256 = dict(choice.hashes).get("sha256") if choice.kind is Source.WHEEL else None
    if sha256 is None:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with open_wheel(
        path,
        filename=choice.filename if choice.kind is Source.WHEEL else path.name,
        name=choice.name,
        version=choice.version,
        origin=f"sha256:{sha256}",
        direct_url=direct_url(choice),
    ) as wheel:
        return store.add(wheel.members(), wheel.meta)


def _add_editable(store: Store, tree: Path, choice: Choice) -> str:
    meta, members = editable_members(tree, name=choice.name, version=choice.version or "0")
    return store.add(members, meta)
