"""SSH keys of every kind, and what they sign, by the real ssh-keygen."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from unionfs.store.remote import sshsig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = {
    "ed25519": ("ed25519",),
    "other": ("ed25519",),
    "rsa": ("rsa", "-b", "2048"),
    "ecdsa256": ("ecdsa", "-b", "256"),
    "ecdsa384": ("ecdsa", "-b", "384"),
    "ecdsa521": ("ecdsa", "-b", "521"),
}


@dataclass(frozen=True)
class Statement:
    """As a transport brings it."""

    said: bytes
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    path: Path

    @cached_property
    def line(self) -> str:
        """What stands in the `.pub` file; its comment is the name."""
        return self.path.with_suffix(".pub").read_text().strip()

    def sign(self, said: bytes, *options: str, namespace: str = sshsig.NAMESPACE) -> str:
        command = ["ssh-keygen", "-Y", "sign", "-n", namespace, *options, "-f", str(self.path)]
        done = subprocess.run(command, check=True, input=said, capture_output=True)
        return done.stdout.decode()

    def statement(self, said: bytes) -> Statement:
        return Statement(said, (self.sign(said),))


class Keys:
    """Made when they are first asked for, by the name of their kind."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Key] = {}

    def __getitem__(self, kind: str) -> Key:
        if kind not in self._made:
            path = self._directory / kind
            command = ["ssh-keygen", "-q", "-N", "", "-C", f"{kind}@example.org", "-f", str(path)]
            subprocess.run([*command, "-t", *KINDS[kind]], check=True)
            self._made[kind] = Key(path)
        return self._made[kind]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., None]) -> Keys:
    needs("ssh-keygen")
    return Keys(tmp_path_factory.mktemp("keys"))
