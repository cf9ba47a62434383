"""Whatever a table of contents says: `LayerError`, or what a reader of the bare layout finds."""

from __future__ import annotations

import hashlib
import struct

from hypothesis import event, given
from hypothesis import strategies as st

from tests.fuzz.conftest import Edit, edited, edits, fuzzing
from tests.unionfs.test_contents import FRAMES, META, parse, touch_everything
from unionfs.contents import Row, encode
from unionfs.layer import Kind, LayerError

ENTRY = struct.Struct("<IHBBQQI4x32s")
HEADER = struct.Struct("<8sIIIIIIQQQ8x")

Tree = dict[bytes, "Tree | bytes"]
names = st.sampled_from([b"a", b"b", b"__init__.py", b"x.so", b"\xff", b"n" * 255])
trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(names, st.binary(max_size=3), max_size=3),
    lambda below: st.dictionaries(names, below | st.binary(max_size=3), max_size=3),
    max_leaves=8,
)
numbers = st.sampled_from([0, 1, 2, 3, 5, 127, 255, 2**16 - 1, 2**28, 2**32 - 1])
fields = st.lists(st.tuples(st.integers(0, 200), numbers), max_size=3)
"""(which 4 bytes of the header or the entries, what they say instead)."""


def rows_of(tree: Tree) -> list[Row]:
    """Breadth first, as an archive has them."""
    rows = [Row(name=b"", kind=Kind.DIRECTORY, parent=0, place=1, extent=len(tree))]
    pending = [(0, tree)]
    while pending:
        following = []
        for parent, directory in pending:
            for name, value in sorted(directory.items()):
                if isinstance(value, dict):
                    following.append((len(rows), value))
                    rows.append(Row(name=name, kind=Kind.DIRECTORY, parent=parent))
                else:
                    digest = hashlib.sha256(value).digest()
                    rows.append(
                        Row(
                            name=name,
                            kind=Kind.FILE,
                            parent=parent,
                            extent=len(value),
                            digest=digest,
                        )
                    )
        pending = following
    # Children are neighbours, and those of an empty directory begin where the next ones would.
    after = 1
    placed = []
    for number, row in enumerate(rows):
        if row.kind is Kind.DIRECTORY:
            count = sum(other.parent == number for other in rows[1:])
            placed.append(
                Row(name=row.name, kind=row.kind, parent=row.parent, place=after, extent=count)
            )
            after += count
        else:
            placed.append(row)
    return placed


def second_reader(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Path -> (kind, size), by docs/archive-format.md alone: each entry climbs to the root."""
    header = HEADER.unpack_from(data)
    count, frames = header[3], header[4]
    names_at = HEADER.size + count * ENTRY.size + frames * 40
    entries = [
        ENTRY.unpack_from(data, HEADER.size + number * ENTRY.size) for number in range(count)
    ]
    found = {}
    for number in range(1, count):
        path: list[bytes] = []
        above = number
        while above:
            place, length, *_, parent, _ = entries[above]
            path.insert(0, data[names_at + place : names_at + place + length])
            above = parent
        _, _, kind, _, _, extent, _, _ = entries[number]
        found[b"/".join(path)] = (kind, 0 if kind == Kind.DIRECTORY else extent)
    return found


def table(tree: Tree, changed: list[tuple[int, int]], changes: list[Edit]) -> bytes:
    data = bytearray(encode(rows_of(tree), FRAMES, META))
    for place, number in changed:
        struct.pack_into("<I", data, 4 * place % (len(data) - 4), number)
    return edited(bytes(data), changes)


@fuzzing(600)
@given(trees, fields, edits)
def test_a_table_is_refused_or_says_one_thing(
    tree: Tree, changed: list[tuple[int, int]], changes: list[Edit]
) -> None:
    data = table(tree, changed, changes)
    try:
        contents = parse(data)
    except LayerError:
        assert changed or changes
        event("refused at once")
        return
    touch_everything(contents)
    try:
        contents.check()
    except LayerError:
        assert changed or changes
        event("refused by check")
        return
    event("accepted")
    assert {
        path: (contents.entry(number).kind, contents.entry(number).size)
        for path, number in contents.walk()
    } == second_reader(data)
    for path, number in contents.walk():
        assert contents.find(path) == number
        assert contents.path_of(number) == path
