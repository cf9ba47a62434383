r"""What all remote stores have in common: how statements lie there, and tags.

    [{"said": "{\"archive\":…}", "signatures": ["-----BEGIN SSH SIGNATURE-----…"]}, …]

`said` is the statement's own text, of which not a byte may change. What is read is anybody's: the
form is checked, and nothing else.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from unionfs.store.remote.transport import LARGEST_STATEMENT, RemoteError, Statement

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_STATEMENTS: Final = 64
"""About one thing; what comes later is dropped, the oldest stay."""

MOST_SIGNATURES: Final = 16
_LARGEST_SIGNATURE: Final = 16384

LARGEST_FILE: Final = 1 << 40
"""Bytes of an archive's file."""

TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""As registries have it; so it is everywhere, that a store may be copied."""

_RESERVED: Final = ("archive-", "beginning-", "derived-")
"""What tags in registries begin with that are no view's."""


def check_tag(tag: str) -> None:
    """`RemoteError` for what cannot be the tag of a view."""
    if not TAG.fullmatch(tag) or tag.startswith(_RESERVED):
        raise RemoteError(
            f"{tag!a} cannot be a view's tag",
            remedy="It has 1 to 128 letters, digits and . _ -, and begins with none of the last "
            "two signs, nor with archive-, beginning- or derived-.",
        )


def to_bytes(statements: Iterable[Statement]) -> bytes:
    """The text of these statements. `ValueError` for one that is no UTF-8."""
    fields = [{"said": one.said.decode(), "signatures": list(one.signatures)} for one in statements]
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def from_bytes(text: bytes) -> tuple[Statement, ...]:
    """What `to_bytes` wrote; `ValueError` for all else."""
    try:
        fields = json.loads(text)
        found = tuple(map(_statement, fields[: MOST_STATEMENTS + 1]))
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"these are no statements: {error}") from error
    if len(found) > MOST_STATEMENTS:
        raise ValueError("these are too many statements")
    return found


def merged(known: Iterable[Statement], new: Statement) -> tuple[Statement, ...]:
    """With one more, or more signatures of one that was there; equal to `known` if neither."""
    found = {one.said: one.signatures for one in known}
    before = found.get(new.said, ())
    both = tuple(dict.fromkeys((*before, *new.signatures)))[:MOST_SIGNATURES]
    if new.said not in found and len(found) >= MOST_STATEMENTS:
        raise ValueError("there are too many statements about it")
    found[new.said] = both
    return tuple(Statement(said=said, signatures=signed) for said, signed in found.items())


def _statement(fields: Any) -> Statement:  # noqa: ANN401 - from a file
    said, signatures = fields["said"], fields["signatures"]
    if not isinstance(said, str) or not isinstance(signatures, list):
        raise TypeError("a statement is a text with signatures")
    if len(signatures) > MOST_SIGNATURES or not all(
        isinstance(one, str) and len(one) <= _LARGEST_SIGNATURE for one in signatures
    ):
        raise TypeError("these are no signatures")
    data = said.encode()  # a lone surrogate is a ValueError
    if len(data) > LARGEST_STATEMENT:
        raise TypeError("it is too long")
    return Statement(said=data, signatures=tuple(signatures))
