from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from unionfs.archive.layer import EntryNo
from unionfs.view.nodeid import ArchiveNo
from unionfs.view.sharing import NOTHING, Known, Shared

if TYPE_CHECKING:
    from collections.abc import Mapping

entries = st.integers(0, 30).map(EntryNo)
known = st.builds(Known, st.integers(1, 3).map(ArchiveNo), entries, st.just(7))
mappings = st.dictionaries(entries, known, max_size=20)


@given(mappings)
def test_runs_say_what_each_entry_says(mapping: Mapping[EntryNo, Known]) -> None:
    for shared in (Shared.of(mapping), Shared.from_json(Shared.of(mapping).to_json() or "[]")):
        assert {n: found for n in range(32) if (found := shared.get(EntryNo(n)))} == mapping
        for archive in range(4):
            assert sorted(shared.known_by(ArchiveNo(archive))) == sorted(
                (found.entry, entry) for entry, found in mapping.items() if found.archive == archive
            )


def test_what_lies_together_is_one_run() -> None:
    mapping = {EntryNo(n): Known(ArchiveNo(5), EntryNo(n - 3), 9) for n in range(10, 5000)}
    mapping[EntryNo(5001)] = Known(ArchiveNo(6), EntryNo(1), 10)
    text = Shared.of(mapping).to_json()
    assert json.loads(text) == [[5, 9, [[10, 4990, 7]]], [6, 10, [[5001, 1, 1]]]]


def test_nothing_shared_takes_no_place() -> None:
    assert NOTHING.to_json() == ""
    assert NOTHING.get(EntryNo(0)) is None
