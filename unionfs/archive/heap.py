"""What malloc(3) keeps of the memory that frames had. A libc without such calls is left alone."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of mallopt(3)."""


def share_one() -> None:
    """Have it take the frames of all threads from one arena, as it would for one thread.

    In an arena for each, frames that come and go leave holes, and nobody fills another's. One at a
    time is all that threads do here anyhow: they compete for the interpreter.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Have it return to the system what it does not need, malloc_trim(3)."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
