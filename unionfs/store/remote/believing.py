"""Whom the user believes for a store beyond this machine: `config.toml`, and the files it names.

Whoever may write these files decides what packages become, so a file that somebody else than the
user and root may write to is refused, as is one that cannot be understood: then nothing of that
store counts, and the sentence says why. `revoked_keys` beside `config.toml` counts for every store,
whatever is listed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resolver import config
from resolver.errors import PkgviewError
from resolver.ownership import faults
from unionfs.store.remote.signers import SignersError, allowed, listed, revoked
from unionfs.store.remote.vouching import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    from resolver.config import RemoteStore
    from resolver.places import Places
    from unionfs.store.remote.signers import Signer

    T = TypeVar("T")


def revoked_path(places: Places) -> Path:
    """Where the user lists keys that count no more: `cat KEY.pub >> revoked_keys`."""
    return places.config / "revoked_keys"


def trust_in(places: Places, store: str) -> Trust:
    """Whom the settings say; nobody where that store is not in them. `PkgviewError`."""
    stores = config.load(places).remotes
    found = next((one for one in stores if same(one.url, store)), None)
    if found is None:
        return Trust(store=store, revoked=_revoked(places))
    return Trust(
        store=store,
        known_as=found.known_as,
        signers=(*_keys(found.keys, str(config.path(places))), *_file(found)),
        whole=found.trust,
        revoked=_revoked(places),
    )


def trust_by_command(
    places: Places, store: str, keys: Sequence[str] = (), *, whole: bool = False
) -> Trust:
    """Whom `--key` and `--trust` of a command say, instead of the settings; these without any."""
    if not keys and not whole:
        return trust_in(places, store)
    settings = trust_in(places, store)
    signers = tuple(_keys([key_line(key) for key in keys], "--key"))
    return replace(settings, signers=signers, whole=whole, by_command=True)


def key_line(key: str) -> str:
    """What `--key` names: a public key as text, or the file of one (`~/.ssh/id_ed25519.pub`).

    As one line for `keys` in `config.toml`; `PkgviewError` where it is none.
    """
    text = key
    if " " not in key.strip() or os.path.exists(key):  # noqa: PTH110 - as it was typed
        path = Path(key).expanduser()
        text = _read(path, lambda found: found.strip(), "It is the file of a public key, *.pub.")
    list(_keys([text], key if text != key else "--key"))
    return text


def same(one: str, other: str) -> bool:
    """Whether two addresses are one store's."""
    return one.rstrip("/") == other.rstrip("/")


def _keys(lines: Iterable[str], where: str) -> Iterable[Signer]:
    try:
        return [listed(line) for line in lines]
    except SignersError as error:
        raise PkgviewError(
            f"{where} has a key that cannot be used: {error}",
            remedy='Write it as it stands in a .pub file: "ssh-ed25519 AAAA… name".',
        ) from error


def _file(store: RemoteStore) -> tuple[Signer, ...]:
    if not store.signers:
        return ()
    path = Path(store.signers)
    return _read(path, allowed, f"It says whom you believe for {store.url}.")


def _revoked(places: Places) -> frozenset[str]:
    path = revoked_path(places)
    if not os.path.lexists(path):
        return frozenset()
    return _read(path, revoked, "It lists the keys that count no more: until it is read none does.")


def _read(path: Path, understood: Callable[[str], T], what: str) -> T:
    try:
        fault = next(faults((), os.geteuid(), (os.path.abspath(path),)), None)  # noqa: PTH100 - as text
        if fault is not None:
            raise SignersError(fault.said)
        with path.open("rb") as file:
            data = file.read(config.LARGEST + 1)
        if len(data) > config.LARGEST:
            raise SignersError("it is too long")
        return understood(data.decode())
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise PkgviewError(f"{path} cannot be used: {said}", remedy=what) from error
