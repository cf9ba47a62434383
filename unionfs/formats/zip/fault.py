"""Faults of a Zip file: they are collected, and raised together."""

from __future__ import annotations

import os
from typing import Final

FAULT_LIMIT: Final = 50
"""Where so many faults were found, no more are looked for."""


class UnsoundZipError(Exception):
    """A file is no Zip file to be trusted: one clause a fault, without the file's name."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Faults:
    """What was found wrong so far."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, fault: str) -> None:
        """Remember one more; raises `UnsoundZipError` where there are enough."""
        self._found.append(fault)
        if len(self._found) >= FAULT_LIMIT:
            self.raise_any()

    def raise_any(self) -> None:
        """Raise `UnsoundZipError` if anything was found."""
        if self._found:
            raise UnsoundZipError(*self._found)


def read_exactly(descriptor: int, size: int, offset: int, what: str) -> bytes:
    """`size` bytes from `offset`; `UnsoundZipError` where the file has fewer."""
    parts: list[bytes] = []
    left = size
    while left:
        part = os.pread(descriptor, left, offset)
        if not part:
            raise UnsoundZipError(f"the file ends within {what}")
        parts.append(part)
        left -= len(part)
        offset += len(part)
    return b"".join(parts)
