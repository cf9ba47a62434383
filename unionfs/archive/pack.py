"""Packing: members in any order become one archive, always the same bytes.

Members lie in the stream in the order of their entries, breadth first: one order for both, and
the files of one directory are neighbours.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from resolver.errors import PkgviewError
from unionfs.archive import heap
from unionfs.archive.frames import (
    CONTENTS_MAGIC,
    LARGE,
    LARGE_LEVEL,
    LEVEL,
    SKIPPABLE_LIMIT,
    FrameWriter,
    SeekTable,
    skippable,
)
from unionfs.archive.layer import Entry, Kind
from unionfs.archive.meta import NAME_LIMIT, Meta, archive_name
from unionfs.archive.table import (
    ENTRY_LIMIT,
    FRAME_SIZE,
    NO_DIGEST,
    PATH_LIMIT,
    TARGET_LIMIT,
    Row,
    digest_of_contents,
    encode,
)
from unionfs.archive.tar import END_OF_STREAM, padding, tar_header

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_FAULTS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file, directory or symbolic link to be packed.

    `path` is relative, with "/" between its names. A file has its `size` in bytes and `open`,
    which gives a fresh stream of exactly that many; a link has its `target`. Directories need
    not be given: those above a member are added. A stream may have a method `sha256`, and say by
    it what it has made of all that it handed out.
    """

    path: bytes
    kind: Kind = Kind.FILE
    executable: bool = False
    size: int = 0
    open: Callable[[], BinaryIO] | None = None
    target: bytes = b""


@dataclass(slots=True, kw_only=True)
class _Planned:
    """A member at its place: what is known before its bytes are read."""

    member: Member
    name: bytes
    parent: int
    first: int = 0
    count: int = 0


def pack(members: Iterable[Member], meta: Meta, out: BinaryIO) -> str:
    """Write an archive to `out`, which need not be seekable; return the archive's file name.

    At no time is more than a few frames of content in memory. `PkgviewError` names every member
    that cannot be packed, before anything is written, or the one whose bytes are not as many as
    it announced. What `out` or a member's `open` raises passes through; what is already in `out`
    is then worth nothing.
    """
    plan = _plan(members, meta)
    rows: list[Row] = []
    with FrameWriter(out) as writer:
        for number, planned in enumerate(plan):
            place, digest = _write_member(writer, planned.member) if number else (0, NO_DIGEST)
            member = planned.member
            directory = member.kind is Kind.DIRECTORY
            rows.append(
                Row(
                    name=planned.name,
                    kind=member.kind,
                    parent=planned.parent,
                    executable=member.executable and member.kind is Kind.FILE,
                    place=planned.first if directory else place,
                    extent=planned.count if directory else member.size,
                    digest=digest,
                    target=member.target,
                )
            )
        if writer.room < len(END_OF_STREAM):
            writer.cut()
        writer.write(END_OF_STREAM)
        table = writer.finish()
    contents = encode(rows, table, meta)
    if len(contents) > SKIPPABLE_LIMIT:
        raise PkgviewError(f"{meta.stem}: the table of contents would pass 4 GiB")
    contents_frame = skippable(CONTENTS_MAGIC, contents)
    out.write(contents_frame)
    out.write(SeekTable.encode([*writer.sizes, (len(contents_frame), 0)]))
    return archive_name(meta.stem, digest_of_contents(contents))


def members_of_directory(top: Path) -> Iterator[Member]:
    """Everything below a directory, as members. Links stay links; devices are refused.

    Trees are opened as they are packed: a file that changes its size meanwhile is an error.
    """
    pending = [(top, b"")]
    while pending:
        directory, prefix = pending.pop()
        with os.scandir(directory) as listing:
            found = list(listing)
        for item in found:
            path = prefix + os.fsencode(item.name)
            status = item.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = os.fsencode(os.readlink(item.path))
                yield Member(path=path, kind=Kind.SYMLINK, target=target)
            elif stat.S_ISDIR(status.st_mode):
                yield Member(path=path, kind=Kind.DIRECTORY)
                pending.append((Path(item.path), path + b"/"))
            elif stat.S_ISREG(status.st_mode):
                yield Member(
                    path=path,
                    executable=bool(status.st_mode & stat.S_IXUSR),
                    size=status.st_size,
                    open=_opener(item.path),
                )
            else:
                raise PkgviewError(
                    f"{item.path} is no file, directory or link: it cannot be packed"
                )


def _opener(path: str) -> Callable[[], BinaryIO]:
    return lambda: open(path, "rb")  # noqa: PTH123 - 20,000 of them: a Path each is not cheap


# -- the plan ----------------------------------------------------------------------------------


def _plan(members: Iterable[Member], meta: Meta) -> list[_Planned]:
    """Every entry, breadth first, with directories added; collects all faults, then raises."""
    by_path: dict[bytes, Member] = {}
    faults: list[str] = []
    for member in members:
        fault = _fault(member)
        if member.path in by_path:
            fault = "is there twice"
        if fault:
            faults.append(f"{os.fsdecode(member.path)!r} {fault}")
        else:
            by_path[member.path] = member
    children: dict[bytes, list[bytes]] = {b"": []}
    for path in list(by_path):
        faults.extend(_hang(path, by_path, children))
    if len(by_path) >= ENTRY_LIMIT:
        faults.append(f"{len(by_path)} members are too many")
    if faults:
        shown = "; ".join(faults[:_FAULTS_SHOWN])
        more = len(faults) - _FAULTS_SHOWN
        raise PkgviewError(
            f"{meta.stem} cannot be packed: {shown}" + (f"; and {more} more" if more > 0 else "")
        )
    root = Member(path=b"", kind=Kind.DIRECTORY)
    plan = [_Planned(member=root, name=b"", parent=0)]
    # The list grows while it is walked: that is what breadth first means.
    for number, planned in enumerate(plan):
        if planned.member.kind is not Kind.DIRECTORY:
            continue
        planned.first = len(plan)
        path = planned.member.path
        for name in sorted(children.get(path, ())):
            below = by_path[path + b"/" + name if path else name]
            plan.append(_Planned(member=below, name=name, parent=number))
        planned.count = len(plan) - planned.first
    return plan


def _hang(
    path: bytes, by_path: dict[bytes, Member], children: dict[bytes, list[bytes]]
) -> Iterator[str]:
    """Enter a path under its parent, adding directories upwards; yields faults."""
    below = path
    while True:
        parent, _, name = below.rpartition(b"/")
        children.setdefault(parent, []).append(name)
        if not parent:
            return
        above = by_path.get(parent)
        if above is None:
            by_path[parent] = Member(path=parent, kind=Kind.DIRECTORY)
            below = parent
            continue
        if above.kind is not Kind.DIRECTORY:
            yield f"{os.fsdecode(path)!r} lies under {os.fsdecode(parent)!r}, which is no directory"
        return


def _fault(member: Member) -> str | None:
    """What is wrong with a member by itself."""
    names = member.path.split(b"/")
    if len(member.path) > PATH_LIMIT or any(len(name) > NAME_LIMIT for name in names):
        return f"has a path of more than {PATH_LIMIT} or a name of more than {NAME_LIMIT} bytes"
    if b"\0" in member.path or not {b"", b".", b".."}.isdisjoint(names):
        return "is no plain relative path"
    if member.kind is Kind.SYMLINK and (
        not 0 < len(member.target) <= TARGET_LIMIT or b"\0" in member.target
    ):
        return "is a link with an impossible target"
    if member.kind is Kind.FILE and (member.open is None or member.size < 0):
        return "is a file without content"
    return None


# -- one member ----------------------------------------------------------------------------------


def _write_member(writer: FrameWriter, member: Member) -> tuple[int, bytes]:
    """Write header, content and padding; return the content's place and its SHA-256."""
    entry = Entry(member.kind, member.size, executable=member.executable)
    header = tar_header(member.path, entry, member.target)
    size = member.size if member.kind is Kind.FILE else 0
    together = len(header) + size <= FRAME_SIZE
    if writer.room < (len(header) + size if together else len(header)):
        writer.cut()
    writer.write(header)
    if not together:
        writer.cut()
    place = writer.position
    if member.kind is Kind.DIRECTORY:
        return place, NO_DIGEST
    if member.kind is Kind.SYMLINK or member.open is None:
        return place, hashlib.sha256(member.target).digest()
    # For a large one a frame was begun: nothing before it is compressed like that.
    writer.level = LARGE_LEVEL if size >= LARGE else LEVEL
    if size >= LARGE:
        heap.keep()
    content = _content(member, member.open, writer)
    while True:
        try:
            chunk = next(content)
        except StopIteration as end:
            digest: bytes = end.value
            break
        writer.write(chunk)
    writer.write(padding(size))
    return place, digest


def _content(
    member: Member, opener: Callable[[], BinaryIO], writer: FrameWriter
) -> Generator[bytes, None, bytes]:
    """Exactly as many bytes as the member announced, cut where the frames will be cut.

    Their SHA-256 comes last. What reading raises is the member's fault and says so; what writing
    raises is not in here.
    """
    name = repr(os.fsdecode(member.path))
    left = member.size
    try:
        with opener() as stream:
            told = getattr(stream, "sha256", _untold)
            known = told() is not None
            digest = hashlib.sha256()
            while left:
                chunk = stream.read(min(left, writer.room))
                if not chunk:
                    raise PkgviewError(f"{name} ends {left} bytes before the size it announced")
                left -= len(chunk)
                if not known:
                    digest.update(chunk)
                yield chunk
            if stream.read(1):
                raise PkgviewError(f"{name} goes on after the {member.size} bytes it announced")
            return told() or digest.digest()
    except OSError as error:
        raise PkgviewError(
            f"cannot read {name}: {error.strerror or error}",
            remedy="Look at the disk that it is to be read from, then run the command again.",
        ) from error


def _untold() -> bytes | None:
    """What a stream says that has not hashed what it hands out."""
    return None
