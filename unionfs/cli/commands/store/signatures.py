"""`pkgview store verify --signatures`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unionfs.cli import console
from unionfs.cli.progress import Display
from unionfs.store.local import Store

if TYPE_CHECKING:
    from resolver.places import Places
    from unionfs.upkeep.signatures import Doubt
    from unionfs.upkeep.verify import Outcome

SHAPE = (
    "{path, records, doubted: [{source, archive, store, signer, said}], "
    "projects: [{project, repair: {settled, said}}]}"
)


def verify_signatures(places: Places, *, repair: bool, as_json: bool) -> bool:
    """Say which of the words count no more by which archives were taken; whether all is well."""
    from unionfs.upkeep.signatures import doubts, drop  # noqa: PLC0415 - not for all of `store`

    store = Store(places.store)
    records, found = doubts(places, store)
    outcome: dict[str, Outcome] = {}
    if repair and found:
        with Display(quiet=as_json) as display:
            outcome = drop(places, store, found, display)
    if as_json:
        console.as_json(
            {
                "path": str(places.store),
                "records": records,
                "doubted": [one._asdict() for one in found],
                "projects": [
                    {"project": root, "repair": one._asdict()}
                    for root, one in sorted(outcome.items())
                ],
            }
        )
    elif found:
        _say(found, outcome, repaired=repair)
    else:
        taken = console.count(records, "archive")
        console.answer(f"every word that an archive was taken by still counts ({taken})")
    return not found or (repair and all(one.settled for one in outcome.values()))


def _say(found: list[Doubt], outcome: dict[str, Outcome], *, repaired: bool) -> None:
    for one in found:
        whose = one.signer or one.store or "somebody"
        console.explain(
            f"{one.archive} was taken by the word of {whose}, which counts no more: {one.said}",
            "It is dropped." if repaired else "Run `pkgview store verify --signatures --repair`.",
        )
    for root, (settled, said) in sorted(outcome.items()):
        console.explain(
            f"{root} has a view that was made by such a word: {said}",
            "" if settled else "Mend that, and run it again.",
        )
