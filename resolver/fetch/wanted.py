"""What is to be fetched: one file of a lock, its hashes and what is believed of its URL."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from resolver.errors import PkgviewError
from resolver.fetch.addresses import without_userinfo

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_NAME = 255
"""Bytes of a file name (NAME_MAX)."""

# What a lock may rest on (PEP 751 leaves the choice to whoever writes it), the best known first.
_STRONG = ("sha256", "sha512", "sha384", "sha3_256", "sha3_512", "blake2b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One file of a lock.

    `url` is http, https, file, or an absolute path; `size` in bytes; `hashes` algorithm to
    hexadecimal digest, empty only for a direct URL that nobody has locked. Of the (algorithm,
    hexadecimal) pairs in `stated`, if there are any, it has to have one: these are its user's
    words, and as weak as they are (md5). `optional`: the others come without it, too.
    """

    url: str
    filename: str
    size: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    stated: tuple[tuple[str, str], ...] = ()
    optional: bool = False


class NotHadError(PkgviewError):
    """Who should have a file does not give it, or is not reached."""


RENEW = "`pkgview lock --upgrade` (of Node's `pkgview up --upgrade`)"
"""What makes a lock anew, for a remedy."""

_REPLACED = f"If the file was replaced on purpose, run {RENEW}; if not, do not trust who has it."
_STATED = "If it is the right file, correct the hash where it is stated; if not, do not trust it."


class Digests:
    """Hashes a file's bytes as they come, and says whether they are what they have to be."""

    def __init__(self, file: Download) -> None:
        self._expected = strong_hashes(file)
        self._stated = file.stated
        wanted = {(name, len(digest)) for name, digest in (*self._expected.items(), *file.stated)}
        self._hashers = {(name, size): _hasher(name, size) for name, size in wanted}

    def update(self, chunk: bytes) -> None:
        """Count bytes."""
        for hasher in self._hashers.values():
            hasher.update(chunk)

    def wrong(self) -> tuple[str, str] | None:
        """What is not as it has to be, to follow the file's name, and the remedy; None: nothing."""
        for name, digest in self._expected.items():
            if (found := self._found(name, digest)) != digest.lower():
                said = f"its {name} is {found}, the lock says {digest.lower()}"
                return f"is not the locked file: {said}", _REPLACED
        if any(self._found(name, digest) == digest.lower() for name, digest in self._stated):
            return None
        said = ", ".join(f"{name}:{digest}" for name, digest in self._stated)
        return (f"has no hash of those that are stated: {said}", _STATED) if said else None

    def _found(self, name: str, digest: str) -> str:
        return self._hashers[name, len(digest)].hexdigest()


def _hasher(name: str, size: int) -> hashlib._Hash | hashlib.blake2b:
    """For a digest of so many hexadecimal digits, which only blake2b leaves open."""
    if name == "blake2b" and 2 <= size <= 128 and not size % 2:  # noqa: PLR2004 - 1 to 64 bytes
        return hashlib.blake2b(digest_size=size // 2, usedforsecurity=False)
    return hashlib.new(name, usedforsecurity=False)


def strong_hashes(file: Download) -> dict[str, str]:
    """The hashes that prove something. Weak ones beside them add nothing and are not looked at."""
    strong = {name: file.hashes[name] for name in _STRONG if name in file.hashes}
    for name, digest in strong.items():
        if not re.fullmatch(r"[0-9a-fA-F]+", digest):
            raise PkgviewError(
                f"the lock's {name} of {file.filename} is no hexadecimal number",
                remedy="Run `pkgview lock` to write the lock anew.",
            )
    if file.hashes and not strong:
        raise PkgviewError(
            f"the lock has only weak hashes of {file.filename}: {', '.join(sorted(file.hashes))}",
            remedy="Lock it again where its index states a SHA-256. Of an index that states none, "
            "name the file by its address (`name @ https://…`): then the lock has its SHA-256.",
        )
    return strong


def key_of(file: Download) -> str:
    """What names a file's part: its digest, or for one without a digest, its URL's."""
    name = file.filename
    if (
        not name
        or "/" in name
        or "\0" in name
        or name in {".", ".."}
        or len(os.fsencode(name)) > LONGEST_NAME
    ):
        raise PkgviewError(
            f"the lock names a file {name!a}, which is no file name",
            remedy="Run `pkgview lock` to write the lock anew.",
        )
    try:
        origin(file.url)
    except ValueError as error:
        raise PkgviewError(
            f"the lock names no URL for {name}: {error}",
            remedy="Run `pkgview lock` to write the lock anew.",
        ) from error
    for algorithm, digest in strong_hashes(file).items():
        return digest.lower() if algorithm == "sha256" else f"{algorithm}-{digest.lower()}"
    return "url-" + hashlib.sha256(file.url.encode()).hexdigest()


def local_path(file: Download) -> Path | None:
    """The path of a file that need not be fetched: a file URL or an absolute path."""
    if file.url.startswith("/"):
        return Path(file.url)
    parts = urlsplit(file.url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    return None


def shown(url: str) -> str:
    """A URL fit for a message: without user, password, query and fragment, which hold secrets."""
    parts = urlsplit(without_userinfo(url))
    text = parts._replace(query="", fragment="").geturl()
    return text if text.isprintable() else ascii(text)


def host_of(url: str) -> str:
    """The host (and port) for a message."""
    try:
        return urlsplit(shown(url)).netloc
    except ValueError:
        return "a place that is no URL"


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; ValueError for what is no URL."""
    parts = urlsplit(url)
    if "\\" in parts.netloc:
        raise ValueError("there is a backslash before its path, which not everybody reads alike")
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
    )
