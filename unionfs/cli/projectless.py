"""Projects that no directory of the user's is: one that lists nothing, and scripts from stdin."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.atomic import make_private, write_atomically
from resolver.errors import PkgviewError
from resolver.naming import nothing_at, said_scripts, sha256
from resolver.python.project import project_at
from unionfs.cli import console

if TYPE_CHECKING:
    from resolver.places import Places
    from resolver.python.project import PythonProject


def kept_script(places: Places, said: bytes) -> Path:
    """A file of that script's, by which its lock and its view are found again."""
    directory = said_scripts(os.fspath(places.cache))
    make_private(directory)
    path = Path(directory, f"{sha256(said).hexdigest()[:32]}.py")
    write_atomically(path, said)
    return path


def nothing(places: Places) -> PythonProject:
    """The project that lists nothing, in the state: no directory's settings count for itself."""
    directory = Path(nothing_at(os.fspath(places.state)))
    make_private(directory)
    if not (directory / "requirements.txt").exists():
        write_atomically(directory / "requirements.txt", b"")
    found = project_at(os.fspath(directory))
    if found is None:
        raise PkgviewError(
            f"{directory} is no project any more", remedy="Remove that directory, and try again."
        )
    return found


def say_foreign(directory: Path) -> None:
    """Say that what looks like a project gives no packages: the program may miss them."""
    from resolver.python.foreign import foreign  # noqa: PLC0415 - only where there is no project

    other = foreign(directory)
    if other is not None:
        console.note(f"Without a project's packages: {other.said}. {other.remedy}")
