"""`pkgview store add`, `list` and `remove` for stores beyond this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from resolver import config
from resolver.errors import PkgviewError
from unionfs.cli import console
from unionfs.store.remote.addresses import tagged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resolver.places import Places


def add(
    places: Places, text: str, keys: Sequence[str] = (), *, trust: bool, insecure: bool
) -> config.RemoteStore:
    """Name it in `config.toml`. Nobody is asked whether it is there: it may be offline.

    `keys` are added to those that are listed for it; with `trust` there are none any more.
    """
    from unionfs.store.remote.believing import key_line  # noqa: PLC0415 - only who adds one needs it
    from unionfs.store.remote.stores import transport  # noqa: PLC0415 - the same

    at = tagged(text)
    if at.tag:
        raise PkgviewError(
            f"{text} names a view, and a store has many",
            remedy=f"Add the repository: `pkgview store add {at.url}`.",
        )
    known = next((one for one in config.load(places).remotes if one.url == at.url), None)
    had = known.keys if known is not None and not trust else ()
    signers = known.signers if known is not None and not trust else ""
    store = config.RemoteStore(
        url=at.url, keys=tuple(dict.fromkeys((*had, *map(key_line, keys)))), signers=signers,
        known_as=known.known_as if known else "", trust=trust, insecure=insecure,
    )  # fmt: skip
    transport(at, insecure=insecure)  # what it could never be had by is refused now
    config.add_store(places, store)
    return store


def listed(places: Places) -> list[dict[str, Any]]:
    """As `pkgview store list --json` has them, in the order in which they are searched.

    Last those that were not added, but of which there is something here.
    """
    added = config.load(places).remotes
    if not added and not (places.store / "partial").is_dir():
        return []
    from unionfs.store.remote.use.lacking import Held, held  # noqa: PLC0415 - few have any

    there = held(places)
    known = {one.url: believed(one) for one in added}
    return [
        {
            "path": url,
            "rank": "remote",
            "shared": False,
            "passed_over": None,
            "believed": known.get(url, "nothing, as it was not added"),
            "held": asdict(there.get(url, Held())),
        }
        for url in dict.fromkeys((*known, *there))
    ]


def held_in_words(held: dict[str, int]) -> str:
    """How much is here of a store, and what it took; "" where that is nothing."""
    said = ""
    if held["archives"]:
        said = (
            f"; {console.count(held['archives'], 'partial archive')}: {console.size(held['here'])} "
            f"of {console.size(held['size'])} here"
        )
    if held["requests"]:
        said += (
            f"; fetched {console.size(held['fetched'])} in "
            f"{console.count(held['requests'], 'request')}"
        )
    return said


def believed(store: config.RemoteStore) -> str:
    """Whose word counts for it."""
    if store.trust:
        return "all that it says"
    return "what listed keys have signed" if store.keys or store.signers else "nothing"
