"""The files, links and directories of a .deb's data, where each may stand once."""

from __future__ import annotations

from posixpath import normpath
from typing import TYPE_CHECKING, Final, NamedTuple

from unionfs.archive.layer import Kind
from unionfs.archive.meta import NAME_LIMIT
from unionfs.formats.tar import entries as tar
from unionfs.formats.tar.fault import UnsoundTarballError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENTRY_LIMIT: Final = 524_288
"""Most entries of a package. The largest have about 100,000."""

PATH_LIMIT: Final = 2048
"""Bytes of a path: room is left for what it will lie below."""

_FAULT_LIMIT = 50
_SET_ID = 0o6000


class Item(NamedTuple):
    """One of them: a file's content is `size` bytes from `start` in the stream."""

    kind: Kind
    mode: int = 0
    start: int = 0
    size: int = 0
    target: bytes = b""


class Items(dict[bytes, Item]):
    """Path from the root -> item. `set_id` are files whose set-user-id or set-group-id is dropped.

    `copied` counts hard links, each of which is a file of its own here.
    """

    def __init__(self, entries: Iterable[tar.Entry]) -> None:
        """Place them; raises `UnsoundTarballError` with all faults."""
        super().__init__()
        self.set_id: list[bytes] = []
        self.copied = 0
        faults: list[str] = []
        for number, entry in enumerate(entries):
            if number >= ENTRY_LIMIT:
                raise UnsoundTarballError(f"it has more than {ENTRY_LIMIT} entries")
            try:
                self._place(entry)
            except ValueError as error:
                faults.append(f"{tar.shown(entry.path)} {error}")
                if len(faults) >= _FAULT_LIMIT:
                    break
        faults.extend(self._misplaced())
        if faults:
            raise UnsoundTarballError(*faults)

    def _place(self, entry: tar.Entry) -> None:
        path = plain_path(entry.path)
        if not path:
            if entry.kind is not tar.DIRECTORY:
                raise ValueError("is the root, and no directory")
            return
        if path in self:
            raise ValueError("is there twice")
        if entry.kind is tar.DIRECTORY:
            self[path] = Item(Kind.DIRECTORY)
        elif entry.kind is tar.LINK:
            _check_target(path, entry.target)
            self[path] = Item(Kind.SYMLINK, target=entry.target)
        elif entry.kind is tar.HARD_LINK:
            self[path] = self._linked(entry.target)
            self.copied += 1
        else:
            if entry.mode & _SET_ID:
                self.set_id.append(path)
            self[path] = Item(Kind.FILE, entry.mode, entry.start, entry.size)

    def _linked(self, target: bytes) -> Item:
        """What a hard link is one of: a file that came before it."""
        try:
            item = self.get(plain_path(target))
        except ValueError as error:
            raise ValueError(f"is a hard link to what {error}") from error
        if item is None or item.kind is not Kind.FILE:
            raise ValueError("is a hard link to no file before it")
        return item

    def _misplaced(self) -> Iterator[str]:
        """What lies below a file or a link: a reader that follows it would write elsewhere."""
        for path in self:
            above = path.rpartition(b"/")[0]
            while above:
                item = self.get(above)
                if item is not None:
                    if item.kind is not Kind.DIRECTORY:
                        yield f"{tar.shown(path)} lies below {tar.shown(above)}, no directory"
                    break
                above = above.rpartition(b"/")[0]


def plain_path(path: bytes) -> bytes:
    """A path from the root, b"" for the root; `ValueError` says what is wrong with it."""
    if path.startswith(b"/"):
        raise ValueError("is absolute")
    names = path.removesuffix(b"/").split(b"/")
    if names[0] == b".":
        del names[0]
    if b".." in names:
        raise ValueError("climbs out with '..'")
    if b"." in names or b"" in names:
        raise ValueError("has an empty name in it")
    if b"\n" in path:
        raise ValueError("has a line's end in it")
    plain = b"/".join(names)
    if len(plain) > PATH_LIMIT or any(len(name) > NAME_LIMIT for name in names):
        raise ValueError(f"has more than {PATH_LIMIT} bytes, or {NAME_LIMIT} in a name")
    return plain


def _check_target(path: bytes, target: bytes) -> None:
    """An absolute one means the root of whoever looks, a relative one may not climb above it."""
    if b"\0" in target or b"\n" in target:
        raise ValueError("is a link with an impossible target")
    if target.startswith(b"/"):
        return
    above = path.rpartition(b"/")[0]
    led = normpath(above + b"/" + target if above else target)
    if led == b".." or led.startswith(b"../"):
        raise ValueError("is a link out of the tree")
