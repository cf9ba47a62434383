"""Verifying a whole archive: every byte is read, and what `tar` would extract is what it serves."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from unionfs.archive.layer import Kind, LayerError
from unionfs.archive.tar import END_OF_STREAM, padding, tar_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unionfs.archive.contents import Contents


def verify(name: str, contents: Contents, load: Callable[[int], bytes]) -> None:
    """Check every byte of the archive of that name; `LayerError` names the first that is wrong.

    `load` gives a frame, decompressed, that has its digest. Besides all digests the tar stream is
    compared with the table of contents.
    """
    contents.check()
    stream = _Stream(name, load)
    for path, number in contents.walk():
        entry = contents.entry(number)
        link = entry.kind is Kind.SYMLINK
        target = contents.target(number) if link else b""
        stream.expect(tar_header(path, entry, target), path)
        if entry.kind is Kind.FILE:
            start, size = contents.content_span(number)
            if start != stream.position:
                raise LayerError(f"{name}: {os.fsdecode(path)!r} lies elsewhere")
            content = stream.digest(size)
            stream.expect(padding(size), path)
        elif link:
            content = hashlib.sha256(target).digest()
        else:
            continue
        if content != contents.digest(number):
            raise LayerError(f"{name}: {os.fsdecode(path)!r} does not have its digest")
    stream.expect(END_OF_STREAM, b"the end")
    if stream.position != contents.stream_size:
        raise LayerError(f"{name}: its stream goes on after its end")


class _Stream:
    """Reads an archive's tar stream from its beginning, one frame in memory at a time."""

    def __init__(self, name: str, load: Callable[[int], bytes]) -> None:
        self._name = name
        self._load = load
        self._frame = 0
        self._left = b""
        self.position = 0

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in pieces."""
        self.position += size
        while size:
            if not self._left:
                self._left = self._load(self._frame)
                self._frame += 1
            piece, self._left = self._left[:size], self._left[size:]
            size -= len(piece)
            yield piece

    def expect(self, data: bytes, where: bytes) -> None:
        """The next bytes must be these."""
        if b"".join(self.pieces(len(data))) != data:
            at = f"{self._name}: the tar stream at {os.fsdecode(where)!r}"
            raise LayerError(f"{at} is not what the contents list")

    def digest(self, size: int) -> bytes:
        """SHA-256 of the next `size` bytes."""
        total = hashlib.sha256()
        for piece in self.pieces(size):
            total.update(piece)
        return total.digest()
