from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.archive.layer import EntryNo
from unionfs.view import nodeid
from unionfs.view.nodeid import (
    MAX_ARCHIVE,
    MAX_LAYER,
    MAX_MERGED,
    MAX_OWNED_ENTRY,
    MAX_PROJECT,
    MAX_VIEW,
    ArchiveNo,
    Fixed,
    LayerNo,
    MergedNo,
    NodeId,
    NodeKind,
    ProjectNo,
    ViewNo,
)

if TYPE_CHECKING:
    from collections.abc import Callable

archives = st.integers(1, MAX_ARCHIVE).map(ArchiveNo)
entries = st.integers(0, (1 << 32) - 1).map(EntryNo)
views = st.integers(1, MAX_VIEW).map(ViewNo)
layers = st.integers(0, MAX_LAYER).map(LayerNo)
owned_entries = st.integers(0, MAX_OWNED_ENTRY).map(EntryNo)
merged = st.integers(0, MAX_MERGED).map(MergedNo)
projects = st.integers(1, MAX_PROJECT).map(ProjectNo)


def check(node: NodeId, kind: NodeKind) -> None:
    assert nodeid.kind(node) is kind
    assert 0 < node < 1 << 63


@given(archives, entries)
def test_members_of_archives_round_trip(archive: ArchiveNo, entry: EntryNo) -> None:
    node = nodeid.in_archive(archive, entry)
    check(node, NodeKind.ARCHIVE)
    assert nodeid.archive_parts(node) == (archive, entry)


@given(views, layers, owned_entries)
def test_owned_directories_round_trip(view: ViewNo, layer: LayerNo, entry: EntryNo) -> None:
    node = nodeid.owned(view, layer, entry)
    check(node, NodeKind.OWNED)
    assert nodeid.owned_parts(node) == (view, layer, entry)


@given(views, merged)
def test_merged_directories_round_trip(view: ViewNo, number: MergedNo) -> None:
    node = nodeid.merged(view, number)
    check(node, NodeKind.MERGED)
    assert nodeid.merged_parts(node) == (view, number)


@given(projects)
def test_projects_round_trip(number: ProjectNo) -> None:
    node = nodeid.project(number)
    check(node, NodeKind.PROJECT)
    assert nodeid.project_part(node) == number


@pytest.mark.parametrize("node", Fixed)
def test_fixed_nodes_round_trip(node: Fixed) -> None:
    check(nodeid.fixed(node), NodeKind.FIXED)
    assert Fixed(nodeid.fixed(node)) is node


ENCODED_AGAIN: dict[NodeKind, Callable[[NodeId], NodeId]] = {
    NodeKind.ARCHIVE: lambda node: nodeid.in_archive(*nodeid.archive_parts(node)),
    NodeKind.OWNED: lambda node: nodeid.owned(*nodeid.owned_parts(node)),
    NodeKind.MERGED: lambda node: nodeid.merged(*nodeid.merged_parts(node)),
    NodeKind.PROJECT: lambda node: nodeid.project(nodeid.project_part(node)),
}


@given(st.sampled_from(list(ENCODED_AGAIN)), st.integers(0, (1 << 60) - 1))
def test_no_bit_of_a_number_is_ignored(kind: NodeKind, below: int) -> None:
    node = NodeId(kind << 60 | below)
    assert ENCODED_AGAIN[kind](node) == node


@given(st.integers(0, (1 << 64) - 1).map(NodeId))
def test_what_is_no_node_id_is_of_no_kind(node: NodeId) -> None:
    kind = nodeid.kind(node)
    assert (kind is None) == (node >> 60 > max(NodeKind))
    assert kind is None or kind == node >> 60


def test_numbers_that_kernels_may_remember_do_not_change() -> None:
    # A server that is upgraded under a live mount must mean the same by them.
    assert {node.name: int(node) for node in Fixed} == {
        "ROOT": 1, "CURRENT": 2, "VIEWS": 3, "PROJECTS": 4, "PACKAGES": 5, "BIN": 6, "LIB": 7,
        "INCLUDE": 8, "SHARE": 9, "PYVENV_CFG": 10, "SITE_PACKAGES": 11, "LIB64": 12,
    }  # fmt: skip
    assert nodeid.in_archive(ArchiveNo(1), EntryNo(2)) == 0x1000_0001_0000_0002
    assert nodeid.owned(ViewNo(1), LayerNo(2), EntryNo(3)) == 0x2000_0100_2000_0003
    assert nodeid.merged(ViewNo(1), MergedNo(2)) == 0x3000_0100_0000_0002
    assert nodeid.project(ProjectNo(1)) == 0x4000_0000_0000_0001
