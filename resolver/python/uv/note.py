"""uv's note of a distribution from this machine, kept true while the distribution is.

`uv sync` and `uv run` look in its `.dist-info` for `uv_cache.json`: the times of the files that it
was built from, and more (`cachekeys`). Without it, or as soon as a time is another one, they
install the distribution again, which ends with "Read-only file system" in a view. A view never
changes, but times do: an editor, `touch` and `git switch` set them. So the file is a link:

    .dist-info/uv_cache.json -> <state>/uv/<key>.json     the key: the place and its content

and the daemon, which is asked where it leads at each walk, has `refresh` look first. As long as
the content is what the view was made from, the note gets the times of now: uv finds its own words
and nothing to do. If it is not, the note stays as it was, uv finds a change, and there is one.

What lies here is uv's object with one more member, which uv skips, for `refresh`:
`"pkgview": {"path": …, "made_of": …}`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.atomic import write_atomically
from resolver.errors import PkgviewError
from resolver.python.uv.cachekeys import cache_info, made_of

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "uv_cache.json"
"""What uv calls it."""

_OURS = "pkgview"
_KEY = re.compile(r"[0-9a-f]{32}\.json")


def notes(state: Path) -> Path:
    """Where the notes lie."""
    return state / "uv"


def written(path: Path, state: Path, environ: Mapping[str, str]) -> Path:
    """The note of what is at `path` (absolute) now: a directory, a wheel or a source archive.

    `OSError` and `PkgviewError` where that cannot be looked at.
    """
    content = made_of(path)
    key = hashlib.sha256(os.fsencode(path) + b"\0" + content.encode()).hexdigest()[:32]
    note = notes(state) / f"{key}.json"
    known = {_OURS: {"path": str(path), "made_of": content}}
    _write(note, cache_info(path, environ) | known)
    return note


def refresh(note: Path) -> None:
    """Bring its times up to date, unless the content is another one; quietly, if at all."""
    if not _KEY.fullmatch(note.name):
        return
    with suppress(OSError, PkgviewError, ValueError, TypeError, KeyError):
        before = json.loads(note.read_bytes())
        path, content = Path(before[_OURS]["path"]), before[_OURS]["made_of"]
        # Of variables uv's own decide; ours say nothing.
        found = cache_info(path, {}) | {"env": before["env"], _OURS: before[_OURS]}
        if found != before and made_of(path) == content:
            _write(note, found)


def forget_gone(state: Path) -> None:
    """Remove the notes of what is there no more."""
    with suppress(OSError):
        for note in notes(state).iterdir():
            with suppress(OSError, ValueError, TypeError, KeyError):
                if not os.path.lexists(json.loads(note.read_bytes())[_OURS]["path"]):
                    note.unlink()


def _write(note: Path, content: Mapping[str, Any]) -> None:
    data = json.dumps(content).encode()
    with suppress(FileNotFoundError):
        if note.read_bytes() == data:
            return
    write_atomically(note, data)
