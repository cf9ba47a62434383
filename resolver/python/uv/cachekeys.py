"""What uv compares to find out whether a distribution from this machine has changed.

Its `cache-keys` (docs: "Caching: dynamic metadata"; `crates/uv-cache-info` is what counts) name
files, directories, git's state and variables; uv notes their times when it builds, in
`uv_cache.json`, and builds again as soon as any time is another one. Here is the same note, and
what uv has not: a digest of the content, which says whether a new time means a change.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.inputs import read_input, read_text
from resolver.local import BUILD_FILES
from resolver.python.uv.gitstate import commit_of, tags_of
from resolver.python.uv.settings import read_toml
from resolver.toml import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DEFAULT: tuple[dict[str, Any], ...] = (*({"file": one} for one in BUILD_FILES), {"dir": "src"})
MOST_NAMES = 100_000
"""Files and directories among which those of a pattern are looked for."""

_AT_FDCWD, _STATX = -100, 0xFFF
"""statx(2): all of the basic fields, and the time of birth."""
_BTIME_BIT, _BTIME_AT = 0x800, 80


def cache_keys(directory: Path) -> tuple[dict[str, Any], ...] | None:
    """`[tool.uv] cache-keys` as tables; None where pyproject.toml has none of its own."""
    pyproject = directory / "pyproject.toml"
    if not pyproject.is_file() or "cache-keys" not in read_text(pyproject):
        return None  # nearly always, and then it need not be understood
    keys = table_of(read_toml(pyproject), "tool", "uv").get("cache-keys")
    if not isinstance(keys, list):
        return None
    return tuple({"file": key} if isinstance(key, str) else key for key in keys)


def cache_info(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The note, as uv would write it now, of a directory, or of a wheel or source archive.

    `OSError` where something cannot be looked at.
    """
    info: dict[str, Any] = {"timestamp": None, "commit": None, "tags": None}
    info |= {"env": {}, "directories": {}}
    if not path.is_dir():
        return info | {"timestamp": _time(path.stat().st_ctime_ns)}
    newest, keys = 0, cache_keys(path)
    for key in _DEFAULT if keys is None else keys:
        match key:
            case {"file": str(name)}:
                times = (found.stat().st_ctime_ns for found in _files(path, name))
                newest = max(newest, *times, 0)
            case {"dir": str(name)}:
                info["directories"][name] = _birth(path / name)
            case {"env": str(name)}:
                info["env"][name] = environ.get(name)
            case {"git": git}:
                said = git if isinstance(git, dict) else {"commit": bool(git)}
                info["commit"] = commit_of(path) if said.get("commit") else info["commit"]
                info["tags"] = tags_of(path) if said.get("tags") else info["tags"]
            case _:
                pass
    return info | ({"timestamp": _time(newest)} if newest else {})


def made_of(path: Path) -> str:
    """A digest of what is built from there, as far as uv looks: the same content, the same digest.

    Of a directory: its build files, and what its `cache-keys` name.
    """
    if path.is_file():
        return _sha256(path).hex()
    digest = hashlib.sha256()
    for name in BUILD_FILES:
        found = path / name
        _add(digest, name, read_input(found) if found.is_file() else b"")
    digest.update(own_state(path))
    return digest.hexdigest()


def own_state(directory: Path) -> bytes:
    """Of what a directory's own `cache-keys` name; b"" where it has none."""
    keys = cache_keys(directory)
    if keys is None:
        return b""
    digest = hashlib.sha256()
    for key in keys:
        match key:
            case {"file": str(name)}:
                for found in _files(directory, name):
                    _add(digest, str(found), _sha256(found))
            case {"git": _}:
                _add(digest, "git", repr((commit_of(directory), tags_of(directory))).encode())
            case _:
                pass
    return digest.digest()


def _files(directory: Path, name: str) -> Iterator[Path]:
    """The regular files that a key names; a pattern without a slash means them at any depth."""
    if not set(name) & set("*?["):
        found = directory / name
        if found.is_file():
            yield found
        return
    pattern = name.split("/") if "/" in name else ["**", name]
    yield from sorted(
        path for path in _below(directory)
        if _matches(path.relative_to(directory).parts, pattern) and path.is_file()
    )  # fmt: skip


def _below(directory: Path) -> Iterator[Path]:
    """What is not a directory there, at any depth; no links are followed, as uv follows none.

    A tree that is larger than any of sources is looked at in part, always the same.
    """
    left = MOST_NAMES
    for place, directories, files in os.walk(directory):
        directories.sort()
        left -= len(directories) + len(files)
        if left < 0:
            return
        yield from (Path(place, name) for name in files)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern has these parts; its `**` is any number of them."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - hardly anybody has a pattern

    def with_none(places: set[int]) -> set[int]:
        for place in range(len(pattern)):
            if place in places and pattern[place] == "**":
                places.add(place + 1)
        return places

    places = with_none({0})
    for part in parts:
        places = with_none(
            {
                place if pattern[place] == "**" else place + 1
                for place in places
                if place < len(pattern)
                and (pattern[place] == "**" or fnmatchcase(part, pattern[place]))
            }
        )
    return len(pattern) in places


def _sha256(path: Path) -> bytes:
    """Of a file that may be of any size: a wheel, or data."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _birth(path: Path) -> dict[str, int] | int | None:
    """When a directory was made; its inode where nobody knows; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return None
    import ctypes  # noqa: PLC0415 - `up` with nothing to do comes to this module, too

    buffer = ctypes.create_string_buffer(256)
    with suppress(AttributeError):  # a libc without it
        libc = ctypes.CDLL(None)
        if libc.statx(_AT_FDCWD, os.fsencode(path), 0, _STATX, buffer) == 0:
            mask = int.from_bytes(buffer.raw[:4], "little")
            seconds = ctypes.c_int64.from_buffer(buffer, _BTIME_AT).value
            nanoseconds = ctypes.c_uint32.from_buffer(buffer, _BTIME_AT + 8).value
            if mask & _BTIME_BIT:
                return {"secs_since_epoch": seconds, "nanos_since_epoch": nanoseconds}
    return found.st_ino


def _time(nanoseconds: int) -> dict[str, int]:
    seconds, rest = divmod(nanoseconds, 10**9)
    return {"secs_since_epoch": seconds, "nanos_since_epoch": rest}


def _add(digest: hashlib._Hash, name: str, data: bytes) -> None:
    digest.update(f"{name}\0{len(data)}\0".encode(errors="surrogateescape"))
    digest.update(data)
