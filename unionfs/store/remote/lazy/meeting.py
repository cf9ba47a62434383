"""Where the fetcher of a store is met, and where it sees of what there are traces."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from unionfs.archive.meta import digest_of_name
from unionfs.control.endpoint import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.places import Places


def endpoint_of(places: Places) -> Endpoint:
    """Its lock and socket. Not among those of daemons, which are asked other things."""
    key = hashlib.sha256(os.fsencode(os.path.realpath(places.store))).hexdigest()[:16]
    return Endpoint(directory=places.runtime / "fetch", name=key)


def trace_path(places: Places, archive: str) -> Path:
    """Where an archive's trace is (`unionfs.store.remote.use.traces`); `PkgviewError`."""
    digest = digest_of_name(archive)
    if digest is None:
        raise PkgviewError(f"{archive!r} is no archive's name")
    return places.state / "traces" / digest.hex()
