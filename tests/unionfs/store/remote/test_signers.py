"""Whom one believes, beside what the real ssh-keygen makes of the same lines."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from unionfs.store.remote.signers import SignersError, allowed, listed, revoked
from unionfs.store.remote.sshkey import read_text
from unionfs.store.remote.sshsig import NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unionfs.store.remote.conftest import Keys

SAID = b"said"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ("", True),
        ('namespaces="pkgview@1"', True),
        ('namespaces="git,pkgview@*"', True),
        ('namespaces="pkgview@?"', True),
        ('namespaces="*,!pkgview@1"', False),
        ('namespaces="git"', False),
        ('namespaces="pkgview"', False),
        ('NAMESPACES="pkgview@1"', True),
        ("cert-authority", False),
        ('valid-before="20261130120001Z"', True),
        ('valid-before="202611301200Z"', True),
        ('valid-before="20261130115959Z"', False),
        ('valid-after="20261130120001Z"', False),
        ('valid-after="202611301200Z"', True),
        ('valid-after="20260101",valid-before="20270101"', True),
        ('valid-after="20250101",valid-before="20260101",namespaces="pkgview@1"', False),
    ],
)
def test_a_line_counts_where_it_does_for_ssh_keygen(
    keys: Keys, tmp_path: Path, options: str, *, counts: bool
) -> None:
    key = keys["ed25519"].line
    line = f"alice@example.org {options} {key}".replace("  ", " ")
    (signer,) = allowed(line) or (None,)
    ours = signer is not None and (
        (signer.after is None or signer.after <= NOON)
        and (signer.before is None or signer.before >= NOON)
    )
    (tmp_path / "allowed").write_text(line + "\n")
    (tmp_path / "sig").write_text(keys["ed25519"].sign(SAID))
    done = subprocess.run(
        (
            *("ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", "alice@example.org"),
            *("-f", tmp_path / "allowed", "-s", tmp_path / "sig"),
            *("-O", "verify-time=20261130120000Z"),
        ),
        check=False,
        input=SAID,
        capture_output=True,
    )
    assert (ours, not done.returncode) == (counts, counts), done.stderr


def test_a_file_and_a_line_of_the_settings(keys: Keys) -> None:
    key, other = keys["ed25519"].line, keys["rsa"].line
    text = f'# whom\n\n"a b",bob@example.org {key}\n  carol\t{other} with a comment\r\n'
    found = allowed(text)
    assert [(one.name, one.key.type) for one in found] == [
        ("a b,bob@example.org", "ssh-ed25519"),
        ("carol", "ssh-rsa"),
    ]
    bare = listed(key)
    assert (bare.name, str(bare.key)) == ("ed25519@example.org", key.rpartition(" ")[0])
    assert listed(key.rpartition(" ")[0]).name == bare.key.fingerprint
    timed = listed(f'valid-before="20270101Z" {key}')
    assert timed.before == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert (timed.name, timed.after) == (bare.name, None)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alice", "line 1: "),
        ("alice ssh-ed25519", "line 1: 'ssh-ed25519' is no option|option ssh-ed"),
        ("alice ssh-ed25519 AAAA", "line 1: the key "),
        ("alice ssh-ed25519 AAAAÿ", "line 1: the key is no base64"),
        ("alice verify-required KEY", "the option verify-required is not known"),
        ("alice valid-before KEY", "the option valid-before has no value"),
        ('alice cert-authority="x" KEY', "the option cert-authority has a value"),
        ('alice valid-before="2027" KEY', "'2027' is no time"),
        ('alice valid-before="20271301" KEY', "line 1: "),
        ("alice ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==", "line 1: the key "),
        ("alice !! KEY", "no option"),
        ('alice "KEY', "quotation mark"),
        ('alice namespaces="git KEY', "quotation mark"),
        ('alice valid-before="20270101",valid-before="20280101" KEY', "twice"),
    ],
)
def test_a_line_that_cannot_be_understood_is_a_fault(keys: Keys, line: str, why: str) -> None:
    with pytest.raises(SignersError, match=why):
        allowed(line.replace("KEY", keys["ed25519"].line))


def test_one_key_in_a_line_of_the_settings(keys: Keys) -> None:
    key = keys["ed25519"].line
    for line in ("", "# nobody", f"{key}\n{key}", f"cert-authority {key}"):
        with pytest.raises(SignersError, match="is not one public key"):
            listed(line)


def test_revoked_keys(keys: Keys, tmp_path: Path) -> None:
    one, other = (read_text(*keys[kind].line.split()[:2]) for kind in ("ed25519", "rsa"))
    text = f"# lost\n{keys['ed25519'].line}\n\n{other.fingerprint} gone\n"
    assert revoked(text) == {one.fingerprint, other.fingerprint}
    with pytest.raises(SignersError, match="line 2"):
        revoked(f"{other.fingerprint}\nserial: 7\n")
    # A binary list (KRL) is none of these: it is not taken for an empty one.
    krl = tmp_path / "krl"
    subprocess.run(
        ("ssh-keygen", "-q", "-k", "-f", krl, keys["other"].path.with_suffix(".pub")), check=True
    )
    with pytest.raises(SignersError, match="line 1"):
        revoked(krl.read_text("latin-1"))
