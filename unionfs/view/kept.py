"""What is kept as long as there is room for it: the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

    Key = TypeVar("Key", bound=Hashable)
else:
    Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """Values of together at most `room` bytes; or one alone, however large. One thread only."""

    __slots__ = ("_room", "_sizes", "_values", "size")

    def __init__(self, room: int) -> None:
        self._room = room
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._sizes: dict[Key, int] = {}
        self.size = 0
        """Bytes, as far as was said when they were put here."""

    def get(self, key: Key) -> Value | None:
        """What is kept under a key."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
        return found

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of about so many bytes; others make room for it."""
        self.drop(key)
        self._values[key] = value
        self._sizes[key] = size
        self.size += size
        while self.size > self._room and len(self._values) > 1:
            self.drop(next(iter(self._values)))

    def drop(self, key: Key) -> None:
        """Keep it no longer."""
        if self._values.pop(key, None) is not None:
            self.size -= self._sizes.pop(key)

    def __len__(self) -> int:
        return len(self._values)
