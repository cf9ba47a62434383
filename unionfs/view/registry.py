"""The registry: numbers for archives, views and projects, handed out once and never again.

Node ids are made of these numbers, so they must mean the same in every process of a user and
for as long as a kernel may remember them. One SQLite file in the state directory holds them;
numbers are never reused, not even after a removal. Each registry begins to count at random: where
somebody removes the file and the next command makes a new one, a mount that remembers numbers of
the old one meets, all but certainly, none of them again with another meaning.

It also decides under which node id equal files are known: the first archive that is registered
with a content gives that content its node id; an archive that brings it again gets an *alias*.
Aliases are few (empty `__init__.py`, licences), so a server keeps those of the archives in use,
and the table of all contents stays on disk, needed only when an archive is new. `copies` is the
other direction: where else the bytes of a node lie, should its own archive be damaged or gone.

What an archive's table of contents says of its members' digests is believed here. That holds for
archives that this user packed; `unionfs.publishing.publish` has one of another's pass
`Archive.verify` before it is registered, or it could claim the content of others' files.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from resolver.atomic import make_private
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.archive.layer import EntryNo, Kind
from unionfs.view import nodeid
from unionfs.view.nodeid import ArchiveNo, NodeId, ProjectNo, ViewNo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from unionfs.archive.reader import Archive

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that is registering; it takes a few tenths at most."""

VERSION = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS archives(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS views(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS projects(number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS contents(content BLOB PRIMARY KEY, node INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aliases(
    archive INTEGER, entry INTEGER, node INTEGER NOT NULL, PRIMARY KEY(archive, entry)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS aliases_by_node ON aliases(node)
"""

_LIMITS = {
    "archives": nodeid.MAX_ARCHIVE,
    "views": nodeid.MAX_VIEW,
    "projects": nodeid.MAX_PROJECT,
}


class Numbered(NamedTuple):
    """An archive's number, and the node ids that its contents already had elsewhere."""

    archive: ArchiveNo
    aliases: dict[EntryNo, NodeId]


class Registry:
    """One user's registry. Every method may raise `PkgviewError`; use it from one thread only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: tuple[int, int] | None = None
        with self._errors():
            self._open()

    def close(self) -> None:
        """Close the file; the registry cannot be used afterwards."""
        self._db.close()

    def _open(self) -> None:
        make_private(self.path.parent)
        # Made, and looked at, before SQLite opens it: if somebody replaces it in between, the next
        # question notices.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        # The rollback journal, not the write-ahead log: that needs shared memory, which a
        # home directory on a network file system does not have.
        self._db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
        try:
            if self._version() != VERSION:
                with self._transaction():
                    self._make_tables()
        except BaseException:
            self._db.close()
            raise
        self._file = (status.st_dev, status.st_ino)

    def _version(self) -> int:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise PkgviewError(
                f"the registry {self.path} has format {version}, this pkgview reads {VERSION}",
                remedy="Use the pkgview that wrote it, or a newer one.",
            )
        return version

    def _make_tables(self) -> None:
        """Inside a transaction, so another process may have been first."""
        version = self._version()
        for statement in _SCHEMA.split(";\n"):
            self._db.execute(statement)
        if not version:
            self._db.executemany(
                "INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)",
                [(table, random.randrange(limit // 2)) for table, limit in _LIMITS.items()],  # noqa: S311 - against accidents
            )
        self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _follow(self) -> None:
        """Go on with the file that is there, should it be another than the one that was opened."""
        with suppress(FileNotFoundError):
            status = os.stat(self.path)  # noqa: PTH116 - with every question: a third of the time
            if (status.st_dev, status.st_ino) == self._file:
                return
        self._db.close()
        self._file = None
        self._open()

    # Archives

    def register_archive(self, archive: Archive) -> ArchiveNo:
        """The archive's number; a new one decides the node ids of its contents."""
        known = self.archive_number(archive.name)
        if known is not None:
            return known
        with self._asked(), self._transaction():
            row = self._db.execute(
                "SELECT number FROM archives WHERE name = ?", (archive.name,)
            ).fetchone()
            if row is not None:
                return ArchiveNo(row[0])
            cursor = self._db.execute("INSERT INTO archives(name) VALUES (?)", (archive.name,))
            number = ArchiveNo(self._within(cursor.lastrowid, "archives"))
            self._db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS fresh(entry INTEGER, content BLOB, node INTEGER)"
            )
            self._db.execute("DELETE FROM fresh")
            self._db.executemany("INSERT INTO fresh VALUES (?, ?, ?)", _contents(archive, number))
            self._db.execute(
                "INSERT OR IGNORE INTO contents SELECT content, node FROM fresh ORDER BY entry"
            )
            self._db.execute(
                "INSERT INTO aliases SELECT ?, fresh.entry, contents.node FROM fresh "
                "JOIN contents USING (content) WHERE contents.node <> fresh.node",
                (number,),
            )
            self._db.execute("DELETE FROM fresh")
        return number

    def archive_number(self, name: str) -> ArchiveNo | None:
        """The number of a registered archive."""
        number = self._one("SELECT number FROM archives WHERE name = ?", name)
        return None if number is None else ArchiveNo(number)

    def archive_name(self, number: ArchiveNo) -> str | None:
        """The file name of a registered archive."""
        with self._asked():
            row = self._db.execute(
                "SELECT name FROM archives WHERE number = ?", (number,)
            ).fetchone()
        return None if row is None else str(row[0])

    def archives(self) -> list[tuple[ArchiveNo, str]]:
        """All archives, in the order of their numbers."""
        with self._asked():
            return self._db.execute("SELECT number, name FROM archives ORDER BY number").fetchall()

    def aliases(self, number: ArchiveNo) -> dict[EntryNo, NodeId]:
        """Entries of an archive whose content already has a node id elsewhere."""
        with self._asked():
            return dict(
                self._db.execute("SELECT entry, node FROM aliases WHERE archive = ?", (number,))
            )

    def numbered(self, names: Iterable[str]) -> dict[str, Numbered]:
        """Numbers and `aliases` of those of the archives that are registered.

        Two questions for all, however many: a view of 500 layers asks before its first answer.
        """
        with self._asked():
            found: dict[str, Numbered] = {}
            aliases: dict[ArchiveNo, dict[EntryNo, NodeId]] = {}
            wanted = json.dumps(list(names))
            for name, number in self._db.execute(
                "SELECT name, number FROM archives WHERE name IN (SELECT value FROM json_each(?))",
                (wanted,),
            ):
                found[name] = Numbered(number, aliases.setdefault(number, {}))
            for number, entry, node in self._db.execute(
                "SELECT archive, entry, node FROM aliases "
                "WHERE archive IN (SELECT value FROM json_each(?))",
                (json.dumps(list(aliases)),),
            ):
                aliases[number][entry] = node
        return found

    def copies(self, node: NodeId) -> list[tuple[ArchiveNo, EntryNo]]:
        """Where else the content of a file or link lies, besides the archive its node id names."""
        with self._asked():
            return self._db.execute(
                "SELECT archive, entry FROM aliases WHERE node = ? ORDER BY archive, entry",
                (node,),
            ).fetchall()

    # Views and projects

    def register_view(self, view: ViewId) -> ViewNo:
        """The view's number, a new one if it has none."""
        return ViewNo(self._number_of("views", "id", view, self.view_number(view)))

    def view_number(self, view: ViewId) -> ViewNo | None:
        """The number of a registered view."""
        number = self._one("SELECT number FROM views WHERE id = ?", view)
        return None if number is None else ViewNo(number)

    def view_id(self, number: ViewNo) -> ViewId | None:
        """The id of a registered view."""
        with self._asked():
            row = self._db.execute("SELECT id FROM views WHERE number = ?", (number,)).fetchone()
        return None if row is None else ViewId(row[0])

    def views(self) -> list[tuple[ViewNo, ViewId]]:
        """All views, in the order of their numbers."""
        with self._asked():
            return self._db.execute("SELECT number, id FROM views ORDER BY number").fetchall()

    def register_project(self, key: str) -> ProjectNo:
        """The number of a project's link, a new one if it has none."""
        known = self._one("SELECT number FROM projects WHERE key = ?", key)
        return ProjectNo(self._number_of("projects", "key", key, known))

    def project_key(self, number: ProjectNo) -> str | None:
        """The name of a project's link."""
        with self._asked():
            row = self._db.execute(
                "SELECT key FROM projects WHERE number = ?", (number,)
            ).fetchone()
        return None if row is None else str(row[0])

    # Below

    def _number_of(self, table: str, column: str, value: str, known: int | None) -> int:
        if known is not None:
            return known
        with self._asked(), self._transaction():
            # Table and column are this module's own words.
            self._db.execute(f"INSERT OR IGNORE INTO {table}({column}) VALUES (?)", (value,))  # noqa: S608
            row = self._db.execute(
                f"SELECT number FROM {table} WHERE {column} = ?",  # noqa: S608
                (value,),
            ).fetchone()
            return self._within(row[0], table)

    def _one(self, query: str, value: str) -> int | None:
        with self._asked():
            row = self._db.execute(query, (value,)).fetchone()
        return None if row is None else int(row[0])

    def _within(self, number: int | None, table: str) -> int:
        if number is None or number > _LIMITS[table]:
            raise PkgviewError(
                f"the registry {self.path} has no numbers left for {table} "
                f"(limit {_LIMITS[table]})",
                remedy="Unmount (`pkgview umount`), remove that file, and run `pkgview up` again.",
            )
        return number

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            # A COMMIT that fails, on a full disk for one, may leave the transaction open.
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Around every question and every change."""
        with self._errors():
            self._follow()
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
                error, sqlite3.OperationalError
            )
            raise PkgviewError(
                f"cannot use the registry {self.path}: {error}",
                remedy="Unmount (`pkgview umount`), remove that file, and run `pkgview up` again."
                if damaged
                else "Make that file and its directory writable, make room there, and run the "
                "command again.",
            ) from error


def _contents(archive: Archive, number: ArchiveNo) -> Iterator[tuple[int, bytes, int]]:
    """(entry, content, node) of every file and link; the content says what `stat` says, too."""
    for index in range(len(archive)):
        entry = EntryNo(index)
        found = archive.entry(entry)
        if found.kind is Kind.DIRECTORY:
            continue
        flags = bytes((found.kind, found.executable))
        yield index, archive.digest(entry) + flags, nodeid.in_archive(number, entry)
