"""How npm reads a tar stream: a second reader, as lenient as node-tar 7.5 is, and no stricter.

It warns where npm does, and reads on as npm does.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

BLOCK = 512
META = {b"x", b"X", b"g", b"L", b"K", b"N"}
KNOWN = {b"\0", *(bytes([one]) for one in b"01234567gxADIKLMNSVX")}
NORMAL = {b"\0", *(bytes([one]) for one in b"01234567D")}
NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148))
USTAR_NUMBERS = ((329, 337), (337, 345))
USTAR_TIMES = ((476, 488), (488, 500))


class Read(NamedTuple):
    """A file that npm would write."""

    path: str
    mode: int
    content: bytes


class Reading:
    """`files` in their order, and what was warned of or passed over."""

    def __init__(self, data: bytes) -> None:
        self.files: list[Read] = []
        self.warned: list[str] = []
        self._local: dict[str, str] = {}
        self._global: dict[str, str] = {}
        at, nulls = 0, 0
        while at + BLOCK <= len(data):
            block = data[at : at + BLOCK]
            at += BLOCK
            if not any(block[:148] + block[156:]) and math.isnan(number(block[148:160])):
                nulls += 1
                if nulls == 2:
                    if data[at:].strip(b"\0"):
                        self.warned.append("data behind the end")
                    return
                continue
            if nulls:
                self.warned.append("a lone block of zeros")
            nulls = 0
            at += self._header(block, data, at)

    def _header(self, block: bytes, data: bytes, at: int) -> int:
        """How many bytes of content follow, in whole blocks."""
        kind = block[156:157]
        local = self._local if kind in NORMAL else {}
        try:
            path, size = _path_and_size(block, local)
        except ValueError:
            self.warned.append("a number")
            return 0
        if kind in {b"0", b"\0"} and local.get("path", text(block[:100])).endswith("/"):
            kind = b"5"
        if kind == b"5":
            size = 0
        if number(block[148:160]) != sum(block[:148]) + 256 + sum(block[156:]):
            self.warned.append("a checksum")
            return 0
        target = text(block[157:257])
        aimed = bool(target) is (kind in {b"1", b"2"}) or kind in {b"x", b"g"}
        if not path or not aimed:
            self.warned.append("a path or target")
            return 0
        content = data[at : at + size]
        blocks = -(-size // BLOCK) * BLOCK
        if len(data) < at + blocks:
            self.warned.append("the end")
        if kind in META:
            self._extend(kind, content)
            return blocks
        self._local = {}
        if kind in {b"0", b"\0", b"7"}:
            mode = number(block[100:108])
            self.files.append(Read(path, 0 if math.isnan(mode) else int(mode), content))
        elif kind not in {b"1", b"2", b"5"}:
            self.warned.append("a type")
        return blocks

    def _extend(self, kind: bytes, content: bytes) -> None:
        said = content.decode("utf-8", "replace")
        if kind in {b"L", b"N", b"K"}:
            self._local["linkpath" if kind == b"K" else "path"] = re.sub(r"\0.*", "", said)
            return
        records = self._global if kind == b"g" else self._local
        for line in said.removesuffix("\n").split("\n"):
            digits = re.match(r"\s*([0-9]+)", line)
            if digits is None or int(digits[1]) != len(line.encode()) + 1:
                continue
            key, equals, value = line[len(str(int(digits[1]))) + 1 :].partition("=")
            if key in {"path", "linkpath", "size"} and equals:
                records[key] = re.sub(r"\0.*", "", value)
        if self._global:
            self.warned.append("a global record")


def _path_and_size(block: bytes, local: dict[str, str]) -> tuple[str, int]:
    """Of a header; `ValueError` for a number that stops npm."""
    ustar = block[257:265] == b"ustar\x0000"
    looked_at = NUMBERS + ustar * USTAR_NUMBERS + (ustar and not block[475]) * USTAR_TIMES
    for start, end in looked_at:
        number(block[start:end])
    size = float(local.get("size", number(block[124:136])))
    path = local.get("path", text(block[:100]))
    if ustar and "path" not in local:
        prefix = text(block[345:500] if block[475] else block[345:475])
        path = f"{prefix}/{path}" if prefix else path
    return path, 0 if math.isnan(size) or size < 0 else int(size)


def text(field: bytes) -> str:
    return re.sub(r"\0.*", "", field.decode("utf-8", "replace"))


def number(field: bytes) -> float:
    """As JavaScript's parseInt; NaN where there is none."""
    if field[0] & 0x80:
        if field[0] not in {0x80, 0xFF}:
            raise ValueError
        found = int.from_bytes(field[1:], "big")
        if field[0] == 0xFF:
            found -= 1 << 8 * len(field[1:])
        if abs(found) > 2**53 - 1:
            raise ValueError
        return found
    match = re.match(r"\s*([+-]?[0-7]+)", re.sub(r"\0.*$", "", field.decode("utf-8", "replace")))
    return int(match[1], 8) if match else math.nan
