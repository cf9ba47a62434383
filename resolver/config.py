"""The user's settings: `config.toml` in the configuration directory.

    [[store]]                       stores that are searched after the user's own, in this order
    path = "/mnt/team/pkgview"
    shared = true                   others may write to it, and are believed

    [[store]]                       one beyond this machine, searched after all directories
    url = "oci://registry.example.org/team/env"
    keys = ["ssh-ed25519 AAAA… alice"]    whose signatures count for it (`remote.signers`), and
    signers = "/etc/pkgview/allowed_signers"  the same in a file of OpenSSH's form
    known-as = "oci://…"            what it is called where it is copied from
    trust = true                    instead: whatever it says counts, signed or not
    insecure = true                 it is spoken to without TLS where it has none

    [gc]
    max-size = "20 GB"              what the user's own store may grow to

    [remote]
    timeout = 60                    seconds that a read may wait for another machine
    lazy = "always"                 or "background", "never": when what nobody has read is fetched

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

LAZY = ("always", "background", "never")
"""When what no program has read yet of a remote store's archives is fetched: not at all, beside
all else, at once. The first is what holds unless something else is said."""

LARGEST = 1 << 20
"""Bytes of a file that can be one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredStore:
    """A store besides the user's own. `shared`: whoever may write to it is believed."""

    path: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStore:
    """A store beyond this machine, and whom one believes for it.

    `keys` are lines of public keys, `signers` the absolute path of a file of them or "". `trust`:
    whatever the store says counts; then there are neither. `insecure`: HTTP without TLS will do.
    """

    url: str
    keys: tuple[str, ...] = ()
    signers: str = ""
    known_as: str = ""
    trust: bool = False
    insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything in the file; `max_size` in bytes, None where there is no limit.

    `timeout`: seconds that a read of a mounted file may wait for what a remote store has. `lazy`
    is one of `LAZY`.
    """

    stores: tuple[ConfiguredStore, ...] = ()
    remotes: tuple[RemoteStore, ...] = ()
    max_size: int | None = None
    timeout: float = TIMEOUT
    lazy: str = LAZY[0]


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


def add_store(places: Places, store: ConfiguredStore | RemoteStore) -> None:
    """Name a store in the file, once."""
    if isinstance(store, ConfiguredStore):
        written: dict[str, Any] = {"path": store.path, "shared": store.shared}
    else:
        written = {
            "url": store.url,
            "keys": list(store.keys),
            "signers": store.signers,
            "known-as": store.known_as,
            "trust": store.trust,
            "insecure": store.insecure,
        }

    def change(document: Any) -> None:  # noqa: ANN401 - tomlkit's own are dictionaries
        from tomlkit import aot, table  # noqa: PLC0415 - only who changes the file needs it

        _without(document, written.get("path") or written["url"])
        fields = table()
        for name, value in written.items():
            if value:
                fields[name] = value
        document.setdefault("store", aot()).append(fields)

    _changed(places, change)


def remove_store(places: Places, named: str) -> None:
    """Take a store out of the file, by its path or address; nothing where it is not in it."""
    _changed(places, lambda document: _without(document, named))


def _without(document: Any, named: str) -> None:  # noqa: ANN401 - tomlkit's own are dictionaries
    stores = document.get("store", [])
    for place in reversed(range(len(stores))):
        if named in {stores[place].get("path"), stores[place].get("url")}:
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
    remote = [one for one in stores if isinstance(one, dict) and "url" in one]
    return Config(
        stores=tuple(_store(one) for one in stores if one not in remote),
        remotes=tuple(map(_remote, remote)),
        max_size=None if largest is None else size_of(largest),
        timeout=_timeout(document.get("remote", {})),
        lazy=_lazy(document.get("remote", {})),
    )


def _timeout(remote: Any) -> float:  # noqa: ANN401 - from a file
    if not isinstance(remote, dict):
        raise TypeError("remote is no table")
    seconds = remote.get("timeout", TIMEOUT)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise TypeError("remote.timeout is no number of seconds")
    return float(seconds)


def _lazy(remote: dict[str, Any]) -> str:
    said = remote.get("lazy", LAZY[0])
    if said not in LAZY:
        raise TypeError(f"remote.lazy is one of {', '.join(LAZY)}")
    return str(said)


def _remote(fields: dict[str, Any]) -> RemoteStore:
    url, known_as, signers = (fields.get(name, "") for name in ("url", "known-as", "signers"))
    if not isinstance(url, str) or "://" not in url:
        raise TypeError("a [[store]] needs its url, or an absolute path")
    keys, trust = fields.get("keys", []), fields.get("trust", False)
    if "path" in fields or "shared" in fields:
        raise TypeError(f"{url}: a store has a url, or a path (and perhaps shared)")
    if not isinstance(known_as, str) or (known_as and "://" not in known_as):
        raise TypeError(f"{url}: known-as is an address")
    if not isinstance(signers, str) or (signers and not signers.startswith("/")):
        raise TypeError(f"{url}: signers is the absolute path of a file")
    if not isinstance(keys, list) or not all(isinstance(one, str) for one in keys):
        raise TypeError(f"{url}: keys is a list of public keys")
    insecure = fields.get("insecure", False)
    if not isinstance(trust, bool) or not isinstance(insecure, bool):
        raise TypeError(f"{url}: trust and insecure are true or false")
    if trust and (keys or signers):
        raise TypeError(f"{url}: it is believed as a whole (trust), or by keys, not both")
    return RemoteStore(
        url=url, keys=tuple(keys), signers=signers, known_as=known_as, trust=trust,
        insecure=insecure,
    )  # fmt: skip


def _store(fields: Any) -> ConfiguredStore:  # noqa: ANN401 - from a file
    named = fields.get("path") if isinstance(fields, dict) else None
    if not isinstance(named, str) or not named.startswith("/") or "\0" in named:
        raise TypeError("a [[store]] needs its path, an absolute one, or its url")
    shared = fields.get("shared", False)
    if not isinstance(shared, bool):
        raise TypeError(f"{named}: shared is true or false")
    return ConfiguredStore(path=named, shared=shared)
