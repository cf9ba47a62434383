"""What came of a project of Node's, kept for the next start that finds the same bytes.

A view leads to directories of its project's own, so it is kept for its place only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from resolver import remembered
from resolver.errors import PkgviewError
from resolver.node.further import situation_of
from resolver.project import resolved, trust
from unionfs.formats.kind import described

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resolver.manifest import Manifest
    from resolver.project.resolved import ResolvedView
    from unionfs.formats.node.wish import NodeWish


def situation(wish: NodeWish, state: Path) -> remembered.Situation | None:
    """What a start finds that looks at bytes alone; None where that is not for it."""
    if wish.no_build or wish.beside or not wish.kept:
        return None
    return situation_of(wish.project, state, wish.omit or ())


def remember(  # noqa: PLR0913, PLR0917 - what there is
    wish: NodeWish,
    state: Path,
    before: remembered.Situation | None,
    manifest: Manifest,
    record: ResolvedView,
    writable: Sequence[str],
) -> None:
    """Keep it, unless more counts than bytes, or they changed since `before`.

    `writable`: the directories that have to be there.
    """
    now = before and situation(wish, state)
    agreed = trust.of(str(wish.project.root), state)
    if before is None or now is None or now.here != before.here or agreed is None:
        return
    choices = trust.choices_json(agreed.choices - {trust.STORE})
    entry = remembered.Entry(
        *(record.view, "\0".join(writable), described(manifest)),
        *(resolved.to_json(record), choices),
    )
    with suppress(PkgviewError):  # it only saves time
        remembered.remember(str(state), [now.here], entry)
