"""What came of a project of Node's, kept for the next start that finds the same bytes.

A view leads to its project's own place, so it is kept for that place; for every other one what a
clone has alike (`resolver.node.clone`), where all that it follows from is among the bytes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from resolver import remembered
from resolver.errors import PkgviewError
from resolver.naming import sha256
from resolver.node import start
from resolver.node.clone import Pattern, further_text
from resolver.node.further import situation_of
from resolver.node.lock import commands
from resolver.node.project import MANIFEST, read_manifest
from resolver.node.unpinned import unpinned
from resolver.project import resolved, trust
from unionfs.formats.kind import described

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resolver.manifest import Manifest
    from resolver.node.lock import Lock
    from resolver.node.project import NodeProject
    from resolver.node.selection import Selection
    from resolver.project.resolved import ResolvedView
    from unionfs.formats.node.wish import NodeWish


def situation(wish: NodeWish, state: Path) -> remembered.Situation | None:
    """What a start finds that looks at bytes alone; None where that is not for it."""
    if wish.no_build or wish.beside or not wish.kept or wish.project.mounted:
        return None
    if unpinned(wish.project) != []:
        return None
    return situation_of(wish.project, state, wish.omit or ())


def is_alike(project: NodeProject, lock: Lock, selection: Selection) -> bool:
    """Whether the view follows from what a start looks at, but for the place.

    Not so where a directory was packed, of which only the name counts, or where the lock names
    other commands of a member than its package.json, which says what is looked for there.
    """
    if any(one.key is None for one in selection.choices):
        return False
    for entry in selection.kept.values():
        member = entry.resolved.removeprefix("./")
        if entry.link and (found := lock.entries[member].bins):
            if member not in project.members:
                return False
            own = read_manifest(project.root / member / MANIFEST)
            if {*commands(own.get("bin"), entry.name).values()} != {*found.values()}:
                return False
    return True


class Outcome(NamedTuple):
    """What came of it. `writable`: the directories that have to be there.

    `pattern`: for clones; None where there is none, or it was known before.
    """

    manifest: Manifest
    record: ResolvedView
    writable: Sequence[str]
    pattern: Pattern | None


def remember(
    wish: NodeWish, state: Path, before: remembered.Situation | None, what: Outcome
) -> None:
    """Keep it, unless more counts than bytes, or they changed since `before`."""
    now = before and situation(wish, state)
    agreed = trust.of(str(wish.project.root), state)
    if before is None or now is None or now.here != before.here or agreed is None:
        return
    choices = trust.choices_json(agreed.choices - {trust.STORE})
    said = (described(what.manifest), resolved.to_json(what.record), choices)
    view, kept_in = what.record.view, str(state)
    entry = remembered.Entry(view, "\0".join(what.writable), *said)
    with suppress(PkgviewError):  # it only saves time
        remembered.remember(kept_in, [now.here], entry)
        # What was found out when the view was made is kept by the view, for other bytes of it.
        by_view = sha256(f"pattern {view}".encode()).hexdigest()[: len(now.here)]
        known = remembered.recall(kept_in, by_view)
        pattern = what.pattern.to_text() if what.pattern else known.more if known else ""
        if not pattern:
            return
        remembered.remember(
            kept_in, [by_view, now.anywhere], remembered.Entry(view, "", *said, more=pattern)
        )
        root = str(wish.project.root)
        if lines := remembered.further(kept_in, root, start.KIND):
            first = start.situation(root, kept_in, os.environ, wish.omit or (), ())
            if first is not None:
                entry = remembered.Entry(view, "", "", "", "", more=further_text(lines))
                remembered.remember(kept_in, [first.anywhere], entry)
