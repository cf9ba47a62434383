"""Whose word counts for what: the one place that decides it. Pure: no disk, no clock, no network.

Bytes need nobody's word, an archive's name says them all. That a package file *became* an archive,
and that a tag means a certain view, is somebody's word. It counts where

* a key that the user lists for that store has signed exactly this text, for our purpose
  (`sshsig.NAMESPACE`), is not revoked, and is within its time *now*. By when a statement says
  that it was made nothing is decided: whoever has a stolen key writes what they like there;
* or the user believes the store as a whole (`trust`). Then a signature adds nothing, with one
  exception: what is made here (`unionfs.store.sources.MADE_HERE`: skeletons, bytecode) counts by a
  listed key alone, since no package file could ever prove it.

Signatures are verified first: what nobody who counts has signed is not even understood.

A word is for what was asked for, else it is refused, whoever signed it: of that file, of that view
or tag, of that store. A signed view of one store under the same tag of another would be an answer
to another question. Two believed words for one file that name different archives cancel each other.

A tag moves, and every signed view that it ever meant stays signed. So the latest that was seen is
remembered (`seen`), and a view with a lower serial is refused. What was seen by a key that is
revoked by now is not remembered any more: a thief's high serial is nobody's obstacle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from resolver.errors import PkgviewError
from unionfs.store.remote import sshsig
from unionfs.store.remote.sshkey import KeyFault
from unionfs.store.remote.statement import Derived, StatementError, View, is_id, read, time_text
from unionfs.store.sources import is_made_here
from unionfs.store.vouched import Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unionfs.store.remote.signers import Signer

MOST_SIGNATURES: Final = 16
"""Of one statement that are looked at."""

MOST_STATEMENTS: Final = 64
"""About one file that are looked at."""


_MEDDLED: Final = "Tell whoever keeps that store: it is damaged, or somebody meddles."


class Stated(Protocol):
    """A statement as a transport brings it."""

    @property
    def said(self) -> bytes:
        """The text."""
        ...

    @property
    def signatures(self) -> tuple[str, ...]:
        """Armoured; of exactly that text, if they are right."""
        ...


class NotBelievedError(PkgviewError):
    """A statement that counts for nothing: why, and what can be done about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the user believes for one store.

    `store` is its address, `known_as` the one that its statements have: another where it is a
    mirror. `whole`: the store is believed, signed or not. `revoked`: fingerprints. `by_command`:
    said with one command, not in the settings.
    """

    store: str
    known_as: str = ""
    signers: tuple[Signer, ...] = ()
    whole: bool = False
    revoked: frozenset[str] = frozenset()
    by_command: bool = False

    @property
    def identity(self) -> str:
        """What its statements call it."""
        return (self.known_as or self.store).rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What a statement is believed for. `sources`: keys and their archives, as far as it counts."""

    word: Word
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VouchedView(Vouched):
    """`unproved`: archives of the view for which the word does not count; they are made here."""

    view: View
    unproved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The latest view that a tag meant here. `key`: the fingerprint of who said so."""

    view: str
    serial: int
    made: int
    key: str


def derived(statements: Iterable[Stated], key: str, trust: Trust, now: float) -> Vouched | None:
    """The archive that the file of that key became; None where nobody says anything.

    `NotBelievedError` where nobody who counts does, or such contradict each other.
    """
    refused: PkgviewError | None = None
    found: dict[str, Word] = {}
    for statement in tuple(statements)[:MOST_STATEMENTS]:
        try:
            word = believed(statement, trust, now, proved=not is_made_here(key))
            found[_archive(statement, key, trust)] = word
        except (NotBelievedError, StatementError) as error:
            refused = refused or error
    if len(found) > 1:
        one, other, *_ = sorted(found)
        raise NotBelievedError(
            f"{trust.store} has two words for {key}: {one} by {found[one]}, {other} by "
            f"{found[other]}; neither counts",
            remedy="Have one of them removed there. Until then it is made here from its file.",
        )
    for archive, word in found.items():
        return Vouched(word=word, sources={key: archive})
    if refused is not None:
        raise refused
    return None


def _archive(statement: Stated, key: str, trust: Trust) -> str:
    said = read(statement.said)
    if not isinstance(said, Derived) or said.source != key:
        raise NotBelievedError(
            f"{trust.store} answers for {key} with what is said of something else", remedy=_MEDDLED
        )
    return said.archive


def view(statement: Stated, reference: str, trust: Trust, now: float) -> VouchedView:
    """The view that a tag or id means; `NotBelievedError`. Whether it is an older one: `older`."""
    word = believed(statement, trust, now)
    said = read(statement.said)
    by_id = is_id(reference)
    if not isinstance(said, View) or reference != (said.id if by_id else said.name):
        called = said.name or said.id if isinstance(said, View) else "no view"
        raise NotBelievedError(
            f"{trust.store} answers for {reference!r:.140} with {called}",
            remedy=_MEDDLED,
        )
    if not by_id and said.store and said.store.rstrip("/") != trust.identity:
        raise NotBelievedError(
            f"what {trust.store} has as {reference} was said of {said.store}, another store",
            remedy=f'If it is a mirror of that one: `known-as = "{said.store}"` in its [[store]] '
            "of config.toml.",
        )
    sources = {
        key: archive
        for key, archive in said.sources.items()
        if word.signer or not is_made_here(key)
    }
    unproved = set(said.manifest.archives) - set(sources.values())
    return VouchedView(
        word=word,
        sources=sources,
        view=said,
        unproved=() if word.signer else tuple(sorted(unproved)),
    )


def believed(statement: Stated, trust: Trust, now: float, *, proved: bool = True) -> Word:
    """By whose word the text counts; `NotBelievedError` says why it does not.

    `proved`: a package file could prove it, so the store's own word is one. It is not looked at
    what the text says.
    """
    word = Word(
        said=statement.said,
        signatures=tuple(statement.signatures[:MOST_SIGNATURES]),
        store=trust.store,
        by_command=trust.by_command,
        taken=int(now),
    )
    faults: list[tuple[str, str]] = []
    for armoured in word.signatures:
        try:
            signer = _signer(statement.said, armoured, trust, now)
        except _FaultError as fault:
            faults.append((fault.said, fault.remedy))
        else:
            return replace(word, signer=signer.name, key=signer.key.fingerprint)
    if trust.whole and proved:
        return word
    if not trust.signers:
        said = f"you have listed no key for {trust.store}"
        remedy = (
            f"List one that you know: `pkgview store add {trust.store} --key KEY`; or believe "
            "whatever that store says: `--trust`."
        )
    elif not faults:
        said = f"nobody has signed it, and {trust.store} counts by a signature only"
        remedy = "Have it pushed with `--sign KEY`, by whom you list."
    else:
        said, remedy = faults[0]
    raise NotBelievedError(f"{trust.store} says what does not count: {said}", remedy=remedy)


def older(found: VouchedView, trust: Trust, seen: Seen | None) -> NotBelievedError | None:
    """Why a view is not what its tag means now, a later one having been seen; None if it may be.

    Nothing of the kind is known of a store that is believed unsigned: it may say what it likes.
    """
    said = found.view
    if seen is None or not said.name or not found.word.key or seen.key in trust.revoked:
        return None
    if said.serial > seen.serial or (said.serial == seen.serial and said.id == seen.view):
        return None
    how = "an older view than" if said.serial < seen.serial else "another view of the same age as"
    return NotBelievedError(
        f"{trust.store} has as {said.name} {how} was seen there: {said.id} of "
        f"{time_text(said.made)} (serial {said.serial}), after {seen.view} of "
        f"{time_text(seen.made)} (serial {seen.serial})",
        remedy="Somebody has put an old view back, or keeps the new one from you. If that is "
        "meant: --allow-older.",
    )


def remembered(found: VouchedView) -> Seen | None:
    """What there is to remember of it; None where no key stands for it, or no tag means it."""
    said = found.view
    if not found.word.key or not said.name:
        return None
    return Seen(view=said.id, serial=said.serial, made=said.made, key=found.word.key)


class _FaultError(Exception):
    def __init__(self, said: str, remedy: str) -> None:
        super().__init__(said)
        self.said, self.remedy = said, remedy


def _signer(said: bytes, armoured: str, trust: Trust, now: float) -> Signer:
    """Whose signature that is; `_FaultError` why it does not count."""
    try:
        signature = sshsig.read(armoured)
    except KeyFault as error:
        raise _FaultError(f"its signature {error}", "Have it signed anew.") from error
    key = signature.key
    if key.fingerprint in trust.revoked:
        raise _FaultError(
            f"it is signed by {key.fingerprint}, which is revoked", "Have it signed by another key."
        )
    signers = [one for one in trust.signers if one.key == key]
    if not signers:
        raise _FaultError(
            f"it is signed by {key.fingerprint}, which you have not listed",
            f"Ask whose that is. If you believe them: `pkgview store add {trust.store} "
            f"--key '{key}'`.",
        )
    try:
        sshsig.verify(said, signature)
    except KeyFault as error:
        raise _FaultError(
            f"the signature of {signers[0].name} {error}",
            _MEDDLED,
        ) from error
    for one in signers:
        if (one.after is None or one.after <= now) and (one.before is None or now <= one.before):
            return one
    first = signers[0]
    late = first.before is not None and now > first.before
    moment = time_text(int((first.before if late else first.after) or 0))
    raise _FaultError(
        f"the key of {first.name} counts {'until' if late else 'from'} {moment}",
        "Have it signed by a key that counts now.",
    )
