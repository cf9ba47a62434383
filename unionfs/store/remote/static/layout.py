"""A store as files, for any HTTP server: where each lies, and what is in it.

    <root>/archives/<name>                    an archive's file, as in every store
    <root>/beginnings/<name>.<version>        its beginning, for who has that version of zstd
    <root>/said/derived/<key>.json            statements, as `unionfs.store.remote.wire` has them
    <root>/said/views/<reference>.json        {"archives": {NAME: SIZE, …},
                                              "beginnings": {NAME.VERSION: SIZE, …},
                                              "statements": […]}

Nothing lists them, so any number of people may add to one directory, and it may be copied while
they do: what refers to something is written after it. A file of a lock is found by one request, and
so is a view, with the sizes of all its archives. Names are as they are; in an address each byte
that is no letter, digit or one of `-._~` is written by its number (RFC 3986). Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from resolver.errors import PkgviewError
from unionfs.archive.meta import digest_of_name
from unionfs.store.remote import wire
from unionfs.store.remote.transport import name_of_beginning
from unionfs.store.remote.wire import LARGEST_FILE, check_tag
from unionfs.store.sources import is_source_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unionfs.store.remote.transport import Statement


BEGINNINGS: Final = "beginnings"
"""Where beginnings lie."""


def archive(name: str) -> str:
    """Where an archive lies; `PkgviewError` for what is no archive's name."""
    if digest_of_name(name) is None:
        raise PkgviewError(f"{name!a} is no archive's name")
    return f"archives/{name}"


def beginning(name: str, by: str) -> str:
    """Where an archive's beginning lies, for who has that zstd."""
    archive(name)
    return f"{BEGINNINGS}/{name_of_beginning(name, by)}"


def derived(key: str) -> str:
    """Where it lies what is said of a key; `PkgviewError` for what is none."""
    if not is_source_key(key):
        raise PkgviewError(f"{key!a} cannot name the source of an archive")
    return f"said/derived/{key}.json"


def view(reference: str) -> str:
    """Where a view's statement lies; `RemoteError` for what is no tag."""
    check_tag(reference)
    return f"said/views/{reference}.json"


def in_address(path: str) -> str:
    """The same for an address."""
    return quote(path, safe="/")


def view_to_bytes(
    statement: Statement, sizes: Mapping[str, int], beginnings: Mapping[str, int]
) -> bytes:
    """A view's file."""
    said = json.loads(wire.to_bytes([statement]))
    fields = {"archives": dict(sizes), "beginnings": dict(beginnings), "statements": said}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def view_from_bytes(text: bytes) -> tuple[Statement, dict[str, int], dict[str, int]]:
    """The statement, and the sizes of archives' files and of beginnings by their names.

    `ValueError` for all else.
    """
    try:
        fields = json.loads(text)
        sizes, beginnings = dict(fields["archives"]), dict(fields.get("beginnings", {}))
        (statement,) = wire.from_bytes(json.dumps(fields["statements"]).encode())
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"this is no view: {error}") from error
    for name, size in sizes.items():
        if digest_of_name(name) is None or type(size) is not int or not 0 < size <= LARGEST_FILE:
            raise ValueError(f"{name!a} is no archive with a size")
    for name, size in beginnings.items():
        if type(size) is not int or not 0 < size <= LARGEST_FILE:
            raise ValueError(f"{name!a} has no size")
    return statement, sizes, beginnings
