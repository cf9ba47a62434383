"""The kinds of namespaces that there are, a line each: adding one begins here.

It holds names, and imports nothing that takes time: `pkgview up` with nothing to do reads it, too.
"""

from __future__ import annotations

import os

KINDS = {
    "python": (
        "unionfs.formats.python.kind",
        ".venv",
        ("pylock.toml", "uv.lock", "pyproject.toml", "requirements.txt"),
    ),
    "node": (
        "unionfs.formats.node.kind",
        "node_modules",
        ("package-lock.json", "npm-shrinkwrap.json", "package.json"),
    ),
}
"""Name -> the module whose `KIND` it is (`unionfs.formats.kind.Kind`); what a project's link to its
view is called; and the files of which any makes a directory a project of that kind, or may."""

SETS = {"debian": "unionfs.formats.debian.kind"}
"""The same of kinds of which no directory is a project: their views are what a command names."""

PYTHON = "python"
NODE = "node"

BESIDE = {NODE: ("package-lock.json", "npm-shrinkwrap.json")}
"""Of these kinds a directory that is another one's, too, is only with one of these files: many a
project of Python's has a package.json for a tool or two. Of others any mark does."""

_SHOWN = {NODE: "node_modules"}
"""What of a view of a kind its link shows, where that is not all of it. Node looks names up from
real paths, so what the link leads to has to be called as the link is."""


MEMBERS = ".pkgview/members"
"""Below this a view has what links show that are not at the project's root: `a/node_modules` of it
is shown by the link `a/node_modules` of the project. A step upwards is `UP`."""

UP = ".up"

WRITABLE = "writable"
"""Below the cache directory: what views lead to for programs to write into, by project."""


def link_of(kind: str) -> str:
    """The name of a project's link to its view of that kind."""
    return KINDS[kind][1]


def counts_beside(directory: str, kind: str) -> bool:
    """Whether a directory that is another kind's project is one of this kind, unasked."""
    return any(os.path.isfile(f"{directory}/{name}") for name in BESIDE.get(kind, KINDS[kind][2]))  # noqa: PTH113 - imports nothing


def shown_of(link: str) -> str:
    """What of a view a link of that name shows: a path in it, "" for all of it."""
    return next((_SHOWN.get(kind, "") for kind in KINDS if KINDS[kind][1] == link), "")


def links() -> set[str]:
    """The names of all of them."""
    return {link for _, link, _ in KINDS.values()}
