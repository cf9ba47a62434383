"""Archives that were taken by somebody's word, with the word beside: it can be looked at again.

    <root>/vouched/<key>       link to `../archives/<name>`, as in `unionfs.store.sources`
    <root>/vouched-by/<key>    link to `../statements/<digest>`
    <root>/statements/<digest> the word (JSON), named by its SHA-256: one for all that it is for
    <root>/doubted/<key>       what `vouched` was, once its word counts no more and as long as
                               something may have what was taken by it

The word is written first and the link to the archive last, so an archive is never taken without
one; the sweep goes the other way. What was known of a key stays: nobody's later word changes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from resolver.atomic import ABANDONED_AFTER, write_atomically
from unionfs.store.directory import TEMPORARY_PREFIX, explained, make
from unionfs.store.sources import LINK_PREFIX, VOUCHED, Sources, is_there

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WORDS: Final = "vouched-by"
STATEMENTS: Final = "statements"
DOUBTED: Final = "doubted"

_STATEMENT_PREFIX: Final = f"../{STATEMENTS}/"
_LARGEST: Final = 24 << 20
"""Bytes of such a file: a statement, escaped, and its signatures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Whose word it was. Nothing in it is verified again by reading it.

    `said` and `signatures` are the statement, `store` where it came from. `signer` is who was
    believed and `key` that one's fingerprint; both "" where it was the store as a whole. `taken`
    is when, in seconds since 1970; `by_command`: the user had said so with one command only.
    """

    said: bytes
    signatures: tuple[str, ...]
    store: str
    signer: str = ""
    key: str = ""
    by_command: bool = False
    taken: int = 0

    def __str__(self) -> str:
        """Who that is, for a person."""
        return f"{self.signer} ({self.key})" if self.signer else f"{self.store}, unsigned"


class Record(NamedTuple):
    """One key that was taken. `word`: None where it is damaged or gone."""

    key: str
    archive: str
    word: Word | None


class VouchedSources:
    """These of the store at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._links = Sources(root)

    def record(self, sources: Mapping[str, str], word: Word) -> None:
        """Have these keys lead to these archives, by that word."""
        if not sources:
            return
        data = json.dumps(
            {**asdict(word), "said": word.said.decode()}, sort_keys=True, separators=(",", ":")
        ).encode()
        digest = hashlib.sha256(data).hexdigest()
        statements = self._root / STATEMENTS
        with explained(statements):
            make(statements, self._root)
            if _read(statements / digest) is None:
                write_atomically(statements / digest, data)
                (statements / digest).chmod(0o444)
        self._links.link(WORDS, dict.fromkeys(sources, _STATEMENT_PREFIX + digest))
        self._links.link(VOUCHED, {key: LINK_PREFIX + name for key, name in sources.items()})

    def all(self) -> Iterator[Record]:
        """Every key, sorted; each word is read once."""
        words: dict[str, Word | None] = {}
        for key, archive in self._links.archives(VOUCHED):
            found = self._links.target(WORDS, key).removeprefix(_STATEMENT_PREFIX)
            if found not in words:
                words[found] = _read(self._root / STATEMENTS / found) if found else None
            yield Record(key, archive, words[found])

    def doubted(self) -> list[tuple[str, str]]:
        """Keys and archives whose word counts no more; they are found by nobody."""
        return self._links.archives(DOUBTED)

    def doubt(self, key: str) -> None:
        """Have the word say nothing of it any more, and know that it did."""
        target = self._links.target(VOUCHED, key)
        if target:
            self._links.link(DOUBTED, {key: target})
        self._forget(key, VOUCHED, WORDS)

    def settle(self, key: str) -> None:
        """Nothing has any more what was taken by a word that is doubted."""
        self._forget(key, DOUBTED)

    def forget(self, key: str) -> None:
        """Have that word say nothing of it any more."""
        self._forget(key, VOUCHED, WORDS)

    def _forget(self, key: str, *folders: str) -> None:
        for folder in folders:
            with suppress(OSError):
                (self._root / folder / key).unlink()

    def forget_lost(self) -> None:
        """Remove words for what is not known by them any more, while the store is held alone."""
        for key, archive in self.doubted():
            if not is_there(self._root, archive):
                self.settle(key)
        known = {key for key, _ in self._links.targets(VOUCHED)}
        needed = set()
        for key, target in self._links.targets(WORDS):
            if key in known:
                needed.add(target.removeprefix(_STATEMENT_PREFIX))
            else:
                with suppress(OSError):
                    (self._root / WORDS / key).unlink()
        with suppress(OSError):
            for name in os.listdir(self._root / STATEMENTS):
                path = self._root / STATEMENTS / name
                with suppress(OSError):
                    # One that is on its way has no link yet.
                    old = time.time() - path.stat().st_mtime > ABANDONED_AFTER
                    if name not in needed and old and not name.startswith(TEMPORARY_PREFIX):
                        path.unlink()


def _read(path: Path) -> Word | None:
    """The word in that file, if it is what its name says."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST)
        if hashlib.sha256(data).hexdigest() != path.name:
            return None
        fields = json.loads(data)
        said, signatures = fields.pop("said").encode(), tuple(fields.pop("signatures"))
        return Word(said=said, signatures=signatures, **fields)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None
