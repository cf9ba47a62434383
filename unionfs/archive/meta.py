"""An archive's metadata: whose files it holds, and the name that its file gets from that."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Final

from resolver.errors import PkgviewError

NAME_LIMIT: Final = 255
"""Bytes of a name: NAME_MAX (limits.h)."""

ARCHIVE_SUFFIX: Final = ".tar.zst"
META_KINDS: Final = frozenset({"distribution", "skeleton", "bytecode"})

NEWEST: Final = "newest"
"""What an archive of a view's own files is called whose files have to be newer than whatever is
beside them: npm believes its lock of what is there only as long as no directory is newer."""

_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
_ARCHIVE_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+!-]*)\.([0-9a-f]{64})\.tar\.zst")
_PACKAGE = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-.*)?\.(?P<digest>[0-9a-f]{64})\.tar\.zst"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Whose files these are.

    `kind` is one of `META_KINDS`. `stem` is the human part of the archive's file name, of the
    characters ``[A-Za-z0-9._+!-]`` and beginning with a letter or digit. `origin` says what the
    archive was made from ("sha256:<hex of the wheel>"), or is "".
    """

    kind: str
    name: str
    version: str
    stem: str
    origin: str = ""

    def __post_init__(self) -> None:
        if self.kind not in META_KINDS:
            raise PkgviewError(f"an archive cannot be of the kind {self.kind!r}")
        if not _STEM.fullmatch(self.stem):
            raise PkgviewError(
                f"an archive cannot be called {self.stem!r}: "
                "only letters, digits and . _ + ! - may stand in its name"
            )

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no white space, ASCII."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode("ascii")


def archive_name(stem: str, digest: bytes) -> str:
    """`<stem>.<64 hex digits>.tar.zst`, the stem cut where the whole would pass `NAME_LIMIT`."""
    tail = f".{digest.hex()}{ARCHIVE_SUFFIX}"
    return stem[: NAME_LIMIT - len(tail)] + tail


def digest_of_name(name: str) -> bytes | None:
    """The digest that an archive's file name promises; None if it is no archive's name."""
    match = _ARCHIVE_NAME.fullmatch(name) if len(name) <= NAME_LIMIT else None
    return bytes.fromhex(match[2]) if match else None


def short_name(name: str) -> bytes | None:
    """What it is called in `packages`: `<name>-<version>-<hash>`; None for a notice."""
    match = _PACKAGE.fullmatch(name)
    if match is None:
        return None
    return f"{match['name']}-{match['version']}-{match['digest'][:12]}".encode()
