"""How long the fuzzing lasts, and where what it found is kept: `scripts/fuzz` says it."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, settings, target
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

EXAMPLES = "PKGVIEW_FUZZ_EXAMPLES"
CORPUS = "PKGVIEW_FUZZ_CORPUS"


def fuzzing(examples: int) -> settings:
    """`examples` of them, always the same, so that a run of all tests fails for what was changed.

    `scripts/fuzz` has others each time, as many as it says, and begins with those that it kept.
    """
    kept = os.environ.get(CORPUS)
    return settings(
        max_examples=int(os.environ.get(EXAMPLES, examples)),
        derandomize=kept is None,
        database=DirectoryBasedExampleDatabase(Path(kept)) if kept else None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def further(distance: float) -> None:
    """The larger, the better worth keeping in the corpus: the next examples are made from it.

    A short run is for many kinds instead, and those would all be of one.
    """
    if CORPUS in os.environ:
        target(distance)


Edit = tuple[int, int, bytes]
edits = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.integers(0, 4),
        st.binary(max_size=4)
        | st.sampled_from([b"\0\0", b"\xff\xff\xff\xff", b"PK\5\6", b"PK\1\2"]),
    ),
    max_size=3,
)
"""What is done to bytes: at a place (modulo their number) so many are replaced by others."""


def edited(data: bytes, changes: list[Edit]) -> bytes:
    """The bytes after all edits, in their order."""
    for place, removed, put in changes:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + removed :]
    return data
