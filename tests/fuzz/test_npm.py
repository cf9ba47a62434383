"""Whatever a tar stream says: it is refused, or npm and `tarfile` read the very same from it."""

from __future__ import annotations

from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from tests.fuzz import oracles
from tests.fuzz.conftest import Edit, edited, edits, further, fuzzing
from tests.unionfs.formats.npm.tarballs import END, Part, part, pax, record, stream

NAMES = ("package/a", "package/a/b", "package/d/", "x/.gitignore", "x/.npmignore", "package/é")
PATHS = st.sampled_from([*NAMES, "a", "/a", "../a", "package/../a", "package/./a", "package/C:a"])
KINDS = b"0\x001234567xXgLKNSDAVMIZ"

records = st.builds(
    record,
    st.sampled_from(["path", "size", "linkpath", "mtime", "comment", "GNU.sparse.major", "a b"]),
    PATHS.map(str.encode) | st.sampled_from([b"0", b"3", b"1e3", b""]) | st.binary(max_size=30),
)
LIES: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.sampled_from([0, 0o755, bytes(8), b"  644 \0 ", b"rw-r--r-", b"\x80" + bytes(7)]),
    "kind": st.sampled_from([bytes([one]) for one in KINDS]),
    "target": st.sampled_from([b"", b"a", b"../../a", b"\0a"]),
    "magic": st.sampled_from([b"ustar\x0000", b"ustar  \0", bytes(8), b"ustar\0\0\0"]),
    "prefix": st.sampled_from([b"", b"package", b"p" * 140, b"/x"]) | st.binary(max_size=4),
    "uid": st.sampled_from(
        [b"\xff" * 8, b"\x80" + b"\xff" * 7, b"\x81" + bytes(7), b"junk\0\0\0\0"]
    ),
    "checksum": st.sampled_from([bytes(8), b"0" * 8, b"010000\0 "]),
}
"""A field of a header -> what it may say instead of what is right."""


@st.composite
def parts_of(draw: st.DrawFn) -> list[Part]:
    """Entries, of which those before a file may say more of it."""
    found: list[Part] = []
    for path in draw(st.lists(PATHS, max_size=4)):
        match draw(st.integers(0, 7)):
            case 0:
                found.append(pax(*draw(st.lists(records, max_size=3))))
            case 1:
                kind = draw(st.sampled_from([b"L", b"K"]))
                found.append(part("././@LongLink", path.encode() + b"\0", kind=kind))
            case _:
                pass
        directory = path.endswith("/")
        content = b"" if directory else draw(st.binary(max_size=30)) * draw(st.integers(0, 40))
        found.append(part(path, content, kind=b"5" if directory else b"0"))
    return found


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A tar stream in which mostly one thing is wrong."""
    parts = draw(parts_of())
    lying: bool = draw(st.booleans())
    if lying and parts:
        number = draw(st.integers(0, len(parts) - 1))
        lies = {name: draw(LIES[name]) for name in draw(st.sets(st.sampled_from(sorted(LIES))))}
        parts[number] = parts[number]._replace(fields={**parts[number].fields, **lies})
    end = draw(st.sampled_from([END, END, END, b"", bytes(512), bytes(100), END + b"x"]))
    changes: list[Edit] = draw(st.just([]) | edits)
    return edited(stream(parts, end), changes)


@fuzzing(1500)
@given(streams())
def test_what_is_read_is_what_npm_reads(data: bytes) -> None:
    verdict = oracles.npm_stream(data)
    event(verdict.said)
    further(verdict.distance)
