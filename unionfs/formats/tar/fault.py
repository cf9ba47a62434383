"""Faults of a tar stream, and of the file that it is in."""

from __future__ import annotations


class UnsoundTarballError(Exception):
    """A file is no tarball to be trusted: one clause a fault, without the file's name."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
