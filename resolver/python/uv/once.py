"""Settings that are read once for all that one view follows from.

What is asked of uv's and pip's settings is asked dozens of times while a view is made, and each
time it would be the same few files. Read once, they also say the same to all who ask. Never in a
look (`resolver.looks`), where what is read is counted and may be refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from resolver.inputs import current_look

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

Read = TypeVar("Read")

_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("_kept", default=None)


@contextmanager
def settings_read_once() -> Iterator[None]:
    """Within it, and all that is within that, they are what they were when they were read first."""
    kept = _kept.get()
    token = _kept.set({} if kept is None else kept)
    try:
        yield
    finally:
        _kept.reset(token)


def read_anew() -> None:
    """From here on they are read again: files have been written that they may stand in."""
    if (kept := _kept.get()) is not None:
        kept.clear()


def once(key: Hashable, read: Callable[[], Read]) -> Read:
    """What `read` gives, or gave; nobody changes it. It is all that is ever kept under `key`."""
    kept = None if current_look() is not None else _kept.get()
    if kept is None:
        return read()
    if key not in kept:
        kept[key] = read()
    found: Read = kept[key]
    return found
