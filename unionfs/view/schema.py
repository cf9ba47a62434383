"""The registry's tables, and how one that an earlier version wrote is brought up to date.

What was registered before there were times gets some: one second after the other, the last one
now. What it shared stays as it is (`aliases`, by node ids of that version's `Packing`): a mount
that it began goes on, and its kernel knows files by these.
"""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from unionfs.view.nodeid import EARLIEST, LATEST, PACKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION: Final = 3

STEP: Final = 1_000
"""Nanoseconds between any two times: what a float of seconds tells apart."""

SECOND: Final = 1_000_000_000
"""Nanoseconds between two of one distribution: what rsync, make and bytecode tell apart."""

LIMITS: Final = {
    "archives": PACKING.most_archives,
    "views": PACKING.most_views,
    "projects": PACKING.most_projects,
}

MOST_FREE: Final = 4
"""The part of the file, one in so many pages, that may be free before the file is written anew."""

_FIRST = (
    "CREATE TABLE archives(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE)",
    "CREATE TABLE views(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE)",
    "CREATE TABLE projects(number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE)",
    """CREATE TABLE aliases(
        archive INTEGER, entry INTEGER, node INTEGER NOT NULL, PRIMARY KEY(archive, entry)
    ) WITHOUT ROWID""",
)

_SINCE = (
    "CREATE INDEX IF NOT EXISTS aliases_by_node ON aliases(node)",
    "DROP TABLE IF EXISTS contents",
    "ALTER TABLE archives ADD COLUMN time INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE archives ADD COLUMN distribution TEXT",
    "ALTER TABLE archives ADD COLUMN entries INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE archives ADD COLUMN shared TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX archives_by_distribution ON archives(distribution)",
    "ALTER TABLE views ADD COLUMN time INTEGER NOT NULL DEFAULT 0",
)

_BESIDE = (
    "CREATE TABLE IF NOT EXISTS places(number INTEGER PRIMARY KEY, place TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS places_by_place ON places(place)",
)
"""Beside the tables of this format, for which earlier versions of pkgview do not look."""

_PLACES_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'places_by_place'"


def now() -> int:
    """Nanoseconds since the Epoch, in whole `STEP`s; where the clock is far out, what all read."""
    return min(max(time.time_ns() // STEP * STEP, EARLIEST), LATEST)


def version(db: sqlite3.Connection, path: Path) -> int:
    """The format of a registry, 0 for a new one; `PkgviewError` for one that is not known here."""
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise PkgviewError(
            f"the registry {path} has format {found}, this pkgview reads {VERSION}",
            remedy="Use the pkgview that wrote it, or a newer one.",
        )
    return found


def is_up_to_date(db: sqlite3.Connection, path: Path) -> bool:
    """Whether there is nothing to do for `bring_up_to_date`."""
    return version(db, path) == VERSION and db.execute(_PLACES_THERE).fetchone() is not None


def bring_up_to_date(db: sqlite3.Connection, path: Path) -> None:
    """Inside a transaction, so another process may have been first."""
    found = version(db, path)
    for statement in _BESIDE:
        db.execute(statement)
    if found == VERSION:
        return
    if not found:
        for statement in _FIRST:
            db.execute(statement)
        db.executemany(
            "INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)",
            [(table, random.randrange(limit // 2)) for table, limit in LIMITS.items()],  # noqa: S311 - against accidents
        )
    for statement in _SINCE:
        db.execute(statement)
    for table in ("archives", "views"):
        _give_times(db, table)
    db.execute(f"PRAGMA user_version = {VERSION}")


def behind(db: sqlite3.Connection, numbers: Mapping[str, int]) -> dict[str, int]:
    """Those of the tables, with their numbers, that may still give such a number or a lower one."""
    counted = dict(db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    return {table: number for table, number in numbers.items() if counted.get(table, 0) < number}


def count_from(db: sqlite3.Connection, numbers: Mapping[str, int]) -> None:
    """Let each table give the number after its own next; inside a transaction."""
    for table, number in numbers.items():
        db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)", (table, number))


def shrink(db: sqlite3.Connection) -> None:
    """Give back what is free, if that is much; where somebody is at it, another time."""
    pages, free = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count")
    )
    if free > pages // MOST_FREE:
        with suppress(sqlite3.OperationalError):
            db.execute("VACUUM")


def _give_times(db: sqlite3.Connection, table: str) -> None:
    numbers = db.execute(f"SELECT number FROM {table} ORDER BY number").fetchall()  # noqa: S608 - our own word
    first = max(now() - len(numbers) * SECOND, EARLIEST)
    db.executemany(
        f"UPDATE {table} SET time = ? WHERE number = ?",  # noqa: S608 - the same
        [(first + place * SECOND, number) for place, (number,) in enumerate(numbers)],
    )
