"""Whom one believes, in OpenSSH's own words: lines of `allowed_signers` (ssh-keygen(1)).

    alice@example.org valid-before="20270101" ssh-ed25519 AAAA… any comment
    alice@example.org,bob@example.org namespaces="pkgview@1,git" ssh-ed25519 AAAA…

and the same without the first word, where a line stands in `config.toml`: its comment is the name.
Options are `valid-after`, `valid-before` and `namespaces`. A line that OpenSSH would pass over for
our signatures is passed over here: of another namespace, or of an authority that signs keys
(`cert-authority`), since certificates do not count. Any other option is a fault.

Revoked keys are public keys, one a line, or their fingerprints ("SHA256:…"); OpenSSH's binary lists
(KRL) are a fault. A fault is said with its line, and nothing is believed until it is mended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from unionfs.store.remote.sshkey import KeyFault, read_text
from unionfs.store.remote.sshsig import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unionfs.store.remote.sshkey import PublicKey

_WORD: Final = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')
_OPTION: Final = re.compile(r'([A-Za-z-]+)(?:="((?:[^"\\]|\\.)*)")?(?:,|$)')
_TIME: Final = re.compile(r"(\d{8})(\d{4}(?:\d\d)?)?(Z?)")
_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key whose word counts, and whose that is. `after`, `before`: seconds since 1970."""

    name: str
    key: PublicKey
    after: float | None = None
    before: float | None = None


class SignersError(ValueError):
    """Why a line says nothing."""


def allowed(text: str) -> tuple[Signer, ...]:
    """An `allowed_signers` file; `SignersError` names the line."""
    return tuple(_each(text, named=True))


def listed(line: str) -> Signer:
    """One line without a name at its front, whose namespaces are ours; `SignersError`."""
    found = tuple(_each(line, named=False))
    if len(found) != 1:
        raise SignersError(f"{line!r:.80} is not one public key that counts for {NAMESPACE}")
    return found[0]


def revoked(text: str) -> frozenset[str]:
    """The fingerprints of keys that count no more; `SignersError` names the line."""
    found = set()
    for number, line in _lines(text):
        words = line.split()
        if _FINGERPRINT.fullmatch(words[0]):
            found.add(words[0])
            continue
        try:
            found.add(read_text(*_two(words)).fingerprint)
        except KeyFault as error:
            raise SignersError(f"line {number}: the key {error}") from error
        except ValueError as error:
            raise SignersError(
                f"line {number} is neither a public key nor its fingerprint, SHA256:…"
            ) from error
    return frozenset(found)


def _each(text: str, *, named: bool) -> Iterator[Signer]:
    for number, line in _lines(text):
        try:
            words = _words(line)
            name = words.pop(0).replace('"', "") if named else ""
            options = {} if _is_key(words) else _options(words.pop(0))
            after, before = (_moment(options.get(f"valid-{one}")) for one in ("after", "before"))
            if "cert-authority" in options or not _matches(options.get("namespaces", "*")):
                continue
            key = read_text(*_two(words))
        except KeyFault as error:
            raise SignersError(f"line {number}: the key {error}") from error
        except (ValueError, IndexError) as error:
            raise SignersError(f"line {number}: {error or 'no key'}") from error
        yield Signer(
            name=name or " ".join(words[2:]) or key.fingerprint, key=key, after=after, before=before
        )


def _words(line: str) -> list[str]:
    if _WORD.sub("", line).strip():
        raise ValueError("a quotation mark is not closed")
    return _WORD.findall(line)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _is_key(words: list[str]) -> bool:
    """Whether options are left out: two words that are a type and base64, whatever the type."""
    return len(words) > 1 and words[1].startswith("AAAA") and "=" not in words[0]


def _two(words: list[str]) -> tuple[str, str]:
    if len(words) < 2:  # noqa: PLR2004 - a type, and base64
        raise ValueError("there is no public key in it")
    return words[0], words[1]


def _options(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _OPTION.match(text, place)
        if match is None:
            raise ValueError(f"{text[place:]!r:.60} is no option")
        name, value = match[1].lower(), match[2]
        if name not in {"cert-authority", "namespaces", "valid-after", "valid-before"}:
            raise ValueError(f"the option {name} is not known here")
        if (value is None) != (name == "cert-authority"):
            raise ValueError(f"the option {name} has {'no' if value is None else 'a'} value")
        if name in found:
            raise ValueError(f"the option {name} stands there twice")
        found[name] = value or ""
        place = match.end()
    return found


def _moment(text: str | None) -> float | None:
    """As OpenSSH has it, YYYYMMDD[HHMM[SS]][Z]: without the Z in this machine's time zone."""
    if text is None:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r:.40} is no time such as 20270101 or 202701011200Z")
    time = datetime.strptime(match[1] + (match[2] or "0000").ljust(6, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - the next line
    return (time.replace(tzinfo=UTC) if match[3] else time.astimezone()).timestamp()


def _matches(patterns: str) -> bool:
    """Whether a list of patterns (ssh_config(5)) takes in our namespace."""
    found = False
    for pattern in patterns.split(","):
        plain = pattern.removeprefix("!")
        parts = ({"*": ".*", "?": "."}.get(one) or re.escape(one) for one in plain)
        if re.fullmatch("".join(parts), NAMESPACE):
            if plain != pattern:
                return False
            found = True
    return found
