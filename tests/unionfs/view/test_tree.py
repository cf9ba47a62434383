from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from resolver.python.target import Python, Schemes
from unionfs.archive.layer import Kind, LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member as Packed
from unionfs.store.local import Store
from unionfs.view.nodeid import BEFORE, EPOCH, PACKING, LayerNo, NodeId, NodeKind, Packing, ViewNo
from unionfs.view.registry import Registry
from unionfs.view.sharing import NOTHING
from unionfs.view.tree import Member, View, grafted
from unionfs.view.union import ROOT_PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places

SITE = "lib/python3.11/site-packages"
PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3.11",
    schemes=Schemes(purelib=SITE, platlib=SITE, scripts="bin", headers="include/x", data=""),
)


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


@pytest.fixture
def registry(isolated_places: Places) -> Iterator[Registry]:
    opened = Registry(isolated_places.state / "registry.sqlite3")
    yield opened
    opened.close()


def layer(store: Store, registry: Registry, name: str, files: dict[str, bytes]) -> Member:
    members = [
        Packed(path=path.encode(), size=len(data), open=partial(io.BytesIO, data))
        for path, data in files.items()
    ]
    meta = Meta(kind="distribution", name=name, version="1", stem=f"{name}-1")
    archive = store.open(store.add(members, meta))
    number = registry.register_archive(archive, store.open)
    return Member(number, archive, number, NOTHING)


def view(number: int, *members: Member, packing: Packing = PACKING) -> View:
    layers = tuple(PYTHON.layer(member.archive.name) for member in members)
    by_name = {member.archive.name: member for member in members}
    manifest = PYTHON.manifest(layers)
    named = by_name.__getitem__
    return View(ViewNo(number), manifest, members, named, time=number, packing=packing)


def nodes(of: View) -> dict[str, NodeId]:
    return {path.decode(): of.found(place).node for path, place in of.union.walk()}


def test_schemes_go_where_the_manifest_says(store: Store, registry: Registry) -> None:
    files = {"purelib/a.py": b"", "platlib/b.so": b"1", "scripts/tool": b"2", "data/share/x": b"3"}
    member = layer(store, registry, "demo", files | {"headers/demo/x.h": b"4"})
    assert set(nodes(view(1, member))) == {
        "bin", "bin/tool", "include", "include/x", "include/x/demo", "include/x/demo/x.h", "lib",
        "lib/python3.11", SITE, f"{SITE}/a.py", f"{SITE}/b.so", "share", "share/x",
    }  # fmt: skip


def test_every_directory_of_every_view_has_a_node_id_of_its_own(
    store: Store, registry: Registry
) -> None:
    one = layer(store, registry, "one", {"purelib/ns/one/a.py": b"1", "purelib/p/q/r.py": b"2"})
    two = layer(store, registry, "two", {"purelib/ns/two/a.py": b"3", "data/etc/x/y": b"4"})
    views = [view(1, one, two), view(2, one, two), view(3, one)]
    directories = [
        each.found(place).node
        for each in views
        for _, place in each.union.walk()
        if each.union.entry(place).kind is Kind.DIRECTORY
    ]
    assert len(directories) == len(set(directories))
    assert {PACKING.kind(node) for node in directories} == {NodeKind.OWNED, NodeKind.MERGED}


def test_shared_directories_are_merged_and_others_owned(store: Store, registry: Registry) -> None:
    one = layer(store, registry, "one", {"purelib/ns/one/a.py": b"1"})
    two = layer(store, registry, "two", {"purelib/ns/two/a.py": b"2"})
    found = nodes(view(7, one, two))
    assert PACKING.kind(found[f"{SITE}/ns"]) is NodeKind.MERGED
    assert PACKING.merged_parts(found[f"{SITE}/ns"])[0] == 7
    of, place = PACKING.owned_parts(found[f"{SITE}/ns/two"])
    assert of == 7
    assert view(7, one, two).owned(place) == (LayerNo(1), two.archive.find(b"purelib/ns/two"))


def test_a_file_is_one_node_in_all_views_and_none_is_another(
    store: Store, registry: Registry
) -> None:
    one = layer(store, registry, "one", {"purelib/one/__init__.py": b"", "purelib/one/x.py": b"x"})
    two = layer(store, registry, "two", {"purelib/two/__init__.py": b"", "purelib/two/y.py": b"x"})
    first, second = nodes(view(1, one, two)), nodes(view(2, two))
    assert len(set(first.values())) == len(first)
    for name in ("__init__.py", "y.py"):
        assert first[f"{SITE}/two/{name}"] == second[f"{SITE}/two/{name}"]
    entry = one.archive.find(b"purelib/one/__init__.py")
    assert entry is not None
    assert first[f"{SITE}/one/__init__.py"] == PACKING.in_archive(one.number, entry)


def test_files_have_their_archives_time_and_directories_the_views(
    store: Store, registry: Registry
) -> None:
    one = layer(store, registry, "one", {"purelib/ns/one/a.py": b"1"})
    two = layer(store, registry, "two", {"purelib/ns/two/a.py": b"2"})
    for packing, times in ((PACKING, (7, one.number, two.number)), (BEFORE, (EPOCH,) * 3)):
        members = [member._replace(packing=packing) for member in (one, two)]
        of = view(7, *members, packing=packing)
        found = {path.decode(): of.found(place) for path, place in of.union.walk()}
        assert times == tuple(
            found[f"{SITE}/ns{path}"].time for path in ("", "/one/a.py", "/two/a.py")
        )
        listed = dict(of.listing(of.union.resolve(f"{SITE}/ns".encode()) or ROOT_PLACE))
        assert listed == {name: found[f"{SITE}/ns/{name.decode()}"] for name in (b"one", b"two")}


@pytest.mark.parametrize("packing", [PACKING, BEFORE])
def test_a_view_with_more_files_than_there_are_numbers_is_refused(
    store: Store, registry: Registry, packing: Packing
) -> None:
    member = layer(store, registry, "demo", {"purelib/a.py": b""})
    few = replace(packing, place_bits=packing.layer_at + 2 if packing.layer_at else 4)
    most = 4 if packing.layer_at else 16 // len(member.archive)
    view(1, *[member] * most, packing=few)
    with pytest.raises(LayerError, match="more files than this mount can number"):
        view(1, *[member] * (most + 1), packing=few)


def test_places_may_be_any_bytes() -> None:
    schemes = Schemes(purelib="lib/\udcff", platlib="lib", scripts="é", headers="h", data="")
    assert grafted(schemes.grafts) == {
        b"purelib": b"lib/\xff",
        b"platlib": b"lib",
        b"scripts": "é".encode(),
        b"headers": b"h",
        b"data": b"",
    }
