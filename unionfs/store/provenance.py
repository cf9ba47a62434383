"""By whose word each archive is what a package file became, as far as it is written down here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from unionfs.store.sources import DERIVED, IMPORTED, VOUCHED, Sources, is_made_here
from unionfs.store.vouched import DOUBTED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from unionfs.store.local import Store
    from unionfs.store.ordered import Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Whose word it is, and of what file.

    `word` is "made" (here, of nothing that is fetched), "derived" (here, from the file of the key
    `source`), "imported", "vouched", "store" (that of an added or system store), "doubted", or ""
    where nothing is written down: it was built here, or came with the project.

    `store` is where the word is from; `signer`, `key` (a fingerprint) and `taken` (seconds since
    1970) are those of one that is vouched, "" where nobody signed it.
    """

    word: str = ""
    source: str = ""
    store: str = ""
    signer: str = ""
    key: str = ""
    taken: int = 0


def provenance(stores: Stores, names: Collection[str]) -> dict[str, Provenance]:
    """What is known of each of these archives: the word that counts first."""
    found: dict[str, Provenance] = {}
    for archive, said in chain(_in_own(stores.own), _in_others(stores), _doubted(stores.own)):
        if archive in names:
            found.setdefault(archive, said)
    return {name: found.get(name, Provenance()) for name in names}


def _in_own(store: Store) -> Iterator[tuple[str, Provenance]]:
    links = Sources(store.root)
    for key, archive in links.archives(DERIVED):
        yield archive, Provenance(word="made" if is_made_here(key) else DERIVED, source=key)
    for key, archive in links.archives(IMPORTED):
        yield archive, Provenance(word=IMPORTED, source=key)
    for key, archive, word in store.vouched.all():
        said = Provenance(word=VOUCHED, source=key)
        if word is not None:
            said = replace(
                said, store=word.store, signer=word.signer, key=word.key, taken=word.taken
            )
        yield archive, said


def _in_others(stores: Stores) -> Iterator[tuple[str, Provenance]]:
    for store in stores.others:
        for key, archive in store.known_sources().items():
            if not is_made_here(key):
                yield archive, Provenance(word="store", source=key, store=str(store.root))


def _doubted(store: Store) -> Iterator[tuple[str, Provenance]]:
    for key, archive in store.vouched.doubted():
        yield archive, Provenance(word=DOUBTED, source=key)
