"""Whatever a Zip file says: it is refused, or `zipfile` reads the very same from it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hypothesis import event, given
from hypothesis import strategies as st

from tests.fuzz import oracles
from tests.fuzz.conftest import Edit, edited, edits, further, fuzzing
from tests.unionfs.conftest import DIRECTORY, REGULAR, Part, zip64_end, zip_bytes

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (b"a", b"a/b", b"a/b/c.py", b"d/", b"demo/__init__.py", b"demo/x.so", b"z" * 255)

sizes = st.sampled_from([0, 1, 2, 5, 30, 2**16 - 1, 2**31, 2**32 - 2, 2**32 - 1])
extras = st.binary(max_size=12) | st.sampled_from(
    [
        b"\1\0\x08\0" + bytes(8),
        b"\1\0\x10\0" + bytes(16),
        b"\1\0\x08\0\5" + bytes(7),
        b"UT\5\0\1" + bytes(4),
        b"\x75\x70\5\0\1" + bytes(4),
    ]
)
LIES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.binary(max_size=6) | st.sampled_from([b"../a", b"/a", b"a\\b", b"a\0b", b"a//b"]),
    "mode": st.integers(0, 0o177777),
    "host": st.integers(0, 255),
    "needed": st.sampled_from([0, 10, 45, 63, 64, 255, 0x314, 0xFFFF]),
    "flags": st.sampled_from([0, 1, 2, 6, 8, 0x20, 0x40, 0x800, 0x2000]) | st.integers(0, 0xFFFF),
    "method": st.sampled_from([0, 8, 9, 12, 14, 93]),
    "crc": st.integers(0, 2**32 - 1),
    "size": sizes,
    "packed": sizes,
    "data": st.binary(max_size=40),
    "extra": extras,
    "comment": st.binary(max_size=8),
    "attributes": st.integers(0, 2**32 - 1),
    "local_name": st.binary(max_size=6),
    "local_flags": st.integers(0, 0xFFFF),
    "local_method": st.sampled_from([0, 8, 12]),
    "local_crc": sizes,
    "local_size": sizes,
    "local_packed": sizes,
    "local_extra": extras,
    "offset": sizes,
    "before": st.binary(max_size=8),
    "descriptor": st.binary(max_size=24),
    "disk": st.integers(0, 2),
}
"""A field of a member -> what it may say instead of what is right."""


@st.composite
def right_parts(draw: st.DrawFn) -> list[Part]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    # A file and what lies below it go not together.
    names = [name for name in names if not any(other.startswith(name + b"/") for other in names)]
    return [
        Part(name=name, mode=DIRECTORY, method=0)
        if name.endswith(b"/")
        else Part(
            name=name,
            content=draw(st.binary(max_size=60)) * draw(st.sampled_from([1, 1, 40, 4000])),
            mode=draw(st.sampled_from([REGULAR, 0o100755])),
            method=draw(st.sampled_from([0, 8])),
        )
        for name in names
    ]


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A Zip file, and whether all in it is right."""
    parts = draw(right_parts())
    # Mostly one thing is wrong at a time: of two faults the first would hide the other.
    wrong = draw(st.sampled_from(["nothing", "fields", "fields", "fields", "bytes", "both"]))
    lies = wrong in {"fields", "both"} and bool(parts)
    if lies:
        number = draw(st.integers(0, len(parts) - 1))
        for field in draw(st.lists(st.sampled_from(sorted(LIES)), min_size=1, max_size=2)):
            parts[number] = dataclasses.replace(parts[number], **{field: draw(LIES[field])})
    long = draw(st.booleans())
    changes: list[Edit] = draw(edits) if wrong in {"bytes", "both"} else []
    comment = draw(st.sampled_from([b"", b"", b"", b"by hand"]) | st.binary(max_size=30))
    data = zip_bytes(parts, zip64=zip64_end if long else None, comment=comment)
    lies = lies or b"PK" in comment
    return edited(data, changes), not lies and not changes


@fuzzing(900)
@given(files(), st.sampled_from([1, 7, 4096, 2**20]))
def test_what_is_read_is_what_zipfile_reads(
    tmp_path: Path, made: tuple[bytes, bool], step: int
) -> None:
    data, right = made
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    verdict = oracles.zip_file(path, step)
    assert verdict.accepted or not right, verdict
    event(f"{verdict.said}{', though changed' * (verdict.accepted and not right)}")
    further(verdict.distance)


@fuzzing(300)
@given(st.binary(max_size=200), edits)
def test_anything_is_refused_or_read(tmp_path: Path, junk: bytes, changes: list[Edit]) -> None:
    """Bytes with no Zip file in mind, with or without an end record behind them."""
    path = tmp_path / "a.zip"
    path.write_bytes(edited(junk + zip_bytes([]), changes))
    oracles.zip_file(path, 4096)
