from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.manifest import Manifest, ViewId
from resolver.python import discovery, interpreter
from resolver.python.target import python_of
from unionfs.publishing.default import default_view, ensure_default
from unionfs.store.local import Store
from unionfs.view.catalog import Catalog, manifest_path
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places

THIS = Path(sys.executable).resolve()


@pytest.fixture
def places(isolated_places: Places, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Places whose default interpreter is the one that runs the tests, looked at once."""
    found = interpreter.inspect(THIS, isolated_places.state)
    monkeypatch.setattr(discovery, "find_interpreter", lambda *_, **__: found)
    return isolated_places


@pytest.fixture
def registry(places: Places) -> Iterator[Registry]:
    opened = Registry(places.state / "registry.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def store(places: Places) -> Store:
    return Store(places.store)


def manifest(places: Places, view: ViewId) -> Manifest:
    return Manifest.from_bytes(manifest_path(places, view).read_bytes(), expected=view)


def works(places: Places, registry: Registry, view: ViewId) -> bool:
    """Whether a mount that knows nothing yet can show the view's `python`."""
    opened = Catalog(places, Store(places.store), registry).view(view)
    return opened is not None and opened.union.resolve(b"bin/python") is not None


def test_there_is_none_before_a_mount(places: Places) -> None:
    assert default_view(places, None) is None
    assert default_view(places, "3.11") is None


def test_it_is_an_environment_without_distributions(
    places: Places, store: Store, registry: Registry
) -> None:
    view = ensure_default(places, store, registry)
    assert default_view(places, None) == default_view(places, "2.7") == view
    assert [layer.name for layer in manifest(places, view).layers] == [""]
    assert python_of(manifest(places, view)).executable == str(THIS)
    assert works(places, registry, view)


def test_it_is_made_once(
    places: Places, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = ensure_default(places, store, registry)
    monkeypatch.setattr(discovery, "find_interpreter", None)
    assert ensure_default(places, Store(places.store), registry) == view


def lose_registry(places: Places, _: ViewId) -> None:
    (places.state / "registry.sqlite3").unlink()


def lose_manifest(places: Places, view: ViewId) -> None:
    manifest_path(places, view).unlink()


def damage_manifest(places: Places, view: ViewId) -> None:
    manifest_path(places, view).write_bytes(b"{}")


def lose_store(places: Places, _: ViewId) -> None:
    for path in (places.store / "archives").iterdir():
        path.unlink()


def damage_archive(places: Places, view: ViewId) -> None:
    path = places.store / "archives" / manifest(places, view).layers[0].archive
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def damage_record(places: Places, _: ViewId) -> None:
    (record,) = (places.state / "default").iterdir()
    fields = json.loads(record.read_bytes())
    fields["views"][0]["view"] = "../../../etc"
    record.write_text(json.dumps(fields))


@pytest.mark.parametrize(
    "lose",
    [lose_registry, lose_manifest, damage_manifest, lose_store, damage_archive, damage_record],
    ids=lambda lose: lose.__name__,
)
def test_what_is_gone_or_damaged_is_made_again(
    places: Places, store: Store, registry: Registry, lose: object
) -> None:
    view = ensure_default(places, store, registry)
    lose(places, view)  # type: ignore[operator]
    fresh = Store(places.store)
    assert ensure_default(places, fresh, registry) == view
    assert works(places, registry, view)
    for name in fresh.names():
        fresh.verify(name)


def test_a_default_without_its_interpreter_is_replaced(
    places: Places,
    store: Store,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = tmp_path / "python3"
    gone.symlink_to(THIS)
    found = discovery.find_interpreter(None, None, places.state)
    moved = replace(found, python=replace(found.python, executable=str(gone)))
    with monkeypatch.context() as patched:
        patched.setattr(discovery, "find_interpreter", lambda *_, **__: moved)
        old = ensure_default(places, store, registry)
        assert ensure_default(places, store, registry) == old
    gone.unlink()
    new = ensure_default(places, store, registry)
    assert new != old
    assert default_view(places, None) == new
