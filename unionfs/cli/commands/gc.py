"""`pkgview gc`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

from resolver.config import size_of
from resolver.errors import PkgviewError
from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import json_of
from unionfs.cli.commands.store.store import short
from unionfs.upkeep.collect import Limits, collect, plan
from unionfs.upkeep.inuse import survey

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def _seconds(_: click.Context, __: click.Parameter, text: str | None) -> float:
    if text is None:
        return 0.0
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is no age such as 12h, 30d or 4w")
    return float(match[1]) * _SECONDS[match[2]]


def _bytes(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else size_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    epilog="""\b
Examples:
  pkgview gc --dry-run                   what would go
  pkgview gc                             remove what nothing needs
  pkgview gc --max-age 30d               but what was needed within 30 days stays
  pkgview gc --max-size 20GB             only as much as that takes, the oldest first
"""
)
@click.option("--max-age", metavar="AGE", callback=_seconds, help="Keep what was needed since.")
@click.option(
    "--max-size", metavar="SIZE", callback=_bytes, help="Stop where the store is that small."
)
@click.option("--dry-run", is_flag=True, help="Remove nothing, show what would go.")
@json_of(
    "{dry_run, views: [id], archives: [{archive, size}], freed, kept, needed, "
    "silent: [{user, told}]}"
)
def gc(*, max_age: float, max_size: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove archives and views that nothing needs.

    Needed is what a project that exists, a program that runs, or a pin needs (`pkgview store pin`).
    A project that exists can be forgotten: `pkgview projects` and `pkgview forget`.
    """
    places = Places.from_environ()
    limits = Limits(max_age=max_age, max_size=max_size)
    found = plan(places, survey(places), limits) if dry_run else collect(places, limits)
    if found is None:
        raise PkgviewError(
            "nothing was removed: others make views all the time", remedy="Run it again later."
        )
    silent = [
        (user, datetime.fromtimestamp(told, UTC).isoformat(timespec="seconds"))
        for user, told in found.silent
    ]
    if as_json:
        console.as_json(
            {
                "dry_run": dry_run,
                "views": list(found.views),
                "archives": [
                    {"archive": name, "size": size} for name, size in sorted(found.archives.items())
                ],
                "freed": found.freed,
                "kept": found.kept,
                "needed": found.needed,
                "silent": [{"user": user, "told": told} for user, told in silent],
            }
        )
        return
    if silent:
        last = ", ".join(f"of user {user} since {told}" for user, told in silent)
        console.note(f"What states need that have been silent for 30 days does not count: {last}.")
    console.table(
        [(short(name), console.size(size)) for name, size in sorted(found.archives.items())],
        right=" r",
    )
    done = "Would remove" if dry_run else "Removed"
    removed = (
        f"{done} {console.count(len(found.archives), 'archive')} ({console.size(found.freed)}) "
        f"and {console.count(len(found.views), 'view')}"
        if found.archives or found.views
        else "Nothing to remove"
    )
    console.answer(
        f"{removed}; {console.size(found.kept)} stay, {console.size(found.needed)} of them needed."
    )
