"""The kinds of namespaces that there are, a line each: adding one begins here.

It holds names only and imports nothing: `pkgview up` with nothing to do reads it, too.
"""

from __future__ import annotations

KINDS = {
    "python": (
        "unionfs.formats.python.kind",
        ".venv",
        ("pylock.toml", "uv.lock", "pyproject.toml", "requirements.txt"),
    ),
}
"""Name -> the module whose `KIND` it is (`unionfs.formats.kind.Kind`); what a project's link to its
view is called; and the files of which any makes a directory a project of that kind, or may."""

PYTHON = "python"


def link_of(kind: str) -> str:
    """The name of a project's link to its view of that kind."""
    return KINDS[kind][1]


def links() -> set[str]:
    """The names of all of them."""
    return {link for _, link, _ in KINDS.values()}


def other_marks() -> list[str]:
    """The files that make a directory a project of another kind than Python's."""
    return [mark for name, (_, _, marks) in KINDS.items() if name != PYTHON for mark in marks]
