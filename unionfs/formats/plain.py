"""Zip files (wheels and eggs as they are) and plain directories, read as layers.

Both are looked through once, when they are opened: every name, attribute and digest is known from
then on, so a layer cannot change under the union that it is part of. What has changed on the disk
since then is refused when it is read, with `LayerError`: never other bytes than the digest names.

Neither follows a symbolic link, at any component: a directory that is swapped for a link between
two looks leads to an error and never outside. Links are given as links.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast

from resolver.errors import PkgviewError
from unionfs.archive.layer import ROOT, Entry, EntryNo, Kind, LayerError
from unionfs.formats.zip.check import ZipFile, ZipMember
from unionfs.formats.zip.fault import UnsoundZipError
from unionfs.formats.zip.stream import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from unionfs.archive.layer import Child

CHUNK: Final = 256 * 1024

UNPACKED_KEPT: Final = 16
UNPACKED_IN_MEMORY: Final = 2**20
"""So many members of a Zip file are kept unpacked, each in memory up to so many bytes, else in a
temporary file without a name: deflate has no way to begin in the middle."""

_DIRECTORY = Entry(Kind.DIRECTORY, 0, executable=False)
_NO_DIGEST = bytes(32)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True, kw_only=True)
class _Node:
    """One entry: `children` of a directory by name, `digest` of anything else."""

    entry: Entry
    parent: EntryNo = ROOT
    digest: bytes = _NO_DIGEST
    target: bytes = b""
    children: dict[bytes, EntryNo] = field(default_factory=dict)


class _Tree:
    """The part of `unionfs.archive.layer.Layer` that is answered from memory."""

    def __init__(self) -> None:
        self._nodes = [_Node(entry=_DIRECTORY)]

    def entry(self, number: EntryNo) -> Entry:
        """Attributes; `IndexError` where there is no such entry."""
        return self._node(number).entry

    def lookup(self, directory: EntryNo, name: bytes) -> EntryNo | None:
        """The child of that name; None where there is none or `directory` is none."""
        return self._node(directory).children.get(name)

    def children(self, directory: EntryNo) -> Sequence[Child]:
        """All children, sorted by name; () for what is no directory."""
        found = sorted(self._node(directory).children.items())
        return [(name, number, self.entry(number)) for name, number in found]

    def parent(self, directory: EntryNo) -> EntryNo:
        """The directory that a directory lies in; the root's is itself."""
        return self._node(directory).parent

    def target(self, number: EntryNo) -> bytes:
        """What a symbolic link points to."""
        return self._node(number).target

    def digest(self, number: EntryNo) -> bytes:
        """SHA-256 of a file's content (of a link's target), 32 bytes."""
        return self._node(number).digest

    def _node(self, number: EntryNo) -> _Node:
        if number < 0:
            raise IndexError(number)
        return self._nodes[number]

    def _add(self, directory: EntryNo, name: bytes, node: _Node) -> EntryNo:
        number, node.parent = EntryNo(len(self._nodes)), directory
        self._nodes.append(node)
        self._nodes[directory].children[name] = number
        return number


class ZipLayer(_Tree):
    """The members of a Zip file that `zip.check` finds sound, as they are.

    Opening reads all of it: that is what its digests cost. Raises `PkgviewError`. Threads may
    share it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._lock = threading.Lock()
        self._unpacked: OrderedDict[EntryNo, BinaryIO] = OrderedDict()
        self._members: dict[EntryNo, ZipMember] = {}
        try:
            self._zip = ZipFile(path)
        except UnsoundZipError as error:
            raise PkgviewError(
                f"{path} is refused: {error}", remedy="Fetch it again: it is damaged."
            ) from error
        except OSError as error:
            raise PkgviewError(f"cannot read {path}: {error.strerror}") from error
        try:
            for member in self._zip.members:
                self._place(member)
        except ContentError as error:
            self.close()
            raise PkgviewError(
                f"{path} is refused: a member {error}", remedy="Fetch it again: it is damaged."
            ) from error
        except BaseException:
            self.close()
            raise

    def read(self, number: EntryNo, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a file from `offset`; fewer only at its end."""
        member = self._members.get(number)
        if member is None:
            raise LayerError(f"entry {number} of {self._path} is no file")
        with self._lock:
            file = self._unpacked.get(number) or self._unpack(number, member)
            self._unpacked.move_to_end(number)
            file.seek(offset)
            return file.read(size)

    def close(self) -> None:
        """Close the file and drop what was unpacked; doing it again does nothing."""
        with self._lock:
            while self._unpacked:
                self._unpacked.popitem()[1].close()
            self._zip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, member: ZipMember) -> None:
        """Enter a member and the directories above it."""
        *above, name = os.fsencode(member.path).split(b"/")
        directory = ROOT
        for one in above:
            found = self._nodes[directory].children.get(one)
            directory = (
                self._add(directory, one, _Node(entry=_DIRECTORY)) if found is None else found
            )
        if member.kind is Kind.DIRECTORY:
            if name not in self._nodes[directory].children:
                self._add(directory, name, _Node(entry=_DIRECTORY))
            return
        digest = hashlib.sha256()
        with self._zip.stream(member) as stream:
            while block := stream.read(CHUNK):
                digest.update(block)
        entry = Entry(Kind.FILE, member.size, executable=member.executable)
        number = self._add(directory, name, _Node(entry=entry, digest=digest.digest()))
        self._members[number] = member

    def _unpack(self, number: EntryNo, member: ZipMember) -> BinaryIO:
        digest = hashlib.sha256()
        file = cast("BinaryIO", SpooledTemporaryFile(max_size=UNPACKED_IN_MEMORY))  # noqa: SIM115 - kept
        try:
            with self._zip.stream(member) as stream:
                while block := stream.read(CHUNK):
                    digest.update(block)
                    file.write(block)
        except (ContentError, OSError) as error:
            file.close()
            raise LayerError(f"{member.path!r} in {self._path} {error}") from error
        if digest.digest() != self.digest(number):
            file.close()
            raise LayerError(f"{member.path!r} in {self._path} has changed since it was opened")
        self._unpacked[number] = file
        if len(self._unpacked) > UNPACKED_KEPT:
            self._unpacked.popitem(last=False)[1].close()
        return file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stamp:
    """By what a file is known to be the one that was looked at."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Stamp:
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified=status.st_mtime_ns,
            changed=status.st_ctime_ns,
        )


class DirectoryLayer(_Tree):
    """A directory as it was when it was opened.

    Files, directories and symbolic links; sockets, pipes and devices are left out, as no package
    has any. Opening reads every file: that is what its digests cost. Raises `PkgviewError`.
    Threads may share it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._places: dict[EntryNo, tuple[tuple[bytes, ...], _Stamp]] = {}
        try:
            # The path itself may lead through links: it is the user's own words.
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PkgviewError(f"cannot read the directory {path}: {error.strerror}") from error
        try:
            self._walk()
        except BaseException:
            self.close()
            raise

    def read(self, number: EntryNo, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a file from `offset`; fewer only at its end."""
        if number not in self._places:
            raise LayerError(f"entry {number} of {self._path} is no file")
        names, stamp = self._places[number]
        shown = os.fsdecode(b"/".join(names))
        try:
            descriptor = self._open(names, os.O_NONBLOCK)
            try:
                parts = list(_read_all(descriptor, offset, size))
                # Behind the read, so that what changed while it went on is seen, too.
                unchanged = _Stamp.of(os.fstat(descriptor)) == stamp
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LayerError(f"{shown!r} in {self._path}: {error.strerror}") from error
        if not unchanged:
            raise LayerError(f"{shown!r} in {self._path} has changed since it was opened")
        return b"".join(parts)

    def close(self) -> None:
        """Close the directory; doing it again does nothing."""
        descriptor, self._root = self._root, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, names: tuple[bytes, ...], flags: int) -> int:
        """Open what lies at that path, one component after the other, never through a link."""
        directory = self._root
        try:
            for number, name in enumerate(names):
                last = number == len(names) - 1
                below = os.open(name, _OPEN | (flags if last else os.O_DIRECTORY), dir_fd=directory)
                if directory != self._root:
                    os.close(directory)
                directory = below
        except BaseException:
            if directory != self._root:
                os.close(directory)
            raise
        return os.dup(directory) if directory == self._root else directory

    def _walk(self) -> None:
        pending: list[tuple[EntryNo, tuple[bytes, ...]]] = [(ROOT, ())]
        while pending:
            number, names = pending.pop()
            try:
                descriptor = self._open(names, os.O_DIRECTORY)
                try:
                    for name in sorted(os.fsencode(name) for name in os.listdir(descriptor)):
                        child = self._look_at(descriptor, number, (*names, name))
                        if child is not None:
                            pending.append((child, (*names, name)))
                finally:
                    os.close(descriptor)
            except OSError as error:
                below = os.fsdecode(b"/".join(names)) or "."
                raise PkgviewError(
                    f"cannot read {below!r} in {self._path}: {error.strerror}",
                    remedy="Make it readable, and wait until nobody changes it.",
                ) from error

    def _look_at(
        self, descriptor: int, directory: EntryNo, names: tuple[bytes, ...]
    ) -> EntryNo | None:
        """Enter one member; its number if it is a directory that has to be walked."""
        name = names[-1]
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return self._add(directory, name, _Node(entry=_DIRECTORY))
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=descriptor)
            entry = Entry(Kind.SYMLINK, len(target), executable=False)
            digest = hashlib.sha256(target).digest()
            self._add(directory, name, _Node(entry=entry, digest=digest, target=target))
        elif stat.S_ISREG(status.st_mode):
            digest = _digest_of(name, descriptor, _Stamp.of(status))
            executable = bool(status.st_mode & stat.S_IXUSR)
            entry = Entry(Kind.FILE, status.st_size, executable=executable)
            number = self._add(directory, name, _Node(entry=entry, digest=digest))
            self._places[number] = names, _Stamp.of(status)
        return None


def _digest_of(name: bytes, directory: int, stamp: _Stamp) -> bytes:
    """SHA-256 of a file that is, before and after, the one with that stamp; else `OSError`."""
    descriptor = os.open(name, _OPEN | os.O_NONBLOCK, dir_fd=directory)
    try:
        digest = hashlib.sha256()
        for block in _read_all(descriptor, 0, stamp.size):
            digest.update(block)
        if _Stamp.of(os.fstat(descriptor)) != stamp:
            raise OSError(errno.EBUSY, f"{os.fsdecode(name)} changes while it is read")
    finally:
        os.close(descriptor)
    return digest.digest()


def _read_all(descriptor: int, offset: int, size: int) -> Iterator[bytes]:
    """Up to `size` bytes from `offset`, in blocks; fewer only at the end of the file."""
    while size > 0 and (block := os.pread(descriptor, min(size, CHUNK), offset)):
        yield block
        offset += len(block)
        size -= len(block)
