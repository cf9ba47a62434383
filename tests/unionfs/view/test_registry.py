from __future__ import annotations

import io
import itertools
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.archive.layer import EntryNo, Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.view import nodeid, schema
from unionfs.view.nodeid import BEFORE, PACKING, ArchiveNo, NodeId
from unionfs.view.registry import Registry
from unionfs.view.schema import SECOND, STEP, VERSION
from unionfs.view.sharing import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resolver.places import Places
    from unionfs.archive.reader import Archive


def view(number: int) -> ViewId:
    return ViewId(f"{number:032x}")


def file(path: str, data: bytes, *, executable: bool = False) -> Member:
    return Member(
        path=path.encode(), size=len(data), open=partial(io.BytesIO, data), executable=executable
    )


def link(path: str, target: str) -> Member:
    return Member(path=path.encode(), kind=Kind.SYMLINK, target=target.encode())


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


@pytest.fixture
def path(isolated_places: Places) -> Path:
    return isolated_places.state / "registry.sqlite3"


@pytest.fixture
def registry(path: Path) -> Iterator[Registry]:
    opened = Registry(path)
    yield opened
    opened.close()


def packed(
    store: Store, *members: Member, name: str = "demo", kind: str = "distribution"
) -> Archive:
    meta = Meta(kind=kind, name=name, version="1", stem=f"{name}-1")
    return store.open(store.add(members, meta))


def node_of(registry: Registry, archive: Archive, name: str) -> NodeId:
    number = registry.archive_number(archive.name)
    entry = archive.find(name.encode())
    assert number is not None
    assert entry is not None
    found = registry.archive(number)
    assert found is not None
    known = found.shared.get(entry)
    return PACKING.in_archive(*known[:2]) if known else PACKING.in_archive(number, entry)


# Numbers


def test_a_number_is_given_once(registry: Registry, store: Store, path: Path) -> None:
    archive = packed(store, file("a", b"a"))
    number = registry.register_archive(archive, store.open)
    assert registry.register_archive(archive, store.open) == number
    assert registry.archive(number) == (number, archive.name, registry.archives()[0][2], 2, NOTHING)
    assert registry.register_view(view(1)) == registry.register_view(view(1))
    assert registry.register_project("p-0123456789") == registry.register_project("p-0123456789")
    again = Registry(path)
    assert again.archive_number(archive.name) == number
    assert [found[:2] for found in again.archives()] == [(number, archive.name)]
    assert [found[:2] for found in again.views()] == [(again.view_number(view(1)), view(1))]
    again.close()


def test_many_are_registered_at_once_or_none(registry: Registry, store: Store, path: Path) -> None:
    def changes() -> int:
        return int.from_bytes(path.read_bytes()[24:28], "big")  # SQLite's file change counter

    def fail(_: str) -> Archive:
        raise InterruptedError

    one, two, twin = (packed(store, file("a", data), name=data.decode()[:3])
                      for data in (b"one", b"two", b"two again"))  # fmt: skip
    with pytest.raises(PkgviewError):
        registry.register_archives([one, two, twin], fail)
    assert registry.archives() == []
    before = changes()
    numbers = registry.register_archives([one, two, one, twin], store.open)
    assert changes() == before + 1
    assert numbers == [registry.archive_number(archive.name) for archive in (one, two, one, twin)]
    assert len(registry.archives()) == 3
    assert registry.register_archives(iter([twin, two]), store.open) == [numbers[3], numbers[1]]
    assert changes() == before + 1


def test_what_has_no_number(registry: Registry) -> None:
    assert registry.archive_number("demo") is None
    assert registry.archive(ArchiveNo(1)) is None
    assert registry.view_number(view(1)) is None
    assert registry.view(nodeid.ViewNo(1)) is None
    assert registry.project_key(nodeid.ProjectNo(1)) is None
    assert registry.copies(ArchiveNo(1)) == {}


def test_what_is_forgotten_is_unknown_and_its_number_not_given_again(
    registry: Registry, store: Store, path: Path
) -> None:
    archives = [packed(store, file("a", b"%d" % number)) for number in range(60)]
    numbers = [registry.register_archive(archive, store.open) for archive in archives]
    views = [registry.register_view(view(number)) for number in range(500)]
    projects = [registry.register_project(f"p{number}-0123456789") for number in range(500)]
    times = [time for *_, time in registry.archives()]
    size = path.stat().st_size
    keep = {archives[number].name for number in (3, 5)}
    registry.forget(archives=keep, views=[view(7)], projects=["p9-0123456789"])
    # The last of a distribution stays, for the sake of the times to come.
    assert [name for _, name, _ in registry.archives()] == [archives[n].name for n in (3, 5, 59)]
    assert [number for number, *_ in registry.views()] == [views[7]]
    assert registry.archive(numbers[4]) is None
    assert registry.view(views[8]) is None
    assert registry.project_key(projects[8]) is None
    assert registry.project_key(projects[9]) == "p9-0123456789"
    assert path.stat().st_size < size / 2
    assert registry.register_view(view(8)) > views[-1]
    assert registry.register_project("p8-0123456789") > projects[-1]
    assert registry.register_archive(archives[4], store.open) > numbers[-1]
    assert registry.archives()[-1][2] > max(times)


def test_an_archive_has_a_number_for_each_place_of_its_own(
    registry: Registry, store: Store, path: Path
) -> None:
    one, two, before = (
        packed(store, file("a", b"same"), file("b", data), name=name)
        for data, name in ((b"1", "demo"), (b"2", "demo"), (b"3", "other"))
    )
    registry.register_archive(before, store.open)
    for new, where in (([one], ("x", "y")), ([two], ("y",)), ([before], ("z",))):
        asked = [(new[0].name, place) for place in where]
        registry.register_archives(new, store.open, where=asked)
        assert registry.unplaced(asked) == []
    places = [(one.name, "x"), (one.name, "y"), (two.name, "y"), (before.name, "z")]
    there = registry.registered_at(places)
    assert [there[place].archive for place in places] == [name for name, _ in places]
    numbers = [there[place].number for place in places]
    assert len({*numbers}) == len(places)
    assert (numbers[0], numbers[3]) == (
        registry.archive_number(one.name), registry.archive_number(before.name),
    )  # fmt: skip
    # A version shares with the one before it at its own place, and is later than that.
    known = there[places[2]].shared.get(two.find(b"a") or EntryNo(0))
    assert (known.archive if known else None) == numbers[1]
    assert there[places[2]].time > there[places[1]].time
    assert there[places[2]].shared.get(two.find(b"b") or EntryNo(0)) is None
    registry.forget(archives=[two.name], views=[], projects=[])
    assert [number for number, *_ in registry.archives()] == numbers[1:3]
    # Its own name is free again: it never is that of a number without a place.
    for together in ("y",), ("x", "y"):
        asked = [(one.name, place) for place in together]
        assert registry.register_archives([one], store.open, where=asked)
        there = registry.registered_at(asked)
        assert there[one.name, "y"].number == numbers[1]
        assert (registry.archive_number(one.name) is None) == (together == ("y",))
    later = there[one.name, "x"]
    assert (later.name, later.shared.to_json()) == (one.name, "")
    assert later.number > numbers[2]
    # As an earlier version registered it: nothing shares with that, and no place has it.
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM places WHERE number = ?", (later.number,))
    asked = [(one.name, "w"), (one.name, "x")]
    registry.register_archives([one], store.open, where=asked)
    apart = {known.number for known in registry.registered_at(asked).values()}
    assert len(apart) == 2
    assert not apart & {later.number, *numbers}
    registry.forget(archives=[], views=[], projects=[])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM places").fetchall() == []


def test_what_others_are_known_by_is_not_forgotten(registry: Registry, store: Store) -> None:
    old, new, other = (
        packed(store, file("a", b"same"), file("b", data), name=name)
        for name, data in (("demo", b"1"), ("demo", b"2"), ("other", b"3"))
    )
    for archive in (old, new, other):
        registry.register_archive(archive, store.open)
    node, number = node_of(registry, new, "a"), registry.archive_number(old.name)
    assert node == node_of(registry, old, "a")
    registry.forget(archives=[new.name, other.name], views=[], projects=[])
    assert registry.archive_number(old.name) == number
    assert node_of(registry, new, "a") == node
    registry.forget(archives=[other.name], views=[], projects=[])
    assert [name for _, name, _ in registry.archives()] == [other.name]


def test_numbers_are_never_used_again(registry: Registry, path: Path) -> None:
    numbers = [registry.register_view(view(number)) for number in range(3)]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM views")
    db.close()
    assert registry.register_view(view(9)) == numbers[-1] + 1


def test_registries_begin_at_different_numbers(tmp_path: Path) -> None:
    firsts = set()
    for number in range(8):
        registry = Registry(tmp_path / f"{number}.sqlite3")
        firsts.add(registry.register_view(view(0)))
        registry.close()
    assert len(firsts) > 1
    assert all(0 < first <= PACKING.most_views // 2 + 1 for first in firsts)


@pytest.mark.parametrize(
    ("table", "limit"), [("views", PACKING.most_views), ("archives", PACKING.most_archives)]
)
def test_no_number_passes_what_a_node_id_holds(
    registry: Registry, store: Store, path: Path, table: str, limit: int
) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (limit - 1, table))
    db.close()

    def register(number: int) -> int:
        if table == "views":
            return registry.register_view(view(number))
        return registry.register_archive(packed(store, file("a", b"%d" % number)), store.open)

    assert register(1) == limit
    for _ in range(2):
        with pytest.raises(PkgviewError, match=f"no numbers left for {table}"):
            register(2)
    assert register(1) == limit


PROGRAM = """
import sys
from pathlib import Path
from resolver.manifest import ViewId
from unionfs.view.registry import Registry
from unionfs.store.local import Store
registry, store = Registry(Path(sys.argv[1])), Store(Path(sys.argv[2]))
for name in store.names():
    print(name, registry.register_archive(store.open(name), store.open))
for number in range(30):
    print(number, registry.register_view(ViewId(f"{number:032x}")))
"""


def test_processes_at_once_agree(registry: Registry, store: Store, path: Path) -> None:
    for number in range(5):
        packed(store, file("shared", b""), *(file(f"{n}", b"%d" % (n * number)) for n in range(50)))
    command = [sys.executable, "-c", PROGRAM, str(path), str(store.root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 4
    assert len(said) == 1
    assert len(registry.views()) == 30
    assert len({node_of(registry, store.open(name), "shared") for name in store.names()}) == 1


def test_a_process_killed_amid_a_change_changes_nothing(registry: Registry, path: Path) -> None:
    registry.register_view(view(1))
    program = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1')\n"  # so that pages reach the file before the end
        "db.execute('BEGIN IMMEDIATE')\n"
        "for n in range(3000): db.execute('INSERT INTO views(id) VALUES (?)', (str(n),))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, path], check=False)
    assert [found[:2] for found in registry.views()] == [(registry.view_number(view(1)), view(1))]
    registry.register_view(view(2))


# What versions share


def test_a_file_is_known_by_the_first_version_since_which_it_is_the_same(
    registry: Registry, store: Store
) -> None:
    one = packed(store, file("a", b"1"), file("b/x", b"2"), file("c", b"3"), file("e", b"4"))
    two = packed(store, file("a", b"1"), file("b/x", b"2"), file("b/y", b"2"), file("c", b"!"))
    three = packed(
        store, file("a", b"1"), file("b/y", b"2"), file("c", b"3"), file("d", b"1"), file("e", b"4")
    )
    numbers = [registry.register_archive(archive, store.open) for archive in (one, two, three)]
    first, second, third = (
        {n: node_of(registry, archive, n) for n in "abcde" if archive.find(n.encode())}
        for archive in (one, two, three)
    )
    assert third["a"] == second["a"] == first["a"]
    assert node_of(registry, two, "b/x") == node_of(registry, one, "b/x")
    assert node_of(registry, three, "b/y") == node_of(registry, two, "b/y")
    # The same again, but not as it was all the while.
    own = {name: PACKING.archive_parts(third[name])[0] for name in "cde"}
    assert own == dict.fromkeys("cde", numbers[2])
    copies = registry.copies(numbers[0])
    assert copies == {
        one.find(b"a"): [(numbers[1], two.find(b"a")), (numbers[2], three.find(b"a"))],
        one.find(b"b/x"): [(numbers[1], two.find(b"b/x"))],
    }
    times = times_of(registry)
    known = registry.registered([three.name])[three.name].shared.get(three.find(b"a") or EntryNo(0))
    assert known == (numbers[0], one.find(b"a"), times[one.name])


TREES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([b"1", b"2"]))
"""What a version has."""


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(TREES, st.booleans(), st.sets(st.integers(0, 5))), max_size=6))
def test_what_is_another_in_a_later_version_is_later(
    steps: list[tuple[dict[str, bytes], bool, set[int]]],
) -> None:
    """Whatever was in between, and whatever was collected: as `cp -u` and `make` need it."""
    seen: list[tuple[str, dict[str, tuple[bytes, int]]]] = []
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        store = Store(Path(directory, "store"))
        registry = Registry(Path(directory, "registry.sqlite3"))
        for number, (tree, collects, kept) in enumerate(steps):
            patch.setattr(time, "time_ns", lambda now=number: (1_700_000_000 + now) * SECOND)
            members = [file(name, data) for name, data in tree.items()]
            archive = packed(store, *members, file("version", b"%d" % number))
            registry.register_archive(archive, Store(store.root).open)
            found = registry.registered([archive.name])[archive.name]
            shown = {}
            for name, data in tree.items():
                known = found.shared.get(archive.find(name.encode()) or EntryNo(0))
                shown[name] = data, (known.time if known else found.time) // SECOND
                for _, before in seen:
                    then, moment = before.get(name, (data, 0))
                    assert moment < shown[name][1] if then != data else moment <= shown[name][1]
            seen.append((archive.name, shown))
            if collects:
                names = {name for place, (name, _) in enumerate(seen) if place in kept}
                for name in set(store.names()) - names:
                    store.remove(name)
                registry.forget(archives=names, views=[], projects=[])
        registry.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(TREES, min_size=2, max_size=4), st.lists(st.integers(0, 3), max_size=8))
@example([{"a": b"1"}, {"a": b"2"}, {"a": b"2"}], [0, 1, 0, 2])
def test_who_went_back_sees_what_comes_next(
    trees: list[dict[str, bytes]], steps: list[int]
) -> None:
    """`make` after each step of one project among versions: anew after going back, else not."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        store = Store(Path(directory, "store"))
        registry = Registry(Path(directory, "registry.sqlite3"))
        versions = [
            packed(store, *(file(name, data) for name, data in tree.items()), file("v", b"%d" % n))
            for n, tree in enumerate(trees)
        ]
        had: set[tuple[str, str]] = set()
        made: dict[str, tuple[bytes, int]] = {}
        for number, step in enumerate(steps):
            clock = 1_700_000_000 + 2 * number
            patch.setattr(time, "time_ns", lambda clock=clock: clock * SECOND)
            archive, tree = versions[step % len(trees)], trees[step % len(trees)]
            if registry.archive_number(archive.name) is not None:
                made.clear()
            registry.register_archives([archive], store.open, moved=had ^ {(archive.name, "")})
            had = {(archive.name, "")}
            found = registry.registered_at(had)[archive.name, ""]
            for name, data in tree.items():
                known = found.shared.get(archive.find(name.encode()) or EntryNo(0))
                moment = (known.time if known else found.time) // SECOND
                if name not in made or moment > made[name][1]:
                    made[name] = data, clock + 1
                assert made[name][0] == data
        registry.close()


def test_what_came_before_a_version_that_is_back_goes_no_further(
    registry: Registry, store: Store
) -> None:
    """Whoever stays at an earlier version keeps nobody from sharing."""
    a, b, c, d = (
        packed(store, file("all", b"0"), file("later", b"%d" % min(n, 1)), file("v", b"%d" % n))
        for n in range(4)
    )
    for archive, moved in ((a, {a}), (b, {a, b}), (c, set()), (a, {c, a}), (d, {a, d})):
        names = {(one.name, "") for one in moved}
        registry.register_archives([archive], store.open, moved=names)
    assert len({node_of(registry, one, "all") for one in (a, b, c, d)}) == 1
    assert node_of(registry, c, "later") == node_of(registry, b, "later")
    assert node_of(registry, d, "later") not in {node_of(registry, one, "later") for one in (a, b)}
    e = packed(store, file("all", b"0"), file("later", b"1"), file("v", b"4"))
    registry.register_archives([e], store.open, moved={(d.name, ""), (e.name, "")})
    assert node_of(registry, e, "later") == node_of(registry, d, "later")
    assert registry._again.between("distribution demo") != []
    registry.forget(archives=[], views=[], projects=[])
    assert registry._again.between("distribution demo") == []


def test_what_stat_tells_apart_is_not_shared(registry: Registry, store: Store) -> None:
    old = packed(store, file("a", b"x"), file("b", b"x"), link("c", "x"), file("d/e", b"x"))
    new = packed(
        store, file("a", b"x", executable=True), link("b", "x"), file("c", b"x"), file("d", b"x")
    )
    for archive in (old, new):
        registry.register_archive(archive, store.open)
    assert not registry.registered([new.name])[new.name].shared.to_json()


def test_nothing_is_shared_within_an_archive_or_with_another_distribution(
    registry: Registry, store: Store
) -> None:
    archives = [
        packed(store, file("a", b"same"), file("b", b"same")),
        packed(store, file("a", b"same"), file("b", b"same"), name="other"),
        packed(store, file("a", b"same"), file("b", b"same"), kind="skeleton"),
    ]
    for archive in archives:
        registry.register_archive(archive, store.open)
    nodes = {node_of(registry, archive, name) for archive in archives for name in "ab"}
    assert len(nodes) == 6


def test_what_cannot_be_opened_any_more_counts_as_another(registry: Registry, store: Store) -> None:
    versions = [packed(store, file("a", b"same"), file("b", b"%d" % n)) for n in range(3)]
    for archive in versions[:2]:
        registry.register_archive(archive, store.open)
    assert node_of(registry, versions[1], "a") == node_of(registry, versions[0], "a")
    store.set_aside(versions[1].name)
    # Not even where nobody needs it: what it had was newer.
    registry.forget(archives=[versions[0].name], views=[], projects=[])
    fresh = Store(store.root)
    registry.register_archive(fresh.open(versions[2].name), fresh.open)
    assert node_of(registry, versions[2], "a") != node_of(registry, versions[0], "a")


def test_only_the_last_is_compared(registry: Registry, store: Store) -> None:
    opened = []

    def note(name: str) -> Archive:
        opened.append(name)
        return store.open(name)

    versions = [packed(store, file("a", b"same"), file("b", b"%d" % n)) for n in range(12)]
    for archive in versions[:-1]:
        registry.register_archive(archive, store.open)
    registry.register_archive(versions[-1], note)
    assert opened == [versions[-2].name]
    assert len({node_of(registry, archive, "a") for archive in versions}) == 1


# Times


def times_of(registry: Registry) -> dict[str, int]:
    return {name: moment for _, name, moment in registry.archives()}


def test_times_of_versions_grow_whatever_the_clock_does(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_700_000_000 * SECOND + 123_456_789]
    monkeypatch.setattr(time, "time_ns", lambda: clock[0])
    versions = [packed(store, file("lib/a", b"%d" % n)) for n in range(4)]
    others = [packed(store, file(f"lib/{n}", b"%d" % n), name=f"other{n}") for n in range(4)]
    for archive in (*versions[:2], *others[:2]):
        registry.register_archive(archive, store.open)
    clock[0] -= 3600 * SECOND
    for archive in (*versions[2:], *others[2:]):
        registry.register_archive(archive, store.open)
    times = times_of(registry)
    assert times[versions[0].name] == 1_700_000_000 * SECOND + 123_456_000
    of_one = [times[archive.name] // SECOND for archive in versions]
    assert of_one == sorted(set(of_one))
    # What nothing came before is not from the future.
    assert [times[other.name] // SECOND for other in others] == [
        *([1_700_000_000] * 2), *([1_700_000_000 - 3600] * 2),
    ]  # fmt: skip
    # Nobody's clock tells less apart: a float of seconds, as Python's importers keep it.
    assert len({moment / SECOND for moment in times.values()}) == len(times)
    views = [registry.register_view(view(number)) for number in range(3)]
    moments = [moment for _, _, moment in registry.views()]
    assert moments == [clock[0] // STEP * STEP + n * STEP for n in range(len(views))]


def test_a_clock_that_was_far_ahead_is_not_followed(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is anything of a time that a zip, or 32 bits of seconds, cannot hold."""
    today, ahead = 1_700_000_000 * SECOND, 4_740_000_000 * SECOND
    versions = [packed(store, file("lib/a", b"%d" % n)) for n in range(6)]
    for number, moment in enumerate((today, ahead, ahead, today, today, ahead)):
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        registry.register_archive(versions[number], store.open)
        registry.register_view(view(number))
    assert [moment for *_, moment in registry.views()] == [
        today, nodeid.LATEST, nodeid.LATEST + STEP, today + STEP, today + 2 * STEP,
        nodeid.LATEST + 2 * STEP,
    ]  # fmt: skip
    times = times_of(registry)
    seconds = [times[version.name] // SECOND for version in versions]
    begin, end = today // SECOND, nodeid.LATEST // SECOND
    assert seconds == [begin, end, end + 1, begin + 1, begin + 2, end + 2]
    assert max(seconds) < min(1 << 32, datetime(2107, 1, 1, tzinfo=UTC).timestamp())


GRAFTS = (
    ("purelib", "lib/python3.11/site-packages"), ("platlib", "lib/python3.11/site-packages"),
    ("scripts", "bin"), ("headers", "include/site/python3.11"), ("data", ""),
)  # fmt: skip


def test_what_meets_by_its_place_in_the_view_has_not_the_same_second(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = {
        "modules": [file("purelib/both/a", b"1"), file("headers/x/h", b"1")],
        "data": [file("data/lib/python3.11/site-packages/both/a", b"2")],
        "header": [file("data/include/site/python3.11/x/h", b"2")],
        "script": [file("scripts/both", b"1")],
        "binary": [file("data/bin/both", b"2")],
        "file": [file("data/lib/python3.11", b"2")],
        "same": [file("data/lib/python3.11/site-packages/both/a", b"1")],
        "beside": [file("data/both/a", b"3"), file("scripts/a", b"4"), file("platlib/both/b", b"")],
    }  # fmt: skip
    for order in (1, -1):
        began = 1_700_000_000 + 1000 * order
        monkeypatch.setattr(time, "time_ns", lambda began=began: began * SECOND)
        names = {
            name: packed(store, *tree, file(f"data/{order}", b""), name=f"{name}{order + 1}")
            for name, tree in list(trees.items())[::order]
        }
        where = {archive.name: GRAFTS for archive in names.values()}
        registry.register_archives(names.values(), store.open, where)
        times = times_of(registry)
        second = {name: times[archive.name] // SECOND for name, archive in names.items()}
        apart = [
            ("modules", "data"), ("modules", "header"), ("script", "binary"), ("data", "same"),
            *(("file", name) for name in ("modules", "data", "same")),
        ]  # fmt: skip
        assert not [pair for pair in apart if second[pair[0]] == second[pair[1]]]
        assert second["beside"] == second["same"] == began


def test_what_stands_at_one_path_never_has_the_same_second(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever distribution brings it, and from whichever directory of its archive."""
    began = 1_700_000_000
    monkeypatch.setattr(time, "time_ns", lambda: began * SECOND + 5)
    trees = {
        "one": [file("purelib/both/a", b"1")],
        "two": [file("purelib/both/a", b"2")],
        "three": [file("platlib/both/a", b"3"), file("platlib/both/b", b"3")],
        "link": [link("purelib/both", "elsewhere")],
        "same": [file("platlib/both/a", b"1")],
        "beside": [file("purelib/both/c", b"4")],
        "data": [file("data/etc/conf", b"1"), file("data/top", b"1")],
        "data2": [file("data/etc/conf", b"1"), file("data/top", b"2")],
    }
    archives = {name: packed(store, *tree, name=name) for name, tree in trees.items()}
    for archive in archives.values():
        registry.register_archive(archive, store.open)
    times = times_of(registry)
    seconds = {name: times[archive.name] // SECOND - began for name, archive in archives.items()}
    # None of them is from the future.
    assert seconds == {
        "one": 0, "two": -1, "three": -2, "link": -3, "same": 0, "beside": 0,
        "data": 0, "data2": -1,
    }  # fmt: skip
    # A later version is later, though every second up to now is taken.
    later = packed(store, file("purelib/both/a", b"5"), name="three")
    registry.register_archive(later, store.open)
    assert times_of(registry)[later.name] // SECOND - began == 1
    # Of what is gone nobody knows what stood where.
    store.remove(archives["beside"].name)
    fresh = Registry(registry.path)
    another = packed(store, file("purelib/other", b""), name="another")
    fresh.register_archive(another, store.open)
    fresh.close()
    assert times_of(registry)[another.name] // SECOND - began == -1


def test_what_follows_an_earlier_version_is_not_from_before_it_came(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make` may have run a moment ago; who is the first of its distribution gives way."""
    began = 1_700_000_000

    def version(number: int, name: str, *, changed: bool = False) -> Archive:
        common = f"{name}{number if changed else 1}".encode()
        members = file("purelib/tests/a", common), file(f"purelib/{name}", b"%d" % number)
        return packed(store, *members, name=name)

    def seconds(clock: int, *archives: Archive) -> list[int]:
        monkeypatch.setattr(time, "time_ns", lambda: (began + clock) * SECOND)
        registry.register_archives(archives, store.open)
        times = times_of(registry)
        return [times[archive.name] // SECOND - began for archive in archives]

    assert seconds(0, version(1, "one"), version(1, "two"), version(1, "three")) == [0, -1, -2]
    # Files that are the same as before do not meet those of others, in either order.
    others = [packed(store, file("purelib/tests/a", b"%d" % n), name=f"o{n}") for n in range(3)]
    upgraded = [version(2, name) for name in ("one", "two")]
    assert seconds(9, *others, *upgraded) == [9, 8, 7, 9, 9]
    # Nor are the first ones older than need be.
    assert seconds(9, packed(store, file("purelib/tests/b", b""), name="last")) == [9]
    changed = [version(3, name, changed=True) for name in ("one", "two")]
    others = [packed(store, file("purelib/tests/a", b"%d" % n), name=f"p{n}") for n in range(2)]
    assert seconds(20, *others, *changed) == [19, 18, 20, 21]


@pytest.mark.timeout(20)
def test_what_has_two_things_at_one_path_itself_has_a_second_alone(
    registry: Registry, store: Store
) -> None:
    """debugpy is one: the kind decides which of its directories lies where."""
    itself = packed(
        store, file("purelib/both/a", b"1"), file("platlib/both/a", b"2"), name="itself"
    )
    beside = packed(store, file("purelib/other", b"3"), name="beside")
    for archive in (itself, beside):
        registry.register_archive(archive, store.open)
    times = times_of(registry)
    assert times[itself.name] // SECOND != times[beside.name] // SECOND


PATHS: st.SearchStrategy[str] = st.sampled_from(["a", "b/a", "b/b/a", "b/b/b/a", "c/b/a", "c"])
DEEP = st.lists(
    st.dictionaries(PATHS, st.sampled_from([b"", b"1"]), min_size=1, max_size=5),
    min_size=2,
    max_size=5,
)


@given(DEEP)
@settings(max_examples=25, deadline=None)
def test_of_one_second_nothing_is_elsewhere_otherwise(trees: list[dict[str, bytes]]) -> None:
    """However deep the directories are that archives share."""
    with tempfile.TemporaryDirectory() as temporary:
        store, registry = Store(Path(temporary, "store")), Registry(Path(temporary, "registry"))
        archives = {}
        for number, tree in enumerate(trees):
            files = {
                path: data for path, data in tree.items()
                if not any(other.startswith(f"{path}/") for other in tree)
            }  # fmt: skip
            members = [file(f"purelib/{path}", data) for path, data in files.items()]
            # One file more for each: else equal trees are one archive.
            members.append(file(f"purelib/own{number}", b""))
            archive = packed(store, *members, name=f"d{number}")
            registry.register_archive(archive, store.open)
            archives[archive.name] = files
        times = times_of(registry)
        registry.close()
        for one, other in itertools.combinations(archives, 2):
            if times[one] // SECOND != times[other] // SECOND:
                continue
            here, there = archives[one], archives[other]
            for path, data in here.items():
                assert there.get(path, data) == data
                assert not any(name.startswith(f"{path}/") for name in there)
                assert not any(path.startswith(f"{name}/") for name in there)


def test_a_clock_that_was_never_set_is_of_1980(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1000)
    registry.register_view(view(1))
    assert registry.views()[0][2] == nodeid.EARLIEST


# What can happen to the file


def test_a_registry_that_was_removed_is_begun_again(
    registry: Registry, store: Store, path: Path
) -> None:
    archive = packed(store, file("a", b""))
    registry.register_archive(archive, store.open)
    path.unlink()
    assert registry.archive_number(archive.name) is None
    assert path.exists()
    other = Registry(path)
    number = other.register_archive(archive, store.open)
    other.close()
    assert registry.archive_number(archive.name) == number


def test_a_registry_that_was_replaced_is_followed(
    registry: Registry, path: Path, tmp_path: Path
) -> None:
    registry.register_view(view(1))
    other = Registry(tmp_path / "other.sqlite3")
    number = other.register_view(view(2))
    other.close()
    (tmp_path / "other.sqlite3").replace(path)
    assert [found[:2] for found in registry.views()] == [(number, view(2))]


def test_after_a_damaged_one_a_good_one_is_followed(registry: Registry, path: Path) -> None:
    path.unlink()
    path.write_bytes(b"no database at all" * 100)
    for _ in range(2):
        with pytest.raises(PkgviewError, match="not a database") as caught:
            registry.view_number(view(1))
        assert "remove that file" in caught.value.remedy
    path.unlink()
    registry.register_view(view(1))


def test_damage_is_named(registry: Registry, path: Path) -> None:
    for number in range(100):
        registry.register_view(view(number))
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192)
    with pytest.raises(
        PkgviewError, match=r"cannot use the registry .*registry\.sqlite3"
    ) as caught:
        registry.views()
    assert "remove that file" in caught.value.remedy


def test_a_full_disk_leaves_it_as_it_was(registry: Registry, store: Store) -> None:
    registry.register_archive(packed(store, file("a", b"first")), store.open)
    pages = registry._db.execute("PRAGMA page_count").fetchone()[0]
    registry._db.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(10_000):
            registry.register_archive(packed(store, file("a", b"%d" % number)), store.open)

    for _ in range(2):
        with pytest.raises(PkgviewError, match="full") as caught:
            fill()
        assert "make room" in caught.value.remedy
    before = registry.archives()
    registry._db.execute("PRAGMA max_page_count = 100000")
    number = registry.register_archive(packed(store, file("a", b"new")), store.open)
    assert [*before, registry.archives()[-1]] == registry.archives()
    assert number == before[-1][0] + 1


def test_a_commit_that_fails_leaves_no_transaction_open(registry: Registry) -> None:
    class FailsToCommit:
        def __init__(self, db: sqlite3.Connection) -> None:
            self.db = db

        def __getattr__(self, name: str) -> object:
            return getattr(self.db, name)

        def execute(self, statement: str, values: tuple[str, ...] = ()) -> sqlite3.Cursor:
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self.db.execute(statement, values)

    real = registry._db
    registry._db = FailsToCommit(real)  # type: ignore[assignment]
    with pytest.raises(PkgviewError, match="disk I/O error"):
        registry.register_view(view(1))
    registry._db = real
    assert registry.view_number(view(1)) is None
    registry.register_view(view(2))


def test_a_newer_format_is_refused(path: Path) -> None:
    Registry(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(PkgviewError, match=f"has format {VERSION + 1}"):
        Registry(path)


BEFORE_3 = """
CREATE TABLE archives(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
CREATE TABLE views(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE);
CREATE TABLE projects(number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE);
CREATE TABLE contents(content BLOB PRIMARY KEY, node INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE aliases(
    archive INTEGER, entry INTEGER, node INTEGER NOT NULL, PRIMARY KEY(archive, entry)
) WITHOUT ROWID;
"""


@pytest.mark.parametrize("version", [1, 2])
def test_earlier_formats_are_brought_up_to_date(path: Path, store: Store, version: int) -> None:
    one, two = (packed(store, file("a", b"same"), file("b", b"%d" % n)) for n in range(2))
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as db:
        db.executescript(BEFORE_3)
        if version == 2:
            db.execute("CREATE INDEX aliases_by_node ON aliases(node)")
        for number, archive in ((70, one), (71, two)):
            db.execute("INSERT INTO archives VALUES (?, ?)", (number, archive.name))
            db.execute("INSERT INTO views VALUES (?, ?)", (number, view(number)))
        same = BEFORE.in_archive(ArchiveNo(70), EntryNo(1))
        db.execute("INSERT INTO aliases VALUES (71, 1, ?)", (same,))
        db.execute("INSERT INTO contents VALUES (X'00', ?)", (same,))
        db.execute("INSERT INTO projects VALUES (3, 'p-0123456789')")
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    began = schema.now()
    registry = Registry(path)
    assert [found[:2] for found in registry.archives()] == [(70, one.name), (71, two.name)]
    for table in (registry.archives(), registry.views()):
        first, second = (found[2] for found in table)
        assert began - 2 * SECOND <= first == second - SECOND <= schema.now()
    # A kernel may still ask for what it was told then.
    assert registry.copies(ArchiveNo(70)) == {1: [(71, 1)]}
    assert registry.project_key(nodeid.ProjectNo(3)) == "p-0123456789"
    # But new mounts tell the two apart, and what comes now shares with neither.
    assert not registry.registered([two.name])[two.name].shared.to_json()
    three = packed(store, file("a", b"same"), file("b", b"3"))
    assert registry.register_archive(three, store.open) == 72
    assert registry.archives()[-1][2] >= began
    registry.close()
    again = Registry(path)
    assert len(again.archives()) == 3
    again.close()


def test_where_it_cannot_be(path: Path) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("in the way")
    with pytest.raises(PkgviewError, match="cannot use the registry") as caught:
        Registry(path)
    assert "writable" in caught.value.remedy
