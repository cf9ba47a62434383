"""A project's link to its view (`.venv`), made and taken away without losing anything.

A link that points into the mount, or into one that this user had elsewhere, is ours to move.
Anything else is the user's, however much it looks like one of ours: it is left alone unless they
insist, and then it is set aside, not removed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from resolver.atomic import Alone
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.kinds import NODE, link_of, shown_of
from unionfs.mounting import mountpoints
from unionfs.publishing import mountable, temporary
from unionfs.publishing.ignored import hide, show

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places


NONE: Final = ViewId("none")
"""Where a link leads that has no view yet."""


class LinkError(PkgviewError):
    """The project's link cannot be made or moved; the view itself can be used."""


def target(places: Places, view: ViewId, shown: str = "") -> str:
    """What a project's link points to: the view, or what is `shown` of it."""
    return str(places.mount / "views" / view / shown)


def is_foreign(path: Path, places: Places) -> bool:
    """Whether something is there that is not ours to replace."""
    return os.path.lexists(path) and not is_ours(path, places)


def refuse_foreign(
    path: Path, places: Places, *, force: bool = False, replaced: bool = False
) -> None:
    """Say early, before anything is fetched, that what is at `path` is not ours to replace.

    `replaced`: there was a link of ours before.
    """
    if not is_foreign(path, places):
        return
    _refuse_mounted(path)
    if force:
        return
    raise PkgviewError(
        f"{path} was a link to the view, and what is there now is not pkgview's"
        if replaced
        else f"{path} is there already and is not pkgview's",
        remedy="`pkgview up --force` sets it aside and links the view in its place; with "
        "`pkgview up --no-link` it stays.",
    )


def _refuse_mounted(path: Path) -> None:
    if mountable.is_mounted(path):
        raise PkgviewError(
            f"{path} is mounted for the command that this is a part of, and stays what it is there",
            remedy="Run it outside, in another terminal.",
        )


def link(
    path: Path, places: Places, view: ViewId, *, force: bool, shown: str | None = None
) -> Path | None:
    """Point the link at `path` to a view; returns where what was there was set aside to.

    `shown`: a path in the view; None: what links of that name show.

    `LinkError` where it stays as it was, for the disk's reasons.

    Never follows the link: what it points to may be a mount whose daemon is gone. Two processes
    that do it at once both succeed, and either one's link stays.
    """
    aside = None
    try:
        refuse_foreign(path, places, force=force)
        if is_foreign(path, places):
            aside = _set_aside(path)
        mountpoints.remember(places)
        leads = target(places, view, shown_of(path.name) if shown is None else shown)
        try:
            if mountable.is_mountable(path):
                mountable.add_names(path, leads)
                _point(mountable.link_in(path), leads, places)
                mountable.drop_names(path, leads)
            else:
                _point(path, leads, places)
        except BaseException:
            if aside is not None and not os.path.lexists(path):
                put_back(aside, path)
            raise
    except OSError as error:
        raise LinkError(
            f"cannot link {path} to the view: {error.strerror}",
            remedy="Make the project's directory writable, or use --no-link and run programs "
            "with `pkgview run`.",
        ) from error
    return aside


def make_mountable(
    path: Path, places: Places, *, force: bool, shown: str | None = None
) -> Path | None:
    """Have a directory instead of the link, which a view can be mounted on; as `link` else.

    It leads where the link did; where there was none, nowhere yet.
    """
    refuse_foreign(path, places, force=force)
    if mountable.is_mountable(path) and not is_foreign(path, places):
        return None
    try:
        aside = None
        if is_foreign(path, places):
            aside = _set_aside(path)
        mountpoints.remember(places)
        show = shown_of(path.name) if shown is None else shown
        leads = os.readlink(path) if path.is_symlink() else target(places, NONE, show)
        with Alone(temporary.notes_of(places)), temporary.beside(path, places) as new:
            if not mountable.is_mountable(path):  # another process may have been first
                mountable.make(new, leads)
                temporary.exchange(new, path)
    except OSError as error:
        raise LinkError(
            f"cannot make the directory {path}: {error.strerror}",
            remedy="Make the project's directory writable, and run the command again.",
        ) from error
    return aside


def _point(path: Path, wanted: str, places: Places) -> None:
    """Make or move the link in one step; of several processes that do so the last one's stays."""
    if path.is_symlink() and os.readlink(path) == wanted:
        return
    with temporary.beside(path, places) as new:
        os.symlink(wanted, new)  # noqa: PTH211 - beside readlink, which is a string's
        new.replace(path)


def is_linked(path: Path, places: Places, view: ViewId) -> bool:
    """Whether the link already points to that view."""
    try:
        leads = os.readlink(mountable.link_in(path))
    except OSError:
        return False
    return leads == target(places, view, shown_of(path.name))


def is_of(path: Path, places: Places) -> bool:
    """Whether it is a link into the mount that is used now, or a view of it is mounted there."""
    if mountable.is_mounted(path):
        return True
    try:
        return _leads_into(os.readlink(mountable.link_in(path)), os.fspath(places.mount))
    except OSError:
        return False


def unlink(path: Path, places: Places) -> bool:
    """Take a project's link away; False if there was none. What is no such link is left alone."""
    if not os.path.lexists(path):
        return False
    if not is_ours(path, places):
        _refuse_mounted(path)
        raise PkgviewError(
            f"{path} is not a link to a view, so it is left alone",
            remedy="Remove it yourself if it is not needed any more.",
        )
    try:
        if mountable.is_mountable(path):
            mountable.remove(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PkgviewError(
            f"cannot remove {path}: {error.strerror}",
            remedy="Make the project's directory writable, and run the command again.",
        ) from error
    show(os.fspath(path))
    return True


def is_ours(path: Path, places: Places) -> bool:
    """Whether it is a link to some view, of this mount or of one that was elsewhere before.

    Or a directory in the place of one, with nobody else's packages in it.
    """
    try:
        leads = os.readlink(mountable.link_in(path))
        if mountable.is_mountable(path) and not mountable.is_pure(path):
            return False
    except OSError:
        return False
    return any(_leads_into(leads, mount) for mount in mountpoints.mountpoints(places))


def _leads_into(leads: str, mount: str) -> bool:
    """Whether that is a view of the mount, or what a link shows of one."""
    inside = leads.removeprefix(f"{mount}/views/")
    view, _, shown = inside.partition("/")
    return inside != leads and view not in {"", ".", ".."} and ".." not in shown.split("/")


def _set_aside(path: Path) -> Path:
    """Move it to `.venv.before-pkgview`, or the first numbered name that is free; returns where to.

    `node_modules` goes below that, under its own name: by that alone test runners, compilers,
    linters and git pass over what is in it.
    """
    number = 0
    while os.path.lexists(
        aside := path.with_name(f"{path.name}.before-pkgview" + (f".{number}" if number else ""))
    ):
        number += 1
    if path.name == link_of(NODE):
        aside.mkdir()
        aside /= path.name
    try:
        path.rename(aside)
    except OSError:
        if aside.name == path.name:
            aside.parent.rmdir()
        raise
    if aside.name == path.name:
        hide(os.fspath(aside))
    return aside


def put_back(aside: Path, path: Path) -> None:
    """Have what was set aside at its place again, and nothing left of where it was."""
    aside.rename(path)
    if aside.name == path.name:
        aside.parent.rmdir()
