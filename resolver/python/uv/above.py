"""What has the name of a settings file: of which type it may be, and whose.

uv opens `uv.toml` and `pyproject.toml` in each directory upwards, whatever they are: it waits for a
FIFO, and takes for settings what somebody writes into it. So what has such a name and is neither a
regular file nor a link to one is refused, by looks as by commands.

In a sticky directory, such as /tmp, another user's may come and go at any moment. What is found of
a project is asked for its owners (`resolver.project.trust`), once; so whoever reads such a file
later, for what it sets, asks again (and see `watch`).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from resolver import looks
from resolver.errors import PkgviewError
from resolver.ownership import belongs_to_another, is_shared

NAMES = ("uv.toml", "pyproject.toml")

KEEP = "Keep the project in a directory of your own."


def lies(place: str, name: str) -> bool:
    """Whether a directory has a file of that name; `PkgviewError` where it is of another type."""
    path = f"{place}/{name}"
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(found.st_mode) or (stat.S_ISLNK(found.st_mode) and looks.is_file(path)):
        return True
    whose = f", and belongs to user {found.st_uid}" if found.st_uid != os.geteuid() else ""
    raise PkgviewError(
        f"{path} is no regular file{whose}: uv would take settings from it",
        remedy="Remove it, or keep the project somewhere else.",
    )


def refuse_anothers(path: str) -> None:
    """`PkgviewError` for another user's file in a directory where every user may make some.

    Also where it has gone meanwhile. What is the user's own there nobody else can replace.
    """
    if is_shared(str(Path(path).parent)) and belongs_to_another(path):
        raise PkgviewError(
            f"{path} is another user's, and settings of uv would be taken from it",
            remedy=KEEP,
        )
