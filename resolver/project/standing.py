"""Standing paths: where a project's programs see their packages, the same for its next view.

    <state>/at/of/<view>              -> <project>: whose view it is
    <state>/at/<project>.<number>     -> <mount>/views/<view>
    <state>/at/<project>.<number>.lock   held by the programs that go by it
    <cache>/at                        -> <state>/at: by which programs name them

`<project>` are the last digits of its key. The links that lead to views belong to the programs
(`unionfs.environment.pin`); here it is only said whose a view is. What two projects have is the
first one's: then both have one path for it.

What such a program has started goes by such a path without a lock: whoever looks at processes finds
it in their arguments and environments (`named`), be it this state's or another's.

The name is short on purpose. A compiler that may name a header by its real path does so if that is
shorter, and the real one is another with each view.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

_DIGITS = 10

_NAMED = re.compile(rb"/at/([0-9a-f]{10}\.[0-9]+)(?![0-9])")
_BEFORE = re.compile(rb"""[\0\n:;,="' ]""")
"""What there may be before a path, in arguments and variables."""

_LONGEST = 4096  # PATH_MAX
_NAME = re.compile(r"[0-9a-f]{10}\.[0-9]+")


def tell(state: Path, key: str, views: Iterable[str]) -> None:
    """Say that these views are the project's of that key. Where that fails they do without."""
    of = state / "at/of"
    with suppress(OSError):
        of.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        of.mkdir(mode=0o700, exist_ok=True)
    for view in views:
        with suppress(OSError):
            (of / view).symlink_to(key[-_DIGITS:])


def forget_gone(state: Path, views: Collection[str]) -> None:
    """Remove what is said of others than these views, and the paths of projects that have none."""
    kept = set()
    for link in _listed(state / "at/of"):
        if link.name in views:
            kept.add(os.readlink(link))
        else:
            link.unlink(missing_ok=True)
    for lock in _listed(state / "at"):
        project, _, rest = lock.name.partition(".")
        if not rest.endswith(".lock") or project in kept:
            continue
        with lock.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.with_suffix("").unlink(missing_ok=True)
            lock.unlink()


def named(text: bytes) -> set[tuple[str, str]]:
    """Each standing path in a text: the directory that `at` seems to be in, and its name there."""
    return {
        (
            os.fsdecode(_BEFORE.split(text[max(0, at.start() - _LONGEST) : at.start()])[-1]),
            at[1].decode(),
        )
        for at in _NAMED.finditer(text)
    }


def led_to(state: Path, names: Iterable[str]) -> Iterator[str]:
    """Where those of the names lead that are standing paths of this state."""
    for name in filter(_NAME.fullmatch, names):
        with suppress(OSError):
            yield os.readlink(state / "at" / name)


def _listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []
