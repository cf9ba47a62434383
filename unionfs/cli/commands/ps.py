"""`pkgview ps` and `pkgview explain`."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import json_of, process_number
from unionfs.cli.commands.bind import BOUND, home_as_tilde, tell

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTAINER = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")
"""A container's id, which people know by its beginning."""

_PROCESS = "{pid, program, uid, python, rule, project, view, why, since, seconds, lasting}"

WIDEST_PROGRAM = 44
"""Characters of a command line in a table."""


@click.command(
    epilog="""\b
Examples:
  pkgview ps
  pkgview ps --json | jq '.processes[] | select(.project == null) | .pid'
"""
)
@json_of(f"{{processes: [{_PROCESS}], by_hand: [{BOUND}]}}")
def ps(*, as_json: bool) -> None:
    """Show which process sees which view: rule, project, since when; and what is bound by hand.

    Rule "path": it was started by its path in a view (.venv/bin/python), so no rule was asked.
    """
    found = tell(Places.from_environ(), "ps")
    if as_json:
        console.as_json(found)
        return
    console.table(
        [
            (
                str(one["pid"]),
                shortened(one["program"], WIDEST_PROGRAM),
                home_as_tilde(one["project"] or "-"),
                short(one["view"]),
                rule(one),
                console.duration(one["seconds"]),
            )
            for one in found["processes"]
        ],
        empty="No process that runs has asked the mount yet.",
        header=("pid", "program", "project", "view", "rule", "since"),
        right="r    r",
    )
    if found["by_hand"]:
        console.answer("")
        console.table(
            [
                (
                    str(one["pid"] or "-"),
                    one["by"],
                    _CONTAINER.sub(r"\1…", one["cgroup"] or "no cgroup: by descent"),
                    home_as_tilde(one["project"] or "-"),
                    short(one["view"]) if one["view"] else "newest",
                    console.duration(_age(one["since"])),
                )
                for one in found["by_hand"]
            ],
            header=("bound", "by", "cgroup", "project", "view", "since"),
            right="r    r",
        )


@click.command(
    epilog="""\b
Examples:
  pkgview explain                        the shell that asks
  pkgview explain 4711
  pkgview explain 4711 --json | jq '.rules[] | select(.won)'
"""
)
@click.argument("pid", required=False, callback=process_number)
@json_of(
    "{pid, program, exe, uid, python, directory, script, cgroups: {…}, ancestors: [pid], "
    f"rules: [{{rule, found, won, view, project, why}}], last: {_PROCESS}}}"
)
def explain(pid: int | None, *, as_json: bool) -> None:
    """Show what each binding rule finds for a process, in order, and which one holds.

    The process is looked at as if it asked now; nothing changes by it.
    """
    found = tell(Places.from_environ(), "explain", pid=pid or os.getppid())
    if as_json:
        console.as_json(found)
        return
    rows = [("process", f"{found['pid']}  {found['program']}")]
    rows += [
        (name, home_as_tilde(found[name]))
        for name in ("python", "script", "directory")
        if found[name] is not None
    ]
    console.table(rows)
    console.answer("")
    console.table(
        [
            (
                "->" if one["won"] else "",
                str(number),
                rule(one),
                short(one["view"]) if one["found"] else "",
                one["why"],
            )
            for number, one in enumerate(found["rules"], start=1)
        ],
        header=("", "", "rule", "view", "what it finds"),
    )
    console.answer("")
    won = next(one for one in found["rules"] if one["won"])
    project = f" of {won['project']}" if won["project"] else ""
    if won["view"] is None:
        console.answer(f"Rule {rule(won)!r} holds, and there is no view{project} to show yet.")
    else:
        console.answer(f"Rule {rule(won)!r} holds: it sees view {won['view']}{project}.")
    console.answer(_before(found["last"]))


def _before(last: Mapping[str, Any] | None) -> str:
    """What the daemon remembers of the process."""
    if last is None:
        return "It has not asked the mount yet."
    return (
        f"It asked before: view {short(last['view'])} by rule {rule(last)!r} ({last['why']}), "
        f"{console.duration(last['seconds'])} ago."
    )


def rule(one: Mapping[str, Any]) -> str:
    """A rule's name for people."""
    return str(one["rule"]).replace("_", " ")


def short(view: str | None) -> str:
    """As much of a view's id as tells it from others."""
    return view[:12] if view else "-"


def shortened(text: str, most: int) -> str:
    """The beginning of a text, with a mark where something is missing."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _age(moment: str) -> float:
    return max((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds(), 0.0)
