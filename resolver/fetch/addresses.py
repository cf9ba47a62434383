"""Addresses of indexes, and of the files on them: which are equal, and which belong to an index.

Others may have a place on the same host (`https://host/team-a/`, `https://host/team-b/`). So
an index is only what is equal to it, and its files are taken to lie below it. Where its last part
is `simple`, most servers have them beside that; of a whole host then, only in `/packages/`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERYBODYS: Final = "https://pypi.org/simple/"
"""The index that pip and uv use unless told otherwise, as `canonical` has it."""

_FILES_OF_EVERYBODY = frozenset({"https://pypi.org/", "https://files.pythonhosted.org/"})

_BESIDE = frozenset({"simple", "+simple"})
"""The last parts of an index's address that name a page of a server and no owner; as for uv."""

_PORTS = {"http": 80, "https": 443}

_USER = r"[^\s/?#\\]*@"
_ADDRESS = re.compile(rf"(?<=://)(?:{_USER})?(\S*)")
_ANY_USER = re.compile(rf"(?<=:/)(/?){_USER}")

_LEADS_UP = re.compile(r"(?:[/\\]|%2f|%5c)(?:\.|%2e){2}|%2e|\\", re.IGNORECASE)
"""In a path: what some server takes for `..`, whatever follows."""


def canonical(url: str) -> str:
    """Scheme, host, port where it is another than usual, and path, which ends with `/`.

    "" for what cannot be compared: without a host, with a user, query or fragment, or a way up.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    odd = "@" in parts.netloc or parts.query or parts.fragment or _LEADS_UP.search(parts.path)
    if odd or not host:
        return ""
    host = f"[{host}]" if ":" in host else host
    there = host if port in {None, _PORTS.get(parts.scheme)} else f"{host}:{port}"
    return f"{parts.scheme}://{there}{parts.path.removesuffix('/')}/"


def file_places(index: str) -> frozenset[str]:
    """Below which addresses the files of an index lie; it, and they, are as `canonical` has them.

    The host of a page's files may be any: that is for who reads it. This is for who has not.
    """
    if index == EVERYBODYS:
        return _FILES_OF_EVERYBODY
    above, _, last = urlsplit(index).path.rstrip("/").rpartition("/")
    if not index or last not in _BESIDE:
        return frozenset({index} - {""})
    host = index.removesuffix(f"{above}/{last}/")
    return frozenset({index, f"{host}{above}/" if above else f"{host}/packages/"})


def links_places(page: str) -> frozenset[str]:
    """Below which addresses the files of a page of links lie: below it, and in its directory.

    But for that of a whole host.
    """
    at = canonical(page)
    beside = urlsplit(page).path.rpartition("/")[0]
    found = {at, canonical(urlsplit(page)._replace(path=beside).geturl()) if beside else ""}
    return frozenset(found - {""})


def nearest(url: str, places: Iterable[str]) -> str:
    """The longest of these below which a file's address lies; "" for none."""
    plain = canonical(re.split(r"[?#]", url, maxsplit=1)[0])
    return max((place for place in places if plain.startswith(place)), key=len, default="")


def belongs(url: str, places: Iterable[str]) -> bool:
    """Whether a file's address lies below one of these."""
    return bool(nearest(url, places))


def without_userinfo(text: str) -> str:
    r"""An address, or a text with some between blanks, without users and passwords.

    As browsers and uv read it (WHATWG): the authority ends at the first of `/ ? # \`, and its user
    at the last `@` in it. What comes later is no user, whatever it looks like: without it one
    address would pass for another. So one inside of another keeps its own.
    """
    return _ADDRESS.sub(r"\1", text)


def masked(text: str) -> str:
    """The same for a text of another program: wherever one may be, it is only not shown.

    Also of an address that was taken for a path, and so has lost a slash.
    """
    return _ANY_USER.sub(r"\1****@", text)
