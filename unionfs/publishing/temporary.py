"""Names beside a project's link, for what is to take its place.

A repository can hold any name, so none is used, or taken away, because of how it is called: each is
random, and noted in `<state>/moving` before anything has it. A process that is killed leaves what
has the name; the next one that needs such a name finds the note, whose lock is free then.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resolver.atomic import EXCHANGE, claim_file, make_private, renamed
from unionfs.publishing import mountable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places

_NOTE: Final = "of-"


def notes_of(places: Places) -> Path:
    """The directory of the notes."""
    return places.state / "moving"


@contextmanager
def beside(path: Path, places: Places) -> Iterator[Path]:
    """A name that nothing has.

    What has it at the end is removed, if it is a link, or a directory in the place of one.
    """
    make_private(notes_of(places))
    _sweep(notes_of(places))
    note, descriptor = claim_file(os.fspath(notes_of(places)), _NOTE)
    new = path.with_name(f"{path.name}.pkgview-{os.urandom(8).hex()}")
    try:
        os.write(descriptor, os.fsencode(new))
        yield new
    finally:
        try:
            _remove(new)
        finally:
            os.unlink(note)  # noqa: PTH108 - a string
            os.close(descriptor)


def exchange(new: Path, path: Path) -> None:
    """Let `new` take the place of `path`, whose own then has the other name, if there is any."""
    if os.path.lexists(path):
        if renamed(new, path, EXCHANGE):
            return
        path.unlink()  # the file system does not know it: for a moment there is neither
    new.rename(path)


def _sweep(notes: Path) -> None:
    for note in notes.glob(f"{_NOTE}*"):
        with suppress(OSError):
            descriptor = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if left := os.read(descriptor, 4096):
                    _remove(Path(os.fsdecode(left)))
                note.unlink()
            finally:
                os.close(descriptor)


def _remove(new: Path) -> None:
    if mountable.is_mountable(new):
        mountable.remove(new)
    elif new.is_symlink():
        new.unlink()
    elif new.is_dir():
        with suppress(OSError):  # somebody has put something there
            new.rmdir()
