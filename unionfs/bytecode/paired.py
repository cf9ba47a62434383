"""An archive and its companion as one layer: the sources, with their bytecode beside them.

Entry numbers are the source's own, followed by the companion's, so they mean the same whether
there is a companion or not. All that a companion adds is a `__pycache__` in directories of the
source that have none. It is opened when somebody looks into a directory for the first time, not
when the view is made; if it cannot be had by then, the layer goes on without it, as it would have
in a view made earlier: a listing that was given stays as it is.
"""

from __future__ import annotations

import logging
from bisect import insort
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.archive.layer import DIRECTORY, EntryNo, Kind, LayerError
from unionfs.bytecode.companion import PYCACHE, cache_tag_of, compiled_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unionfs.archive.layer import Child, Entry
    from unionfs.archive.reader import Archive

logger = logging.getLogger(__name__)


class Paired:
    """A `unionfs.archive.layer.Layer`; `source` is the archive without its companion.

    `open_companion` may raise `LayerError` or `PkgviewError`.
    """

    def __init__(self, source: Archive, open_companion: Callable[[], Archive]) -> None:
        self.source = source
        self._count = len(source)
        self._open = open_companion
        self._companion: Archive | None = None
        self._cache_tag = ""
        self._opened = False

    # The layer

    def entry(self, number: EntryNo) -> Entry:
        """Attributes; `IndexError` where there is no such entry."""
        layer, inner = self._at(number)
        return layer.entry(inner)

    def lookup(self, directory: EntryNo, name: bytes) -> EntryNo | None:
        """The child of that name; None where there is none or `directory` is none."""
        layer, inner = self._at(directory)
        found = layer.lookup(inner, name)
        if layer is not self.source:
            return None if found is None else EntryNo(found + self._count)
        return self._pycache(directory) if found is None and name == PYCACHE else found

    def children(self, directory: EntryNo) -> Sequence[Child]:
        """All children, sorted by name."""
        layer, inner = self._at(directory)
        found = layer.children(inner)
        if layer is not self.source:
            count = self._count
            return [(name, EntryNo(number + count), entry) for name, number, entry in found]
        added = self._pycache(directory)
        if added is None or layer.lookup(inner, PYCACHE) is not None:
            return found
        listing = list(found)
        insort(listing, (PYCACHE, added, DIRECTORY))
        return listing

    def parent(self, directory: EntryNo) -> EntryNo:
        """The directory that one lies in; a companion's `__pycache__` lies in the source's."""
        layer, inner = self._at(directory)
        parent = layer.parent(inner)
        found = parent if layer is self.source else self.source.find(layer.path_of(parent))
        if found is None:
            raise IndexError(directory)
        return found

    def target(self, number: EntryNo) -> bytes:
        """What a symbolic link points to."""
        layer, inner = self._at(number)
        return layer.target(inner)

    def digest(self, number: EntryNo) -> bytes:
        """SHA-256 of a file's content (of a link's target), 32 bytes."""
        layer, inner = self._at(number)
        return layer.digest(inner)

    def read(self, number: EntryNo, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a file from `offset`; fewer only at its end."""
        layer, inner = self._at(number)
        return layer.read(inner, offset, size)

    # Beyond the layer

    def in_companion(self, number: EntryNo) -> EntryNo | None:
        """The companion's own number of an entry; None for one of the source."""
        return EntryNo(number - self._count) if number >= self._count else None

    def compiled(self, number: EntryNo) -> tuple[bytes, EntryNo] | None:
        """Name and entry of the bytecode of one of the source's files; None if it has none."""
        path = self.source.path_of(number)
        directory, _, name = path.rpartition(b"/")
        parent = self.source.find(directory)
        pycache = None if parent is None else self._pycache(parent)
        if pycache is None:
            return None
        name = compiled_name(name, self._cache_tag)
        found = self.lookup(pycache, name)
        return None if found is None else (name, found)

    def _at(self, number: EntryNo) -> tuple[Archive, EntryNo]:
        if number < self._count:
            return self.source, number
        companion = self._there()
        if companion is None:
            raise IndexError(number)
        return companion, EntryNo(number - self._count)

    def _pycache(self, directory: EntryNo) -> EntryNo | None:
        """The companion's `__pycache__` for a directory of the source."""
        companion = self._there()
        if companion is None:
            return None
        found = companion.find(self.source.path_of(directory) + b"/" + PYCACHE)
        if found is None or companion.entry(found).kind is not Kind.DIRECTORY:
            return None
        return EntryNo(found + self._count)

    def _there(self) -> Archive | None:
        if not self._opened:
            self._opened = True
            try:
                companion = self._open()
                self._cache_tag = cache_tag_of(companion, self.source)
                self._companion = companion
            except (LayerError, PkgviewError) as error:
                logger.error("%s: served without that bytecode", error)  # noqa: TRY400 - it says all
        return self._companion
