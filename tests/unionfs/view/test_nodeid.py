from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.archive.layer import EntryNo
from unionfs.archive.table import ENTRY_LIMIT
from unionfs.view import nodeid
from unionfs.view.nodeid import (
    BEFORE,
    PACKING,
    PYCACHES,
    ArchiveNo,
    Fixed,
    MergedNo,
    NodeId,
    NodeKind,
    Packing,
    ProjectNo,
    ViewNo,
)

if TYPE_CHECKING:
    from collections.abc import Callable

packings = st.sampled_from([PACKING, BEFORE])
numbers = st.data()
LARGEST = {PACKING: 1 << 53, BEFORE: 1 << 63}


def upto(limit: int) -> st.SearchStrategy[int]:
    return st.integers(0, limit) | st.sampled_from([0, limit])


def check(packing: Packing, node: NodeId, kind: NodeKind) -> None:
    assert packing.kind(node) is kind
    assert 0 < node < LARGEST[packing]


@given(packings, numbers)
def test_members_of_archives_round_trip(packing: Packing, data: st.DataObject) -> None:
    archive = ArchiveNo(data.draw(upto(packing.most_archives)))
    entry = EntryNo(data.draw(upto(packing.most_entries - 1)))
    node = packing.in_archive(archive, entry)
    check(packing, node, NodeKind.ARCHIVE)
    assert packing.archive_parts(node) == (archive, entry)


@given(packings, numbers)
def test_owned_directories_round_trip(packing: Packing, data: st.DataObject) -> None:
    view = ViewNo(data.draw(upto(packing.most_views)))
    place = data.draw(upto(packing.most_places - 1))
    node = packing.owned(view, place)
    check(packing, node, NodeKind.OWNED)
    assert packing.owned_parts(node) == (view, place)


@given(packing=packings, data=numbers, beside=st.booleans())
def test_merged_directories_round_trip(
    packing: Packing, data: st.DataObject, *, beside: bool
) -> None:
    view = ViewNo(data.draw(upto(packing.most_views)))
    number = MergedNo(data.draw(upto(packing.pycaches - 1)) + beside * PYCACHES)
    node = packing.merged(view, number)
    check(packing, node, NodeKind.MERGED)
    assert packing.merged_parts(node) == (view, number)


@given(packings, numbers)
def test_projects_round_trip(packing: Packing, data: st.DataObject) -> None:
    number = ProjectNo(data.draw(upto(packing.most_projects)))
    node = packing.project(number)
    check(packing, node, NodeKind.PROJECT)
    assert packing.project_part(node) == number


@pytest.mark.parametrize("packing", [PACKING, BEFORE])
@pytest.mark.parametrize("node", Fixed)
def test_fixed_nodes_round_trip(packing: Packing, node: Fixed) -> None:
    check(packing, nodeid.fixed(node), NodeKind.FIXED)
    assert Fixed(nodeid.fixed(node)) is node


AGAIN: dict[NodeKind, Callable[[Packing, NodeId], NodeId]] = {
    NodeKind.ARCHIVE: lambda packing, node: packing.in_archive(*packing.archive_parts(node)),
    NodeKind.OWNED: lambda packing, node: packing.owned(*packing.owned_parts(node)),
    NodeKind.MERGED: lambda packing, node: packing.merged(*packing.merged_parts(node)),
    NodeKind.PROJECT: lambda packing, node: packing.project(packing.project_part(node)),
}


@given(packings, st.sampled_from(list(AGAIN)), numbers)
def test_no_bit_of_a_number_is_ignored(
    packing: Packing, kind: NodeKind, data: st.DataObject
) -> None:
    node = NodeId(kind << packing.kind_at | data.draw(upto((1 << packing.kind_at) - 1)))
    assert AGAIN[kind](packing, node) == node


@given(packings, st.integers(0, (1 << 64) - 1).map(NodeId))
def test_what_is_no_node_id_is_of_no_kind(packing: Packing, node: NodeId) -> None:
    kind = packing.kind(node)
    assert (kind is None) == (node >> packing.kind_at > max(NodeKind))
    assert kind is None or kind == node >> packing.kind_at


@given(numbers)
def test_no_mounts_numbers_are_anothers(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(AGAIN)))
    node = NodeId(kind << BEFORE.kind_at | data.draw(upto((1 << BEFORE.kind_at) - 1)))
    assert PACKING.kind(node) is None
    node = NodeId(kind << PACKING.kind_at | data.draw(upto((1 << PACKING.kind_at) - 1)))
    assert BEFORE.kind(node) is NodeKind.FIXED
    assert node > max(Fixed)


def test_places_are_counted_through_the_layers() -> None:
    assert PACKING.firsts([3, 1, 5]) == [0, 3, 4, 9]
    assert PACKING.firsts([]) == [0]
    assert BEFORE.firsts([3, 1, 5]) == [0, 1 << 28, 2 << 28, 3 << 28]


def test_there_is_room_for_years() -> None:
    assert PACKING.most_entries == ENTRY_LIMIT
    assert PACKING.most_archives // 2 > 365 * 50 * 1000  # a thousand a day, for fifty years
    assert PACKING.most_views // 2 > 365 * 50 * 400
    assert PACKING.most_places > 3 * 500 * 30_000  # 500 layers, 30,000 members each, and bytecode


def test_numbers_that_kernels_may_remember_do_not_change() -> None:
    # A server that is upgraded under a live mount must mean the same by them.
    assert {node.name: int(node) for node in Fixed} == {
        "ROOT": 1, "CURRENT": 2, "VIEWS": 3, "PROJECTS": 4, "PACKAGES": 5, "BIN": 6, "LIB": 7,
        "INCLUDE": 8, "SHARE": 9, "PYVENV_CFG": 10, "SITE_PACKAGES": 11, "LIB64": 12,
    }  # fmt: skip
    assert BEFORE.in_archive(ArchiveNo(1), EntryNo(2)) == 0x1000_0001_0000_0002
    assert BEFORE.owned(ViewNo(1), BEFORE.firsts([9, 9, 9])[2] + 3) == 0x2000_0100_2000_0003
    assert BEFORE.merged(ViewNo(1), MergedNo(2)) == 0x3000_0100_0000_0002
    assert BEFORE.merged(ViewNo(1), MergedNo(PYCACHES + 2)) == 0x3000_0180_0000_0002
    assert BEFORE.project(ProjectNo(1)) == 0x4000_0000_0000_0001
    assert PACKING.in_archive(ArchiveNo(1), EntryNo(2)) == 0x04_0000_0100_0002
    assert PACKING.owned(ViewNo(1), 3) == 0x08_0000_0400_0003
    assert PACKING.merged(ViewNo(1), MergedNo(2)) == 0x0C_0000_0400_0002
    assert PACKING.merged(ViewNo(1), MergedNo(PYCACHES + 2)) == 0x0C_0000_0600_0002
    assert PACKING.project(ProjectNo(1)) == 0x10_0000_0000_0001
