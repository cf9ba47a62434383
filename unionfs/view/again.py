"""Versions of a distribution that were somebody's again when later ones were known.

A project goes from A to B, back to A, and on to C. Programs make their outputs anew at the second
A, so these are younger than what B brought: all that C has and A had not has to be newer still, or
`make` and `cp -u` take it for what they have seen. So nothing goes on being known by B there
(`unionfs.view.registry`). It is noted which archives come into a project's view or leave it, with
the last of their distribution at that time; of those that stay nothing is noted, since B would not
be shared any more while anybody has A.

Earlier versions of the registry go on with it, so its format stays: it is a table beside theirs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from unionfs.view.nodeid import ArchiveNo

_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'again'"

_LATER = """
SELECT this.number, max(later.number) FROM archives AS this JOIN archives AS later
ON later.distribution = this.distribution AND later.number > this.number
WHERE this.name IN (SELECT value FROM json_each(?)) GROUP BY this.number
"""


class Again:
    """What one registry has noted of that."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def unnoted(self, names: Iterable[str]) -> list[tuple[ArchiveNo, ArchiveNo]]:
        """Those of the archives of which it has to be noted, each with its distribution's last."""
        found = self._db.execute(_LATER, (json.dumps(list(names)),)).fetchall()
        noted = dict(self._db.execute("SELECT number, last FROM again")) if self._is_there() else {}
        return [(number, last) for number, last in found if noted.get(number) != last]

    def note(self, names: Iterable[str]) -> None:
        """Note it of these archives; inside a transaction, before later ones are registered."""
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS again(number INTEGER PRIMARY KEY, last INTEGER NOT NULL)"
        )
        self._db.executemany("INSERT OR REPLACE INTO again VALUES (?, ?)", self.unnoted(names))

    def between(self, distribution: str) -> list[tuple[ArchiveNo, ArchiveNo]]:
        """Of each that came again its number, and the last of what had been registered since."""
        if not self._is_there():
            return []
        return self._db.execute(
            "SELECT number, last FROM again JOIN archives USING (number) WHERE distribution = ?",
            (distribution,),
        ).fetchall()

    def forget_gone(self) -> None:
        """Remove what is noted of archives that are not registered any more."""
        if self._is_there():
            self._db.execute("DELETE FROM again WHERE number NOT IN (SELECT number FROM archives)")

    def _is_there(self) -> bool:
        return self._db.execute(_THERE).fetchone() is not None
