"""Which archives the registry may forget; where else lies what is known by one that is gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unionfs.archive.layer import EntryNo
from unionfs.view.nodeid import BEFORE
from unionfs.view.sharing import Shared, archive_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from unionfs.view.nodeid import ArchiveNo


def forget_archives(db: sqlite3.Connection, kept: Collection[str]) -> None:
    """Remove the rows of all archives but these; inside a transaction.

    Those stay, too, by which their members are known, and of each distribution that stays the last,
    at each place.
    """
    rows = [
        (number, name, shared, (distribution, place))
        for number, name, shared, distribution, place in db.execute(
            "SELECT number, name, shared, distribution, place "
            "FROM archives LEFT JOIN places USING (number) ORDER BY number"
        )
    ]
    staying = {number for number, name, *_ in rows if archive_of(name) in kept}
    needed = set(staying)
    for number, _, shared, _ in rows:
        if number in staying and shared:
            needed |= Shared.from_json(shared).archives()
    for number, node in db.execute("SELECT archive, node FROM aliases"):
        if number in staying:
            needed.add(BEFORE.archive_parts(node)[0])
    last = {distribution: number for number, *_, distribution in rows}
    needed |= {last[distribution] for number, *_, distribution in rows if number in needed}
    gone = json.dumps([number for number, *_ in rows if number not in needed])
    for table, column in (("aliases", "archive"), ("archives", "number")):
        db.execute(
            f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",  # noqa: S608 - our own words
            (gone,),
        )


def copies(
    db: sqlite3.Connection, number: ArchiveNo
) -> dict[EntryNo, list[tuple[ArchiveNo, EntryNo]]]:
    """Where else the members of an archive lie that others are known by."""
    found: dict[EntryNo, list[tuple[ArchiveNo, EntryNo]]] = {}
    first = BEFORE.in_archive(number, EntryNo(0))
    others = db.execute(
        "SELECT number, shared FROM archives WHERE shared <> '' AND distribution = "
        "(SELECT distribution FROM archives WHERE number = ?) ORDER BY number",
        (number,),
    ).fetchall()
    aliases = db.execute(
        "SELECT node, archive, entry FROM aliases WHERE node BETWEEN ? AND ? "
        "ORDER BY archive, entry",
        (first, first + BEFORE.most_entries - 1),
    ).fetchall()
    for other, shared in others:
        for entry, its_entry in Shared.from_json(shared).known_by(number):
            found.setdefault(entry, []).append((other, its_entry))
    for node, other, its_entry in aliases:
        found.setdefault(BEFORE.archive_parts(node)[1], []).append((other, its_entry))
    return found
