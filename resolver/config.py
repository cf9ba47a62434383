"""The user's settings: `config.toml` in the configuration directory.

    [[store]]                       stores that are searched after the user's own, in this order
    path = "/mnt/team/pkgview"
    shared = true                   others may write to it, and are believed

    [gc]
    max-size = "20 GB"              what the user's own store may grow to

    [remote]
    timeout = 60                    seconds that a read may wait for another machine

The file is the user's: it is read, and changed by `pkgview store add` and `remove` with all else
in it left as it is.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resolver.atomic import Alone, write_atomically
from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resolver.places import Places

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

TIMEOUT = 60.0
"""Seconds of patience with a network: a server is started anew within that time."""

LARGEST = 1 << 20
"""Bytes of a file that can be one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredStore:
    """A store besides the user's own. `shared`: whoever may write to it is believed."""

    path: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything in the file; `max_size` in bytes, None where there is no limit.

    `timeout`: seconds that a read of a mounted file may wait for what a remote store has.
    """

    stores: tuple[ConfiguredStore, ...] = ()
    max_size: int | None = None
    timeout: float = TIMEOUT


def path(places: Places) -> Path:
    """Where the file is, or would be."""
    return places.config / "config.toml"


def load(places: Places) -> Config:
    """What the file says; `PkgviewError` names what in it cannot be understood."""
    file = path(places)
    try:
        with file.open("rb") as stream:
            text = stream.read(LARGEST).decode()
        return _config(tomllib.loads(text))
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PkgviewError(
            f"{file} cannot be used: {reason}", remedy="Correct that file, or remove it."
        ) from error


def add_store(places: Places, store: ConfiguredStore) -> None:
    """Name a store in the file, once."""

    def change(document: Any) -> None:  # noqa: ANN401 - tomlkit's own are dictionaries
        from tomlkit import aot, table  # noqa: PLC0415 - only who changes the file needs it

        _without(document, store.path)
        fields = table()
        fields["path"] = store.path
        if store.shared:
            fields["shared"] = True
        document.setdefault("store", aot()).append(fields)

    _changed(places, change)


def remove_store(places: Places, named: str) -> None:
    """Take a store out of the file; nothing where it is not in it."""
    _changed(places, lambda document: _without(document, named))


def _without(document: Any, named: str) -> None:  # noqa: ANN401 - tomlkit's own are dictionaries
    stores = document.get("store", [])
    for place in reversed(range(len(stores))):
        if stores[place]["path"] == named:
            del stores[place]
    if not stores:
        document.pop("store", None)


def _changed(places: Places, change: Callable[[Any], None]) -> None:
    import tomlkit  # noqa: PLC0415 - only who changes the file needs it

    with Alone(places.config):
        load(places)  # what cannot be read is not written over
        file = path(places)
        document = tomlkit.parse(file.read_bytes()) if file.exists() else tomlkit.document()
        change(document)
        write_atomically(file, tomlkit.dumps(document).encode())


def size_of(text: str) -> int:
    """Bytes of "20 GB", "500M", "1.5 GB" (powers of 1000, as disks are sold); `ValueError`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size such as 500 MB or 20 GB")
    return int(float(match[1]) * 1000 ** _POWERS[match[2].lower()])


def _config(document: dict[str, Any]) -> Config:
    stores = document.get("store", [])
    if not isinstance(stores, list):
        raise TypeError("store is no list of tables: write [[store]]")
    limits = document.get("gc", {})
    if not isinstance(limits, dict):
        raise TypeError("gc is no table")
    largest = limits.get("max-size")
    if not isinstance(largest, str | None):
        raise TypeError('gc.max-size is no text such as "20 GB"')
    return Config(
        stores=tuple(map(_store, stores)),
        max_size=None if largest is None else size_of(largest),
        timeout=_timeout(document.get("remote", {})),
    )


def _timeout(remote: Any) -> float:  # noqa: ANN401 - from a file
    if not isinstance(remote, dict):
        raise TypeError("remote is no table")
    seconds = remote.get("timeout", TIMEOUT)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise TypeError("remote.timeout is no number of seconds")
    return float(seconds)


def _store(fields: Any) -> ConfiguredStore:  # noqa: ANN401 - from a file
    named = fields.get("path") if isinstance(fields, dict) else None
    if not isinstance(named, str) or not named.startswith("/") or "\0" in named:
        raise TypeError("a [[store]] needs its path, an absolute one")
    shared = fields.get("shared", False)
    if not isinstance(shared, bool):
        raise TypeError(f"{named}: shared is true or false")
    return ConfiguredStore(path=named, shared=shared)
