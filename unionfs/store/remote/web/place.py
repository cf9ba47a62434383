"""Where a store is, and whether HTTP without TLS may be spoken there."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether it is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A store's origin: `host` with its port, if it is named; `scheme` "" to be found out."""

    named: str
    scheme: str
    host: str
    insecure: bool = False

    @property
    def plain(self) -> bool:
        """Whether HTTP without TLS may be spoken there."""
        return self.insecure or is_loopback(urlsplit(f"//{self.host}").hostname or "")
