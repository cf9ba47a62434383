"""Companions: what is compiled, what is shown of it, and which of them are refused."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.interpreter import Interpreter, inspect
from unionfs.archive.layer import EntryNo, Kind, LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.bytecode.companion import (
    check,
    companion_key,
    companion_meta,
    sources,
    with_companions,
)
from unionfs.bytecode.compiling import Means, compile_archive, compile_missing
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.catalog import Catalog
from unionfs.view.registry import Registry
from unionfs.view.tree import View, union_of
from unionfs.view.union import MERGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.manifest import LayerSpec, Manifest
    from resolver.places import Places
    from unionfs.archive.reader import Archive
    from unionfs.view.union import Union


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return inspect(Path(sys.executable).resolve(), tmp_path_factory.mktemp("state"))


@pytest.fixture
def means(store: Store, interpreter: Interpreter, isolated_places: Places) -> Means:
    return Means(store=store, interpreter=interpreter, cache=isolated_places.cache, idle=False)


@pytest.fixture
def registry(isolated_places: Places) -> Iterator[Registry]:
    opened = Registry(isolated_places.state / "registry.sqlite3")
    yield opened
    opened.close()


def members(files: dict[str, str]) -> list[Member]:
    return [
        Member(path=path.encode(), size=len(text), open=partial(io.BytesIO, text.encode()))
        for path, text in files.items()
    ]


def archive(store: Store, name: str, files: dict[str, str], kind: str = "distribution") -> str:
    meta = Meta(kind=kind, name=name, version="1-b", stem=f"{name}-1.b-py3-none-any")
    return store.add(members(files), meta)


def layer(means: Means, name: str, files: dict[str, str]) -> LayerSpec:
    """An archive with its companion."""
    made = archive(means.store, name, {f"purelib/{path}": text for path, text in files.items()})
    return means.interpreter.python.layer(made, name=name, bytecode=compile_archive(made, means))


def union(means: Means, *layers: LayerSpec) -> Union:
    manifest = means.interpreter.python.manifest(layers)
    opened = [means.store.open(one.archive) for one in layers]
    return union_of(manifest, opened, means.store.open)


def tree(of: Union) -> dict[str, str]:
    """Every file with the layer that it is from."""
    return {
        os.fsdecode(path): os.fsdecode(
            of.layers[place.layer].read(EntryNo(place.number), 0, 1 << 20)
        )
        for path, place in of.walk()
        if of.entry(place).kind is Kind.FILE and not path.endswith(b".pyc")
    }


def pycs(of: Union, means: Means) -> list[str]:
    """The bytecode below site-packages, without the tag."""
    site = means.interpreter.python.schemes.purelib + "/"
    tail = f".{means.interpreter.cache_tag}.pyc"
    found = [os.fsdecode(path) for path, _ in of.walk() if path.endswith(b".pyc")]
    assert all(path.startswith(site) and path.endswith(tail) for path in found)
    for path, place in of.walk():
        if of.entry(place).kind is Kind.DIRECTORY:
            assert of.parent(place) == of.resolve(path.rpartition(b"/")[0])
    return [path.removeprefix(site).removesuffix(tail) for path in found]


# What is compiled


def test_what_an_installer_would_compile(store: Store) -> None:
    found = store.open(
        archive(
            store,
            "demo",
            {
                "purelib/demo/__init__.py": "",
                "purelib/demo/data.txt": "",
                "purelib/demo/deep/mod.more.py": "",
                "purelib/demo/own/__pycache__/x.pyc": "",
                "purelib/demo/own/x.py": "",
                f"purelib/demo/{'n' * 240}.py": "",
                "platlib/fast.py": "",
                "scripts/tool.py": "",
                "data/share/example.py": "",
            },
        )
    )
    assert [(path, compiled) for path, _, compiled in sources(found, "cpython-311")] == [
        (b"platlib/fast.py", b"platlib/__pycache__/fast.cpython-311.pyc"),
        (b"purelib/demo/__init__.py", b"purelib/demo/__pycache__/__init__.cpython-311.pyc"),
        (
            b"purelib/demo/deep/mod.more.py",
            b"purelib/demo/deep/__pycache__/mod.more.cpython-311.pyc",
        ),
    ]


def test_a_link_is_not_compiled(store: Store) -> None:
    link = Member(path=b"purelib/a.py", kind=Kind.SYMLINK, target=b"/etc/passwd")
    made = store.add([link], Meta(kind="distribution", name="a", version="1", stem="a-1"))
    assert not list(sources(store.open(made), "cpython-311"))


def test_compiled_once(means: Means) -> None:
    made = archive(means.store, "demo", {"purelib/demo.py": "x = 1", "purelib/bad.py": "def"})
    manifest = means.interpreter.python.manifest((means.interpreter.python.layer(made),))
    told: list[tuple[str, int, int]] = []
    assert compile_missing(manifest, means, lambda *what: told.append(what)) == 1
    assert told == [(made, 1, 1)]
    assert compile_missing(manifest, means, lambda *what: told.append(what)) == 0
    (only,) = with_companions(manifest, means.interpreter, means.store.archive_of).layers
    companion = means.store.open(only.bytecode)
    assert [path for path, _ in companion.walk() if path.endswith(b".pyc")] == [
        f"purelib/__pycache__/demo.{means.interpreter.cache_tag}.pyc".encode()
    ]
    companion.verify()
    assert companion.meta.kind == "bytecode"
    assert not list((means.cache / "bytecode").iterdir())


def test_a_damaged_source_is_named_and_the_others_are_compiled(means: Means) -> None:
    store = means.store
    names = [archive(store, name, {f"purelib/{name}.py": f"x = {name!r}"}) for name in ("a", "b")]
    path = store.path(names[0])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-10])
    layers = tuple(means.interpreter.python.layer(name) for name in names)
    manifest = means.interpreter.python.manifest(layers)
    with pytest.raises(PkgviewError, match=r"(?s)nothing to compile: a-1.*--repair"):
        compile_missing(manifest, means, lambda *_: None)
    found = with_companions(manifest, means.interpreter, store.archive_of).layers
    assert [bool(one.bytecode) for one in found] == [False, True]


def test_stopped_it_leaves_nothing(means: Means) -> None:
    made = archive(means.store, "demo", {"purelib/demo.py": "x = 1"})
    means.stop.set()
    with pytest.raises(PkgviewError, match="was stopped"):
        compile_archive(made, means)
    assert means.store.names() == [made]
    assert not list((means.cache / "bytecode").iterdir())


# What is shown: rule 4


def test_a_companion_adds_bytecode_and_nothing_else(means: Means) -> None:
    one = layer(means, "one", {"one/__init__.py": "", "one/deep/a.py": "", "single.py": ""})
    two = layer(means, "two", {"two/__init__.py": "", "two/data.txt": "x"})
    with_it, without = union(means, one, two), union(means, *map(_plain, (one, two)))
    assert tree(with_it) == tree(without)
    assert with_it.conflicts == without.conflicts == []
    assert pycs(with_it, means) == [
        "__pycache__/single",
        "one/__pycache__/__init__",
        "one/deep/__pycache__/a",
        "two/__pycache__/__init__",
    ]


def test_merged_directories_have_the_same_numbers_with_and_without(means: Means) -> None:
    layers = [
        layer(means, name, {"space/sub/x.py": name, f"space/{name}.py": name, f"{name}.py": ""})
        for name in ("a", "b", "c")
    ]

    def merged(of: Union) -> dict[bytes, int]:
        return {path: place.number for path, place in of.walk() if place.layer == MERGED}

    without = merged(union(means, *map(_plain, layers)))
    found = merged(union(means, *layers))
    assert {path: number for path, number in found.items() if b"__pycache__" not in path} == without
    site = means.interpreter.python.schemes.purelib.encode()
    assert set(found) - set(without) == {
        site + b"/__pycache__",
        site + b"/space/__pycache__",
        site + b"/space/sub/__pycache__",
    }


@pytest.mark.parametrize("second_fails", [False, True])
def test_a_file_that_wins_never_meets_foreign_bytecode(means: Means, *, second_fails: bool) -> None:
    """Also where the winner's own could not be compiled."""
    winner = layer(means, "winner", {"shared.py": "def" if second_fails else "x = 'winner'"})
    loser = layer(means, "loser", {"shared.py": "x = 'loser'", "other.py": ""})
    found = union(means, winner, loser)
    expected = ["__pycache__/other"] + ([] if second_fails else ["__pycache__/shared"])
    assert pycs(found, means) == expected
    if not second_fails:
        name = f"__pycache__/shared.{means.interpreter.cache_tag}.pyc"
        place = found.resolve(f"{means.interpreter.python.schemes.purelib}/{name}".encode())
        assert place is not None
        data = found.layers[place.layer].read(EntryNo(place.number), 0, 1 << 20)
        assert b"winner" in data
        assert b"loser" not in data
    assert [conflict.path.rpartition(b"/")[2] for conflict in found.conflicts] == [b"shared.py"]


def test_schemes_of_one_layer_are_told_apart(means: Means) -> None:
    """purelib and platlib lie in one directory, and may both have a file."""
    files = {"platlib/pkg/a.py": "x = 'platlib'", "purelib/pkg/a.py": "def", "purelib/pkg/b.py": ""}
    made = archive(means.store, "both", files)
    found = union(
        means, means.interpreter.python.layer(made, bytecode=compile_archive(made, means))
    )
    assert pycs(found, means) == ["pkg/__pycache__/b"]


def test_a_pycache_of_a_distribution_stays_as_it_is(means: Means) -> None:
    own = {"__pycache__/x.txt": "own", "shared/__pycache__/y.txt": "own", "shared/y.py": ""}
    one = layer(means, "one", own)
    two = layer(means, "two", {"x.py": "", "shared/z.py": "", "two/z.py": ""})
    found = union(means, one, two)
    assert pycs(found, means) == ["two/__pycache__/z"]
    assert tree(found) == tree(union(means, _plain(one), _plain(two)))


def test_a_file_named_pycache_is_not_hidden(means: Means) -> None:
    one = layer(means, "one", {"x.py": ""})
    two = layer(means, "two", {"__pycache__": "a file", "y.py": ""})
    for found in (union(means, one, two), union(means, two, one)):
        assert pycs(found, means) == []
        assert tree(found)[f"{means.interpreter.python.schemes.purelib}/__pycache__"] == "a file"


def test_companions_are_opened_when_they_are_looked_into(means: Means) -> None:
    layers = [layer(means, name, {f"{name}/__init__.py": ""}) for name in ("a", "b")]
    opened: list[str] = []

    def note(name: str) -> Archive:
        opened.append(name)
        return means.store.open(name)

    manifest = means.interpreter.python.manifest(tuple(layers))
    found = union_of(manifest, [means.store.open(one.archive) for one in layers], note)
    site = means.interpreter.python.schemes.purelib.encode()
    place = found.resolve(site)
    assert place is not None
    assert [name for name, _, _ in found.children(place)] == [b"a", b"b"]
    assert opened == []
    assert found.resolve(site + b"/b/__pycache__") is not None
    assert opened == [layers[1].bytecode]


# What is refused


def test_a_companion_that_cannot_be_had_is_done_without(
    means: Means, caplog: pytest.LogCaptureFixture
) -> None:
    one = layer(means, "one", {"one/__init__.py": "", "single.py": ""})
    means.store.path(one.bytecode).unlink()
    fresh = Means(
        store=Store(means.store.root), interpreter=means.interpreter, cache=means.cache, idle=False
    )
    found = union(fresh, one)
    assert pycs(found, means) == []
    assert tree(found) == tree(union(means, _plain(one)))
    (said,) = (record.message for record in caplog.records)
    assert "served without that bytecode" in said


LIES = {
    "another path": {"purelib/__pycache__/b.{tag}.pyc": ""},
    "a source": {"purelib/evil.py": ""},
    "a module beside": {"purelib/a.{tag}.pyc": ""},
    "another tag": {"purelib/__pycache__/a.cpython-999.pyc": ""},
    "an extension": {"purelib/__pycache__/a.so": ""},
    "a script": {"scripts/a": ""},
    "a directory in its place": {"purelib/__pycache__/a.{tag}.pyc/x": ""},
    "where the source has its own": {"purelib/own/__pycache__/x.{tag}.pyc": ""},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_hand_made_companions_that_lie_are_refused(
    means: Means, lie: dict[str, str], registry: Registry, isolated_places: Places
) -> None:
    files = {"purelib/a.py": "x = 1", "purelib/own/x.py": "", "purelib/own/__pycache__/y": ""}
    source = archive(means.store, "a", files)
    tag = means.interpreter.cache_tag
    meta = companion_meta(means.store.open(source), means.interpreter)
    right = {"purelib/__pycache__/a.{tag}.pyc": ""}
    honest = means.store.add(_tagged(right, tag), meta)
    check(means.store.open(honest), means.store.open(source))
    lying = means.store.add(_tagged(lie, tag), meta)
    with pytest.raises(LayerError, match=r"a_1_b\..* holds '.*', which is no bytecode of a-1"):
        check(means.store.open(lying), means.store.open(source))
    spec = means.interpreter.python.layer(source, bytecode=lying)
    with pytest.raises(PkgviewError, match="it was moved to"):
        publish(isolated_places, _manifest(means, spec), means.store, registry)
    assert not means.store.has(lying)


def test_links_and_executables_are_refused(means: Means) -> None:
    source = means.store.open(archive(means.store, "a", {"purelib/a.py": "x = 1"}))
    path = f"purelib/__pycache__/a.{means.interpreter.cache_tag}.pyc".encode()
    meta = companion_meta(source, means.interpreter)
    for member in (
        Member(path=path, kind=Kind.SYMLINK, target=b"/etc/passwd"),
        Member(path=path, executable=True, open=io.BytesIO),
    ):
        with pytest.raises(LayerError, match="is no bytecode of"):
            check(means.store.open(means.store.add([member], meta)), source)


def test_bytecode_of_another_archive_is_not_shown(
    means: Means, registry: Registry, isolated_places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    mine = layer(means, "mine", {"a.py": "x = 'mine'"})
    theirs = layer(means, "theirs", {"a.py": "x = 'theirs'"})
    crossed = means.interpreter.python.layer(mine.archive, bytecode=theirs.bytecode)
    with pytest.raises(PkgviewError, match=r"holds bytecode, but not of mine-1"):
        publish(isolated_places, _manifest(means, crossed), means.store, registry)
    # ViewIndex, so that nobody checks it again: yet it is shown beside nobody else's source.
    again = layer(means, "theirs", {"a.py": "x = 'theirs'"})
    publish(isolated_places, _manifest(means, again), means.store, registry)
    publish(isolated_places, _manifest(means, crossed), means.store, registry)
    assert pycs(union(means, crossed), means) == []
    assert "not of mine-1" in caplog.text


def test_what_is_no_bytecode_is_no_companion_and_bytecode_is_no_layer(
    means: Means, registry: Registry, isolated_places: Places
) -> None:
    mine = layer(means, "mine", {"a.py": ""})
    wrong = means.interpreter.python.layer(mine.archive, bytecode=mine.archive)
    union_without = union(means, wrong)
    assert pycs(union_without, means) == []
    alone = means.interpreter.python.layer(mine.bytecode)
    with pytest.raises(PkgviewError, match="no layer by itself"):
        publish(isolated_places, _manifest(means, alone), means.store, registry)


# In a view


def test_node_ids_of_bytecode(means: Means, registry: Registry, isolated_places: Places) -> None:
    """The companion's own, so the same in every view and in every process."""
    shared = layer(means, "shared", {"pkg/a.py": "x = 1", "single.py": "y = 2"})
    other = layer(means, "other", {"other.py": "z = 3"})
    ids = [
        publish(isolated_places, _manifest(means, *layers), means.store, registry)
        for layers in ((shared,), (other, shared))
    ]

    def nodes() -> list[dict[bytes, int]]:
        catalog = Catalog(isolated_places, Store(isolated_places.store), registry)
        views = [catalog.view(one) for one in ids]
        return [_nodes(view) for view in views if view is not None]

    first, second = nodes()
    assert [first, second] == nodes()
    assert len(set(first.values())) == len(first)
    assert not set(first.values()) & {
        node for path, node in second.items() if not path.endswith((b".py", b".pyc"))
    }
    compiled = [path for path in first if path.endswith(b".pyc")]
    assert len(compiled) == 2
    assert [first[path] for path in compiled] == [second[path] for path in compiled]


def test_an_interpreter_without_bytecode_files(means: Means) -> None:
    """Its cache tag is None (PEP 421)."""
    made = archive(means.store, "demo", {"purelib/demo.py": "x = 1"})
    manifest = means.interpreter.python.manifest((means.interpreter.python.layer(made),))
    without = replace(means, interpreter=replace(means.interpreter, cache_tag=""))
    assert compile_missing(manifest, without, lambda *_: None) == 0


def test_keys_differ_by_all_that_matters(interpreter: Interpreter) -> None:
    keys = {
        companion_key(name, one)
        for name in ("a", "b")
        for one in (
            interpreter,
            replace(interpreter, cache_tag="cpython-399"),
            replace(interpreter, magic="00000d0a"),
            replace(interpreter, installed=False),
        )
    }
    assert len(keys) == 8


def _plain(spec: LayerSpec) -> LayerSpec:
    return replace(spec, version="", bytecode="")


def _manifest(means: Means, *layers: LayerSpec) -> Manifest:
    return means.interpreter.python.manifest(layers)


def _tagged(files: dict[str, str], tag: str) -> list[Member]:
    return members({path.format(tag=tag): text for path, text in files.items()})


def _nodes(view: View) -> dict[bytes, int]:
    return {path: view.found(place).node for path, place in view.union.walk()}
