"""Where the fetcher of a store is met."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from unionfs.control.endpoint import Endpoint

if TYPE_CHECKING:
    from resolver.places import Places


def endpoint_of(places: Places) -> Endpoint:
    """Its lock and socket. Not among those of daemons, which are asked other things."""
    key = hashlib.sha256(os.fsencode(os.path.realpath(places.store))).hexdigest()[:16]
    return Endpoint(directory=places.runtime / "fetch", name=key)
