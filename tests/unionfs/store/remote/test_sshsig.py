"""Signatures, by and for the real ssh-keygen."""

from __future__ import annotations

import base64
import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from unionfs.store.remote import sshsig
from unionfs.store.remote.sshkey import KeyFault, read_blob, read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unionfs.store.remote.conftest import Keys

SAID = b'{"pkgview":1}'
KINDS = ["ed25519", "rsa", "ecdsa256", "ecdsa384", "ecdsa521"]


def by_ssh_keygen(here: Path, said: bytes, armoured: str) -> bool:
    """Whether ssh-keygen takes the signature for one of these bytes."""
    (here / "sig").write_text(armoured)
    command = ("ssh-keygen", "-Y", "check-novalidate", "-n", sshsig.NAMESPACE, "-s", here / "sig")
    return not subprocess.run(command, check=False, input=said, capture_output=True).returncode


def accepted(said: bytes, armoured: str) -> bool:
    try:
        sshsig.verify(said, sshsig.read(armoured))
    except KeyFault:
        return False
    return True


def string(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def armour(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    marks = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----")
    return "\n".join([marks[0], *lines, marks[1], ""])


def written(
    key: bytes, signature: bytes, *, namespace: str = sshsig.NAMESPACE, digest: bytes = b"sha512"
) -> str:
    head = b"SSHSIG" + struct.pack(">I", 1)
    return armour(head + string(key, namespace.encode(), b"", digest, signature))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_what_ssh_keygen_signs_is_verified(keys: Keys, kind: str, digest: str) -> None:
    armoured = keys[kind].sign(SAID, "-O", f"hashalg={digest}")
    signature = sshsig.read(armoured)
    assert str(signature.key) == " ".join(keys[kind].line.split()[:2])
    assert signature.hash == digest
    sshsig.verify(SAID, signature)
    with pytest.raises(KeyFault, match="is not of what it stands beside"):
        sshsig.verify(SAID + b" ", signature)
    told = subprocess.run(
        ("ssh-keygen", "-l", "-f", keys[kind].path), check=True, capture_output=True, text=True
    )
    assert told.stdout.split()[1] == signature.key.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_signed_here_ssh_keygen_verifies(keys: Keys, kind: str, tmp_path: Path) -> None:
    armoured = sshsig.sign(SAID, keys[kind].path)
    assert by_ssh_keygen(tmp_path, SAID, armoured)
    assert not by_ssh_keygen(tmp_path, SAID + b"!", armoured)


def test_an_agent_signs(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a public key, whose private one only the agent has; and an encrypted one's."""
    locked = tmp_path / "locked"
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked))
    subprocess.run(command, check=True)
    socket = tmp_path / "agent"
    agent = subprocess.Popen(("ssh-agent", "-D", "-a", str(socket)), stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert agent.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(("ssh-add", "-q", keys["other"].path), check=True)
        public = tmp_path / "other.pub"
        public.write_text(keys["other"].line)
        assert accepted(SAID, sshsig.sign(SAID, public))
        # And nobody is asked for the passphrase of a key that the agent knows.
        ask = tmp_path / "ask"
        ask.write_text("#!/bin/sh\necho secret\n")
        ask.chmod(0o700)
        told = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(("ssh-add", "-q", locked), check=True, env=told)
        assert accepted(SAID, sshsig.sign(SAID, locked))
    finally:
        agent.terminate()
        agent.wait()


def test_a_passphrase_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked))
    subprocess.run(command, check=True)
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o700)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("SSH_ASKPASS", str(ask))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    ask.write_text(f"#!/bin/sh\necho >> {tmp_path}/asked\necho secret\n")
    texts = [SAID, b"", b"more"]
    signed = sshsig.sign_all(texts, locked)
    assert all(map(accepted, texts, signed))
    assert (tmp_path / "asked").read_text() == "\n"  # once for all of them
    assert sshsig.sign_all([], locked) == []


def test_what_cannot_sign_is_named(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    with pytest.raises(PkgviewError, match=r"nosuch.*and ended with 255"):
        sshsig.sign(SAID, tmp_path / "nosuch")
    weak = tmp_path / "weak"
    command = ("ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(weak))
    subprocess.run(command, check=True)
    with pytest.raises(PkgviewError, match="RSA of 1024 bits"):
        sshsig.sign(SAID, weak)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PkgviewError, match="there is no ssh-keygen"):
        sshsig.sign(SAID, keys["ed25519"].path)


def test_a_signature_for_another_purpose_does_not_count(keys: Keys) -> None:
    for namespace in ("file", "git", "pkgview@10", "pkgview"):
        with pytest.raises(KeyFault, match=f"is for '{namespace}', not for 'pkgview@1'"):
            sshsig.read(keys["ed25519"].sign(SAID, namespace=namespace))


def signed_by_token(sign: Callable[[bytes], bytes], kind: bytes, point: bytes, flags: int) -> str:
    """What a token's key signs (PROTOCOL.u2f), without the token."""
    key = string(kind, point, b"ssh:")
    message = b"SSHSIG" + string(sshsig.NAMESPACE.encode(), b"", b"sha512", digest("sha512", SAID))
    more = struct.pack(">BI", flags, 7)
    signature = sign(digest("sha256", b"ssh:") + more + digest("sha256", message))
    return written(key, string(kind, signature) + more)


def digest(name: str, data: bytes) -> bytes:
    import hashlib  # noqa: PLC0415

    return hashlib.new(name, data).digest()


def test_keys_on_tokens(tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("ssh-keygen")
    private = ed25519.Ed25519PrivateKey.generate()
    point = private.public_key().public_bytes_raw()
    kind = b"sk-ssh-ed25519@openssh.com"
    touched = signed_by_token(private.sign, kind, point, 1)
    assert by_ssh_keygen(tmp_path, SAID, touched)
    assert accepted(SAID, touched)
    assert not accepted(SAID + b" ", touched)
    with pytest.raises(KeyFault, match="nobody touched"):
        sshsig.verify(SAID, sshsig.read(signed_by_token(private.sign, kind, point, 4)))

    other = ec.generate_private_key(ec.SECP256R1())

    def sign(data: bytes) -> bytes:
        numbers = utils.decode_dss_signature(other.sign(data, ec.ECDSA(hashes.SHA256())))
        return string(*(one.to_bytes(33, "big").lstrip(b"\0") or b"\0" for one in numbers))

    uncompressed = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    kind = b"sk-ecdsa-sha2-nistp256@openssh.com"
    key = string(kind, b"nistp256", uncompressed, b"ssh:")
    # A number whose first bit is set has a zero before it (RFC 4251): sign until none needs one.
    while True:
        message = b"SSHSIG" + string(
            sshsig.NAMESPACE.encode(), b"", b"sha512", digest("sha512", SAID)
        )
        signature = sign(digest("sha256", b"ssh:") + b"\x01\0\0\0\x07" + digest("sha256", message))
        (length,) = struct.unpack_from(">I", signature)
        if signature[4] < 0x80 and signature[8 + length] < 0x80:
            break
    touched = written(key, string(kind, signature) + b"\x01\0\0\0\x07")
    assert by_ssh_keygen(tmp_path, SAID, touched)
    assert accepted(SAID, touched)


def test_what_is_no_signature_is_refused(keys: Keys) -> None:
    good = keys["ed25519"].sign(SAID)
    blob = base64.b64decode("".join(good.splitlines()[1:-1]))
    key = sshsig.read(good).key.blob
    signature = sshsig.read(good).signature
    for armoured, why in [
        ("", "is no SSH signature"),
        ("x" * 20000, "is too long"),
        (good.replace("SSH", "PGP"), "is no SSH signature"),
        (good.replace("U1NI", "U1N!"), "is no base64"),
        (good + good, "is no base64"),
        (armour(blob[:-1]), "is cut off"),
        (armour(blob + b"x"), "after its end"),
        (armour(blob.replace(b"SSHSIG", b"SSHSIH")), "another format"),
        (armour(blob[:9] + b"\x02" + blob[10:]), "another format"),
        (armour(blob[:10] + b"\xff\xff\xff\xff" + blob[14:]), "is cut off"),
        (written(key, signature, digest=b"md5"), "'md5', which does not count"),
        (written(string(b"ssh-dss", b"x"), signature), "'ssh-dss', which does not count"),
        (written(string(b"ssh-ed25519-cert-v01@openssh.com"), b""), "does not count"),
        (written(string(b"ssh-ed25519", b"x" * 31), signature), "another length"),
        (written(string(b"ecdsa-sha2-nistp256", b"nistp384", b""), b""), "another curve"),
        (written(string(b"ssh-rsa", b"\x01", b"\x80" * 256), b""), "negative number"),
        (written(string(b"\xff"), b""), "name in it that is none"),
    ]:
        with pytest.raises(KeyFault, match=why):
            sshsig.read(armoured)
    for signed, why in [
        (string(b"rsa-sha2-512", b"x" * 64), "'rsa-sha2-512', which does not count"),
        (string(b"ssh-ed25519", b"x" * 64), "not of what it stands beside"),
        (string(b"ssh-ed25519", b"x" * 63), "not of what it stands beside"),
        (signature + b"x", "after its end"),
        (b"", "is cut off"),
    ]:
        with pytest.raises(KeyFault, match=why):
            sshsig.verify(SAID, sshsig.read(written(key, signed)))


def test_rsa_by_sha1_does_not_count(keys: Keys) -> None:
    key = read_text(*keys["rsa"].line.split()[:2])
    with pytest.raises(KeyFault, match="'ssh-rsa', which does not count"):
        sshsig.verify(SAID, sshsig.read(written(key.blob, string(b"ssh-rsa", b"x" * 256))))


def test_a_point_that_is_none() -> None:
    blob = string(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64)
    signature = string(b"ecdsa-sha2-nistp256", string(b"\x01", b"\x01"))
    with pytest.raises(KeyFault, match="cannot be verified"):
        sshsig.verify(SAID, sshsig.read(written(blob, signature)))


def test_every_changed_byte_is_noticed_as_ssh_keygen_does(keys: Keys, tmp_path: Path) -> None:
    good = keys["ed25519"].sign(SAID)
    blob = base64.b64decode("".join(good.splitlines()[1:-1]))
    for place in range(len(blob)):
        broken = armour(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :])
        assert not accepted(SAID, broken), place
        if place % 10 == 0:
            assert not by_ssh_keygen(tmp_path, SAID, broken)


@given(st.text(max_size=200), st.binary(max_size=200))
def test_nothing_ends_in_another_error(text: str, data: bytes) -> None:
    for armoured in (text, armour(data), armour(b"SSHSIG\0\0\0\x01" + data)):
        assert not accepted(SAID, armoured)
    with pytest.raises(KeyFault):
        read_blob(data)
    with pytest.raises(KeyFault):
        read_text("ssh-ed25519", text)
