"""What goes out with a request, what a whole answer is, and what failures say of themselves."""

from __future__ import annotations

import json
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

_LARGEST_ERROR: Final = 4096
"""Bytes of an answer that says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What is sent with a request; `content` makes the body anew for each try."""

    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Callable[[], AsyncIterator[bytes]] = b""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


async def error_code(pieces: AsyncIterator[bytes]) -> str:
    """What a registry calls it, such as DENIED (distribution specification, "Error Codes")."""
    body = bytearray()
    with suppress(Exception):
        async for piece in pieces:
            body += piece
            if len(body) > _LARGEST_ERROR:
                return ""
        code = json.loads(body)["errors"][0]["code"]
        return code if re.fullmatch(r"[A-Z_]{1,40}", code) else ""
    return ""


def is_no_tls(error: BaseException) -> bool:
    """Whether somebody answered, and not by TLS."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, ssl.SSLError | trio.BrokenResourceError):
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False
