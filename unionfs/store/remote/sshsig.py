"""Signatures of texts by SSH keys, as `ssh-keygen -Y sign` and `-Y verify` have them.

The format is PROTOCOL.sshsig of OpenSSH, version 1. Verifying needs no program; signing is
`ssh-keygen`'s: it knows every kind of key, asks for passphrases, and asks ssh-agent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resolver.errors import PkgviewError
from unionfs.store.remote.sshkey import KeyFault, Wire, check, read_blob

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from unionfs.store.remote.sshkey import PublicKey

NAMESPACE: Final = "pkgview@1"
"""What such signatures are for: none that was made for another purpose counts here, nor these
there."""

LONGEST: Final = 16384
"""Characters of an armoured signature."""

_AT_ONCE: Final = 1000
"""Texts that one command signs."""

BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
END: Final = "-----END SSH SIGNATURE-----"
_MAGIC: Final = b"SSHSIG"
_HASHES: Final = {"sha512": hashlib.sha512, "sha256": hashlib.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One that was read and not verified: it says whose it is, which proves nothing."""

    key: PublicKey
    hash: str
    signature: bytes


def read(armoured: str) -> Signature:
    """`KeyFault` where that is none, or none for our purpose."""
    if len(armoured) > LONGEST:
        raise KeyFault("is too long")
    lines = armoured.split()
    text = " ".join(lines)
    if not text.startswith(BEGIN) or not text.endswith(END):
        raise KeyFault("is no SSH signature")
    body = text[len(BEGIN) : -len(END)].replace(" ", "")
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyFault("is no base64") from error
    wire = Wire(data)
    if wire.take(len(_MAGIC)) != _MAGIC or wire.number() != 1:
        raise KeyFault("is of another format than SSHSIG's version 1")
    key = read_blob(wire.string())
    namespace, _, hashed = wire.word(), wire.string(), wire.word()
    found = Signature(key=key, hash=hashed, signature=wire.string())
    wire.end()
    if namespace != NAMESPACE:
        raise KeyFault(f"is for {namespace!r}, not for {NAMESPACE!r}")
    if hashed not in _HASHES:
        raise KeyFault(f"is of a digest {hashed!r}, which does not count here")
    return found


def verify(said: bytes, signature: Signature) -> None:
    """`KeyFault` unless it is of exactly these bytes."""
    digest = _HASHES[signature.hash](said).digest()
    parts = (NAMESPACE.encode("ascii"), b"", signature.hash.encode("ascii"), digest)
    signed = _MAGIC + b"".join(struct.pack(">I", len(part)) + part for part in parts)
    check(signature.key, signature.signature, signed)


def sign(said: bytes, key: str | os.PathLike[str]) -> str:
    """An armoured signature by the key in that file; as `sign_all`."""
    (armoured,) = sign_all([said], key)
    return armoured


def sign_all(texts: Sequence[bytes], key: str | os.PathLike[str]) -> list[str]:
    """An armoured signature of each; the file of a public key asks ssh-agent.

    It may ask for a passphrase, once, or for a touch, for each, on the terminal: no progress may be
    drawn there meanwhile. `PkgviewError` where that key cannot sign.
    """
    with tempfile.TemporaryDirectory(prefix="pkgview-sign-") as here:
        files = [Path(here) / f"{number}" for number in range(len(texts))]
        for file, said in zip(files, texts, strict=True):
            file.write_bytes(said)
        # Few enough for a command line. Standard input is the terminal's: with the statement there
        # no passphrase would be asked for.
        for start in range(0, len(files), _AT_ONCE):
            _signed(key, files[start : start + _AT_ONCE])
        signed = [file.with_suffix(".sig").read_text("ascii") for file in files]
    try:
        # A key that signs what nobody will believe is said here, not there.
        for said, armoured in zip(texts, signed, strict=True):
            verify(said, read(armoured))
    except KeyFault as error:
        raise PkgviewError(
            f"the key {key} does not do: what it signed {error}",
            remedy="Make another: `ssh-keygen -t ed25519`.",
        ) from error
    return signed


def _signed(key: str | os.PathLike[str], files: Sequence[Path]) -> None:
    """Have each signed, beside it."""
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", key, *files]
    try:
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise PkgviewError(
            "there is no ssh-keygen, which signs", remedy="Install OpenSSH's client."
        ) from error
    if done.returncode or not all(file.with_suffix(".sig").exists() for file in files):
        raise PkgviewError(
            f"ssh-keygen signed nothing with {key}, and ended with {done.returncode}",
            remedy="It says why above. Name the file of a private key, or of a public one whose "
            "private key `ssh-add -l` lists.",
        )
