"""A project's link as a directory, on which its view can be mounted (docs/node.md).

A mount needs a directory. So where a project wants one there is a directory in the link's place:
in it `.pkgview` is that link, and each name that the view has leads through it. Who looks without
the mount finds the same packages at the same real paths, and one rename still moves all of them to
another view: names that come are made before it, those that go are taken away after it.

A view for that has empty directories where others have links for tools to write into, for mounts,
too; here these are links.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from resolver.node.start import NEW
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
    """Have such a directory, which leads to `target`, in place of a link, or where nothing is.

    No system call puts a directory in a link's place. A process that is killed in between leaves
    the new one beside it, which is as good as said (`NodeProject.mounted`), and is used then. Of
    several that do it at once one makes it, and the others find it.
    """
    new = path.with_name(f"{path.name}{NEW}")
    try:
        new.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            (new / OWN).symlink_to(target)
        path.unlink(missing_ok=True)
        new.rename(path)
    except OSError:
        if not is_mountable(path):
            raise
        with suppress(OSError):
            (new / OWN).unlink()
            new.rmdir()


def add_names(path: Path, target: str) -> None:
    """Have those that what is at `target` has; nothing where that is not mounted."""
    for name, leads in _names(target).items():
        if not os.path.lexists(path / name):
            with suppress(FileExistsError):
                (path / name).symlink_to(leads)


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


def binds(path: Path) -> Iterator[Bind]:
    """What is to be mounted, the view first, then what tools write into."""
    target = os.readlink(path / OWN)
    yield Bind(target, str(path))
    for name, leads in _names(target).items():
        if leads.startswith(f"{OWN}/..") and not (path / OWN / name).is_symlink():
            written = (path / name).resolve()
            if written.is_dir():
                yield Bind(str(written), str(path / name))


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
    try:
        return os.readlink(path).startswith(f"{OWN}/")
    except OSError:
        return False
