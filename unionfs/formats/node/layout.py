"""Where things are in a view of Node's.

    node_modules/…                     the project's; what its link shows
    node_modules/.bin, .package-lock.json   as npm makes them
    node_modules/.cache                leads to .pkgview/writable/.cache
    packages -> /…/project/packages    for links to the project's own directories
    .pkgview/writable                  leads to the project's own directory for tools to write into
    .pkgview/members/packages/a/node_modules/…   what npm puts below a member's own directory

What is looked up from a member's packages finds those of the project, as it would there: no other
node_modules is between. The links in node_modules read as npm's, `../packages/a`, and lead to the
real directory; `.cache` leads through a name that only the view has, or npm would take what it
finds there for a package.
"""

from __future__ import annotations

from typing import Final

from unionfs.kinds import MEMBERS, UP

OWN: Final = ".pkgview"
WRITABLE: Final = f"{OWN}/writable"
MODULES: Final = "node_modules"


def in_view(place: str) -> str:
    """A place of the lock as a path in the view."""
    return place if place.startswith(f"{MODULES}/") else f"{MEMBERS}/{_plain(place)}"


def modules_of(member: str) -> str:
    """A member's node_modules ("" for the project's own), as a path in the view."""
    return f"{MEMBERS}/{_plain(member)}/{MODULES}" if member else MODULES


def _plain(place: str) -> str:
    """Without steps upwards: a member may lie outside of the project."""
    return "/".join(UP if one == ".." else one for one in place.split("/"))
