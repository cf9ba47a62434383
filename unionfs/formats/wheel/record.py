"""RECORD: a wheel's list of its files, and an installer's list of the files that it wrote.

Format: PEP 376, the wheel specification, "recording installed projects" (packaging.python.org).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from installer.records import Hash, InvalidRecordEntry, RecordEntry, parse_record_file

if TYPE_CHECKING:
    from collections.abc import Iterable

STRONG: Final = frozenset({"sha256", "sha384", "sha512"})
"""The wheel specification asks for "sha256 or better"; these are what every Python can check."""

_DIGITS = re.compile(r"[0-9]{1,20}")
_BASE64 = re.compile(r"[A-Za-z0-9_-]+=*")


class InvalidRecordError(ValueError):
    """A RECORD that cannot be used: one clause a fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: hash algorithm and unpadded URL-safe base64 value ("" both), size in bytes."""

    path: str
    algorithm: str = ""
    value: str = ""
    size: int | None = None


def row_of(path: str, content: bytes) -> Row:
    """The line for a file that an installer writes itself."""
    digest = hashlib.sha256(content).digest()
    return Row(path=path, algorithm="sha256", value=encode(digest), size=len(content))


def encode(digest: bytes) -> str:
    """A digest as RECORD has it."""
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def parse(text: str) -> dict[str, Row]:
    r"""A wheel's RECORD, by path; raises `InvalidRecordError` with all that is wrong.

    Backslashes in paths are taken for slashes, as installers do: wheels built on Windows have
    them. A byte order mark is no part of a path, and algorithms may be in capitals. The same line
    twice is one; two different lines for one path are a fault.
    """
    rows: dict[str, Row] = {}
    faults: list[str] = []
    # Lines end where the csv module says: `str.splitlines` knows ten more line ends.
    lines = parse_record_file(
        line for line in io.StringIO(text.removeprefix("\ufeff"), newline="") if line.strip()
    )
    try:
        for elements in lines:
            try:
                row = _row(elements)
            except InvalidRecordEntry as error:
                faults.append(f"RECORD has a line that cannot be read, {elements[0]!r}: {error}")
                continue
            if row.algorithm and row.algorithm not in STRONG:
                faults.append(f"RECORD has the weak hash {row.algorithm} for {row.path!r}")
            if rows.setdefault(row.path, row) != row:
                faults.append(f"RECORD has two different lines for {row.path!r}")
    except (InvalidRecordEntry, csv.Error) as error:
        faults.append(f"RECORD cannot be read: {error}")
    if faults:
        raise InvalidRecordError(*faults)
    return rows


def to_bytes(rows: Iterable[Row]) -> bytes:
    """What an installer writes: sorted by path, each line ended by a newline."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in sorted(rows, key=lambda row: row.path):
        hash_ = Hash(row.algorithm, row.value) if row.algorithm else None
        writer.writerow(RecordEntry(row.path, hash_, row.size).to_row())
    return text.getvalue().encode()


def _row(elements: tuple[str, str, str]) -> Row:
    entry = RecordEntry.from_elements(*elements)
    size = elements[2]
    # `int`, which installer uses, also takes "1_0", " 1" and "-1".
    if size and not _DIGITS.fullmatch(size):
        raise InvalidRecordEntry(elements, [f"{size!r} is no size"])
    if entry.hash_ and not _BASE64.fullmatch(entry.hash_.value):
        raise InvalidRecordEntry(elements, [f"{entry.hash_.value!r} is no hash"])
    return Row(
        path=entry.path,
        algorithm=entry.hash_.name.lower() if entry.hash_ else "",
        value=entry.hash_.value.rstrip("=") if entry.hash_ else "",
        size=entry.size,
    )
