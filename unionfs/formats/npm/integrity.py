"""What a lock says of a tarball's bytes: `integrity`, as npm reads it.

It is a list, separated by white space, of `<algorithm>-<base64>`, with options after "?" that mean
nothing. Only the strongest algorithm of the list counts, and of its digests the file has to have
any one: that is what the specification (Subresource Integrity, W3C, section 3.3) and npm say.

npm also takes what it cannot read for nothing said. Here a list of which nothing can be read is an
error, since the lock's user believes that something is checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final, Self

ALGORITHMS: Final = ("sha512", "sha384", "sha256", "sha1")
"""The strongest first. SHA-1 is all that locks have of packages from before 2017."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """One algorithm, and the digests of which a file has to have one."""

    algorithm: str
    digests: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a lock's `integrity`; `ValueError` if nothing in it can be checked."""
        found: dict[str, list[bytes]] = {}
        for item in text.split():
            algorithm, _, rest = item.partition("-")
            digest = _digest(algorithm, rest.partition("?")[0])
            if digest is not None:
                found.setdefault(algorithm, []).append(digest)
        for algorithm in ALGORITHMS:
            if algorithm in found:
                return cls(algorithm=algorithm, digests=tuple(dict.fromkeys(found[algorithm])))
        raise ValueError(f"{text!r} has no hash of {', '.join(ALGORITHMS)}")

    @property
    def hexadecimal(self) -> tuple[str, ...]:
        """The digests as other parts of pkgview write them."""
        return tuple(digest.hex() for digest in self.digests)

    def hasher(self) -> hashlib._Hash:
        """A fresh hash object of the algorithm."""
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def fault(self, digest: bytes) -> str | None:
        """Why a file of that digest is not the one; None if it is."""
        if digest in self.digests:
            return None
        said = " or ".join(base64.b64encode(one).decode() for one in self.digests)
        found = base64.b64encode(digest).decode()
        return f"its {self.algorithm} is {found}, the lock says {said}"


def _digest(algorithm: str, text: str) -> bytes | None:
    """The bytes of a digest; None if that is no digest of that algorithm."""
    if algorithm not in ALGORITHMS:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return (
        digest if len(digest) == hashlib.new(algorithm, usedforsecurity=False).digest_size else None
    )
