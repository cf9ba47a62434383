"""Wheels made by the tests: right ones, and wrong in one place each."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REGULAR = 0o100644
DIRECTORY = 0o040755


def sha256_of(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.decode().rstrip("=")


@dataclass(kw_only=True)
class Part:
    """One member as it is written; what is None follows from the rest."""

    name: bytes
    content: bytes = b""
    mode: int = REGULAR
    host: int = 3
    needed: int = 20
    flags: int = 0
    method: int = 8
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    data: bytes | None = None
    extra: bytes = b""
    comment: bytes = b""
    attributes: int | None = None
    local_name: bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    local_crc: int | None = None
    local_size: int | None = None
    local_packed: int | None = None
    local_extra: bytes = b""
    offset: int | None = None
    before: bytes = b""
    descriptor: bytes = b""
    disk: int = 0


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def zip_bytes(  # noqa: PLR0913 - each one way to be wrong
    parts: list[Part],
    *,
    prefix: bytes = b"",
    gap: bytes = b"",
    entries: int | None = None,
    comment: bytes = b"",
    suffix: bytes = b"",
    zip64: Callable[[int, int, int], bytes] | None = None,
    end: dict[str, int] | None = None,
) -> bytes:
    """A Zip file, field by field: what the format forbids can be written as well."""
    body = bytearray(prefix)
    directory = bytearray()
    for part in parts:
        body += part.before
        data = part.data
        if data is None:
            data = deflate(part.content) if part.method == 8 else part.content
        crc = zlib.crc32(part.content) if part.crc is None else part.crc
        size = len(part.content) if part.size is None else part.size
        packed = len(data) if part.packed is None else part.packed
        offset = len(body) if part.offset is None else part.offset
        local_name = part.name if part.local_name is None else part.local_name
        body += struct.pack(
            "<4s5H3L2H",
            b"PK\3\4",
            part.needed,
            part.flags if part.local_flags is None else part.local_flags,
            part.method if part.local_method is None else part.local_method,
            0,
            33,
            crc if part.local_crc is None else part.local_crc,
            packed if part.local_packed is None else part.local_packed,
            size if part.local_size is None else part.local_size,
            len(local_name),
            len(part.local_extra),
        )
        body += local_name + part.local_extra + data + part.descriptor
        directory += struct.pack(
            "<4sBB5H3L5H2L",
            b"PK\1\2",
            20,
            part.host,
            part.needed,
            part.flags,
            part.method,
            0,
            33,
            crc,
            packed,
            size,
            len(part.name),
            len(part.extra),
            len(part.comment),
            part.disk,
            0,
            part.mode << 16 if part.attributes is None else part.attributes,
            offset,
        )
        directory += part.name + part.extra + part.comment
    body += gap
    start = len(body)
    body += directory
    count = len(parts) if entries is None else entries
    if zip64 is not None:
        body += zip64(count, len(directory), start)
    fields = {"disk": 0, "count": count, "size": len(directory), "offset": start} | (end or {})
    body += struct.pack(
        "<4s4H2LH",
        b"PK\5\6",
        fields["disk"],
        fields["disk"],
        fields["count"],
        fields["count"],
        fields["size"],
        fields["offset"],
        len(comment),
    )
    return bytes(body) + comment + suffix


def zip64_end(count: int, size: int, offset: int, at: int | None = None) -> bytes:
    """The Zip64 end record and its locator; `at` is where the locator says that it is."""
    record = struct.pack(
        "<4sQ2H2L4Q",
        b"PK\6\6",
        44,
        45,
        45,
        0,
        0,
        count,
        count,
        size,
        offset,
    )
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, offset + size if at is None else at, 1)


@dataclass(kw_only=True)
class WheelMaker:
    """The distribution `demo 1.0`, to be changed before it is written."""

    directory: Path
    filename: str = "demo-1.0-py3-none-any.whl"
    stem: str = "demo-1.0"
    wheel: str | None = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
    metadata: str | None = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    files: dict[str, bytes] = field(default_factory=lambda: {"demo/__init__.py": b"x = 1\n"})
    modes: dict[str, int] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    replaced_rows: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    record: bytes | None = None
    own_row: tuple[str, str] = ("", "")
    method: int = 8

    @property
    def info(self) -> str:
        return f"{self.stem}.dist-info"

    def parts(self) -> list[Part]:
        """All members in order, RECORD last."""
        files = dict(self.files)
        if self.metadata is not None:
            files[f"{self.info}/METADATA"] = self.metadata.encode()
        if self.wheel is not None:
            files[f"{self.info}/WHEEL"] = self.wheel.encode()
        rows: list[tuple[str, str, str]] = []
        for path, content in files.items():
            if path in self.unlisted or path.endswith("/"):
                continue
            row = (path, sha256_of(content), str(len(content)))
            rows.append(self.replaced_rows.get(path, row))
        rows += self.rows
        rows.append((f"{self.info}/RECORD", *self.own_row))
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        files[f"{self.info}/RECORD"] = (
            text.getvalue().encode() if self.record is None else self.record
        )
        return [
            Part(
                name=path.encode(),
                content=content,
                mode=self.modes.get(path, DIRECTORY if path.endswith("/") else REGULAR),
                flags=0 if path.isascii() else 0x800,
                method=self.method,
            )
            for path, content in files.items()
        ]

    def write(self, data: bytes | None = None) -> Path:
        path = self.directory / self.filename
        path.write_bytes(zip_bytes(self.parts()) if data is None else data)
        return path

    def zip_bytes(self, parts: list[Part], **options: Any) -> bytes:  # noqa: ANN401 - as the function's
        return zip_bytes(parts, **options)

    def zip64_end(self, **fields: int) -> bytes:
        return zip64_end(**fields)


@pytest.fixture
def wheel_maker(tmp_path: Path) -> WheelMaker:
    directory = tmp_path / "wheels"
    directory.mkdir()
    return WheelMaker(directory=directory)
