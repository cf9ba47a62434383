"""A wheel, opened as hostile input, as the members of an archive.

`open_wheel` compares everything that a wheel says twice, and refuses it with all faults at once if
anything differs. What is left is a list of members at their places, whose contents are checked
again, against RECORD, while they are read into an archive: a stream raises `WheelRefused` before
it hands out the last byte of something that is not what RECORD says.

What a view shows of it is what `uv pip install` would have made of it; the differences are listed
in docs/wheels.md.

Which module knows what:

    zip.check  the Zip file has one reading only
    record     RECORD
    listed     RECORD and the files that are there
    checked    a member has the hash that RECORD says
    identity   file name, .dist-info, METADATA, WHEEL
    schemes    where each file goes
    scripts    entry points and `#!python`
    reader     all of them hold together
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast

from resolver.errors import PkgviewError
from unionfs.archive.layer import Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.formats.wheel import record, schemes, scripts
from unionfs.formats.wheel.checked import CheckedStream, WheelRefused
from unionfs.formats.wheel.identity import (
    Identity,
    expectation_faults,
    find_dist_info,
    identity,
    metadata_faults,
    root_scheme,
    stem_faults,
)
from unionfs.formats.wheel.listed import listed, measured
from unionfs.formats.zip.check import ZipFile, ZipMember
from unionfs.formats.zip.fault import UnsoundZipError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


INSTALLER: Final = b"pkgview"
"""What `INSTALLER` says: PEP 376's name of who installed it; no newline, as uv has none."""

RECORD_LIMIT: Final = 128 * 2**20
TEXT_LIMIT: Final = 16 * 2**20
SCRIPT_LIMIT: Final = 4 * 2**20
"""Most bytes of RECORD, of METADATA, WHEEL and entry_points.txt, and of a `#!python` script: they
are held in memory."""

_SHOWN = 3
"""Faults of an accepted wheel that are named."""

_UNLISTED = frozenset({"RECORD.jws", "RECORD.p7s"})
"""Signatures of RECORD: the wheel specification keeps them out of it."""

_REPLACED = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
"""Files of `.dist-info` that the installer writes, whatever the wheel has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """One file or directory at its place: from the Zip file, or written by us (`content`)."""

    place: schemes.Place
    source: ZipMember | None = None
    content: bytes | None = None
    row: record.Row | None = None
    executable: bool = False

    @property
    def kind(self) -> Kind:
        """What it will be in the archive."""
        return Kind.FILE if self.source is None else self.source.kind


def open_wheel(  # noqa: PLR0913 - all but the path by name
    path: Path,
    *,
    filename: str | None = None,
    name: str | None = None,
    version: str | None = None,
    origin: str = "",
    direct_url: bytes | None = None,
    accepted: bool = False,
) -> Wheel:
    """Open a wheel and find it in order.

    `path` is the file, `filename` what it was announced as (its own name where that is None),
    `name` and `version` what was asked for (None: whatever it is), `origin` what its archive
    will say it was made from ("sha256:<hex>"), `direct_url` the content of its `direct_url.json`
    (PEP 610; None: it has none, since an index offered it). If it is `accepted` its files count,
    whatever RECORD says of them: somebody has said so, or it was built here.

    Raises `WheelRefused`; `PkgviewError` where the file cannot be read.
    """
    filename = path.name if filename is None else filename
    try:
        announced = identity(filename)
    except ValueError as error:
        raise WheelRefused(filename, str(error)) from error
    if faults := tuple(expectation_faults(announced, name=name, version=version)):
        raise WheelRefused(filename, *faults)
    try:
        zip_file = ZipFile(path)
        try:
            return Wheel(
                zip_file, announced, filename=filename, origin=origin, direct_url=direct_url,
                accepted=accepted,
            )  # fmt: skip
        except BaseException:
            zip_file.close()
            raise
    except UnsoundZipError as error:
        raise WheelRefused(filename, *error.faults) from error
    except OSError as error:
        raise PkgviewError(
            f"cannot read {path}: {error.strerror}",
            remedy="Look at that file and its disk, then run the command again.",
        ) from error


class Wheel:
    """An open wheel that was found to be in order; made by `open_wheel`.

    Close it only after the last stream of its members was read.
    """

    def __init__(  # noqa: PLR0913 - all but the first two by name
        self,
        zip_file: ZipFile,
        announced: Identity,
        *,
        filename: str,
        origin: str,
        direct_url: bytes | None,
        accepted: bool,
    ) -> None:
        self.filename = filename
        self._accepted = accepted
        self._release = f"{announced.name}=={announced.version}"
        self._odd: list[str] = []
        self.meta = Meta(
            kind="distribution",
            name=announced.name,
            version=str(announced.version),
            stem=announced.stem,
            origin=origin,
        )
        self._zip = zip_file
        self._own = {"INSTALLER": INSTALLER, "REQUESTED": b""}
        if direct_url is not None:
            self._own["direct_url.json"] = direct_url
        self._placed = self._read(announced)

    @property
    def odd(self) -> tuple[str, ...]:
        """What was taken though a wheel ought not to have it, a clause each; mostly none."""
        return tuple(self._odd)

    def members(self) -> Iterator[Member]:
        """What the archive is packed from: purelib/, platlib/, scripts/, headers/<name>/, data/."""
        for placed in self._placed:
            path = placed.place.in_archive
            if placed.content is not None:
                yield Member(
                    path=path,
                    executable=placed.executable,
                    size=len(placed.content),
                    open=_opener(placed.content),
                )
            elif placed.source is not None and placed.kind is Kind.FILE:
                yield Member(
                    path=path,
                    executable=placed.executable,
                    size=placed.source.size,
                    open=self._stream_opener(placed.source, placed.row),
                )
            else:
                yield Member(path=path, kind=Kind.DIRECTORY)

    def close(self) -> None:
        """Close the file; doing it again does nothing."""
        self._zip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading ---------------------------------------------------------------------------------

    def _refused(self, *faults: str, release: str = "") -> WheelRefused:
        return WheelRefused(self.filename, *faults, release=release)

    def _read(self, announced: Identity) -> tuple[_Placed, ...]:
        """Check what the wheel says of itself, then put each member in its place."""
        members = {member.path: member for member in self._zip.members}
        try:
            stem = find_dist_info(
                member.path.partition("/")[0]
                for member in self._zip.members
                if member.kind is Kind.DIRECTORY or "/" in member.path
            )
        except ValueError as error:
            raise self._refused(str(error)) from error
        info = f"{stem}.dist-info"
        missing = [
            f"it has no {info}/{name}"
            for name in ("RECORD", "WHEEL", "METADATA")
            if f"{info}/{name}" not in members
        ]
        if missing:
            raise self._refused(*missing)
        rows = self._rows(members, info)
        faults = list(stem_faults(stem, announced))
        metadata = self._text(members[f"{info}/METADATA"], rows, errors="replace")
        faults.extend(metadata_faults(metadata, announced))
        root = ""
        try:
            root, odd = root_scheme(self._text(members[f"{info}/WHEEL"], rows))
            self._odd += [odd] if odd else []
        except ValueError as error:
            faults.append(str(error))
        points: tuple[scripts.EntryPoint, ...] = ()
        if (listed := members.get(f"{info}/entry_points.txt")) is not None:
            try:
                points = scripts.entry_points(self._text(listed, rows))
            except scripts.InvalidEntryPointsError as error:
                faults.extend(f"entry_points.txt: {fault}" for fault in error.faults)
        if faults:
            raise self._refused(*faults)
        return self._arrange(rows, announced, stem=stem, root=root, points=points)

    def _rows(self, members: dict[str, ZipMember], info: str) -> dict[str, record.Row]:
        """RECORD's lines for the files that are there; of an accepted wheel, those that are right.

        Refused is a wheel whose RECORD and files disagree, unless it is accepted.
        """
        own, unlisted = f"{info}/RECORD", {f"{info}/{name}" for name in _UNLISTED}
        rows: dict[str, record.Row] = {}
        wrong: list[str] = []
        try:
            rows = record.parse(self._text(members[own], {}, limit=RECORD_LIMIT))
        except record.InvalidRecordError as error:
            wrong += error.faults
        if not wrong:
            found = listed(rows, members, own=own, unlisted=unlisted)
            rows, wrong = found.rows, [*found.wrong]
            self._odd += found.odd
        if self._accepted:
            files = {path: one for path, one in members.items() if path not in {own, *unlisted}}
            rows, other = measured(files, rows, lambda member: self._stream(member, None))
            wrong += [f"{path!r} has another hash than RECORD says" for path in other]
        elif wrong:
            raise self._refused(*wrong, release=self._release)
        if wrong:
            more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            self._odd.append(f"taken as its files are: {'; '.join(wrong[:_SHOWN])}{more}")
        return rows

    def _text(
        self,
        member: ZipMember,
        rows: dict[str, record.Row],
        *,
        limit: int = TEXT_LIMIT,
        errors: str = "strict",
    ) -> str:
        """A text file of `.dist-info`, checked against RECORD where that is known."""
        content = self._content(member, rows.get(member.path), limit)
        try:
            return content.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise self._refused(f"{member.path!r} is not UTF-8") from error

    def _content(self, member: ZipMember, row: record.Row | None, limit: int) -> bytes:
        if member.kind is not Kind.FILE:
            raise self._refused(f"{member.path!r} is a directory")
        if member.size > limit:
            raise self._refused(
                f"{member.path!r} has {member.size} bytes; at most {limit} are read"
            )
        with self._stream(member, row) as stream:
            return stream.read()

    def _stream(self, member: ZipMember, row: record.Row | None) -> CheckedStream:
        return CheckedStream(self._zip, member, row, self.filename, self._release)

    def _stream_opener(self, member: ZipMember, row: record.Row | None) -> Callable[[], BinaryIO]:
        return lambda: cast("BinaryIO", self._stream(member, row))

    # -- places ----------------------------------------------------------------------------------

    def _arrange(
        self,
        rows: dict[str, record.Row],
        announced: Identity,
        *,
        stem: str,
        root: str,
        points: tuple[scripts.EntryPoint, ...],
    ) -> tuple[_Placed, ...]:
        """Everything at its place, and RECORD rewritten to name it there."""
        info = f"{stem}.dist-info"
        replaced = {f"{info}/{name}" for name in _REPLACED}
        faults: list[str] = []
        placed: list[_Placed] = []
        for member in self._zip.members:
            where = schemes.place(member.path, stem=stem, root=root, name=announced.name)
            if where is None:
                faults.append(f"{member.path!r} lies under no scheme that wheels have")
            elif not where.path and member.kind is Kind.FILE:
                faults.append(f"{member.path!r} is a file where a directory has to be")
            elif where.path and member.path not in replaced:
                placed.append(self._as_is(member, where, rows.get(member.path)))
        written = {schemes.Place(scheme="scripts", path=point.name): point for point in points}
        # Where .data/scripts has a file of the same name the entry point wins, as uv has it.
        placed = [item for item in placed if item.place not in written]
        for where, point in written.items():
            placed.append(_written(where, point.script(), executable=True))
        left = {item.place: schemes.left_out(item.place) for item in placed}
        files = (item.place for item in placed if item.kind is not Kind.DIRECTORY)
        self._odd += filter(None, map(left.get, files))
        placed = _once([item for item in placed if left[item.place] is None])
        faults.extend(schemes.place_faults((item.place, item.kind) for item in placed))
        if faults:
            raise self._refused(*faults)
        # uv writes over what the wheel has, and so keeps its mode.
        executable = {member.path for member in self._zip.members if member.executable}
        for name, content in self._own.items():
            where = schemes.Place(scheme=root, path=f"{info}/{name}")
            placed.append(_written(where, content, executable=where.path in executable))
        own = schemes.Place(scheme=root, path=f"{info}/RECORD")
        installed = _installed(placed, schemes.headers_directory(announced.tags))
        content = record.to_bytes([record.Row(path=own.path), *installed])
        listing = _Placed(place=own, content=content, executable=own.path in executable)
        return (*placed, listing)

    def _as_is(self, member: ZipMember, where: schemes.Place, row: record.Row | None) -> _Placed:
        """A member, unless it is a script with `#!python`: that as it is to be."""
        script = where.scheme == "scripts" and member.kind is Kind.FILE
        if script:
            with self._stream(member, row) as stream:
                start = stream.read(len(b"#!python"))
            if scripts.has_placeholder(start):
                content = self._content(member, row, SCRIPT_LIMIT)
                return _written(where, scripts.fill_placeholder(content), executable=True)
        return _Placed(place=where, source=member, row=row, executable=script or member.executable)


def _opener(content: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(content)


def _written(where: schemes.Place, content: bytes, *, executable: bool = False) -> _Placed:
    return _Placed(
        place=where,
        content=content,
        row=record.row_of(where.path, content),
        executable=executable,
    )


def _once(placed: list[_Placed]) -> list[_Placed]:
    """Without those that have the place and the bytes of another: `lib/x` and `lib64/x` in data."""
    found: dict[tuple[str, Kind], _Placed] = {}
    pairs = [(item, found.setdefault((item.place.in_view, item.kind), item)) for item in placed]
    return [item for item, first in pairs if item is first or not _is_same(item, first)]


def _is_same(one: _Placed, other: _Placed) -> bool:
    if one.kind is Kind.DIRECTORY:
        return one.place == other.place
    if one.row is None or other.row is None or one.executable is not other.executable:
        return False
    return replace(one.row, path="") == replace(other.row, path="")


def _installed(placed: list[_Placed], headers: str | None) -> Iterator[record.Row]:
    """The lines of RECORD for what is at its place and can be named for every Python."""
    for item in placed:
        path = item.place.in_record(headers)
        if item.row is not None and path is not None:
            yield replace(item.row, path=path)
