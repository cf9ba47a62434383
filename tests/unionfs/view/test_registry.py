from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.archive.layer import EntryNo, Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.view import nodeid
from unionfs.view.nodeid import ArchiveNo, NodeId, NodeKind
from unionfs.view.registry import VERSION, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def packed(store: Store, *members: Member) -> Archive:
    meta = Meta(kind="distribution", name="demo", version="1", stem="demo-1")
    return store.open(store.add(members, meta))


def node_of(registry: Registry, archive: Archive, name: str) -> NodeId:
    number = registry.archive_number(archive.name)
    entry = archive.find(name.encode())
    assert number is not None
    assert entry is not None
    return registry.aliases(number).get(entry) or nodeid.in_archive(number, entry)


# Numbers


def test_a_number_is_given_once(registry: Registry, store: Store, path: Path) -> None:
    archive = packed(store, file("a", b"a"))
    number = registry.register_archive(archive)
    assert registry.register_archive(archive) == number
    assert registry.archive_name(number) == archive.name
    assert registry.register_view(view(1)) == registry.register_view(view(1))
    assert registry.register_project("p-0123456789") == registry.register_project("p-0123456789")
    again = Registry(path)
    assert again.archive_number(archive.name) == number
    assert again.archives() == [(number, archive.name)]
    assert again.views() == [(again.view_number(view(1)), view(1))]
    again.close()


def test_what_has_no_number(registry: Registry) -> None:
    assert registry.archive_number("demo") is None
    assert registry.archive_name(ArchiveNo(1)) is None
    assert registry.view_number(view(1)) is None
    assert registry.view_id(nodeid.ViewNo(1)) is None
    assert registry.project_key(nodeid.ProjectNo(1)) is None
    assert registry.copies(NodeId(1)) == []


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
    assert all(0 < first <= nodeid.MAX_VIEW // 2 + 1 for first in firsts)


@pytest.mark.parametrize(
    ("table", "limit"), [("views", nodeid.MAX_VIEW), ("archives", nodeid.MAX_ARCHIVE)]
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
        return registry.register_archive(packed(store, file("a", b"%d" % number)))

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
    print(name, registry.register_archive(store.open(name)))
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
    assert registry.views() == [(registry.view_number(view(1)), view(1))]
    registry.register_view(view(2))


# Contents


def test_equal_files_have_one_node_id(registry: Registry, store: Store) -> None:
    one = packed(store, file("a", b"same"), file("b", b"same"), file("c", b"other"))
    two = packed(store, file("x", b"same"), file("y", b"new"))
    numbers = [registry.register_archive(archive) for archive in (one, two)]
    same = node_of(registry, one, "a")
    assert nodeid.archive_parts(same)[0] == numbers[0]
    assert node_of(registry, one, "b") == node_of(registry, two, "x") == same
    assert len({same, node_of(registry, one, "c"), node_of(registry, two, "y")}) == 3
    assert nodeid.archive_parts(node_of(registry, two, "y"))[0] == numbers[1]
    assert registry.copies(same) == [
        (numbers[0], one.find(b"b")),
        (numbers[1], two.find(b"x")),
    ]
    assert registry.copies(node_of(registry, two, "y")) == []


def test_what_stat_tells_apart_has_its_own_node_id(registry: Registry, store: Store) -> None:
    archive = packed(
        store,
        file("plain", b"target"),
        file("program", b"target", executable=True),
        link("link", "target"),
        link("another", "target"),
    )
    number = registry.register_archive(archive)
    nodes = [node_of(registry, archive, name) for name in ("plain", "program", "link")]
    assert len(set(nodes)) == 3
    assert node_of(registry, archive, "another") in nodes  # entries are sorted: it came first
    assert set(registry.aliases(number)) == {archive.find(b"link")}


def test_directories_have_no_content(registry: Registry, store: Store) -> None:
    archive = packed(store, file("a/x", b""), file("b/x", b""))
    number = registry.register_archive(archive)
    assert set(registry.aliases(number)) == {archive.find(b"b/x")}
    assert all(nodeid.kind(node) is NodeKind.ARCHIVE for node in registry.aliases(number).values())


def test_the_first_to_be_registered_keeps_its_numbers(registry: Registry, store: Store) -> None:
    one, two = packed(store, file("a", b"1")), packed(store, file("b", b"1"), file("c", b"2"))
    registry.register_archive(two)
    registry.register_archive(one)
    assert node_of(registry, one, "a") == node_of(registry, two, "b")
    assert registry.aliases(ArchiveNo(registry.archive_number(two.name) or 0)) == {}
    assert {type(entry) for entry in registry.aliases(registry.register_archive(one))} == {int}
    assert EntryNo(1) in registry.aliases(registry.register_archive(one))


# What can happen to the file


def test_a_registry_that_was_removed_is_begun_again(
    registry: Registry, store: Store, path: Path
) -> None:
    archive = packed(store, file("a", b""))
    registry.register_archive(archive)
    path.unlink()
    assert registry.archive_number(archive.name) is None
    assert path.exists()
    other = Registry(path)
    number = other.register_archive(archive)
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
    assert registry.views() == [(number, view(2))]


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
    known = registry.register_view(view(1))
    pages = registry._db.execute("PRAGMA page_count").fetchone()[0]
    registry._db.execute(f"PRAGMA max_page_count = {pages}")
    many = packed(store, *(file(f"{number}", b"%d" % number) for number in range(2000)))
    for _ in range(2):
        with pytest.raises(PkgviewError, match="full") as caught:
            registry.register_archive(many)
        assert "make room" in caught.value.remedy
    assert registry.archives() == []
    assert registry.view_number(view(1)) == known
    registry._db.execute("PRAGMA max_page_count = 100000")
    assert registry.archive_name(registry.register_archive(many)) == many.name


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


def test_the_first_format_is_brought_up_to_date(path: Path, store: Store) -> None:
    registry = Registry(path)
    one, two = packed(store, file("a", b"")), packed(store, file("b", b""))
    number = registry.register_archive(one)
    registry.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP INDEX aliases_by_node")
        db.execute("PRAGMA user_version = 1")
    db.close()
    registry = Registry(path)
    assert registry.archive_number(one.name) == number
    assert registry.register_archive(two) == number + 1
    assert len(registry.copies(node_of(registry, one, "a"))) == 1
    registry.close()


def test_where_it_cannot_be(path: Path) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("in the way")
    with pytest.raises(PkgviewError, match="cannot use the registry") as caught:
        Registry(path)
    assert "writable" in caught.value.remedy
