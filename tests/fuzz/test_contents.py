"""Whatever a table of contents says: `LayerError`, or what a reader of the bare layout finds."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from tests.fuzz import oracles
from tests.fuzz.conftest import Edit, edited, edits, further, fuzzing
from tests.unionfs.archive.test_contents import FRAMES, META
from unionfs.archive.layer import Kind
from unionfs.archive.table import Row, encode

Tree = dict[bytes, "Tree | bytes"]
names = st.sampled_from([b"a", b"b", b"__init__.py", b"x.so", b"\xff", b"n" * 255])
trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(names, st.binary(max_size=3), max_size=3),
    lambda below: st.dictionaries(names, below | st.binary(max_size=3), max_size=3),
    max_leaves=8,
)
numbers = st.sampled_from([0, 1, 2, 3, 5, 127, 255, 2**16 - 1, 2**28, 2**32 - 1])
lies = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.fixed_dictionaries({"name": st.sampled_from([b"", b".", b"..", b"a/b", b"a", b"~"])})
        | st.fixed_dictionaries({"parent": st.integers(0, 5)})
        | st.fixed_dictionaries({"place": numbers})
        | st.fixed_dictionaries({"extent": numbers})
        | st.fixed_dictionaries({"kind": st.sampled_from(Kind), "target": st.binary(max_size=2)}),
    ),
    max_size=2,
)
"""(which row, what it says instead), before the table is encoded."""
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


def broken(rows: list[Row], wrong: list[tuple[int, dict[str, Any]]]) -> list[Row]:
    for number, said in wrong:
        at = number % len(rows)
        rows[at] = dataclasses.replace(rows[at], **said)
    return rows


def table(rows: list[Row], changed: list[tuple[int, int]], changes: list[Edit]) -> bytes:
    data = bytearray(encode(rows, FRAMES, META))
    for place, number in changed:
        struct.pack_into("<I", data, 4 * place % (len(data) - 4), number)
    return edited(bytes(data), changes)


nothing: st.SearchStrategy[list[Any]] = st.just([])
faults = st.one_of(
    st.tuples(nothing, nothing, nothing),
    st.tuples(lies, nothing, nothing),
    st.tuples(lies, nothing, nothing),
    st.tuples(nothing, fields, edits),
    st.tuples(lies, fields, edits),
)


@fuzzing(900)
@given(trees, faults)
def test_a_table_is_refused_or_says_one_thing(
    tree: Tree,
    wrong: tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, int]], list[Edit]],
) -> None:
    said, changed, changes = wrong
    data = table(broken(rows_of(tree), said), changed, changes)
    verdict = oracles.table(data)
    assert verdict.accepted or any(wrong), verdict
    event(verdict.said)
    further(verdict.distance)
