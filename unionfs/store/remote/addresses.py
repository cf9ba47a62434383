"""The addresses of remote stores. Pure.

    oci://HOST[:PORT]/REPOSITORY[:TAG]      a repository of an OCI registry
    https://HOST[:PORT]/PATH                a directory of ours on an HTTP server
    s3://BUCKET/PREFIX                      the same in a bucket; which server has it is not said

`http://` is for this machine itself, and where the user said `insecure`. An address has no user and
no password in it: those are had from where they are kept (`unionfs.store.remote.web.credentials`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from resolver.errors import PkgviewError
from unionfs.store.remote.wire import check_tag

LONGEST: Final = 1000
"""Characters of an address."""

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.IGNORECASE)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A remote store's. `path`: a repository, or what is below the host with "/" at both ends.

    `host` of a bucket is its name.
    """

    scheme: str
    host: str
    path: str
    tag: str = ""

    @property
    def url(self) -> str:
        """Without the tag, and the same for what is equal."""
        return f"{self.scheme}://{self.host}{'/' if self.scheme == 'oci' else ''}{self.path}"


def is_remote(text: str) -> bool:
    """Whether somebody means an address and no directory."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def tagged(text: str) -> Address:
    """The same, and any scheme may have a tag: `https://HOST/PATH:TAG`, `s3://BUCKET/PATH:TAG`."""
    head, colon, tag = text.rpartition(":")
    scheme, _, rest = text.partition("://")
    with_tag = bool(colon) and "/" not in tag and "/" in rest.rpartition(":")[0]
    if scheme.lower() == "oci" or not with_tag:
        return address(text)
    return replace(address(head), tag=tag)


def address(text: str) -> Address:
    """`PkgviewError` says what about it cannot be an address."""
    form = "Write oci://HOST/REPOSITORY[:TAG], https://HOST/PATH or s3://BUCKET/PATH."
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    # Said without what may be a password.
    host, _, path = rest.partition("/")
    if "@" in host:
        raise PkgviewError(
            f"{scheme}://…{host[host.rindex('@') :]}: an address has no user and password in it",
            remedy="Anybody on this machine could read them in the list of processes. Use "
            "`docker login`, `podman login`, or ~/.netrc.",
        )
    place = {"oci": _HOST, "https": _HOST, "http": _HOST, "s3": _BUCKET}.get(scheme)
    fits = place is not None and len(text) <= LONGEST and place.fullmatch(host)
    if not fits or not text.isascii() or not text.isprintable() or re.search(r"[\s?#\\]", text):
        raise PkgviewError(f"{text[:LONGEST]!a} is no remote store's address", remedy=form)
    host = host.lower()
    if scheme != "oci":
        parts = [part for part in path.split("/") if part]
        if {".", ".."} & set(parts):
            raise PkgviewError(f"{text!a} is no remote store's address", remedy=form)
        return Address(scheme=scheme, host=host, path="/".join(["", *parts, ""]))
    repository, _, tag = path.partition(":")
    if not REPOSITORY.fullmatch(repository):
        raise PkgviewError(
            f"{text!a} names no repository: these are small letters, digits and . _ - /",
            remedy=form,
        )
    if tag or path.endswith(":"):
        check_tag(tag)
    return Address(scheme=scheme, host=host, path=repository, tag=tag)
