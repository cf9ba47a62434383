"""A view of Node's as an ordinary `node_modules`.

What a view has for tools to write into (links to the project's own place in the cache) is left out:
here they can write. Links of a workspace lead to the project's own directories, as npm's do.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import suppress
from typing import TYPE_CHECKING

from unionfs.archive.layer import Kind
from unionfs.exporting.items import items_below
from unionfs.formats.node.layout import MODULES, OWN
from unionfs.kinds import MEMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unionfs.exporting.items import Item
    from unionfs.view.opened import OpenedView

HIDDEN_LOCK = b".package-lock.json"
"""npm believes it where nothing beside it is newer."""


def modules(opened: OpenedView) -> Iterator[Item]:
    """What is in the project's node_modules."""
    for item in items_below(opened, MODULES):
        if not _leads_to(item).startswith(f"{OWN}/"):
            yield item


def elsewhere(opened: OpenedView) -> list[str]:
    """What of it is not in it, a sentence each."""
    found = []
    for item in modules(opened):
        leads = _leads_to(item)
        if leads and not leads.startswith(f"{MODULES}/"):
            target = os.fsdecode(item.target)
            found.append(f"{os.fsdecode(item.path)} is a link to {target}, as the project has it")
    inner = f"/{MODULES}".encode()
    for item in items_below(opened, MEMBERS):
        at, found_inner, below = item.path.partition(inner)
        if found_inner and not below:
            name = os.fsdecode(at)
            found.append(f"{name}/{MODULES}, of a member of the workspace, is not exported")
    return found


def newest(root: Path, time: int | None) -> None:
    """See that npm believes the hidden lock of what was written at `root`."""
    with suppress(FileNotFoundError):
        os.utime(root / os.fsdecode(HIDDEN_LOCK), None if time is None else (time, time))


def _leads_to(item: Item) -> str:
    """Where in the view a link leads to; "" for what is none."""
    if item.entry.kind is not Kind.SYMLINK:
        return ""
    at = f"{MODULES}/{os.fsdecode(posixpath.dirname(item.path))}"
    return posixpath.normpath(posixpath.join(at, os.fsdecode(item.target)))
