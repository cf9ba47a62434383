"""A member's content by whichever inflate is there: the same bytes, or a refusal by both."""

from __future__ import annotations

import os
import random
import zlib
from typing import TYPE_CHECKING

import pytest

from unionfs.formats.zip import stream
from unionfs.formats.zip.stream import ContentError, MemberStream

if TYPE_CHECKING:
    from pathlib import Path

BOTH = pytest.mark.skipif(stream.fast is zlib, reason="isal is not installed")


def content(dice: random.Random) -> bytes:
    """Text, chance and repetition, of up to some frames."""
    parts = [
        bytes(dice.choices(b"abcdef \n", k=dice.randrange(40_000))),
        dice.randbytes(dice.randrange(40_000)),
        dice.randbytes(3) * dice.randrange(60_000),
    ]
    dice.shuffle(parts)
    return b"".join(parts[: dice.randrange(4)])


def harmed(data: bytes, dice: random.Random) -> bytes:
    """The packed bytes, whole or otherwise."""
    at = dice.randrange(len(data))
    match dice.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data + dice.randbytes(dice.randrange(1, 9))
        case 2:
            return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
        case 3:
            return data[:at] + dice.randbytes(4) + data[at + 4 :]
        case _:
            return data


def read(path: Path, packed: bytes, whole: bytes, size: int, block: int) -> bytes | str:
    """All that it gives, or why it gives nothing."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        member = MemberStream(
            descriptor, start=0, packed=len(packed), size=size, crc=zlib.crc32(whole), deflated=True
        )
        blocks = []
        while found := member.read(block):
            blocks.append(found)
        return b"".join(blocks)
    except ContentError as error:
        return str(error)
    finally:
        os.close(descriptor)


@BOTH
def test_either_inflate_takes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: set[str] = set()
    for seed in range(400):
        dice = random.Random(seed)  # noqa: S311 - the same each time
        whole = content(dice)
        made = zlib.compressobj(dice.randrange(10), zlib.DEFLATED, -15, 9, dice.randrange(5))
        packed = harmed(made.compress(whole) + made.flush(), dice)
        size = max(0, len(whole) + dice.choice((0, 0, 0, 0, -1, 1)))
        block = dice.choice((1 << 17, 1 << 16, 4097))
        (path := tmp_path / "packed").write_bytes(packed)
        found = []
        for inflate in (stream.fast, zlib):
            with monkeypatch.context() as patch:
                patch.setattr(stream, "fast", inflate)
                found.append(read(path, packed, whole, size, block))
        # What is wrong with one that is wrong in several ways they find out in another order.
        whole_of_both = [one for one in found if isinstance(one, bytes)]
        assert whole_of_both in ([], [whole, whole]), seed
        outcomes.update(one if isinstance(one, str) else "whole" for one in found)
    assert {"whole", "is shorter than announced", "is longer than announced"} <= outcomes
    assert {"has a damaged deflate stream", "has data behind its deflate stream"} <= outcomes


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
