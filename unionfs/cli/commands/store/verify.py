"""`pkgview store verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from resolver.places import Places
from unionfs.cli import console
from unionfs.cli.asked import json_of
from unionfs.cli.commands.store.signatures import SHAPE, verify_signatures
from unionfs.cli.progress import Display
from unionfs.store.ordered import Stores

if TYPE_CHECKING:
    from unionfs.upkeep.verify import Outcome, Unproved


@click.command(
    epilog="""\b
Examples:
  pkgview store verify
  pkgview store verify --repair          set damaged ones aside and fetch them again
  pkgview store verify --all             the other stores, too
  pkgview store verify --signatures      whether those count still whose word was believed
"""
)
@click.option("--repair", is_flag=True, help="Set damaged archives aside and have them again.")
@click.option("--all", "everywhere", is_flag=True, help="Read the other stores, too.")
@click.option("--signatures", is_flag=True, help="Look at words and keys instead of bytes.")
@json_of(
    "{path, archives, damaged: [{store, archive, damage, repair: {settled, said}}], "
    "unproved: {records, projects: [{project, repair: {settled, said}}]}}; "
    f"repair: null where none was tried; with --signatures: {SHAPE}"
)
@click.pass_context
def verify(
    context: click.Context, *, repair: bool, everywhere: bool, signatures: bool, as_json: bool
) -> None:
    """Read every byte of every archive and compare it with the archive's name.

    What is damaged is named, and the exit status is 1. With --repair it is moved to
    archives/damaged and had again: from another store, or fetched as `pkgview up` does it in the
    projects that need it.

    So is what earlier versions recorded without saying where they had it from: --repair drops it,
    and makes the views anew that were made by it.

    With --signatures no archive is read. Each that was taken from a store beyond this machine is
    asked for by whose word, and whether that counts now: with a key that is revoked, or listed no
    more, it does not. --repair drops these and makes the views anew that have them.
    """
    if signatures and everywhere:
        raise click.UsageError("--signatures looks at your own store, without --all")
    if signatures:
        well = verify_signatures(Places.from_environ(), repair=repair, as_json=as_json)
    else:
        well = _verify_archives(repair=repair, everywhere=everywhere, as_json=as_json)
    if not well:
        context.exit(1)


def _verify_archives(*, repair: bool, everywhere: bool, as_json: bool) -> bool:
    """Whether all is well, or mended."""
    from unionfs.upkeep import verify as verifying  # noqa: PLC0415 - not for all of `store`

    places = Places.from_environ()
    stores = Stores(places)
    outcome: dict[str, Outcome] = {}
    elsewhere: list[tuple[str, str, str]] = []
    with Display(quiet=as_json) as display:
        found = verifying.damaged(stores.own, display)
        for other in stores.others if everywhere else ():
            faults = verifying.damaged(other, display)
            elsewhere += [(str(other.root), name, said) for name, said in faults.items()]
        former = verifying.unproved(places, stores.own)
        proved: dict[str, Outcome] = {}
        if repair and any(former):
            proved = verifying.prove(places, stores.own, display)
        if repair and found:
            outcome = verifying.repair(places, stores, list(found), display)
    count = len(stores.own.names())
    own = str(places.store)
    if as_json:
        console.as_json(
            {
                "path": own,
                "archives": count,
                "damaged": [
                    {
                        "store": root,
                        "archive": name,
                        "damage": said,
                        "repair": _as_dict(outcome.get(name)) if root == own else None,
                    }
                    for root, name, said in sorted(
                        [(own, name, said) for name, said in found.items()] + elsewhere
                    )
                ],
                "unproved": {
                    "records": former.records,
                    "projects": [
                        {"project": root, "repair": _as_dict(proved.get(root))}
                        for root in former.projects
                    ],
                },
            }
        )
    else:
        _say_damage(found, outcome)
        if any(former):
            _say_unproved(former, proved, repaired=repair)
        for root, name, said in elsewhere:
            console.explain(
                f"{name} in {root} is damaged: {said}",
                f"Tell whoever keeps that store, or run `pkgview store remove {root}`.",
            )
        if not found and not elsewhere and not any(former):
            console.answer(f"every archive is what its name says ({count})")
    mended = all(name in outcome and outcome[name].settled for name in found)
    believed = not any(former) or (repair and all(one.settled for one in proved.values()))
    return mended and believed and not elsewhere


def _as_dict(outcome: Outcome | None) -> dict[str, Any] | None:
    return None if outcome is None else outcome._asdict()


def _say_unproved(former: Unproved, proved: dict[str, Outcome], *, repaired: bool) -> None:
    named = "".join(
        f"\n  {root}" + (f": {proved[root].said}" if root in proved else "")
        for root in former.projects
    )
    said = (
        "earlier versions recorded without saying where they had it from, so it may be a "
        f"project's word: {console.count(former.records, 'record')}, and the views of "
        f"{console.count(len(former.projects), 'project')}{named}"
    )
    if not repaired:
        console.explain(said, "Run `pkgview store verify --repair`: it makes them anew.")
    elif all(one.settled for one in proved.values()):
        console.explain(said, "They are dropped, and the views are made again.")
    else:
        console.explain(said, "They are dropped; run `pkgview up` where a view is not made again.")


def _say_damage(found: dict[str, str], outcome: dict[str, Outcome]) -> None:
    for name, damage in found.items():
        if name not in outcome:
            console.explain(f"{name} is damaged: {damage}", "Run `pkgview store verify --repair`.")
            continue
        settled, said = outcome[name]
        console.explain(
            f"{name} was damaged and is set aside: {damage}",
            f"{said[:1].upper()}{said[1:]}."
            if settled
            else f"It could not be had again: {said}\nMend that and run `pkgview up` there.",
        )
