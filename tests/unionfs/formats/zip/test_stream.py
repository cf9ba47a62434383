"""A member's content, as it is handed out."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING

from unionfs.formats.zip.stream import MemberStream

if TYPE_CHECKING:
    from pathlib import Path


def test_a_block_is_as_long_as_was_asked_for(tmp_path: Path) -> None:
    """So a frame is read at once, and is not put together."""
    whole = random.Random(1).randbytes(1 << 19)  # noqa: S311 - the same each time
    made = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = made.compress(whole) + made.flush()
    (path := tmp_path / "packed").write_bytes(packed)
    with path.open("rb") as file:
        member = MemberStream(
            file.fileno(), start=0, packed=len(packed), size=len(whole), crc=zlib.crc32(whole),
            deflated=True,
        )  # fmt: skip
        assert [len(member.read(1 << 17)) for _ in range(5)] == [1 << 17] * 4 + [0]
