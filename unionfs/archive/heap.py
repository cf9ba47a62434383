"""What malloc(3) keeps of the memory that frames had. A libc without such calls is left alone."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Of mallopt(3)."""

KEPT: Final = 1 << 23
"""Bytes: all that is on its way while an archive is packed."""


def share_one() -> None:
    """Have it take the frames of all threads from one arena, as it would for one thread.

    In an arena for each, frames that come and go leave holes, and nobody fills another's. One at a
    time is all that threads do here anyhow: they compete for the interpreter.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def keep() -> None:
    """Have it use again what frames had, instead of having the system clear new pages for each."""
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, KEPT)
        mallopt(_M_TRIM_THRESHOLD, KEPT)


def give_back() -> None:
    """Have it return to the system what it does not need, malloc_trim(3)."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
