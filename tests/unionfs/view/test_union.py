from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.archive.layer import Child, Entry, EntryNo, Kind
from unionfs.view.nodeid import LayerNo, MergedNo
from unionfs.view.union import MERGED, ROOT_PLACE, Conflict, Place, Stacked, Union

Tree = dict[str, "Tree | bytes"]
"""A directory; bytes are a file's content."""


class TreeLayer:
    """A layer over nested dicts: the model that the union is tested against."""

    def __init__(self, tree: Tree) -> None:
        self.nodes: list[Tree | bytes] = [tree]
        self.below: dict[int, dict[bytes, EntryNo]] = {}
        self.above: dict[int, EntryNo] = {0: EntryNo(0)}
        for number, node in enumerate(self.nodes):
            if isinstance(node, dict):
                names = self.below.setdefault(number, {})
                for name in sorted(node):
                    names[name.encode()] = EntryNo(len(self.nodes))
                    self.above[len(self.nodes)] = EntryNo(number)
                    self.nodes.append(node[name])

    def entry(self, number: EntryNo) -> Entry:
        node = self.nodes[number]
        if isinstance(node, dict):
            return Entry(Kind.DIRECTORY, 0, executable=False)
        return Entry(Kind.FILE, len(node), executable=False)

    def lookup(self, directory: EntryNo, name: bytes) -> EntryNo | None:
        return self.below.get(directory, {}).get(name)

    def children(self, directory: EntryNo) -> list[Child]:
        found = sorted(self.below[directory].items())
        return [(name, number, self.entry(number)) for name, number in found]

    def parent(self, directory: EntryNo) -> EntryNo:
        return self.above[directory]

    def target(self, number: EntryNo) -> bytes:
        raise AssertionError(number)

    def digest(self, number: EntryNo) -> bytes:
        return hashlib.sha256(self.read(number, 0, 1 << 30)).digest()

    def read(self, number: EntryNo, offset: int, size: int) -> bytes:
        node = self.nodes[number]
        assert isinstance(node, bytes)
        return node[offset : offset + size]


def union_model(trees: list[Tree]) -> Tree:
    """The union's rules, said in the shortest way there is."""
    merged: Tree = {}
    for name in sorted({name for tree in trees for name in tree}):
        stacked = [tree[name] for tree in trees if name in tree]
        first = stacked[0]
        if isinstance(first, bytes):
            merged[name] = first
            continue
        directories = []
        for node in stacked:
            if isinstance(node, bytes):
                break
            directories.append(node)
        merged[name] = union_model(directories)
    return merged


def as_tree(union: Union, place: Place = ROOT_PLACE) -> Tree | bytes:
    if union.entry(place).kind is Kind.DIRECTORY:
        return {name.decode(): as_tree(union, child) for name, child, _ in union.children(place)}
    return union.layers[place.layer].read(EntryNo(place.number), 0, 1 << 30)


names = st.sampled_from("abc")
trees = st.recursive(
    st.sampled_from([b"", b"1", b"2"]),
    lambda children: st.dictionaries(names, children, max_size=3),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


@given(st.lists(trees, max_size=4))
def test_unions_equal_the_model(layers: list[Tree]) -> None:
    union = Union([Stacked(layer=TreeLayer(tree)) for tree in layers])
    assert as_tree(union) == union_model(layers)
    for path, place in union.walk():
        assert union.resolve(path) == place
        if union.entry(place).kind is Kind.DIRECTORY:
            assert union.parent(place) == union.resolve(path.rpartition(b"/")[0])
    assert union.parent(ROOT_PLACE) == ROOT_PLACE


@given(st.lists(trees, max_size=4))
def test_numbers_follow_from_the_layers_alone(layers: list[Tree]) -> None:
    first, second = (Union([Stacked(layer=TreeLayer(tree)) for tree in layers]) for _ in range(2))
    assert list(first.walk()) == list(second.walk())


@pytest.fixture
def tree() -> type[TreeLayer]:
    return TreeLayer


SCHEMES = {b"purelib": b"lib/python3.11/site-packages", b"scripts": b"bin", b"data": b""}


def paths(union: Union) -> list[bytes]:
    return [path for path, _ in union.walk()]


def content(union: Union, path: bytes) -> bytes:
    place = at(union, path)
    assert place.layer != MERGED
    return union.layers[place.layer].read(EntryNo(place.number), 0, 1 << 20)


def at(union: Union, path: bytes) -> Place:
    place = union.resolve(path)
    assert place is not None
    return place


def test_first_layer_wins(tree: type[TreeLayer]) -> None:
    union = Union(
        [Stacked(layer=tree({"a": b"one"})), Stacked(layer=tree({"a": b"two", "b": b""}))]
    )
    assert content(union, b"a") == b"one"
    assert paths(union) == [b"a", b"b"]
    assert union.conflicts == [Conflict(path=b"a", winner=LayerNo(0), loser=LayerNo(1))]


def test_equal_files_are_no_conflict(tree: type[TreeLayer]) -> None:
    union = Union([Stacked(layer=tree({"a": b"same"})), Stacked(layer=tree({"a": b"same"}))])
    assert union.conflicts == []


def test_directories_merge_and_single_owners_are_references(tree: type[TreeLayer]) -> None:
    union = Union(
        [
            Stacked(layer=tree({"zope": {"event": {"__init__.py": b"e"}}})),
            Stacked(layer=tree({"zope": {"interface": {"__init__.py": b"i"}}})),
        ]
    )
    assert [name for name, _, _ in union.children(at(union, b"zope"))] == [b"event", b"interface"]
    assert union.merged_directories == 2  # the root and zope, not event, not interface
    assert at(union, b"zope/event").layer == 0
    assert at(union, b"zope/interface/__init__.py").layer == 1


def test_a_file_hides_directories_below_and_a_directory_files(tree: type[TreeLayer]) -> None:
    union = Union(
        [
            Stacked(layer=tree({"x": b"file", "y": {"one": b""}})),
            Stacked(layer=tree({"x": {"inside": b""}, "y": b"file"})),
            Stacked(layer=tree({"y": {"three": b""}})),
        ]
    )
    assert paths(union) == [b"x", b"y", b"y/one"]
    assert {(c.path, c.winner, c.loser) for c in union.conflicts} == {
        (b"x", 0, 1),
        (b"y", 0, 1),
        (b"y", 0, 2),
    }


def test_grafts_place_schemes(tree: type[TreeLayer]) -> None:
    wheel = tree(
        {
            "purelib": {"pkg": {"__init__.py": b""}},
            "scripts": {"tool": b"#!"},
            "data": {"share": {"man": b"m"}, "bin": {"extra": b""}},
            "unknown": {"never": b"shown"},
        }
    )
    union = Union([Stacked(layer=wheel, grafts=SCHEMES)])
    assert paths(union) == [
        b"bin",
        b"bin/extra",
        b"bin/tool",
        b"lib",
        b"lib/python3.11",
        b"lib/python3.11/site-packages",
        b"lib/python3.11/site-packages/pkg",
        b"lib/python3.11/site-packages/pkg/__init__.py",
        b"share",
        b"share/man",
    ]


def test_two_schemes_at_one_path_merge(tree: type[TreeLayer]) -> None:
    wheel = tree({"purelib": {"a.py": b"pure"}, "platlib": {"a.py": b"plat", "b.so": b""}})
    where = {b"purelib": b"lib/site", b"platlib": b"lib/site"}
    union = Union([Stacked(layer=wheel, grafts=where)])
    assert content(union, b"lib/site/a.py") == b"pure"
    assert union.resolve(b"lib/site/b.so") is not None


def test_providers_name_every_layer_that_has_a_path(tree: type[TreeLayer]) -> None:
    union = Union(
        [Stacked(layer=tree({"a": {"b": b"1"}})), Stacked(layer=tree({"a": {"b": b"2"}}))]
    )
    assert [place.layer for place in union.providers(b"a/b")] == [0, 1]
    assert union.providers(b"a/none") == []


def test_lookup_below_a_file_finds_nothing(tree: type[TreeLayer]) -> None:
    union = Union([Stacked(layer=tree({"a": b""}))])
    assert union.lookup(at(union, b"a"), b"b") is None
    assert union.resolve(b"a/b") is None


def test_numbers_that_nobody_gave_are_refused(tree: type[TreeLayer]) -> None:
    union = Union([Stacked(layer=tree({"a": b""}))])
    for number in (-1, 1, 1 << 39):
        with pytest.raises(IndexError):
            union.entry(Place(MERGED, MergedNo(number)))


def test_an_empty_union_is_an_empty_directory() -> None:
    union = Union([])
    assert union.entry(ROOT_PLACE).kind is Kind.DIRECTORY
    assert list(union.children(ROOT_PLACE)) == []
