from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from resolver import config
from resolver.config import ConfiguredStore
from resolver.errors import PkgviewError
from resolver.python.target import Python, Schemes
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.publishing.publish import publish
from unionfs.store import ordered as stores_module
from unionfs.store.local import Store
from unionfs.store.ordered import Stores, problem, remedy_for
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places

META = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0")
KEY = "sha256-" + "ab" * 32
NOISE = os.urandom(500_000)
PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3",
    schemes=Schemes(purelib="lib", platlib="lib", scripts="bin", headers="include", data=""),
)


def member(data: bytes) -> Member:
    return Member(path=b"purelib/a", size=len(data), open=lambda: io.BytesIO(data))


def filled(root: Path, data: bytes = NOISE, key: str = KEY) -> tuple[Store, str]:
    store = Store(root)
    name = store.add([member(data)], META)
    store.record_source(key, name)
    return store, name


def flip(path: Path, place: int) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def content(store: Store, name: str) -> bytes:
    archive = store.open(name)
    number = archive.find(b"purelib/a")
    assert number is not None
    return archive.read(number, 0, 1 << 30)


@pytest.fixture(autouse=True)
def _no_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stores_module, "SYSTEM", (tmp_path / "system",))


def added(places: Places, *roots: Path, shared: bool = False) -> Stores:
    for root in roots:
        config.add_store(places, ConfiguredStore(path=str(root), shared=shared))
    return Stores(places)


def test_the_first_that_has_it_gives_it(isolated_places: Places, tmp_path: Path) -> None:
    _, name = filled(tmp_path / "one")
    _, other = filled(tmp_path / "two", b"second")
    _, last = filled(tmp_path / "system", b"third", "built-3")
    stores = added(isolated_places, tmp_path / "one", tmp_path / "two")
    assert [place.rank for place in stores.order] == ["user", "added", "added", "system"]
    assert stores.passed_over == ()
    assert stores.archive_of(KEY) == name
    assert content(stores, name) == NOISE
    assert (content(stores, other), content(stores, last)) == (b"second", b"third")
    assert stores.archive_of("built-3") == last
    assert not isolated_places.store.exists()
    # The user's own comes first, and is the one that is written.
    _, own = filled(isolated_places.store, b"own")
    assert stores.archive_of(KEY) == own
    stores.add([member(b"new")], META)
    assert len(stores.own.names()) == 2
    assert stores.has(name)
    config.remove_store(isolated_places, str(tmp_path / "one"))
    assert not stores.has(name)
    assert Stores(isolated_places).has(other)


def test_the_same_archive_in_two_the_first_damaged(isolated_places: Places, tmp_path: Path) -> None:
    """Every frame of the first in turn, before and after it was opened."""
    first, name = filled(tmp_path / "one")
    filled(tmp_path / "two")
    path = first.path(name)
    whole = path.read_bytes()
    frames = first.open(name).contents.frame_count
    assert frames > 3
    places_ = [len(whole) * number // frames + 100 for number in range(frames)]
    for place in [*places_, len(whole) - 1, 0]:
        stores = added(isolated_places, tmp_path / "one", tmp_path / "two")
        early = stores.open(name)
        flip(path, place)
        assert content(added(isolated_places, tmp_path / "one"), name) == NOISE
        number = early.find(b"purelib/a")
        assert number is not None
        assert early.read(number, 0, len(NOISE)) == NOISE
        with pytest.raises(LayerError):
            first.verify(name)
        path.write_bytes(whole)
    assert number is not None
    # Gone while it is open, and come back.
    stores = Stores(isolated_places)
    held = stores.open(name)
    path.unlink()
    assert held.read(number, 0, 10) == NOISE[:10]
    assert content(Stores(isolated_places), name) == NOISE


def test_all_copies_damaged_is_an_error_that_names_it(
    isolated_places: Places, tmp_path: Path
) -> None:
    for root in ("one", "two"):
        store, name = filled(tmp_path / root)
        flip(store.path(name), 1000)
    stores = added(isolated_places, tmp_path / "one", tmp_path / "two")
    with pytest.raises(LayerError, match=name):
        content(stores, name)


def test_a_store_of_another_user_or_open_to_others_is_passed_over(
    isolated_places: Places, tmp_path: Path
) -> None:
    root = tmp_path / "theirs"
    store, name = filled(root)
    stores = added(isolated_places, root)
    for path in (root, store.archives, store.derived):
        path.chmod(0o1777)
        (place,) = Stores(isolated_places).passed_over
        assert place.problem == f"everybody may write to {path}"
        assert "--shared" in remedy_for(place)
        path.chmod(0o755)
        assert Stores(isolated_places).passed_over == ()
    assert stores.has(name)
    if os.geteuid() == 0:
        os.chown(root, 12345, -1)
        assert "belongs to user 12345" in Stores(isolated_places).passed_over[0].problem
        assert not Stores(isolated_places).has(name)
        assert added(isolated_places, root, shared=True).has(name)


def test_a_store_that_is_gone_is_passed_over_until_it_is_back(
    isolated_places: Places, tmp_path: Path
) -> None:
    _, name = filled(tmp_path / "net")
    stores = added(isolated_places, tmp_path / "net")
    (tmp_path / "net").rename(tmp_path / "away")
    fresh = Stores(isolated_places)
    assert not fresh.has(name)
    (place,) = fresh.passed_over
    assert place.problem == "its archives cannot be read: No such file or directory"
    assert "store remove" in remedy_for(place)
    (tmp_path / "away").rename(tmp_path / "net")
    assert fresh.has(name)
    assert stores.has(name)


def test_a_project_brings_a_store(isolated_places: Places, tmp_path: Path) -> None:
    project = tmp_path / "project"
    brought, name = filled(project / ".pkgview")
    doubted = Stores(isolated_places, project)
    assert doubted.archive_of(KEY) is None
    (place,) = doubted.passed_over
    assert f"`pkgview trust {project}`" in remedy_for(place)
    assert not list(isolated_places.store.glob("archives/*"))
    stores = Stores(isolated_places, project, believed=True)
    assert [place.rank for place in stores.order] == ["project", "user"]
    assert stores.archive_of(KEY) == name
    shutil.rmtree(project)
    stores.own.verify(name)
    # To everybody else it is unknown what the lock's hash became.
    assert stores.of_project == {name}
    assert Stores(isolated_places).archive_of(KEY) is None
    assert not stores.own.derived.exists()
    # What is damaged there is named, and not taken.
    brought, name = filled(project / ".pkgview", b"other" * 1000, "built-2")
    flip(brought.path(name), 40)
    assert stores.archive_of("built-2") is None
    (said,) = stores.damaged
    assert str(brought.path(name)) in said
    # What has the size only is not copied first; nor is what is larger than that.
    for size in (1 << 32, 1 << 42):
        os.truncate(brought.path(name), size)
        began = time.process_time()
        assert stores.archive_of("built-2") is None
        assert time.process_time() - began < 1
    assert "more than 8589934592 bytes" in stores.damaged[-1]
    assert os.listdir(isolated_places.store / "archives") == [Stores(isolated_places).names()[0]]


@pytest.mark.parametrize("key", ["made-1", "bytecode-1"])
def test_what_is_made_here_is_taken_from_nobody(
    isolated_places: Places, tmp_path: Path, key: str
) -> None:
    for root in ("project/.pkgview", "team", "system"):
        filled(tmp_path / root, key=key)
    added(isolated_places, tmp_path / "team")
    stores = Stores(isolated_places, tmp_path / "project", believed=True)
    assert len(stores.order) == 4
    assert stores.passed_over == ()
    assert stores.archive_of(key) is None
    _, own = filled(isolated_places.store, b"own", key)
    assert stores.archive_of(key) == own


def test_records_of_earlier_versions_count_nowhere(isolated_places: Places, tmp_path: Path) -> None:
    for root in (isolated_places.store, tmp_path / "project/.pkgview", tmp_path / "system"):
        store, _ = filled(root)
        store.derived.rename(root / "sources")
    stores = Stores(isolated_places, tmp_path / "project", believed=True)
    assert stores.archive_of(KEY) is None
    assert stores.known_sources() == {}
    assert stores.former_sources() == 1
    stores.drop_former_sources()
    assert stores.former_sources() == 0
    assert len(stores.names()) == 1


def test_what_is_taken_is_verified_whole(isolated_places: Places, tmp_path: Path) -> None:
    theirs, name = filled(tmp_path / "theirs")
    own = Store(isolated_places.store)
    assert own.take(theirs.path(name), name)
    assert not own.take(theirs.path(name), name)
    own.verify(name)
    assert own.path(name).stat().st_mode & 0o777 == 0o444
    own.path(name).unlink()
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / name)
    for wrong in (tmp_path / "pipe" / name, tmp_path / "nothing"):
        with pytest.raises(LayerError, match=name):
            own.take(wrong, name)
    whole = theirs.path(name).read_bytes()
    for cut in range(0, len(whole), 4096):
        theirs.path(name).chmod(0o644)
        theirs.path(name).write_bytes(whole[:cut])
        with pytest.raises(LayerError, match="demo"):
            own.take(theirs.path(name), name)
    assert os.listdir(own.archives) == []


def test_an_archive_of_another_store_is_read_whole_before_it_counts(
    isolated_places: Places, tmp_path: Path
) -> None:
    """Once, whoever owns it: an open that believes the table notices no frame that is wrong."""
    theirs, name = filled(tmp_path / "theirs")
    whole = theirs.path(name).read_bytes()
    stores = added(isolated_places, tmp_path / "theirs")
    registry = Registry(isolated_places.state / "registry.sqlite3")
    manifest = PYTHON.manifest((PYTHON.layer(name),))
    try:
        flip(theirs.path(name), 1000)
        assert Store(tmp_path / "theirs", FrameCache(0)).open(name)
        with pytest.raises(PkgviewError, match=name):
            publish(isolated_places, manifest, stores, registry)
        assert registry.archive_number(name) is None
        theirs.path(name).write_bytes(whole)
        publish(isolated_places, manifest, Stores(isolated_places), registry)
        assert registry.archive_number(name) is not None
    finally:
        registry.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_store_on_a_read_only_mount(isolated_places: Places, tmp_path: Path) -> None:
    _, name = filled(tmp_path / "disk" / "store")
    bound = tmp_path / "bound"
    bound.mkdir()
    for options in (["--bind", str(tmp_path / "disk")], ["-o", "remount,ro,bind"]):
        if subprocess.run(["mount", *options, bound], check=False, capture_output=True).returncode:
            pytest.skip("no bind mounts here")
    try:
        with pytest.raises(OSError, match="Read-only") as caught:
            (bound / "x").touch()
        assert caught.value.errno == errno.EROFS
        stores = added(isolated_places, bound / "store")
        assert stores.archive_of(KEY) == name
        assert content(stores, name) == NOISE
    finally:
        subprocess.run(["umount", bound], check=True)


def test_what_is_no_store(tmp_path: Path) -> None:
    assert "cannot be read" in problem(tmp_path / "none")
    (tmp_path / "archives").touch()
    assert "Not a directory" in problem(tmp_path, shared=True)


def test_a_store_of_a_team_is_open_to_whom_its_root_is(tmp_path: Path) -> None:
    root = tmp_path / "team"
    root.mkdir()
    root.chmod(0o3777)
    store, _ = filled(root)
    assert {path.stat().st_mode & 0o7777 for path in (store.archives, store.derived)} == {0o3777}
