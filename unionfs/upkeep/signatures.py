"""Looking again at the words by which archives were taken from stores beyond this machine.

A word counted when the archive was taken. It does so no more where its key is revoked or listed no
longer, where its store is not among the user's any more, or where what was signed is damaged. A key
whose time is merely over still vouches for what was taken within it.

What is dropped is known to nobody from then on, and views that have it are made anew from package
files. Until that is done for each, it is kept in mind (`doubted`), also if we are killed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from resolver import remembered
from resolver.atomic import Alone
from resolver.errors import PkgviewError
from resolver.project import resolved
from unionfs.store.remote import sshsig
from unionfs.store.remote.believing import trust_in
from unionfs.store.remote.signers import Signer
from unionfs.store.remote.sshkey import KeyFault
from unionfs.store.remote.statement import Derived, read
from unionfs.store.remote.vouching import Trust, believed
from unionfs.store.sources import is_made_here
from unionfs.upkeep.references import read_references
from unionfs.upkeep.verify import Outcome, made_again

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from resolver.manifest import ViewId
    from resolver.places import Places
    from resolver.project.resolved import Resolved
    from unionfs.publishing.assemble import Progress
    from unionfs.store.local import Store
    from unionfs.store.vouched import Record, Word


class Doubt(NamedTuple):
    """An archive that was taken by a word which counts no more: whose, and why, in words."""

    source: str
    archive: str
    store: str
    signer: str
    said: str


def doubts(places: Places, store: Store) -> tuple[int, list[Doubt]]:
    """How many archives were taken by somebody's word, and those of them that are in doubt.

    `PkgviewError` where the settings cannot be read.
    """
    records = list(store.vouched.all())
    asked = _Asked(places)
    found = [
        Doubt(one.key, one.archive, one.word.store, one.word.signer, said)
        if one.word
        else Doubt(one.key, one.archive, "", "", said)
        for one in records
        if (said := asked.why_not(one))
    ]
    left = [
        Doubt(key, archive, "", "", "so it was found before, and a view still has it")
        for key, archive in store.vouched.doubted()
    ]
    used = _unknown(store, left) & _used(places)
    return len(records), [*found, *(one for one in left if one.archive in used)]


def drop(
    places: Places, store: Store, found: Collection[Doubt], progress: Progress
) -> dict[str, Outcome]:
    """Believe these no more, and make the projects' views anew that have them; how that went."""
    for doubt in found:
        store.vouched.doubt(doubt.source)
    outcome: dict[str, Outcome] = {}
    needs, unknown = read_references(places), _unknown(store, found)
    views = {view for view, one in needs.manifests.items() if unknown.intersection(one.archives)}
    # Where it is not made again now, the next `up` does it, whatever it would know without us.
    remembered.forget(os.fspath(places.state), views)
    for root, project in needs.projects.items():
        _outdate(places, project, views)
        for view in project.views:
            if view.view not in views:
                continue
            try:
                made_again(places, project, view, needs.manifests[view.view], progress)
            except PkgviewError as error:
                outcome[root] = Outcome(settled=False, said=error.what)
            else:
                outcome.setdefault(root, Outcome(settled=True, said="made again"))
    used = _unknown(store, found) & _used(places)
    for doubt in found:
        if doubt.archive not in used:
            store.vouched.settle(doubt.source)
    return outcome


def _used(places: Places) -> set[str]:
    needs = read_references(places)
    return {name for project in needs.projects.values() for name in needs.archives_of(project)}


def _outdate(places: Places, project: Resolved, views: Collection[ViewId]) -> None:
    """Have its record say that these follow from something else than there is now."""
    projects = places.state / "projects"
    if not any(view.view in views for view in project.views):
        return
    with Alone(projects):
        record = resolved.load_key(projects, project.key)
        if record is not None:
            changed = (
                replace(one, fingerprint="") if one.view in views else one for one in record.views
            )
            resolved.save(projects, replace(record, views=tuple(changed)))


def _unknown(store: Store, found: Iterable[Doubt]) -> set[str]:
    """Those of the archives that nobody else has vouched for, nor were they made here."""
    return {doubt.archive for doubt in found} - set(store.known_sources().values())


class _Asked:
    """Asks each store's settings, and verifies each word, once."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._trusts: dict[str, Trust] = {}
        self._said: dict[tuple[int, bool], str] = {}

    def why_not(self, record: Record) -> str:
        """Why a word does not count for what was taken by it; "" where it does."""
        word, proved = record.word, not is_made_here(record.key)
        if word is None:
            return "the word that it was taken by is gone, or damaged"
        known = (id(word), proved)
        if known not in self._said:
            self._said[known] = self._why_not(word, proved=proved)
        if self._said[known]:
            return self._said[known]
        statement = read(word.said)
        sources = (
            {statement.source: statement.archive}
            if isinstance(statement, Derived)
            else statement.sources
        )
        if sources.get(record.key) != record.archive:
            return "the word that it was taken by is of another archive"
        return ""

    def _why_not(self, word: Word, *, proved: bool) -> str:
        if word.store not in self._trusts:
            self._trusts[word.store] = trust_in(self._places, word.store)
        trust = self._trusts[word.store]
        if word.by_command:
            signers = tuple(_signers(word))
            trust = Trust(
                store=word.store, signers=signers, whole=not word.key, revoked=trust.revoked
            )
        try:
            read(word.said)
            believed(word, trust, word.taken, proved=proved)
        except PkgviewError as error:
            return error.what
        return ""


def _signers(word: Word) -> Iterator[Signer]:
    """Whom the command named that it was taken by."""
    for armoured in word.signatures:
        try:
            key = sshsig.read(armoured).key
        except KeyFault:
            continue
        if key.fingerprint == word.key:
            yield Signer(name=word.signer, key=key)
