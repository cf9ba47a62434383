"""Which `.python-version` counts for a project, and what it asks for.

uv takes the nearest one, of the directory or above it, up to the root of the workspace or project
that it is in: the nearest pyproject.toml, or that of the workspace which has it as a member. Where
there is none, and for a script, it goes on up to `/`. One outside of the project counts here as
well, unless others than the project's owner decide what is in it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from resolver import looks
from resolver.errors import PkgviewError
from resolver.inputs import read_input
from resolver.ownership import of_others
from resolver.python.uv.request import pinned
from resolver.python.uv.workspace import counts, document_at, member_patterns

if TYPE_CHECKING:
    from pathlib import Path

NAME = ".python-version"


class Pin(NamedTuple):
    """What is asked for, and a sentence on what is passed over.

    The file that counts, if one does, is in `within` if it lies in the project or the workspace
    that locks it, else in `beyond`.
    """

    asked: str | None = None
    remark: str = ""
    within: tuple[Path, ...] = ()
    beyond: tuple[Path, ...] = ()


def pin_of(directory: Path, root: Path | None, *, script: bool = False) -> Pin:
    """That of a project at `directory`, or of a script there; `root` is where its uv.lock lies."""
    within = root or directory
    bound = root if script or root is not None else _bound(directory)
    for place in (directory, *directory.parents):
        if looks.has_file(os.fspath(place), NAME):
            path, beyond = place / NAME, not place.is_relative_to(within)
            if beyond and (why := of_others(path, directory)):
                return Pin(remark=f"{path} is passed over: {why}.")
            text = read_input(path).decode(errors="replace")
            looks.count(path, len(text))
            asked, remark = pinned(text, directory)
            files = {"beyond" if beyond else "within": (path,)}
            return Pin(asked, remark, **files)
        if place == bound:
            break
    return Pin()


def _bound(directory: Path) -> Path | None:
    """The directory where uv ends its search."""
    above = (directory, *directory.parents)
    place = next((one for one in above if looks.has_file(os.fspath(one), "pyproject.toml")), None)
    if place is None:
        return None
    try:
        document = document_at(place)
    except PkgviewError:
        return None  # for uv it is no project
    if "project" not in document:
        return place
    if _uv(document).get("managed") is False:
        return None
    with suppress(PkgviewError):
        root = next(filter(member_patterns, (place, *place.parents)), place)
        return root if root == place or counts(root, place) else place
    return place


def _uv(document: dict[str, Any]) -> dict[str, Any]:
    tool = document.get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    return uv if isinstance(uv, dict) else {}
