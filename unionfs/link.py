"""The project's `.venv`: a link to its view, made and taken away without losing anything.

A link that points into the mount is ours to move. Anything else is the user's: it is left alone
unless they insist, and then it is set aside, not removed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from resolver.manifest import ViewId

NAME = ".venv"


def target(mount: Path, view: ViewId) -> str:
    """What a project's link points to."""
    return str(mount / "views" / view)


def refuse_foreign(project: Path, mount: Path, *, force: bool) -> None:
    """Say early, before anything is fetched, that `.venv` is not ours to replace."""
    path = project / NAME
    if force or not os.path.lexists(path) or _is_ours(path, mount):
        return
    raise PkgviewError(
        f"{path} is there already and is not pkgview's",
        remedy="Use --force to set it aside and link the view in its place, "
        "or --no-link to leave it.",
    )


def link(project: Path, mount: Path, view: ViewId, *, force: bool) -> Path | None:
    """Point the project's `.venv` to a view; returns where a foreign one was set aside to.

    Never follows the link: what it points to may be a mount whose daemon is gone.
    """
    path = project / NAME
    wanted = target(mount, view)
    aside = None
    try:
        refuse_foreign(project, mount, force=force)
        if is_linked(project, mount, view):
            return None
        if os.path.lexists(path) and not _is_ours(path, mount):
            aside = _free_name(project)
            path.rename(aside)
        temporary = project / f"{NAME}.pkgview-{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(wanted)
        try:
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PkgviewError(
            f"cannot link {path} to the view: {error.strerror}",
            remedy="Make the project's directory writable, or use --no-link and run programs "
            "with `pkgview run`.",
        ) from error
    return aside


def is_linked(project: Path, mount: Path, view: ViewId) -> bool:
    """Whether `.venv` already points to that view."""
    try:
        return os.readlink(project / NAME) == target(mount, view)
    except OSError:
        return False


def unlink(project: Path, mount: Path) -> bool:
    """Take the project's link away; False if there was none. A foreign `.venv` is left alone."""
    path = project / NAME
    if not os.path.lexists(path):
        return False
    if not _is_ours(path, mount):
        raise PkgviewError(
            f"{path} is not a link to a view, so it is left alone",
            remedy="Remove it yourself if it is not needed any more.",
        )
    path.unlink()
    return True


def _is_ours(path: Path, mount: Path) -> bool:
    """Whether it is a link to some view, of this mount or of another that was here before."""
    if not path.is_symlink():
        return False
    views = Path(os.readlink(path)).parent
    return views.name == "views" and (views.parent == mount or views.parent.name == ".pkgview")


def _free_name(project: Path) -> Path:
    """`.venv.before-pkgview`, or the first numbered one that is free."""
    number = 0
    while True:
        path = project / (f"{NAME}.before-pkgview" + (f".{number}" if number else ""))
        if not os.path.lexists(path):
            return path
        number += 1
