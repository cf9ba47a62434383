"""What is exported: the paths of a view, each with its bytes, in the order of their names.

The same view gives the same items on every machine. Nothing is read before it is written, and every
frame is verified when it is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from resolver.errors import PkgviewError
from unionfs.archive.layer import DIRECTORY, Entry, EntryNo, Kind
from unionfs.archive.tar import MTIME
from unionfs.bytecode.paired import Paired
from unionfs.view.union import MERGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unionfs.view.opened import OpenedView
    from unionfs.view.union import Place

PIECE: Final = 1 << 20
"""Bytes that are read at once."""

MARK: Final = b".pkgview-export"
"""A file that says what was exported: only that does `--force` replace."""

OWN: Final = 0
"""The layer of a view's own files, and of directories that several layers share."""

_LATEST = 8**11 - 1


class Item(NamedTuple):
    """One file, directory or link; `path` as in the export. `layer` is the manifest's number.

    `pieces` gives a file's content, `entry.size` bytes. `compiled`: bytecode that pkgview made.
    """

    path: bytes
    entry: Entry
    layer: int = OWN
    target: bytes = b""
    pieces: Callable[[], Iterator[bytes]] = lambda: iter(())
    compiled: bool = False

    def with_content(self, content: bytes) -> Item:
        """The same file with other bytes."""
        entry = self.entry._replace(size=len(content))
        return self._replace(entry=entry, pieces=lambda: iter((content,)))

    def with_target(self, target: bytes) -> Item:
        """The same link, leading elsewhere."""
        return self._replace(entry=self.entry._replace(size=len(target)), target=target)

    def content(self) -> bytes:
        """All of a file that is small."""
        return b"".join(self.pieces())


def items_below(opened: OpenedView, top: str) -> Iterator[Item]:
    """All below a directory of the view, with paths from there; nothing where there is none."""
    union = opened.union
    place = union.resolve(os.fsencode(top))
    if place is None:
        return
    for path, found in union.walk(place):
        yield _item(opened, path, found)


def _item(opened: OpenedView, path: bytes, place: Place) -> Item:
    union = opened.union
    entry, number = union.entry(place), EntryNo(place.number)
    if place.layer == MERGED:
        return Item(path, DIRECTORY)
    layer = union.layers[place.layer]
    target = layer.target(number) if entry.kind is Kind.SYMLINK else b""

    def pieces() -> Iterator[bytes]:
        for offset in range(0, entry.size, PIECE):
            yield layer.read(number, offset, PIECE)

    compiled = isinstance(layer, Paired) and layer.in_companion(number) is not None
    return Item(path, entry, place.layer, target, pieces, compiled)


def mark() -> Item:
    """The file that says what this is: the same in all, as equal exports are equal bytes."""
    text = b"`pkgview export` made this, and with --force replaces it.\n"
    return Item(MARK, Entry(Kind.FILE, 0, executable=False)).with_content(text)


def epoch() -> int | None:
    """The time that all files are to have, by `SOURCE_DATE_EPOCH` (reproducible-builds.org).

    Seconds since the Epoch; None where it is not set.
    """
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not said:
        return None
    if not said.isascii() or not said.isdecimal() or int(said) > _LATEST:
        raise PkgviewError(
            f"SOURCE_DATE_EPOCH is {said!a}, which is no number of seconds",
            remedy="Set it as `date +%s` writes it, or unset it.",
        )
    return int(said)


def fixed_time() -> int:
    """The same where a time has to be: by default that of all archives, 1980-01-01."""
    said = epoch()
    return MTIME if said is None else said
