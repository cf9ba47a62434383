"""Faults of a tar stream, of the file that it is in, and what a user sees of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.naming import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FAULTS_SHOWN = 5


class UnsoundTarballError(Exception):
    """A file is no tarball to be trusted: one clause a fault, without the file's name."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class PackageRefused(PkgviewError):  # noqa: N818 - what happened to it, as the user reads it
    """A package that is not taken in; `faults` has every reason, the message the first ones."""

    def __init__(self, filename: str, *faults: str) -> None:
        shown = spelled("; ".join(faults[:_FAULTS_SHOWN]))
        more = len(faults) - _FAULTS_SHOWN
        super().__init__(
            f"the package {spelled(filename)} is refused: {shown}"
            + (f"; and {more} more" if more > 0 else ""),
            remedy="It is damaged or was tampered with, or it was packed wrong: fetch it again, "
            "or ask for another version.",
        )
        self.filename = filename
        self.faults = faults


@contextmanager
def refusing(path: Path, filename: str) -> Iterator[None]:
    """What is wrong with the package at `path` is said of `filename`: `PackageRefused`.

    `PkgviewError` where it cannot be read.
    """
    try:
        yield
    except UnsoundTarballError as error:
        raise PackageRefused(filename, *error.faults) from error
    except OSError as error:
        raise PkgviewError(
            f"cannot read {path}: {error.strerror}",
            remedy="Look at that file and its disk, then run the command again.",
        ) from error
