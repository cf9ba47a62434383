"""A mount that nobody reads from any more: what it has read costs no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from unionfs.archive import heap

if TYPE_CHECKING:
    from unionfs.archive.framecache import FrameCache

QUIET: Final = 10.0
"""Seconds after which it is not likely that the same frame is asked for again."""


async def tend(frames: FrameCache) -> None:
    """Drop frames that nobody has asked for in that time; never returns."""
    while True:
        await trio.sleep(QUIET)
        if frames.forget_unused():
            heap.give_back()
