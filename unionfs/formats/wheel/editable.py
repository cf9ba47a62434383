"""An editable build (PEP 660), installed into a tree in the shape of a wheel, as archive members.

The tree has `purelib/` (a `.pth` file or a finder, and `.dist-info`) and perhaps the other schemes.
It was made on this machine, by the project's own build back end, for this user: it is packed as it
is. What is added are the scripts of its entry points, which RECORD then lists; `#!python` becomes
what `unionfs.formats.wheel.scripts` says.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from installer.utils import parse_metadata_file
from packaging.version import InvalidVersion, Version

from resolver.errors import PkgviewError
from unionfs.archive.layer import Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member, members_of_directory
from unionfs.formats.wheel import record, scripts
from unionfs.formats.wheel.schemes import Place, left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ENTRY_POINTS = re.compile(rb"(purelib|platlib)/[^/]+\.dist-info/entry_points\.txt")
_METADATA = re.compile(rb"(purelib|platlib)/[^/]+\.dist-info/METADATA")
_RECORD = re.compile(rb"(purelib|platlib)/[^/]+\.dist-info/RECORD")


def editable_members(
    tree: Path, *, name: str, headers: str
) -> tuple[Meta, tuple[Member, ...], tuple[str, ...]]:
    """What to pack for an editable distribution, and a clause for each file that is left out.

    `headers` is where the one interpreter that it was made for has them. Which version it is only
    its METADATA says: where it lies no lock has one. `PkgviewError` where its scripts are none.
    """
    version = "0"
    members: list[Member] = []
    points: tuple[scripts.EntryPoint, ...] = ()
    for member in members_of_directory(tree):
        if _METADATA.fullmatch(member.path):
            version = _version(_content(member).decode("utf-8", "replace"))
        if _ENTRY_POINTS.fullmatch(member.path):
            try:
                points = scripts.entry_points(_content(member).decode())
            except ValueError as error:
                raise PkgviewError(
                    f"the entry points of {name} cannot be used: {error}",
                    remedy="Correct [project.scripts] in its pyproject.toml.",
                ) from error
        members.append(_filled(member) if member.path.startswith(b"scripts/") else member)
    own = {f"scripts/{point.name}".encode(): point for point in points}
    members = [one for one in members if one.path not in own] + list(_of_entry_points(own))
    left = {one.path: left_out(_place(one)) for one in members}
    kept = [one for one in members if left[one.path] is None]
    odd = (left[one.path] for one in members if one.kind is not Kind.DIRECTORY)
    stem = re.sub(r"[^A-Za-z0-9._+!-]+", "_", f"{name}-{version}-editable")
    meta = Meta(kind="distribution", name=name, version=version, stem=stem)
    return meta, tuple(_recorded(kept, headers)), tuple(filter(None, odd))


def _version(metadata: str) -> str:
    """As METADATA has it; "0" where that is none (PEP 440)."""
    try:
        return str(Version(str(parse_metadata_file(metadata)["Version"])))
    except InvalidVersion:
        return "0"


def _of_entry_points(points: dict[bytes, scripts.EntryPoint]) -> Iterator[Member]:
    for path, point in points.items():
        script = point.script()
        yield Member(path=path, executable=True, size=len(script), open=_opener(script))


def _recorded(members: list[Member], headers: str) -> Iterator[Member]:
    """The members, with a RECORD that lists them all at their places in a view."""
    for member in members:
        if _RECORD.fullmatch(member.path):
            listed = record.to_bytes(
                _row(other, other is member, headers) for other in _files(members)
            )
            yield replace(member, size=len(listed), open=_opener(listed))
        else:
            yield member


def _files(members: list[Member]) -> Iterator[Member]:
    return (member for member in members if member.kind is Kind.FILE)


def _place(member: Member) -> Place:
    scheme, _, path = os.fsdecode(member.path).partition("/")
    return Place(scheme=scheme, path=path)


def _row(member: Member, itself: bool, headers: str) -> record.Row:  # noqa: FBT001 - of one caller
    where = _place(member)
    place = where.in_record(headers) or where.path
    return record.Row(path=place) if itself else record.row_of(place, _content(member))


def _filled(member: Member) -> Member:
    """A script, with its interpreter found at run time."""
    if member.kind is not Kind.FILE:
        return member
    content = _content(member)
    if not scripts.has_placeholder(content):
        return member
    script = scripts.fill_placeholder(content)
    return replace(member, executable=True, size=len(script), open=_opener(script))


def _content(member: Member) -> bytes:
    if member.open is None:
        return b""
    with member.open() as stream:
        return stream.read()


def _opener(content: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(content)
