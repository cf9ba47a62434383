"""RECORD beside the files that a wheel has: which lines hold, what is odd, and what is wrong.

Published wheels have RECORDs that no tool was held to. What has one reading only is put right, and
named as odd. Where RECORD and the Zip file say different things of a file that is there, it is
wrong: the wheel specification has an installation fail then.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from unionfs.archive.layer import Kind
from unionfs.formats.wheel import record
from unionfs.formats.zip import naming

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from unionfs.formats.wheel.record import Row
    from unionfs.formats.zip.check import ZipMember
    from unionfs.formats.zip.stream import MemberStream

_SHOWN = 3
"""Paths that are named of a kind of oddity."""

_FROM_THE_TOP: Final = re.compile(r"\A(\.?/)+")
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_HEX_DIGITS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
"""In base64 they have 43, 64 and 86 letters: so many hexadecimal digits are nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """`rows` has the lines that hold, by path; `odd` and `wrong` a clause for each finding."""

    rows: dict[str, Row]
    odd: tuple[str, ...]
    wrong: tuple[str, ...]


def listed(
    rows: Mapping[str, Row],
    members: Mapping[str, ZipMember],
    *,
    own: str,
    unlisted: Collection[str],
) -> Listed:
    """Hold RECORD's lines beside the members of a wheel; `own` is RECORD, `unlisted` may lack."""
    files = {path: member for path, member in members.items() if member.kind is Kind.FILE}
    odd: dict[str, list[str]] = {}
    held: dict[str, Row] = {}
    wrong: list[str] = []
    for path, row in rows.items():
        means = _plain(path, files)
        if means != path:
            what = (
                "begin with '/' or './'"
                if _FROM_THE_TOP.match(path)
                else "have '//' or '/./' in them"
            )
            odd.setdefault(f"has paths that {what}", []).append(path)
        if means not in files:
            directory = path.endswith("/") or path in members
            what = "directories" if directory else "files that are not there"
            odd.setdefault(f"lists {what}", []).append(path)
            continue
        value = _in_base64(row)
        if value != row.value:
            odd.setdefault("has hashes in hexadecimal", []).append(path)
        line = replace(row, path=means, value=value)
        if held.setdefault(means, line) != line:
            wrong.append(f"RECORD has two different lines for {means!r}")
    if own in held and (held[own].algorithm or held[own].size is not None):
        odd["has a hash or a size for itself"] = [own]
    for path, member in files.items():
        if path != own and (path in held or path not in unlisted):
            wrong += _faults(member, held.get(path))
    return Listed(rows=held, odd=tuple(map(_clause, odd, odd.values())), wrong=tuple(wrong))


def measured(
    members: Mapping[str, ZipMember],
    rows: Mapping[str, Row],
    stream: Callable[[ZipMember], MemberStream],
) -> tuple[dict[str, Row], list[str]]:
    """The right line for each of these files, read whole; and who had one with another hash."""
    right: dict[str, Row] = {}
    for path, member in members.items():
        if member.kind is Kind.FILE:
            algorithm = rows[path].algorithm if path in rows else ""
            with stream(member) as content:
                digest = hashlib.file_digest(content, algorithm or "sha256").digest()
            right[path] = record.Row(
                path=path,
                algorithm=algorithm or "sha256",
                value=record.encode(digest),
                size=member.size,
            )
    hashed = (path for path in right if path in rows and rows[path].algorithm)
    return right, [path for path in hashed if rows[path].value != right[path].value]


def _faults(member: ZipMember, row: Row | None) -> Iterator[str]:
    if row is None:
        yield f"{member.path!r} is not in RECORD"
    elif not row.algorithm:
        yield f"RECORD has no hash for {member.path!r}"
    elif row.size not in {None, member.size}:
        yield f"{member.path!r} has {member.size} bytes, RECORD says that it has {row.size}"


def _plain(path: str, files: Collection[str]) -> str:
    """The member that is meant."""
    if path in files:
        return path
    means = naming.plain(_FROM_THE_TOP.sub("", path, count=1))
    return means if means in files else path


def _in_base64(row: Row) -> str:
    if _HEX_DIGITS.get(row.algorithm) == len(row.value) and _HEX.fullmatch(row.value):
        return record.encode(bytes.fromhex(row.value))
    return row.value


def _clause(what: str, paths: list[str]) -> str:
    shown = ", ".join(map(repr, paths[:_SHOWN]))
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"RECORD {what} ({shown}{more})"
