from __future__ import annotations

import io
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import LayerSpec, Manifest, ViewId
from resolver.python.target import Python, Schemes
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.publishing import publish as module
from unionfs.publishing.publish import publish
from unionfs.store.generated import GeneratedFile, add_generated
from unionfs.store.local import Store
from unionfs.view.catalog import Catalog, manifest_path
from unionfs.view.nodeid import PACKING
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.places import Places

PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3.11",
    schemes=Schemes(purelib="site", platlib="site", scripts="bin", headers="include", data=""),
)


@pytest.fixture
def registry(isolated_places: Places) -> Iterator[Registry]:
    opened = Registry(isolated_places.state / "registry.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


def archive(store: Store, text: str) -> str:
    data = text.encode()
    member = Member(path=b"purelib/a.py", size=len(data), open=partial(io.BytesIO, data))
    return store.add([member], Meta(kind="distribution", name=text, version="1", stem=f"{text}-1"))


def manifest(*archives: str) -> Manifest:
    return PYTHON.manifest(tuple(PYTHON.layer(name) for name in archives))


def files(places: Places) -> dict[Path, bytes]:
    """Without moments."""
    return {
        path: path.read_bytes()
        for path in places.state.rglob("*")
        if path.is_file() and path.name != "registry.sqlite3-journal" and path.parent.name != "used"
    }


def test_a_published_view_can_be_opened(
    isolated_places: Places, store: Store, registry: Registry
) -> None:
    wanted = manifest(archive(store, "one"), archive(store, "two"))
    view = publish(isolated_places, wanted, store, registry)
    assert view == wanted.id
    path = manifest_path(isolated_places, view)
    assert Manifest.from_bytes(path.read_bytes(), expected=view) == wanted
    opened = Catalog(isolated_places, Store(store.root), registry).view(view)
    assert opened is not None
    assert opened.manifest == wanted


def test_an_archive_at_several_places(
    isolated_places: Places, store: Store, registry: Registry
) -> None:
    """It has its directories and files at each; no time is taken for a clash."""
    names = [archive(store, f"package{number}") for number in range(5)]
    places = [(name, f"at/{number}") for number, name in enumerate(names)]
    places.append((names[0], "again/here"))
    newest = add_generated(
        store, "newest", [GeneratedFile(path="purelib/b", content=b"b")], newest=True
    )
    wanted = Manifest(
        kind="node",
        target={},
        layers=(
            *(LayerSpec(archive=name, grafts=(("purelib", at),), name=at) for name, at in places),
            LayerSpec(archive=newest, grafts=(("purelib", ""),)),
        ),
    )
    began = time.time_ns()
    publish(isolated_places, wanted, store, registry)
    view = Catalog(isolated_places, Store(store.root), registry).view(wanted.id)
    assert view is not None
    found = {path: view.found(place) for path, place in view.union.walk()}
    assert found[b"at/0/a.py"].node != found[b"again/here/a.py"].node
    assert found[b"at/0"].node != found[b"again/here"].node
    for path in (b"at/0", b"again/here"):
        place = view.union.resolve(path)
        assert place is not None
        assert view.union.parent(place) == view.union.resolve(path.rpartition(b"/")[0])
    # All came in this second, and none is from the future but what has to be newer than the rest.
    times = {known.time for name, known in registry.registered(names).items()}
    assert min(times) >= began // 1000 * 1000
    assert max(times) <= time.time_ns()
    assert found[b"b"].time > time.time_ns() + 10**18
    assert found[b"b"].time > max(one.time for path, one in found.items() if path != b"b")


def test_again_changes_nothing(isolated_places: Places, store: Store, registry: Registry) -> None:
    wanted = manifest(archive(store, "one"))
    publish(isolated_places, wanted, store, registry)
    before = files(isolated_places)
    file = manifest_path(isolated_places, wanted.id).stat().st_ino
    publish(isolated_places, wanted, store, registry)
    assert files(isolated_places) == before
    assert manifest_path(isolated_places, wanted.id).stat().st_ino == file


def test_a_damaged_manifest_is_written_anew(
    isolated_places: Places, store: Store, registry: Registry
) -> None:
    wanted = manifest(archive(store, "one"))
    path = manifest_path(isolated_places, publish(isolated_places, wanted, store, registry))
    for damaged in (b"", b"{}", wanted.to_bytes()[:-1]):
        path.write_bytes(damaged)
        publish(isolated_places, wanted, store, registry)
        assert path.read_bytes() == wanted.to_bytes()


@pytest.mark.parametrize("step", ["register_archives", "write_atomically", "register_view"])
def test_stopped_at_any_step_no_view_is_half_there(
    isolated_places: Places,
    store: Store,
    registry: Registry,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    wanted = manifest(archive(store, "one"), archive(store, "two"))
    where = module if step == "write_atomically" else registry
    with monkeypatch.context() as patched:
        patched.setattr(where, step, stop)
        with pytest.raises(KeyboardInterrupt):
            publish(isolated_places, wanted, store, registry)
    catalog = Catalog(isolated_places, Store(store.root), registry)
    assert catalog.views() == []
    assert catalog.view(wanted.id) is None
    publish(isolated_places, wanted, store, registry)
    assert catalog.view(wanted.id) is not None


def test_a_damaged_archive_is_set_aside_and_said(
    isolated_places: Places, store: Store, registry: Registry
) -> None:
    name = archive(store, "one")
    path = store.path(name)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PkgviewError, match=rf"{name} .*moved to .*damaged") as caught:
        publish(isolated_places, manifest(name), Store(store.root), registry)
    assert "again" in caught.value.remedy
    assert not store.has(name)
    assert registry.archives() == []
    assert archive(store, "one") == name
    publish(isolated_places, manifest(name), Store(store.root), registry)


def test_a_missing_archive_is_said(
    isolated_places: Places, store: Store, registry: Registry
) -> None:
    name = archive(store, "one")
    store.path(name).unlink()
    with pytest.raises(PkgviewError, match=name):
        publish(isolated_places, manifest(name), Store(store.root), registry)
    assert registry.views() == []


def test_more_files_than_have_numbers_are_refused(
    isolated_places: Places, store: Store, registry: Registry
) -> None:
    one, two = archive(store, "one"), archive(store, "two")
    published = publish(isolated_places, manifest(one, two), store, registry)
    with sqlite3.connect(registry.path) as db:
        db.execute("UPDATE archives SET entries = ?", (PACKING.most_places // 2,))
    assert publish(isolated_places, manifest(one, two), store, registry) == published
    before = registry.views()
    with pytest.raises(PkgviewError, match="a view of 3 distributions with so many files"):
        publish(isolated_places, manifest(one, two, archive(store, "three")), store, registry)
    assert registry.views() == before


def test_where_the_manifest_cannot_be_written(
    isolated_places: Places, store: Store, registry: Registry
) -> None:
    (isolated_places.state / "manifests").write_text("in the way")
    with pytest.raises(PkgviewError, match="cannot write"):
        publish(isolated_places, manifest(archive(store, "one")), store, registry)
    assert registry.view_number(ViewId(manifest(archive(store, "one")).id)) is None
