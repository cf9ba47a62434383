"""A live layer: links to what lies in a directory, so that it is seen edit by edit.

A name that no other layer has a directory at is one link, and all below it is seen as it is. Where
another layer has a directory of that name, both have to be seen in one: there the directory is made
of links, name by name, and so on below. With that the union is the one that the kernel's overlayfs
makes of the same directories (`unionfs.view.union` has the rules), but for what is left out:
`resolver.python.layers.trees` says what.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resolver.inputs import read_input
from resolver.python.layers.trees import (
    EGG_INFO,
    MOST_NAMES,
    is_directory,
    names_in,
    too_many,
    top_of,
)
from unionfs.archive.layer import Kind
from unionfs.archive.pack import Member
from unionfs.formats.byhand.infos import (
    INFO,
    METADATA,
    POINTS,
    SITE,
    Distribution,
    distribution,
    script_members,
    script_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping
    from pathlib import Path

    from resolver.python.layers.listed import HandLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What a live layer has: the names of site-packages, and the distributions it says it is."""

    place: Path
    top: Mapping[str, Path]
    distributions: tuple[Distribution, ...]
    scripts: tuple[Member, ...] = ()

    def has_directory(self, path: tuple[str, ...]) -> bool:
        """Whether it has a directory, no link, at that path of site-packages."""
        place = self.top.get(path[0])
        for name in path[1:]:
            if place is None or not is_directory(place):
                return False
            place /= name
        return place is not None and is_directory(place)


def tree_of(layer: HandLayer) -> Tree:
    """As it is now; `PkgviewError` for what cannot be read."""
    top = top_of(layer)
    found = [
        _distribution(name, place, layer)
        for name, place in top.items()
        if INFO.fullmatch(name) and is_directory(place)
    ]
    info = layer.place / EGG_INFO
    own: list[Member] = []
    if is_directory(info):
        egg = _distribution(EGG_INFO, info, layer)
        top[egg.egg_info] = info
        found.append(egg)
        for name in names_in(info / "scripts"):
            script = script_of(name, read_input(info / "scripts" / name))
            own += [script] if script else []
    return Tree(place=layer.place, top=top, distributions=tuple(found), scripts=tuple(own))


def _distribution(info: str, place: Path, layer: HandLayer) -> Distribution:
    texts = dict.fromkeys((*METADATA, POINTS), "")
    for name in texts:
        if (place / name).is_file():
            texts[name] = read_input(place / name).decode("utf-8", "replace")
    metadata = next(filter(None, (texts[name] for name in METADATA)), "")
    called = layer.place.name if info == EGG_INFO else info.rpartition(".")[0]
    return distribution(info, metadata, texts[POINTS], called=called, of=layer.named)


def members(
    tree: Tree, is_shared: Callable[[tuple[str, ...]], bool], without: Container[str]
) -> Iterator[Member]:
    """Links, directories of links where they are shared, and scripts.

    `is_shared` is asked whether another layer has a directory at a path of site-packages; of the
    distributions `without` (`Distribution.key`) neither metadata nor scripts are shown.
    """
    hidden = {one.info for one in tree.distributions if one.key in without}
    hidden |= {one.egg_info for one in tree.distributions if one.key in without}
    shown = [one for one in tree.distributions if one.key not in without]
    pending: list[tuple[tuple[str, ...], Path]] = [
        ((name,), place) for name, place in tree.top.items() if name not in hidden
    ]
    left = MOST_NAMES
    while pending:
        path, place = pending.pop()
        if (left := left - 1) < 0:
            raise too_many(tree.place)
        member = os.fsencode("/".join((SITE, *path)))
        mode = _mode(place)
        if stat.S_ISDIR(mode) and is_shared(path):
            yield Member(path=member, kind=Kind.DIRECTORY)
            pending += [((*path, name), place / name) for name in names_in(place)]
        elif stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            yield Member(path=member, kind=Kind.SYMLINK, target=os.fsencode(place))
    own = {one.path: one for one in (*tree.scripts, *script_members(shown))}
    yield from own.values()


def _mode(place: Path) -> int:
    """0 for what has vanished; what is neither file nor directory nor link is not shown."""
    try:
        return place.lstat().st_mode
    except OSError:
        return 0
