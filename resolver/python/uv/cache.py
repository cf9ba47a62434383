"""What uv keeps of files that lie on this machine anyway, taken out of its cache again.

To lock a wheel or source archive that is no index's uv reads its hash, and unpacks all of it into
its cache for that; what it builds for editing it keeps there, too. We pack the same files into the
store, so nobody needs these copies, and nobody would ever remove them.

uv's cache has no interface for this: `uv cache clean NAME` also removes what it has of an index,
and waits for every other uv. So exactly those entries go that this run has made, by what stands
in them; `*.rev` and `revision.rev` are msgpack, with the file's SHA-256 in hexadecimal digits.

    wheels-v*/KIND/<hash>/<name>/ENTRY, ENTRY.rev, ENTRY.lock     ENTRY is a link to archive-v*/ID
    sdists-v*/KIND/<hash>/{revision.rev,.lock}
    sdists-v*/editable/<hash>/<revision>/ENTRY, ENTRY.whl         and <hash>/.lock

A version of uv that has it otherwise keeps its copies, and that is all. What a user's own uv had
there before is older than this run, and stays; so does what another uv has locked at the moment.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.python.uv.run import run_uv
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""A SHA-256."""


async def forget_locked(lock: bytes, since: float, *, cwd: Path, added: Mapping[str, str]) -> None:
    """Forget the local files that a pylock.toml names. `since`: when uv began (seconds, 1970)."""
    digests = {digest.encode() for digest in _local_digests(lock)}
    if not digests:
        return
    cache = await _cache(cwd, added)
    for note in cache.glob("wheels-v*/*/*/*/*.rev"):
        if _is_new(note, since) and not digests.isdisjoint(_DIGEST.findall(note.read_bytes())):
            _forget(note.with_suffix(""), note, lock=note.with_suffix(".lock"))
    for note in cache.glob("sdists-v*/*/*/revision.rev"):
        if _is_new(note, since) and not digests.isdisjoint(_DIGEST.findall(note.read_bytes())):
            _forget(note.parent, lock=note.with_name(".lock"))


async def forget_editable(since: float, *, cwd: Path, added: Mapping[str, str]) -> None:
    """Forget what has been built for editing since then."""
    cache = await _cache(cwd, added)
    for entry in cache.glob("sdists-v*/editable/*/*/*"):
        if entry.is_symlink() and _is_new(entry, since):
            wheel = entry.with_name(f"{entry.name}.whl")
            _forget(entry, wheel, lock=entry.parent.with_name(".lock"))


async def _cache(cwd: Path, added: Mapping[str, str]) -> Path:
    """Where uv's cache is, or would be."""
    environ = {**os.environ, **added}
    named = environ.get("UV_CACHE_DIR", "")
    if named.startswith("/") and "UV_NO_CACHE" not in environ:
        return Path(named)
    said = await run_uv(["cache", "dir"], cwd=cwd, added=added)
    return Path(said.stdout.strip())


def _local_digests(lock: bytes) -> Iterator[str]:
    """SHA-256 of each file that a lock names by a path or a file: URL."""
    if b"file:" not in lock and b"path" not in lock:
        return
    document: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):  # whoever uses it will have to complain of it
        document = parse(lock.decode())
    for package in document.get("packages", []):
        for file in (*package.get("wheels", []), package.get("sdist"), package.get("archive")):
            if isinstance(file, dict) and (
                "path" in file or str(file.get("url", "")).startswith("file:")
            ):
                yield from filter(None, [file.get("hashes", {}).get("sha256")])


def _is_new(path: Path, since: float) -> bool:
    try:
        return path.lstat().st_mtime >= since
    except OSError:
        return False


def _forget(*left: Path, lock: Path) -> None:
    """Remove these, and what they lead to, unless another uv has them locked, flock(2)."""
    with suppress(OSError):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in left:
                if path.is_symlink():
                    unpacked = Path(os.path.realpath(path))
                    path.unlink()
                    if unpacked.parent.name.startswith("archive-v"):
                        shutil.rmtree(unpacked)
                elif path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
