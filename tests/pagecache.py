"""A file that nothing is in memory of, and the pages that its parts lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scripts.bench import pagecache
from scripts.bench.pagecache import PAGE, pages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def forget(path: Path) -> None:
    """Have none of a file in memory; skips the test where the system keeps it all the same."""
    pagecache.forget(path)
    if pages(path):
        pytest.skip("this file system keeps its files in memory")


def spans(places: Iterable[tuple[int, int]]) -> set[int]:
    """The pages of (offset, size)s of a file."""
    return {
        page
        for offset, size in places
        for page in range(offset // PAGE, (offset + size - 1) // PAGE + 1)
    }
