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

uv takes an unpacked directory for whole as long as it is there, so none is removed under its name:
first goes what uv finds it by, then it is renamed, and only then emptied. A run that is killed on
the way leaves names of ours, by which the next one goes on:

    ENTRY.pkgview                      was ENTRY.rev; the last to go
    archive-v*/.pkgview-ID             was ID
    sdists-v*/KIND/.pkgview-<hash>     was <hash>

and of what was built for editing a link that leads nowhere.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.python.uv.run import run_uv
from resolver.toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""A SHA-256."""

_LOCAL = re.compile(rb"file:|\bpath\b[\"']?\s*=")
"""What a lock that names a local file has in it."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""A distribution's, normalised: what uv calls its directory."""

_OURS = ".pkgview"


async def forget_locked(lock: bytes, since: float, *, cwd: Path, added: Mapping[str, str]) -> None:
    """Forget the local files that a pylock.toml names. `since`: when uv began (seconds, 1970)."""
    local = dict(_local_files(lock))
    if not local:
        return
    digests = {digest.encode() for digest in local}
    cache = await _cache(cwd, added)
    _remove_renamed(cache)

    def is_named(note: Path) -> bool:
        return _is_new(note, since) and not digests.isdisjoint(_DIGEST.findall(note.read_bytes()))

    def is_left(note: Path) -> bool:  # uv writes it after the link
        return not os.path.lexists(note.with_suffix(""))

    names = {*local.values()}
    for place in (f"{one}/{name}" for one in _of_hashes(cache, "wheels-v*") for name in names):
        for note in _in(place, _OURS):
            _forget_wheel(note)
        for note in _in(place, ".rev"):
            if is_named(note) or is_left(note):
                _forget_wheel(note)
    for entries in _of_hashes(cache, "sdists-v*"):
        if is_named(note := Path(entries, "revision.rev")):
            with suppress(OSError), _locked(note.with_name(".lock")):
                _remove(note.parent)


async def forget_editable(since: float, *, cwd: Path, added: Mapping[str, str]) -> None:
    """Forget what has been built for editing since then."""
    cache = await _cache(cwd, added)
    _remove_renamed(cache)
    for entry in cache.glob("sdists-v*/editable/*/*/*"):
        if entry.is_symlink() and (_is_new(entry, since) or not entry.exists()):
            with suppress(OSError), _locked(entry.parent.with_name(".lock")):
                _forget_link(entry, entry.with_name(f"{entry.name}.whl"))


async def _cache(cwd: Path, added: Mapping[str, str]) -> Path:
    """Where uv's cache is, or would be."""
    environ = {**os.environ, **added}
    named = environ.get("UV_CACHE_DIR", "")
    if named.startswith("/") and "UV_NO_CACHE" not in environ:
        return Path(named)
    said = await run_uv(["cache", "dir"], cwd=cwd, added=added)
    return Path(said.stdout.strip())


def _of_hashes(cache: Path, bucket: str) -> Iterator[str]:
    """All `bucket/KIND/<hash>`; what is of PyPI has names there, thousands, and no local file."""
    for kind in cache.glob(f"{bucket}/*"):
        if kind.name != "pypi":
            with suppress(OSError):
                yield from (f"{kind}/{name}" for name in os.listdir(kind))


def _in(directory: str, ending: str) -> list[Path]:
    """What ends so there; most have no such directory."""
    try:
        return [Path(directory, name) for name in os.listdir(directory) if name.endswith(ending)]
    except OSError:
        return []


def _local_files(lock: bytes) -> Iterator[tuple[str, str]]:
    """SHA-256 and distribution of each file that a lock names by a path or a file: URL."""
    if not _LOCAL.search(lock):
        return
    document: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):  # whoever uses it will have to complain of it
        document = parse(lock.decode())
    for package in document.get("packages", []):
        name = package.get("name", "")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            continue
        for file in (*package.get("wheels", []), package.get("sdist"), package.get("archive")):
            if not isinstance(file, dict):
                continue
            is_local = "path" in file or str(file.get("url", "")).startswith("file:")
            if is_local and (digest := file.get("hashes", {}).get("sha256")):
                yield digest, name


def _is_new(path: Path, since: float) -> bool:
    try:
        return path.lstat().st_mtime >= since
    except OSError:
        return False


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """As uv locks an entry, flock(2). `BlockingIOError` while another has it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _forget_wheel(note: Path) -> None:
    """Forget the wheel of this ENTRY.rev, or go on where that has the name that we give it."""
    with suppress(OSError), _locked(note.with_suffix(".lock")):
        begun = note.rename(note.with_suffix(_OURS))
        if not note.with_suffix(".rev").exists():  # else uv has unpacked it again since
            _forget_link(note.with_suffix(""))
        begun.unlink()


def _forget_link(link: Path, *beside: Path) -> None:
    """Remove what a link leads to and what is beside it, and then the link, which names them."""
    if link.is_symlink():
        unpacked = Path(os.path.realpath(link))
        if unpacked.parent.name.startswith("archive-v"):
            _remove(unpacked)
        for path in beside:
            path.unlink(missing_ok=True)
        link.unlink()


def _remove(directory: Path) -> None:
    aside = directory.with_name(f"{_OURS}-{directory.name}")
    with suppress(FileNotFoundError):
        directory.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)  # else by the next run


def _remove_renamed(cache: Path) -> None:
    """Remove what killed runs have renamed; one that is still at it does not mind."""
    for pattern in ("archive-v*", "sdists-v*/*"):
        for place in cache.glob(pattern):
            with suppress(OSError):
                for name in os.listdir(place):
                    if name.startswith(f"{_OURS}-"):
                        shutil.rmtree(place / name, ignore_errors=True)
