"""A wheel's members as they are read: what is not as RECORD says is refused before it is used."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.formats.wheel import record
from unionfs.formats.zip.stream import DEFLATED, ContentError, MemberStream

if TYPE_CHECKING:
    from unionfs.formats.zip.check import ZipFile, ZipMember

_FAULTS_SHOWN = 5


class WheelRefused(PkgviewError):  # noqa: N818 - what happened to it, as the user reads it
    """A wheel that is not taken in; `faults` has every reason, the message the first ones.

    `release`, such as "demo==1.0", is given where a project may accept it all the same.
    """

    def __init__(self, filename: str, *faults: str, release: str = "") -> None:
        shown = _printable("; ".join(faults[:_FAULTS_SHOWN]))
        more = len(faults) - _FAULTS_SHOWN
        super().__init__(
            f"the wheel {_printable(filename)} is refused: {shown}"
            + (f"; and {more} more" if more > 0 else ""),
            remedy="It is damaged or was tampered with, or its project built it wrong: fetch it "
            "again, or ask for another version."
            + (
                f' To take it as it is: `accept = ["{release}"]` in [tool.pkgview].' * bool(release)
            ),
        )
        self.filename = filename
        self.faults = faults


class _OtherHashError(ContentError):
    """It is sound, and not what RECORD says."""


class CheckedStream(MemberStream):
    """A member's content, which must also have the hash that RECORD has for it."""

    def __init__(
        self,
        zip_file: ZipFile,
        member: ZipMember,
        row: record.Row | None,
        filename: str,
        release: str,
    ) -> None:
        self._path = member.path
        self._filename = filename
        self._release = release
        self._row = row
        self._hash = hashlib.new(row.algorithm) if row is not None and row.algorithm else None
        super().__init__(
            zip_file.descriptor,
            start=member.start,
            packed=member.packed,
            size=member.size,
            crc=member.crc,
            deflated=member.method == DEFLATED,
        )

    def take(self, size: int) -> bytes:
        """As `MemberStream`, but what is wrong is why the wheel is refused."""
        try:
            return super().take(size)
        except ContentError as error:
            release = self._release if isinstance(error, _OtherHashError) else ""
            raise WheelRefused(
                self._filename, f"{self._path!r} {error}", release=release
            ) from error

    def sha256(self) -> bytes | None:
        """Of all that was handed out, if that is what RECORD has: nobody need hash it again."""
        if self._hash is None or self._hash.name != "sha256":
            return None
        return self._hash.digest()

    def _block(self, block: bytes) -> None:
        if self._hash is not None:
            self._hash.update(block)

    def _end(self) -> None:
        if self._hash is None or self._row is None:
            return
        if record.encode(self._hash.digest()) != self._row.value:
            raise _OtherHashError(f"has another {self._row.algorithm} than RECORD says")


def _printable(text: str) -> str:
    """The text with what could steer a terminal spelled out: strangers chose some of it."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
