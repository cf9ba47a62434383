"""Which directories a mount is served from, and whether a command's own are the same.

A mount shows what its daemon finds in its own state and store. A command with other ones
(XDG_STATE_HOME, XDG_DATA_HOME, another HOME) would make views that nobody can see there, or whose
files cannot be read. So daemons say where they look, and who would make something for their mount
compares that first.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resolver.places import Places

_VARIABLES = {"state": "XDG_STATE_HOME", "store": "XDG_DATA_HOME", "config": "XDG_CONFIG_HOME"}
"""Of `Places`: what makes a difference to what a mount shows, and who says where it is."""


def told(places: Places) -> dict[str, str]:
    """For commands."""
    return {name: os.fspath(getattr(places, name)) for name in _VARIABLES}


def refuse_other(places: Places, mountpoint: Path, said: Mapping[str, Any]) -> None:
    """Refuse to make anything for a mount that is served from elsewhere; `said`: the daemon, of it.

    Versions before this one say nothing of it.
    """
    theirs = said.get("places", {})
    for name, variable in _VARIABLES.items():
        own = getattr(places, name)
        other = Path(theirs.get(name, own))
        if _is_same(own, other) or (name == "config" and _is_alike(places, other)):
            continue
        home = other.parent.parent if name == "store" else other.parent
        value = os.environ.get(variable)
        raise PkgviewError(
            f"{mountpoint} is served from the {name} in {other}, and this command's is in {own} "
            f"({variable} is {value or 'not set'}): what it makes could not be seen there",
            remedy=f"Run it with {variable}={home}, as the daemon was; or let the mount be served "
            "from this one: `pkgview umount`, and `pkgview mount`.",
        )


def _is_same(own: Path, other: Path) -> bool:
    try:
        return own == other or own.samefile(other)
    except OSError:
        return False


def _is_alike(places: Places, other: Path) -> bool:
    """Whether another `config.toml` names the same stores."""
    from resolver import config  # noqa: PLC0415 - where there are two only

    there = replace(places, config=other)
    return config.load(places).stores == config.load(there).stores
