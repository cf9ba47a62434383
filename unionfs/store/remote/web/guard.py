"""What is sent as `Authorization`, and how it is come by: basic, or tokens.

A server that wants to know who asks answers 401 and says how to prove it (`WWW-Authenticate`, RFC
9110 §11.6.1). `Basic` is user and password with each request. `Bearer` is a token that another
server (`realm`) gives to that user, for what is to be done (`scope`), and for a while:
distribution's "Token Authentication Specification". Registries that everybody may read want a
token, too, and give it to anybody.

Nothing is proved before it is asked for, and to nobody but the store itself: `exchange` never asks
this module where a redirect led elsewhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode

import trio

from unionfs.store.remote.transport import RemoteError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from unionfs.store.remote.web.credentials import Credential

Scopes = tuple[str, ...]
"""What is to be done, as registries have it: `repository:team/store:pull,push`."""

_SHORTEST: Final = 60.0
"""Seconds that a token is good for where nobody says so."""

_MARGIN: Final = 10.0
_LONGEST_TOKEN: Final = 1 << 16

_CHALLENGE = re.compile(
    r"""([A-Za-z0-9!#$%&'*+.^_`|~-]+)          # a scheme, or a parameter's name
        (?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?""",
    re.VERBOSE,
)


class Asking(Protocol):
    """How a server of tokens is asked: an address, a header's value or "", a form or None."""

    async def __call__(self, url: str, authorization: str, form: bytes | None) -> bytes:
        """What it answers with 200; `RemoteError` for all else, `Transient` for another try."""
        ...


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    until: float


class Guard:
    """Of one store. `known` finds its user's name and password; it is asked once.

    Any number of tasks at once; they wait for each other's token instead of having one each.
    """

    def __init__(self, known: Callable[[], Awaitable[Credential | None]]) -> None:
        self._known = known
        self._credential: Credential | None = None
        self._asked = False
        self._basic = ""
        self._tokens: dict[Scopes, _Token] = {}
        self._lock = trio.Lock()

    @property
    def has_credential(self) -> bool:
        """Whether anybody's name was found, as far as it was looked for."""
        return self._credential is not None

    def header(self, scopes: Scopes) -> str:
        """The value to send now, "": none."""
        token = self._tokens.get(scopes)
        if token is not None and token.until > trio.current_time():
            return f"Bearer {token.value}"
        return self._basic

    async def challenged(
        self, challenges: Sequence[str], scopes: Scopes, sent: str, ask: Asking
    ) -> bool:
        """After a 401 to `sent`: whether there is something else to send now."""
        async with self._lock:
            now = self.header(scopes)
            if now not in {"", sent}:
                return True  # somebody else was faster
            if not self._asked:
                self._credential = await self._known()
                self._asked = True
            wanted = parsed(challenges)
            if "bearer" in wanted:
                self._tokens.pop(scopes, None)
                token = await self._token(wanted["bearer"], scopes, ask)
                self._tokens[scopes] = token
                return f"Bearer {token.value}" != sent
            if "basic" in wanted and self._credential and not self._credential.is_token:
                self._basic = self._credential.basic
                return self._basic != sent
        return False

    async def _token(self, told: dict[str, str], scopes: Scopes, ask: Asking) -> _Token:
        realm, service = told.get("realm", ""), told.get("service", "")
        # What the server says of the scope counts where we have nothing to say.
        every = [*(scopes or tuple(filter(None, [told.get("scope", "")])))]
        fields = [*([("service", service)] if service else []), *(("scope", s) for s in every)]
        credential = self._credential
        if credential is not None and credential.is_token:
            fields = [
                ("grant_type", "refresh_token"), ("client_id", "pkgview"), ("service", service),
                ("scope", " ".join(every)), ("refresh_token", credential.secret),
            ]  # fmt: skip
            answer = await ask(realm, "", urlencode(fields).encode())
        else:
            url = realm + ("&" if "?" in realm else "?") + urlencode(fields)
            answer = await ask(url, credential.basic if credential else "", None)
        try:
            found = json.loads(answer)
            value = found.get("token") or found["access_token"]
            lasts = float(found.get("expires_in") or _SHORTEST)
            fits = len(value) <= _LONGEST_TOKEN and re.fullmatch(r"[\x21-\x7e]+", value)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
            value, lasts, fits = "", 0.0, None
        if not fits:
            raise RemoteError(
                "the server of tokens answers without a token",
                remedy="Its administrator has to look at it.",
            )
        lasts = max(lasts - _MARGIN, _MARGIN)
        return _Token(value, trio.current_time() + min(lasts, 24 * 3600.0))


def parsed(challenges: Sequence[str]) -> dict[str, dict[str, str]]:
    """The parameters of each scheme that is asked for, in small letters; the first of each."""
    found: dict[str, dict[str, str]] = {}
    for line in challenges:
        fields: dict[str, str] = {}
        for match in _CHALLENGE.finditer(line[:4096]):
            name, quoted, plain = match[1].lower(), match[2], match[3]
            if quoted is None and plain is None:
                fields = {}
                found.setdefault(name, fields)
            else:
                value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                fields.setdefault(name, value)
    return found
