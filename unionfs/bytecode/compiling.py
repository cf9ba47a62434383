"""Compiling: an archive becomes its companion in the store, once for each kind of interpreter.

Bytecode is written to a file of its own while it comes in, so that memory does not grow with the
distribution. Stopped at any moment, the store has the whole companion or none. Two processes that
compile the same archive both succeed, and either one's companion stays.

Every archive gets a companion, be it empty: so it is known that nothing is left to be done.
"""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from resolver.errors import PkgviewError
from resolver.scratch import scratch
from unionfs.archive.layer import LayerError
from unionfs.archive.pack import Member
from unionfs.bytecode.companion import companion_key, companion_meta, sources, with_companions
from unionfs.bytecode.compilers import Compilers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resolver.manifest import Manifest
    from resolver.python.interpreter import Interpreter
    from unionfs.archive.reader import Archive
    from unionfs.store.local import Store

WITHIN = "compile-"
"""What the names of directories begin with in which bytecode is put together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What compiling works with.

    `idle`: one at a time, and only while nobody else is busy. Once `stop` is set, what is under way
    is given up.
    """

    store: Store
    interpreter: Interpreter
    cache: Path
    idle: bool
    stop: threading.Event = field(default_factory=threading.Event)


def compile_missing(manifest: Manifest, means: Means, done: Callable[[str, int, int], None]) -> int:
    """Make the companions that the store does not have; how many those were.

    Not those of partial archives.

    `done` is told, in the calling thread, of each one: the archive, its number from 1, how many
    there are. `PkgviewError` for the first that failed, after the others.
    """
    if not means.interpreter.cache_tag:
        return 0
    wanted = with_companions(manifest, means.interpreter, means.store.archive_of).layers
    lacking = dict.fromkeys(layer.archive for layer in wanted if not layer.bytecode)
    missing = [name for name in lacking if not _is_partial(means.store, name)]
    failed: list[PkgviewError] = []
    workers = 1 if means.idle else os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="compile") as pool:
        under_way = {name: pool.submit(compile_archive, name, means) for name in missing}
        try:
            for number, (name, future) in enumerate(under_way.items(), 1):
                try:
                    future.result()
                except PkgviewError as error:
                    failed.append(error)
                done(name, number, len(missing))
        except BaseException:
            means.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if failed:
        raise failed[0]
    return len(missing)


def _is_partial(store: Store, name: str) -> bool:
    """Whether not all sources are here: they are not fetched for their bytecode alone."""
    try:
        return not store.open(name).whole
    except LayerError:
        return False  # who compiles it says what is wrong


def compile_archive(name: str, means: Means) -> str:
    """Compile one archive's sources; the name of its companion."""
    store, interpreter = means.store, means.interpreter
    try:
        archive = store.open(name)
        with (
            scratch(means.cache / "bytecode", WITHIN) as here,
            (here / "pyc").open("w+b") as kept,
            Compilers(interpreter, idle=means.idle) as compilers,
        ):
            members = _members(archive, means, compilers, kept)
            companion = store.add(members, companion_meta(archive, interpreter))
    except LayerError as error:
        raise PkgviewError(
            f"there is nothing to compile: {error}",
            remedy="Run `pkgview store verify --repair`.",
        ) from error
    except OSError as error:
        raise PkgviewError(
            f"cannot compile {name} in {means.cache}: {error.strerror}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error
    store.record_source(companion_key(name, interpreter), companion)
    return companion


def _members(archive: Archive, means: Means, compilers: Compilers, kept: BinaryIO) -> list[Member]:
    """The companion's members; their bytes are in `kept`."""
    members = []
    for path, entry, compiled_path in sources(archive, means.interpreter.cache_tag):
        if means.stop.is_set():
            raise PkgviewError(f"compiling {archive.name} was stopped")
        source = archive.read(entry, 0, archive.entry(entry).size)
        # As it is imported: below site-packages, whichever scheme it came by.
        compiled = compilers.compile(path.partition(b"/")[2], source)
        if compiled.bytecode is None:
            continue
        start = kept.tell()
        kept.write(compiled.bytecode)
        size = len(compiled.bytecode)
        opener = partial(_part, kept, start, size)
        members.append(Member(path=compiled_path, size=size, open=opener))
    kept.flush()
    return members


def _part(kept: BinaryIO, start: int, size: int) -> BinaryIO:
    return io.BytesIO(os.pread(kept.fileno(), size, start))
