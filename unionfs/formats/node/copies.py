"""Copies of packages in the file system: written from an archive, and packed again."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from unionfs.archive.layer import Kind
from unionfs.archive.pack import Member
from unionfs.formats.npm.reader import TOP

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from unionfs.store.local import Store

_BLOCK: Final = 1024 * 1024


def unpack(store: Store, name: str, target: Path) -> None:
    """Write a package's files, with their modes."""
    archive = store.open(name)
    target.mkdir(parents=True, exist_ok=True)
    for path, number in archive.walk():
        inside = os.fsdecode(path).partition("/")[2]
        if not inside:
            continue
        entry, there = archive.entry(number), target / inside
        there.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind is Kind.DIRECTORY:
            there.mkdir(exist_ok=True)
        elif entry.kind is Kind.SYMLINK:
            there.symlink_to(os.fsdecode(archive.target(number)))
        else:
            with there.open("xb") as out:
                starts = range(0, entry.size, _BLOCK)
                out.writelines(archive.read(number, start, _BLOCK) for start in starts)
            there.chmod(0o755 if entry.executable else 0o644)


def members(top: Path, excluded: Collection[Path]) -> Iterator[Member]:
    """All that is below a package's directory, to be packed.

    But for what is `excluded`, what only leads there, and what is neither file, directory nor link.
    """
    for path_of, directories, files in os.walk(top):
        where = Path(path_of)
        kept = {where / one for one in (*directories, *files)}.difference(excluded)
        directories[:] = [one for one in directories if where / one in kept]
        if where != top and not kept and not any(where in one.parents for one in excluded):
            yield Member(path=_inside(where, top), kind=Kind.DIRECTORY)
        for path in sorted(kept):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                target = os.fsencode(_target(path, top))
                yield Member(path=_inside(path, top), kind=Kind.SYMLINK, target=target)
            elif stat.S_ISREG(status.st_mode):
                yield Member(
                    path=_inside(path, top),
                    executable=bool(status.st_mode & 0o111),
                    size=status.st_size,
                    open=cast("Callable[[], BinaryIO]", partial(path.open, "rb")),
                )


def _inside(path: Path, top: Path) -> bytes:
    return os.fsencode(TOP / path.relative_to(top))


def _target(path: Path, top: Path) -> str:
    """Where a link leads, which outlives the copy that it was made in."""
    target = os.readlink(path)
    return os.path.relpath(target, path.parent) if target.startswith(f"{top}/") else target
