from __future__ import annotations

import gc
import io
import json
import logging
import sqlite3
import weakref
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import Manifest, ViewId
from resolver.naming import project_key
from resolver.project import resolved, trust
from resolver.project.resolved import Resolved, ResolvedView
from resolver.python.target import Python, Schemes
from unionfs.archive.layer import EntryNo, LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view import catalog as catalogs
from unionfs.view.catalog import Catalog, manifest_path
from unionfs.view.nodeid import PACKING, ArchiveNo, NodeId, ProjectNo, ViewNo
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.places import Places

SITE = "lib/python3.11/site-packages"
PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3.11",
    schemes=Schemes(purelib=SITE, platlib=SITE, scripts="bin", headers="include", data=""),
)


@pytest.fixture
def registry(isolated_places: Places) -> Iterator[Registry]:
    opened = Registry(isolated_places.state / "registry.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


@pytest.fixture
def catalog(isolated_places: Places, registry: Registry) -> Catalog:
    # As in a daemon: what others add, its own store has not opened.
    return Catalog(isolated_places, Store(isolated_places.store), registry)


def archive(store: Store, name: str = "demo", **files: str) -> str:
    members = [
        Member(
            path=f"purelib/{path}".encode(), size=len(text), open=partial(io.BytesIO, text.encode())
        )
        for path, text in files.items()
    ]
    meta = Meta(kind="distribution", name=name, version="1", stem=f"{name}-1-py3-none-any")
    return store.add(members, meta)


def manifest(*archives: str) -> Manifest:
    return PYTHON.manifest(tuple(PYTHON.layer(name) for name in archives))


def published(catalog: Catalog, store: Store, *archives: str) -> ViewId:
    return publish(catalog.places, manifest(*archives), store, catalog.registry)


def damage(path: Path) -> None:
    """Flip a bit of the last byte: an archive cannot be opened then."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


# Views


def test_a_view_is_opened_when_it_is_looked_into(catalog: Catalog, store: Store) -> None:
    view = published(catalog, store, archive(store, a="1"))
    number = catalog.view_number(view)
    assert number is not None
    assert catalog.views() == [(number, view)]
    assert catalog.loaded_views == 0
    opened = catalog.view_numbered(number)
    assert opened is not None
    assert opened is catalog.view(view)
    assert opened.manifest.id == view
    assert catalog.loaded_views == 1


def test_what_is_not_used_makes_room_and_means_the_same_when_it_comes_back(
    isolated_places: Places, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 200_000
    monkeypatch.setattr(catalogs, "ROOM_FOR_VIEWS", room)
    monkeypatch.setattr(catalogs, "ROOM_FOR_ARCHIVES", room)
    registry = Registry(isolated_places.state / "registry.sqlite3")
    catalog = Catalog(isolated_places, Store(isolated_places.store), registry)
    told: list[ViewId] = []
    catalog.opened = lambda view, _: told.append(view)
    files = {f"module_{number}": "" for number in range(200)}
    views = [
        published(catalog, store, archive(store, f"demo{number}", own=str(number), **files))
        for number in range(20)
    ]

    def seen() -> list[tuple[ViewNo, str, list[NodeId]]]:
        found = []
        for view in views:
            opened = catalog.view(view)
            assert opened is not None
            names = [opened.found(place)[0] for _, place in opened.union.walk()]
            member = catalog.member(opened.members[0].number)
            assert member is not None
            found.append((opened.number, member.archive.name, names))
        return found

    before = seen()
    assert catalog.kept < 2.1 * room
    first, again = catalog.view(views[0]), catalog.view(views[0])
    assert first is again
    gone = weakref.ref(first.members[0].archive) if first else None
    del first, again
    assert seen() == before
    gc.collect()
    assert gone is not None
    assert gone() is None
    assert sorted(told) == sorted(views)
    registry.close()


def test_opening_a_view_asks_as_often_for_many_layers_as_for_two(
    catalog: Catalog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question looks for the registry's file first: 500 layers took a tenth of a second."""
    names = [archive(store, "demo", same="1", own=str(number)) for number in range(20)]
    views = [published(catalog, store, *some) for some in (names[:2], names)]
    follow = Mock(side_effect=catalog.registry._follow)
    monkeypatch.setattr(catalog.registry, "_follow", follow)
    asked = []
    for view in views:
        follow.reset_mock()
        opened = catalog.view(view)
        asked.append(follow.call_count)
    assert asked[0] == asked[1]
    # And what it shares with earlier versions comes with the numbers.
    assert opened is not None
    nodes = {member.known(EntryNo(3)) for member in opened.members}
    assert {PACKING.archive_parts(node) for node, _ in nodes} == {(opened.members[0].number, 3)}


def test_what_nobody_made_is_not_there(catalog: Catalog) -> None:
    assert catalog.view(ViewId("0" * 32)) is None
    assert catalog.view_numbered(ViewNo(1)) is None
    assert catalog.member(ArchiveNo(1)) is None
    assert catalog.package(b"demo-1-0123456789ab") is None
    assert catalog.projects.view(ProjectNo(1)) is None
    assert (catalog.views(), catalog.packages(), catalog.projects.all()) == ([], [], [])


@pytest.mark.parametrize("name", ["", "..", "current", "0" * 31, "0" * 33, "A" * 32, "\u0660" * 32])
def test_only_an_id_names_a_view(catalog: Catalog, name: str) -> None:
    assert catalog.view_number(ViewId(name)) is None


def test_two_views_share_an_opened_archive(catalog: Catalog, store: Store) -> None:
    one, two = archive(store, "one", a="1"), archive(store, "two", b="2")
    first = catalog.view(published(catalog, store, one))
    second = catalog.view(published(catalog, store, one, two))
    assert first is not None
    assert second is not None
    assert first.members[0] is second.members[0]


def test_a_damaged_manifest_is_said_until_it_is_mended(catalog: Catalog, store: Store) -> None:
    view = published(catalog, store, archive(store, a="1"))
    path = manifest_path(catalog.places, view)
    for broken in (b"", path.read_bytes() + b" ", b"\xff" * 100):
        path.write_bytes(broken)
        with pytest.raises(PkgviewError, match=f"manifest {view} is damaged"):
            catalog.view(view)
    path.unlink()
    assert catalog.view(view) is None
    published(catalog, store, archive(store, a="1"))
    assert catalog.view(view) is not None


def test_a_missing_archive_is_said_until_it_is_back(catalog: Catalog, store: Store) -> None:
    name = archive(store, a="1")
    view = published(catalog, store, name)
    aside = store.set_aside(name)
    with pytest.raises(LayerError, match=rf"{name}: No such file"):
        catalog.view(view)
    aside.rename(store.path(name))
    assert catalog.view(view) is not None


def test_an_opened_view_needs_neither_manifest_nor_registry(catalog: Catalog, store: Store) -> None:
    """Who is in it stays there; by its name nobody finds it any more."""
    view = published(catalog, store, archive(store, a="1"))
    opened = catalog.view(view)
    manifest_path(catalog.places, view).unlink()
    catalog.registry.path.unlink()
    assert opened is not None
    assert catalog.view_numbered(opened.number) is opened
    assert catalog.view(view) is None


def test_a_view_that_is_made_again_has_the_numbers_that_are_registered(
    catalog: Catalog, store: Store
) -> None:
    """Whether or not anybody looked while it was gone, at it or at what has its former number."""
    name = archive(store, a="1")
    view = published(catalog, store, name)
    old = catalog.view(view)
    assert old is not None
    for look in (lambda: None, catalog.views, partial(catalog.view_numbered, old.number)):
        before = catalog.view(view)
        manifest_path(catalog.places, view).unlink()
        catalog.registry.forget(archives=[], views=[], projects=[])
        catalog._views.drop(old.number)
        published(catalog, store, name)
        look()
        new = catalog.view(view)
        assert before is not None
        assert new is not None
        assert catalog.registry.view_number(view) == new.number > before.number
        assert catalog.registry.archive_number(name) == new.members[0].number
        assert new.members[0].number > before.members[0].number
        assert catalog.views() == [(new.number, view)]


def begin_again(catalog: Catalog, *, like_before: bool) -> None:
    """Another registry in place of the one in use, which hands out the same numbers or others."""
    path = catalog.registry.path
    with sqlite3.connect(path) as db:
        before = dict(db.execute("SELECT 'views', min(number) FROM views"))
        before |= dict(db.execute("SELECT 'archives', min(number) FROM archives"))
    db.close()
    path.unlink()
    Registry(path).close()
    with sqlite3.connect(path) as db:
        for table, first in before.items():
            number = first - 1 if like_before else first + 1000
            db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (number, table))
    db.close()


def test_after_the_registry_was_replaced_new_views_are_there(
    catalog: Catalog, store: Store
) -> None:
    one, two = archive(store, "one", a="1"), archive(store, "two", b="2")
    old = catalog.view(published(catalog, store, one))
    assert old is not None
    begin_again(catalog, like_before=False)
    new = catalog.view(published(catalog, store, two, one))
    assert new is not None
    assert new.number != old.number
    assert catalog.view_numbered(old.number) is old


def test_numbers_that_came_to_mean_something_else_are_refused(
    catalog: Catalog, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = archive(store, "one", a="1"), archive(store, "two", b="2")
    old = catalog.view(published(catalog, store, one))
    assert old is not None
    begin_again(catalog, like_before=True)
    new = published(catalog, store, two)
    assert catalog.registry.view_number(new) == old.number
    with pytest.raises(LayerError, match="registry was replaced under a live mount"):
        catalog.view(new)
    assert catalog.views() == []
    assert "registry was replaced" in caplog.text
    assert catalog.view_numbered(old.number) is old
    # The archive's number is another's, too: a view with a number of its own shows that.
    third = published(catalog, store, two, one)
    with pytest.raises(LayerError, match="registry was replaced under a live mount"):
        catalog.view(third)


def test_a_listed_view_keeps_its_number_though_nobody_looked_into_it(
    catalog: Catalog, store: Store
) -> None:
    one, two = archive(store, "one", a="1"), archive(store, "two", b="2")
    listed = published(catalog, store, one)
    ((number, _),) = catalog.views()
    begin_again(catalog, like_before=True)
    published(catalog, store, two)
    with pytest.raises(LayerError, match="not registered"):
        catalog.view_numbered(number)
    assert catalog.view_number(listed) == number


# Archives


def test_holders_begin_with_the_archive_that_is_named(catalog: Catalog, store: Store) -> None:
    names = [archive(store, "demo", one=own, same="same") for own in "123"]
    published(catalog, store, *names)
    numbers = [catalog.registry.archive_number(name) for name in names]
    node = PACKING.in_archive(ArchiveNo(numbers[0] or 0), EntryNo(3))
    assert [holder.name for holder, _ in catalog.holders(node)] == names
    assert {holder.path_of(entry) for holder, entry in catalog.holders(node)} == {b"purelib/same"}


def test_another_holder_stands_in_for_one_that_cannot_be_opened(
    catalog: Catalog, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    names = [archive(store, "demo", one=own, same="same") for own in "12"]
    published(catalog, store, *names)
    node = PACKING.in_archive(ArchiveNo(catalog.registry.archive_number(names[0]) or 0), EntryNo(3))
    damage(store.path(names[0]))
    assert [holder.name for holder, _ in catalog.holders(node)] == names[1:]
    assert names[0] in caplog.text
    store.set_aside(names[1])
    with pytest.raises(LayerError, match=names[0]):
        list(Catalog(catalog.places, Store(store.root), catalog.registry).holders(node))


def test_an_archive_that_is_back_is_found_again(catalog: Catalog, store: Store) -> None:
    names = [archive(store, "demo", one=own, same="same") for own in "12"]
    published(catalog, store, *names)
    node = PACKING.in_archive(ArchiveNo(catalog.registry.archive_number(names[0]) or 0), EntryNo(3))
    away = store.path(names[0]).rename(store.root / "away")
    assert [holder.name for holder, _ in catalog.holders(node)] == names[1:]
    assert catalog.holder_at_hand(node) == (catalog.store.open(names[1]), EntryNo(3))
    other = Catalog(catalog.places, Store(store.root), catalog.registry)
    next(other.holders(node))
    away.rename(store.path(names[0]))
    store.set_aside(names[1])
    later = Catalog(catalog.places, Store(store.root), catalog.registry)
    later._gone = other._gone
    assert next(later.holders(node))[0].name == names[0]
    assert later._gone.size == 0


def test_what_has_no_copy_has_one_holder_or_an_error(catalog: Catalog, store: Store) -> None:
    name = archive(store, a="1", b="2")
    published(catalog, store, name)
    node = PACKING.in_archive(ArchiveNo(catalog.registry.archive_number(name) or 0), EntryNo(2))
    damage(store.path(name))
    with pytest.raises(LayerError, match=name):
        list(catalog.holders(node))
    assert list(catalog.holders(PACKING.in_archive(ArchiveNo(1), EntryNo(2)))) == []


def test_packages_are_the_registered_archives_of_the_store(catalog: Catalog, store: Store) -> None:
    names = [archive(store, name, a=name) for name in ("one", "two", "three")]
    notice = store.add([], Meta(kind="skeleton", name="", version="", stem="notice"))
    published(catalog, store, notice, *names)
    archive(store, "unregistered", a="x")
    digests = {name.split("-")[0]: name.split(".")[-3][:12] for name in names}
    shown = [f"{name}-1-{digest}".encode() for name, digest in digests.items()]
    assert [short for short, _ in catalog.packages()] == shown
    assert [catalog.package(short) for short in shown] == [no for _, no in catalog.packages()]
    store.set_aside(names[1])
    assert [short for short, _ in catalog.packages()] == [shown[0], shown[2]]
    assert catalog.package(shown[1]) is None
    for wrong in (b"", b"-", b"one", b"one-1-", b"two-1-" + shown[0][-12:], shown[0] + b"\xff"):
        assert catalog.package(wrong) is None


# Projects


def record(places: Places, root: str, *views: ViewId) -> str:
    found = Resolved(
        root=root,
        views=tuple(
            ResolvedView(kind="python", variant=f"3.{number}", view=view, fingerprint="")
            for number, view in enumerate(views)
        ),
    )
    resolved.save(places.state / "projects", found)
    trust._save(places.state, trust.Trusted(root=root, directory=(1, 2, 3)))
    return found.key


def test_a_project_leads_to_its_newest_view(catalog: Catalog) -> None:
    old, new = ViewId("1" * 32), ViewId("2" * 32)
    key = record(catalog.places, "/srv/shop", old)
    number = catalog.projects.number(key)
    assert number is not None
    assert catalog.projects.view(number) == old
    record(catalog.places, "/srv/shop", old, new)
    assert catalog.projects.view(number) == new
    assert catalog.projects.all() == [(number, key)]


def test_projects_are_listed_as_they_came(catalog: Catalog) -> None:
    view = ViewId("1" * 32)
    first = record(catalog.places, "/z", view)
    catalog.projects.all()
    others = [record(catalog.places, f"/{name}", view) for name in "ab"]
    hidden = record(catalog.places, "/srv/.config", view)
    keys = [key for _, key in catalog.projects.all()]
    assert keys[0] == first
    assert set(keys) == {first, *others, hidden}


def test_a_project_without_views_is_not_there(catalog: Catalog) -> None:
    assert catalog.projects.number(record(catalog.places, "/empty")) is None
    assert catalog.projects.all() == []


def test_foreign_and_damaged_records_are_passed_over(catalog: Catalog) -> None:
    directory = catalog.places.state / "projects"
    key = record(catalog.places, "/good", ViewId("1" * 32))
    (directory / "nothing-of-ours.json").write_text("{}")
    (directory / f"{project_key('/cut')}.json").write_text("{")
    (directory / f"{project_key('/wrong')}.json").write_text(
        json.dumps({"root": "/wrong", "views": [{"python": "3", "view": 5, "fingerprint": ""}]})
    )
    (directory / ".tmp-x").write_text("")
    (directory / "name-0123456789.txt").write_text("")
    with open(bytes(directory) + b"/\xff-0123456789.json", "wb"):  # noqa: PTH123 - no text
        pass
    assert [found for _, found in catalog.projects.all()] == [key]
    for name in ("..", ".", "", "a/b-0123456789", "../projects/x-0123456789", "x\0-0123456789"):
        assert catalog.projects.number(name) is None


def test_nothing_is_logged_where_nothing_is_wrong(
    catalog: Catalog, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    catalog.view(published(catalog, store, archive(store, a="1")))
    list(catalog.packages())
    assert caplog.text == ""
