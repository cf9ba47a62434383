"""A project's link as a directory, on which its view can be mounted (docs/node.md).

A mount needs a directory. So where a project wants one there is a directory in the link's place:
in it `.pkgview` is that link, and each name that the view has leads through it. Who looks without
the mount finds the same packages at the same real paths, and one rename still moves all of them to
another view: names that come are made before it, those that go are taken away after it.

A repository can hold such a directory, too. So a link in it counts only where it leads exactly
where ours do, and nothing is mounted from where one leads.

A view for that has empty directories where others have links for tools to write into, for mounts,
too; here these are links.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from unionfs.mounting import mounts
from unionfs.namespaces.private import Bind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN: Final = ".pkgview"
"""The link in the directory, and what a view has of its own."""

_COMMANDS: Final = ".bin"


def is_mountable(path: Path) -> bool:
    """Whether it is such a directory; what else has been put into it does not matter."""
    return not path.is_symlink() and (path / OWN).is_symlink()


def is_mounted(path: Path) -> bool:
    """Whether a view is mounted there, for this process."""
    if path.is_symlink():
        return False
    mount = mounts.mounted_at(path)
    return mount is not None and mount.fstype == mounts.FSTYPE


def link_in(path: Path) -> Path:
    """Where the link itself is that is meant by `path`."""
    return path / OWN if is_mountable(path) else path


def is_pure(path: Path) -> bool:
    """Whether nobody has put packages of his own into it, as npm does."""
    return all(_is_ours(path / one) for one in os.listdir(path) if _is_package(one))


def make(path: Path, target: str) -> None:
    """Make such a directory, which leads to `target`, where nothing is."""
    path.mkdir()
    (path / OWN).symlink_to(target)
    add_names(path, target)


def add_names(path: Path, target: str) -> None:
    """Have those that what is at `target` has; nothing where that is not mounted.

    A link of such a name that leads elsewhere is replaced. What is no link stays.
    """
    for name, leads in _names(target).items():
        here = path / name
        if name == OWN or (not here.is_symlink() and os.path.lexists(here)):
            continue
        with suppress(FileNotFoundError):
            if os.readlink(here) == leads:
                continue
            here.unlink()
        with suppress(FileExistsError):
            here.symlink_to(leads)


def drop_names(path: Path, target: str) -> None:
    """Take those away that it has not."""
    if not (kept := _names(target)):
        return
    for name in os.listdir(path):
        if name not in kept and name != OWN and _is_ours(path / name):
            (path / name).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Take it away; what others have put into it stays, and so does the directory then."""
    for name in os.listdir(path):
        if name != OWN and _is_ours(path / name):
            (path / name).unlink(missing_ok=True)
    (path / OWN).unlink(missing_ok=True)
    if not os.listdir(path):
        path.rmdir()


def binds(path: Path, target: str, written: Path) -> Iterator[Bind]:
    """What is to be mounted on such a directory.

    That is what is at `target`, of a view; upon it the directories below `written`, of those that
    the view has for tools to write into.
    """
    yield Bind(target, str(path))
    try:
        with os.scandir(target) as found:
            names = [one.name for one in found if one.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in names:
        source = written / name
        if name != OWN and not _is_package(name) and source.is_dir() and not source.is_symlink():
            yield Bind(str(source), str(path / name))


def _names(target: str) -> dict[str, str]:
    """What a view shows at `target`, and where the link of each name leads."""
    _, _, shown = target.rpartition("/views/")
    shown = shown.partition("/")[2]
    up = "/".join(".." for _ in shown.split("/"))
    written = f"{OWN}/{up}/{OWN}/writable/{shown.removeprefix(f'{OWN}/')}"
    try:
        with os.scandir(target) as found:
            return {
                one.name: f"{OWN}/{one.name}"
                if _is_package(one.name) or one.is_file(follow_symlinks=False)
                else f"{written}/{one.name}"
                for one in found
            }
    except OSError:
        return {}


def _is_package(name: str) -> bool:
    """Whether npm would write it: all names but those that begin with a dot."""
    return not name.startswith(".") or name == _COMMANDS


def _is_ours(path: Path) -> bool:
    """Whether it is a link that we make. What begins with a dot may be what tools write into."""
    try:
        leads = os.readlink(path)
        return leads == f"{OWN}/{path.name}" or (
            not _is_package(path.name) and leads.startswith(f"{OWN}/")
        )
    except OSError:
        return False
