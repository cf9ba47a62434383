"""The registry: numbers for archives, views and projects, handed out once and never again.

Node ids are made of these numbers, so they must mean the same in every process of a user and
for as long as a kernel may remember them. One SQLite file in the state directory holds them;
numbers are never reused, not even after a removal. Each registry begins to count at random: where
somebody removes the file and the next command makes a new one, a mount that remembers numbers of
the old one meets, all but certainly, none of them again with another meaning. Where an earlier one
is put in its place, it goes on above what the mounts know (`go_on_above`).

With a number goes the time at which it was given: that of all files of an archive, and of all
directories of a view (`unionfs.view.moments`).

A row is small and stays, whatever is collected: files go on being named by an archive that is long
gone. It says what its archive shares with earlier ones of the distribution (`sharing`). `copies` is
the other direction: where else the members of an archive lie, should it be damaged or gone.

What an archive's table of contents says of its members' digests is believed here. That holds for
archives that this user packed; `unionfs.publishing.publish` has one of another's pass
`Archive.verify` before it is registered, or it could claim the content of others' files. A partial
archive cannot be read whole: it shares nothing with earlier ones, and while it is partial later
ones share nothing with it. Once it is whole, and so verified, they do.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from resolver.atomic import make_private
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.archive.layer import ROOT, EntryNo, LayerError
from unionfs.view import schema
from unionfs.view.again import Again, Placed
from unionfs.view.forgetting import copies, forget_archives
from unionfs.view.moments import Moments, time_of_view
from unionfs.view.nodeid import ArchiveNo, ProjectNo, ViewNo
from unionfs.view.sharing import (
    NOTHING,
    REGISTERED,
    Known,
    Registered,
    Shared,
    distribution_of,
    name_at,
    passed_on,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from resolver.manifest import Grafts
    from resolver.places import Places
    from unionfs.archive.reader import Archive
    from unionfs.view.moments import OpenArchive
    from unionfs.view.sharing import Where

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that is registering; it takes a few tenths at most."""


def registry_path(places: Places) -> Path:
    """Where the registry of a state directory is."""
    return places.state / "registry.sqlite3"


class Registry:
    """One user's registry. Every method may raise `PkgviewError`; use it from one thread only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: tuple[int, ...] | None = None
        with self._errors():
            self._open()

    @classmethod
    def of(cls, places: Places) -> Registry:
        """The one of a state directory, made where there is none."""
        return cls(registry_path(places))

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
        self._file = _which(status)
        # The rollback journal, not the write-ahead log: that needs shared memory, which a
        # home directory on a network file system does not have.
        self._db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
        self._moments = Moments(self._db)
        self._again = Again(self._db)
        self._placed = Placed(self._db)
        try:
            if not schema.is_up_to_date(self._db, self.path):
                with self._transaction():
                    schema.bring_up_to_date(self._db, self.path)
        except BaseException:
            self._file = None
            self._db.close()
            raise

    def _follow(self) -> None:
        """Go on with the file that is there, should it be another than the one that was opened.

        Or have been written to: by others, mostly. But where a copy was written over it SQLite may
        go on with pages of before, since it only compares how often each was changed.
        """
        with suppress(FileNotFoundError):
            # With every question: a third of the time.
            if _which(os.stat(self.path)) == self._file:  # noqa: PTH116
                return
        self._db.close()
        self._file = None
        self._open()

    # Archives

    def register_archive(self, archive: Archive, open_archive: OpenArchive) -> ArchiveNo:
        """The archive's number, a new one if it has none."""
        return self.register_archives([archive], open_archive)[0]

    def register_archives(
        self,
        archives: Iterable[Archive],
        open_archive: OpenArchive,
        grafts: Mapping[str, Grafts] | None = None,
        moved: Collection[Where] = (),
        where: Collection[Where] = (),
    ) -> list[ArchiveNo]:
        """The number of each, a new one for those that have none; all of them or, failing, none.

        They cost one transaction, and so one wait for the disk. `open_archive` gives registered
        ones by name, or `LayerError`. `grafts`: of each by its name, in the view that it is for
        (`unionfs.view.moments`). `moved`: those that somebody has from now on, or had until now
        (`unionfs.view.again`). `where`: all of that view; what of it is `unplaced` is given, too.
        """
        listed = list(archives)
        given = {one.name: one for one in listed}
        at = dict(sorted(where, key=lambda one: not one[1]))
        asked = {name: (name, at.get(name, "")) for name in given}
        known, new = self.registered_at(asked.values()), self.unplaced(where)
        there = self.registered_at([one for one in moved if one not in new]) if moved else {}
        names = {one.name for one in there.values()}
        with self._asked():
            again = self._again.unnoted(names) if moved else []
        if again or new or len(known) < len(given):
            with self._asked(), self._transaction():
                self._again.note(names)
                # What follows an earlier version comes first: it has no other choice of a time.
                new = self._placed.unknown(new)
                places = dict(reversed(new))
                for one in sorted(given.values(), key=self._placed.is_first):
                    # What has its place has its number, maybe not by its own name any more.
                    if (place := places.get(one.name, "")) or not at.get(one.name):
                        its = (grafts or {}).get(one.name)
                        self._register(one, open_archive, its, place)
                for name, place in self._placed.unknown(new):
                    self._register(given[name], open_archive, (), place)
            known = self.registered_at(asked.values())
        return [known[asked[archive.name]].number for archive in listed]

    def unplaced(self, where: Collection[Where]) -> list[Where]:
        """Those of the archives that have no number for the place where they are."""
        with self._asked():
            return self._placed.unknown(where)

    def _register(
        self, archive: Archive, open_archive: OpenArchive, grafts: Grafts | None, place: str = ""
    ) -> None:
        """Give one archive its number, or that for a place; inside a transaction."""
        name = self._placed.new_name(archive.name, place)
        if name is None:
            return
        distribution = distribution_of(archive)
        shared = self._shared(archive, distribution, open_archive, place)
        moment = self._moments.of(archive, shared, open_archive, grafts, place)
        cursor = self._db.execute(
            "INSERT INTO archives(name, time, distribution, entries, shared) "
            "VALUES (?, ?, ?, ?, ?)",
            (name, moment, distribution, len(archive), shared.to_json()),
        )
        number = self._within(cursor.lastrowid, "archives")
        if place:
            self._placed.note(number, place)

    def _shared(
        self, archive: Archive, distribution: str, open_archive: OpenArchive, place: str
    ) -> Shared:
        """What a new one has in common with its distribution's last there; in a transaction."""
        if (last := self._placed.last(distribution, place)) is None:
            return NOTHING
        try:
            other = open_archive(last.archive)
        except LayerError:
            return NOTHING  # collected, or damaged: nobody knows what it had
        by = Known(last.number, ROOT, last.time)
        return passed_on(archive, other, by, last.shared, self._again.between(distribution))

    def archive_number(self, name: str) -> ArchiveNo | None:
        """The number of a registered archive."""
        number = self._one("SELECT number FROM archives WHERE name = ?", name)
        return None if number is None else ArchiveNo(number)

    def archive(self, number: ArchiveNo) -> Registered | None:
        """The archive of that number."""
        with self._asked():
            row = self._db.execute(f"{REGISTERED} WHERE number = ?", (number,)).fetchone()
        return None if row is None else Registered.of(row)

    def archives(
        self, numbers: Collection[ArchiveNo] | None = None
    ) -> list[tuple[ArchiveNo, str, int]]:
        """Number, name and time of all archives, or of these, in the order of their numbers."""
        query, given = "SELECT number, name, time FROM archives", []
        if numbers is not None:
            query += " WHERE number IN (SELECT value FROM json_each(?))"
            given = [json.dumps(list(numbers))]
        with self._asked():
            return self._db.execute(f"{query} ORDER BY number", given).fetchall()

    def registered(self, names: Iterable[str]) -> dict[str, Registered]:
        """Those of the archives that are registered.

        One question for all, however many: a view of 500 layers asks before its first answer.
        """
        with self._asked():
            rows = self._db.execute(
                f"{REGISTERED} WHERE name IN (SELECT value FROM json_each(?))",  # noqa: S608 - our own words
                (json.dumps(list(names)),),
            ).fetchall()
        return {one.name: one for one in map(Registered.of, rows)}

    def registered_at(self, where: Collection[Where]) -> dict[Where, Registered]:
        """The same, each for the place where it is."""
        placed = {name_at(*one) for one in where if one[1]}
        known = self.registered(placed.union(name for name, _ in where))
        found = ((one, known.get(name_at(*one)) or known.get(one[0])) for one in where)
        return {one: it for one, it in found if it is not None}

    def copies(self, number: ArchiveNo) -> dict[EntryNo, list[tuple[ArchiveNo, EntryNo]]]:
        """Where else the members of an archive lie that others are known by."""
        with self._asked():
            return copies(self._db, number)

    # Views and projects

    def register_view(self, view: ViewId) -> ViewNo:
        """The view's number, a new one if it has none."""
        known = self.view_number(view)
        if known is not None:
            return known
        with self._asked(), self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO views(id, time) VALUES (?, ?)",
                (view, time_of_view(self._db)),
            )
            row = self._db.execute("SELECT number FROM views WHERE id = ?", (view,)).fetchone()
            return ViewNo(self._within(row[0], "views"))

    def view_number(self, view: ViewId) -> ViewNo | None:
        """The number of a registered view."""
        number = self._one("SELECT number FROM views WHERE id = ?", view)
        return None if number is None else ViewNo(number)

    def view(self, number: ViewNo) -> tuple[ViewId, int] | None:
        """Id and time of the view of that number."""
        query = "SELECT id, time FROM views WHERE number = ?"
        with self._asked():
            row = self._db.execute(query, (number,)).fetchone()
        return None if row is None else (ViewId(row[0]), int(row[1]))

    def views(self) -> list[tuple[ViewNo, ViewId, int]]:
        """Number, id and time of all views, in the order of their numbers."""
        with self._asked():
            return self._db.execute("SELECT number, id, time FROM views ORDER BY number").fetchall()

    def register_project(self, key: str) -> ProjectNo:
        """The number of a project's link, a new one if it has none."""
        known = self._one("SELECT number FROM projects WHERE key = ?", key)
        if known is not None:
            return ProjectNo(known)
        with self._asked(), self._transaction():
            self._db.execute("INSERT OR IGNORE INTO projects(key) VALUES (?)", (key,))
            row = self._db.execute("SELECT number FROM projects WHERE key = ?", (key,)).fetchone()
            return ProjectNo(self._within(row[0], "projects"))

    def project_key(self, number: ProjectNo) -> str | None:
        """The name of a project's link."""
        query = "SELECT key FROM projects WHERE number = ?"
        with self._asked():
            row = self._db.execute(query, (number,)).fetchone()
        return None if row is None else str(row[0])

    # Going on

    def go_on_above(self, numbers: Mapping[str, int]) -> bool:
        """Give no number up to these, by table; whether any could have been given again.

        Each was given by this registry, or by one in whose place it came (`unionfs.view.told`).
        """
        if not any(numbers.values()):
            return False
        with self._asked():
            if not schema.behind(self._db, numbers):
                return False
            with self._transaction():
                schema.count_from(self._db, schema.behind(self._db, numbers))
        return True

    # Forgetting

    def forget(
        self, *, archives: Collection[str], views: Collection[ViewId], projects: Collection[str]
    ) -> None:
        """Remove the rows of all but these, and give the room back to the file system.

        Numbers are not given again, so who still knows one of what is gone finds nothing under it.
        An archive that is gone stays as long as a remaining one has members which are known by it:
        without it nobody would find them there. So does the last archive of each distribution that
        stays, as the next is compared with it and with no earlier one.
        """
        with self._asked():
            with self._transaction():
                forget_archives(self._db, frozenset(archives))
                self._again.forget_gone()
                for table, column, kept in (("views", "id", views), ("projects", "key", projects)):
                    self._db.execute(
                        f"DELETE FROM {table} "  # noqa: S608 - our own words
                        f"WHERE {column} NOT IN (SELECT value FROM json_each(?))",
                        (json.dumps(list(kept)),),
                    )
            schema.shrink(self._db)

    # Below

    def _one(self, query: str, value: str) -> int | None:
        with self._asked():
            row = self._db.execute(query, (value,)).fetchone()
        return None if row is None else int(row[0])

    def _within(self, number: int | None, table: str) -> int:
        if number is None or number > schema.LIMITS[table]:
            raise PkgviewError(
                f"the registry {self.path} has no numbers left for {table} "
                f"(limit {schema.LIMITS[table]})",
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
            self._file = _which(os.stat(self.path))  # noqa: PTH116 - as above
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


def _which(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
