"""Items as a directory, or as a tar stream that is the same wherever it is made."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

import zstandard

from unionfs.archive.layer import DIRECTORY, Kind
from unionfs.archive.tar import END_OF_STREAM, padding, tar_header
from unionfs.exporting.items import MARK, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

LEVEL: Final = 6
"""Of zstd: what is made once and sent often."""

_MODES: Final = {True: 0o755, False: 0o644}


class Output(Protocol):
    """Takes bytes, all that it is given."""

    def write(self, data: bytes, /) -> object:
        """One piece."""
        ...


def write_directory(items: Iterable[Item], root: Path, time: int | None) -> tuple[int, int]:
    """Make them below `root`; how many files there are, and bytes. `time` is that of all of it."""
    files = size = 0
    directories = [os.fsencode(root)]
    for item in items:
        path = os.fsencode(root) + b"/" + item.path
        match item.entry.kind:
            case Kind.DIRECTORY:
                os.makedirs(path, 0o755, exist_ok=True)  # noqa: PTH103 - names are bytes
                directories.append(path)
                continue
            case Kind.SYMLINK:
                os.symlink(item.target, path)  # noqa: PTH211 - the same
            case _:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                mode = _MODES[item.entry.executable]
                with os.fdopen(os.open(path, flags, mode), "wb") as file:
                    for piece in item.pieces():
                        file.write(piece)
        if time is not None:
            os.utime(path, (time, time), follow_symlinks=False)
        files += 1
        size += item.entry.size
    if time is not None:
        for path in reversed(directories):
            os.utime(path, (time, time))
    return files, size


@dataclass(slots=True, kw_only=True)
class Written:
    """Digests are SHA-256, in hexadecimal; `content` is that of the stream before compression."""

    size: int = 0
    digest: str = ""
    content: str = ""


def write_tar(items: Iterable[Item], out: Output, time: int) -> tuple[int, int]:
    """A tar stream of them in the order of their names, the mark first; files and bytes."""
    files = size = 0
    for item in sorted(items, key=lambda item: (item.path != MARK, item.path)):
        out.write(tar_header(item.path, item.entry, item.target, time))
        if item.entry.kind is Kind.FILE:
            for piece in item.pieces():
                out.write(piece)
            out.write(padding(item.entry.size))
        if item.entry.kind is not Kind.DIRECTORY:
            files += 1
            size += item.entry.size
    out.write(END_OF_STREAM)
    return files, size


@contextmanager
def hashed(path: Path, done: Written, *, compressed: bool) -> Iterator[Output]:
    """A file to be written anew; `done` says what it is when it is whole."""
    with path.open("wb", buffering=1 << 20) as file:
        outer = inner = _Hashed(file)
        if compressed:
            packer = zstandard.ZstdCompressor(level=LEVEL)
            with packer.stream_writer(cast("BinaryIO", outer), closefd=False) as packed:
                inner = _Hashed(packed)
                yield inner
        else:
            yield inner
    done.size, done.digest = outer.size, outer.digest.hexdigest()
    done.content = inner.digest.hexdigest()


class _Hashed:
    """Hands on what is written, and knows its digest."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """All of it."""
        self.digest.update(data)
        self._out.write(data)
        self.size += len(data)
        return len(data)


def below(items: Iterable[Item], top: bytes) -> list[Item]:
    """The same below a directory, with all that is above them."""
    made = {(path := top + b"/" + item.path): item._replace(path=path) for item in items}
    for path in list(made):
        for above in parents(path):
            made.setdefault(above, Item(above, DIRECTORY))
    return list(made.values())


def parents(path: bytes) -> Sequence[bytes]:
    """The directories above a path, outermost first."""
    names = path.split(b"/")
    return [b"/".join(names[:depth]) for depth in range(1, len(names))]
