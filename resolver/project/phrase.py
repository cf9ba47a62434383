"""What a project wants, as a phrase that a person can judge, and that is kept."""

from __future__ import annotations

import hashlib

LONGEST = 160
"""Characters of a phrase; what is longer is cut, and ends in a digest of the whole."""


def phrase(text: str) -> str:
    """What can be shown, and is not longer than `LONGEST` by much.

    Letters that look like others are spelled out: they make another address.
    """
    shown = text if text.isascii() and text.isprintable() else ascii(text)
    if len(shown) <= LONGEST:
        return shown
    return (
        f"{shown[:LONGEST]}… ({hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]})"
    )
