"""Something new at a name: beside it first, whole, and then in one step.

Nothing that is there is replaced, but with `force` what an earlier export made: a directory with
its mark, a file whose first member that is. A full disk or a killed process leaves nothing under
the name, and beside it what the next export removes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import tarfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zstandard

from resolver.atomic import EXCHANGE, NO_REPLACE, claim_file, is_locked, renamed, sweep
from resolver.errors import PkgviewError
from unionfs.exporting.items import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY: Final = ".pkgview-export-"

_C = ctypes.CDLL(None, use_errno=True)


def refuse_existing(at: Path, *, force: bool) -> None:
    """`PkgviewError` for what would not be replaced."""
    if not os.path.lexists(at):
        return
    if at.is_symlink():
        raise PkgviewError(f"{at} is a link", remedy="Name another place, or remove the link.")
    if not is_export(at):
        raise PkgviewError(
            f"{at} is there, and `pkgview export` did not make it",
            remedy="Name another place, or remove it.",
        )
    if not force:
        raise PkgviewError(f"{at} is there already", remedy="`--force` replaces it.")


def is_export(at: Path) -> bool:
    """Whether an earlier export made it, or it is an empty directory."""
    try:
        if at.is_dir():
            names = os.listdir(at)
            return not names or (at / os.fsdecode(MARK)).is_file()
        if not stat.S_ISREG(at.lstat().st_mode):
            return False
        with at.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == zstandard.FRAME_HEADER:
                block = zstandard.ZstdDecompressor().stream_reader(file).read(tarfile.BLOCKSIZE)
            else:
                block = file.read(tarfile.BLOCKSIZE)
            first = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            return first.name == os.fsdecode(MARK)
    except (OSError, ValueError, tarfile.TarError, zstandard.ZstdError):
        return False


@contextmanager
def new_directory(at: Path, *, force: bool) -> Iterator[Path]:
    """A directory to be filled, which is called `at` when it is whole."""
    with _explained(at):
        at.parent.mkdir(parents=True, exist_ok=True)
        made, descriptor = _claim_directory(at.parent)
        try:
            yield made
            made.chmod(0o777 & ~_mask())
            _sync(descriptor)
            _take_name(made, at, force=force)
        finally:
            os.close(descriptor)
            _remove(made)


@contextmanager
def new_file(at: Path, *, force: bool) -> Iterator[Path]:
    """The same for a file."""
    with _explained(at):
        at.parent.mkdir(parents=True, exist_ok=True)
        name, descriptor = claim_file(at.parent, TEMPORARY)
        made = Path(name)
        try:
            yield made
            os.fchmod(descriptor, 0o666 & ~_mask())
            os.fsync(descriptor)
            _take_name(made, at, force=force)
        finally:
            os.close(descriptor)
            _remove(made)


@contextmanager
def scratch(at: Path) -> Iterator[Path]:
    """A directory beside it for what is needed on the way."""
    with _explained(at):
        at.parent.mkdir(parents=True, exist_ok=True)
        made, descriptor = _claim_directory(at.parent)
        try:
            yield made
        finally:
            os.close(descriptor)
            _remove(made)


def _remove(made: Path) -> None:
    """What was not finished, or what was there before and was replaced; nothing if it is gone."""
    with suppress(OSError):
        made.unlink() if made.is_file() else shutil.rmtree(made)


def _claim_directory(parent: Path) -> tuple[Path, int]:
    sweep(parent, TEMPORARY)
    while True:
        made = parent / f"{TEMPORARY}{os.urandom(8).hex()}"
        made.mkdir(0o700)
        descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if is_locked(descriptor):
            return made, descriptor


def _take_name(made: Path, at: Path, *, force: bool) -> None:
    refuse_existing(at, force=force)  # again: it may be new
    replaced = os.path.lexists(at)
    if renamed(made, at, EXCHANGE if replaced else NO_REPLACE):
        return
    # A file system that knows no such rename: two steps, between which there is none.
    if replaced:
        old = made.with_name(f"{made.name}-old")
        at.rename(old)
        made.rename(at)
        _remove(old)
    else:
        made.rename(at)


def _sync(descriptor: int) -> None:
    """All of that file system's, since it has many files."""
    if _C.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _mask() -> int:
    os.umask(mask := os.umask(0o077))
    return mask


@contextmanager
def _explained(at: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PkgviewError(
            f"cannot write {at}: {error.strerror or error}",
            remedy="Make room there, or make it writable, and run the command again.",
        ) from error
