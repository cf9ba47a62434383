"""Which archives the registry may forget."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unionfs.view.nodeid import BEFORE
from unionfs.view.sharing import Shared

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection


def forget_archives(db: sqlite3.Connection, kept: Collection[str]) -> None:
    """Remove the rows of all archives but these; inside a transaction.

    Those stay, too, by which their members are known, and the last of each distribution that stays.
    """
    rows = db.execute(
        "SELECT number, name, shared, distribution FROM archives ORDER BY number"
    ).fetchall()
    staying = {number for number, name, *_ in rows if name in kept}
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
