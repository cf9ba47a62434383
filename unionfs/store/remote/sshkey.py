"""Public keys as OpenSSH writes them, and what was signed with one.

Encodings: RFC 4251 (section 5), RFC 4253 and 8332 (RSA), RFC 5656 (ECDSA), RFC 8709 (Ed25519), and
PROTOCOL.u2f of OpenSSH for keys on a security token (`sk-…`). The arithmetic is `cryptography`'s,
loaded when the first signature is verified. What is older (`ssh-dss`, `ssh-rsa` with SHA-1, RSA of
less than 2048 bits) counts for nothing, nor do certificates: a key is believed by itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import Final, Protocol

LARGEST: Final = 8192
"""Bytes of a key, or of a signature: RSA of 16384 bits takes 4 KiB."""

_RSA_BITS: Final = (2048, 16384)
_CURVES: Final = ("nistp256", "nistp384", "nistp521")
_ALGORITHMS: Final = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""Where they are called otherwise than the key's type."""

_TOUCHED: Final = 1
"""A token's flag: somebody was there and touched it."""


class KeyFault(Exception):  # noqa: N818 - as `resolver.ownership.Fault`
    """Why that is no key, or no signature: what stands behind "it …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """`type` is OpenSSH's word for it, `blob` its encoding, which begins with the same word."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` has it: "SHA256:" and 43 characters."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    def __str__(self) -> str:
        """As in a `.pub` file, without a comment."""
        return f"{self.type} {base64.b64encode(self.blob).decode('ascii')}"


class Wire:
    """Reads RFC 4251's encodings from the front of some bytes; `KeyFault` where they are not."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def take(self, count: int) -> bytes:
        """The next so many."""
        if len(self._left) < count:
            raise KeyFault("is cut off")
        found, self._left = self._left[:count], self._left[count:]
        return found

    def number(self) -> int:
        """uint32."""
        return int(struct.unpack(">I", self.take(4))[0])

    def string(self) -> bytes:
        """Its length, then its bytes."""
        return self.take(self.number())

    def word(self) -> str:
        """A string that is a name."""
        found = self.string()
        if not found.isascii() or len(found) > 100:  # noqa: PLR2004 - names are short
            raise KeyFault("has a name in it that is none")
        return found.decode("ascii")

    def mpint(self) -> int:
        """A number of any size that is not negative."""
        found = int.from_bytes(self.string(), "big", signed=True)
        if found < 0:
            raise KeyFault("has a negative number in it")
        return found

    def end(self) -> None:
        """Nothing follows."""
        if self._left:
            raise KeyFault("has something after its end")


def read_blob(blob: bytes) -> PublicKey:
    """A key by its encoding; `KeyFault` where it is none of a type that counts."""
    if len(blob) > LARGEST:
        raise KeyFault("is too long")
    kind = Wire(blob).word()
    _opened(blob)
    return PublicKey(type=kind, blob=blob)


def read_text(kind: str, encoded: str) -> PublicKey:
    """A key by the two words of a `.pub` file."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyFault("is no base64") from error
    key = read_blob(blob)
    if key.type != kind:
        raise KeyFault(f"is called {kind!r:.60} and is of the type {key.type!r}")
    return key


def check(key: PublicKey, signature: bytes, data: bytes) -> None:
    """`KeyFault` unless `signature` (algorithm, then its parts) is this key's, of this data."""
    wire, opened = Wire(signature), _opened(key.blob)
    algorithm = wire.word()
    if algorithm not in _ALGORITHMS.get(key.type, (key.type,)):
        raise KeyFault(f"is made by {algorithm!r}, which does not count here")
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - 20 ms

    try:
        opened.verify(wire, data, algorithm)
    except InvalidSignature as error:
        raise KeyFault("is not of what it stands beside") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFault(f"cannot be verified: {error}") from error


# -- by type -------------------------------------------------------------------------------------


class _Key(Protocol):
    def verify(self, wire: Wire, data: bytes, algorithm: str) -> None:
        """Read a signature to its end; `InvalidSignature`, `ValueError`."""
        ...


class _Ed25519:
    def __init__(self, wire: Wire) -> None:
        self.point = wire.string()
        if len(self.point) != 32:  # noqa: PLR2004 - RFC 8032
            raise KeyFault("is of another length than its type's")

    def verify(self, wire: Wire, data: bytes, algorithm: str) -> None:  # noqa: ARG002 - one only
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - as `check`

        signature = wire.string()
        wire.end()
        ed25519.Ed25519PublicKey.from_public_bytes(self.point).verify(signature, data)


class _Ecdsa:
    """`curve`: "nistp256" and the larger ones."""

    def __init__(self, wire: Wire, curve: str) -> None:
        self.curve = curve
        if wire.word() != curve:
            raise KeyFault("is on another curve than its type's")
        self.point = wire.string()

    def verify(self, wire: Wire, data: bytes, algorithm: str) -> None:  # noqa: ARG002 - one only
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - as `check`
        from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415 - the same

        curve, digest = {
            "nistp256": (ec.SECP256R1(), hashes.SHA256()),
            "nistp384": (ec.SECP384R1(), hashes.SHA384()),
            "nistp521": (ec.SECP521R1(), hashes.SHA512()),
        }[self.curve]
        numbers = Wire(wire.string())
        wire.end()
        signature = utils.encode_dss_signature(numbers.mpint(), numbers.mpint())
        numbers.end()
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, self.point)
        key.verify(signature, data, ec.ECDSA(digest))


class _Rsa:
    def __init__(self, wire: Wire) -> None:
        self.exponent, self.modulus = wire.mpint(), wire.mpint()
        least, most = _RSA_BITS
        if not least <= self.modulus.bit_length() <= most:
            raise KeyFault(f"is RSA of {self.modulus.bit_length()} bits, not of {least} to {most}")

    def verify(self, wire: Wire, data: bytes, algorithm: str) -> None:
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - as `check`
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415 - the same

        # Some leave out the zeros that a signature may begin with.
        signature = wire.string().rjust(-(-self.modulus.bit_length() // 8), b"\0")
        wire.end()
        key = rsa.RSAPublicNumbers(self.exponent, self.modulus).public_key()
        digest = hashes.SHA256() if algorithm == "rsa-sha2-256" else hashes.SHA512()
        key.verify(signature, data, padding.PKCS1v15(), digest)


class _Token:
    """A key on a security token, which signs with its flags, a counter, and whom it is for."""

    def __init__(self, wire: Wire, key: _Ed25519 | _Ecdsa) -> None:
        self.key = key
        self.application = hashlib.sha256(wire.string()).digest()

    def verify(self, wire: Wire, data: bytes, algorithm: str) -> None:
        signature = wire.string()
        flags, counter = wire.take(1), wire.take(4)
        wire.end()
        if not flags[0] & _TOUCHED:
            raise KeyFault("is made by a token that nobody touched")
        signed = self.application + flags + counter + hashlib.sha256(data).digest()
        self.key.verify(Wire(struct.pack(">I", len(signature)) + signature), signed, algorithm)


def _opened(blob: bytes) -> _Key:
    wire = Wire(blob)
    kind = wire.word()
    found: _Key
    if kind == "ssh-ed25519":
        found = _Ed25519(wire)
    elif kind.startswith("ecdsa-sha2-") and kind.removeprefix("ecdsa-sha2-") in _CURVES:
        found = _Ecdsa(wire, kind.removeprefix("ecdsa-sha2-"))
    elif kind == "ssh-rsa":
        found = _Rsa(wire)
    elif kind == "sk-ssh-ed25519@openssh.com":
        found = _Token(wire, _Ed25519(wire))
    elif kind == "sk-ecdsa-sha2-nistp256@openssh.com":
        found = _Token(wire, _Ecdsa(wire, "nistp256"))
    else:
        raise KeyFault(f"is of the type {kind!r}, which does not count here")
    wire.end()
    return found
