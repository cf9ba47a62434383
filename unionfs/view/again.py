"""Versions of a distribution that were somebody's again when later ones were known.

A project goes from A to B, back to A, and on to C. Programs make their outputs anew at the second
A, so these are younger than what B brought: all that C has and A had not has to be newer still, or
`make` and `cp -u` take it for what they have seen. So nothing goes on being known by B there
(`unionfs.view.registry`). It is noted which archives come into a project's view or leave it, with
the last of their distribution at that time; of those that stay nothing is noted, since B would not
be shared any more while anybody has A.

And it is noted for which place of a view an archive has its number, where it is there by itself, as
a package of Node's is (`Placed`): it has another number, and time, for each. A package goes from
one place to another, in an upgrade, and what is made of the files at that place is younger than the
archive; and two places in a view are two files, also where they are one version's.

Earlier versions of the registry go on with it, so its format stays: these are tables beside theirs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unionfs.view.sharing import REGISTERED, Registered, archive_of, distribution_of, name_at

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from unionfs.archive.reader import Archive
    from unionfs.view.nodeid import ArchiveNo
    from unionfs.view.sharing import Where

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
        for table in ("again", "places") if self._is_there() else ("places",):
            self._db.execute(
                f"DELETE FROM {table} WHERE number NOT IN (SELECT number FROM archives)"  # noqa: S608 - our own words
            )

    def _is_there(self) -> bool:
        return self._db.execute(_THERE).fetchone() is not None


class Placed:
    """For which places the archives of one registry have numbers.

    An archive's own name is that of the number for its first place.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def unknown(self, where: Iterable[Where]) -> list[Where]:
        """Those of the archives, each with a place, that have no number for it."""
        asked = list(dict.fromkeys(one for one in where if one[1]))
        names = [name for one in asked for name in (one[0], name_at(*one))]
        found = self._db.execute(
            "SELECT name, place FROM places JOIN archives USING (number) "
            "WHERE name IN (SELECT value FROM json_each(?))",
            (json.dumps(names),),
        )
        known = {(archive_of(name), place) for name, place in found}
        return [one for one in asked if one not in known]

    def note(self, number: int, place: str) -> None:
        """An archive's number is the one for that place."""
        self._db.execute("INSERT INTO places VALUES (?, ?)", (number, place))

    def new_name(self, archive: str, place: str) -> str | None:
        """Under which name an archive gets a number for a place; None where it has one.

        What was registered before places were noted has its number for the first that is asked for.
        What was registered without one since then, while it had some, has it for none.
        """
        row = self._db.execute(
            "SELECT number, place FROM archives LEFT JOIN places USING (number) WHERE name = ?",
            (archive,),
        ).fetchone()
        if row is None:
            return archive
        number, first = row
        if place and first is None:
            if self._is_placed(archive):
                return name_at(archive, place)
            self.note(number, place)
        return None if not place or first in {None, place} else name_at(archive, place)

    def last(self, distribution: str, place: str) -> Registered | None:
        """What was registered last of a distribution for a place, or for none."""
        row = self._db.execute(
            f"{REGISTERED} LEFT JOIN places USING (number) "
            "WHERE distribution = ? AND coalesce(place, '') = ? ORDER BY number DESC LIMIT 1",
            (distribution, place),
        ).fetchone()
        return None if row is None else Registered.of(row)

    def is_first(self, archive: Archive) -> bool:
        """Whether nothing of its distribution is registered."""
        query = "SELECT 1 FROM archives WHERE distribution = ? LIMIT 1"
        return self._db.execute(query, (distribution_of(archive),)).fetchone() is None

    def _is_placed(self, archive: str) -> bool:
        """Whether an archive has a number for another place than its first one."""
        found = self._db.execute(
            "SELECT 1 FROM archives WHERE name > ? AND name < ? LIMIT 1",
            (f"{archive} ", f"{archive}!"),
        )
        return found.fetchone() is not None
