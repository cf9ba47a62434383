"""Layers by hand, as `[[tool.pkgview.layer]]` lists them and `pkgview run --layer` names them."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resolver.errors import PkgviewError
from resolver.local import BUILD_FILES
from resolver.toml import table_of, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST = 200
"""Layers of one project."""


class What(enum.StrEnum):
    """What is taken of the place that a layer names."""

    PATH = "path"
    """A directory as one would put it on `sys.path`, or an unpacked egg, or one of eggs."""
    FILE = "file"
    """A wheel, an egg, or another Zip file that one would put there."""
    PROJECT = "project"
    """A source tree: its packages, and what its files say of the distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandLayer:
    """`place` is absolute, `named` as it was written. `over`: in front of what the lock gives."""

    what: What
    place: Path
    named: str
    over: bool = False


def layers_in(table: Mapping[str, Any], directory: Path, place: str) -> tuple[HandLayer, ...]:
    """Those of `[tool.pkgview]`; `place` names the file in errors."""
    listed = table.get("layer", [])
    if not isinstance(listed, list) or len(listed) > MOST:
        raise wrong(place, "tool.pkgview.layer", f"a list of at most {MOST} tables")
    return tuple(_layer(one, directory, place) for one in listed)


def _layer(one: object, directory: Path, place: str) -> HandLayer:
    key = "tool.pkgview.layer"
    table = table_of({"layer": one}, "layer")
    over = table.get("over", False)
    named = table.keys() - {"over"}
    if len(named) != 1 or not named <= set(What) or not isinstance(over, bool):
        raise wrong(
            place, key, "a table of `path`, `file` or `project`, perhaps with `over = true`"
        )
    what = What(named.pop())
    text = table[what]
    if not isinstance(text, str) or not text or "\0" in text:
        raise wrong(place, f"{key}.{what}", "the name of a file or directory")
    return HandLayer(what=what, place=_absolute(text, directory), named=text, over=over)


def named_layer(text: str, directory: Path) -> HandLayer:
    """The layer, in front, that a command names; what lies there says which it is."""
    place = _absolute(text, directory)
    if place.is_dir():
        is_project = any((place / name).is_file() for name in BUILD_FILES)
        what = What.PROJECT if is_project else What.PATH
    else:
        what = What.FILE
    layer = HandLayer(what=what, place=place, named=text, over=True)
    refuse_missing(layer)
    return layer


def refuse_missing(layer: HandLayer) -> None:
    """`PkgviewError` where its place is not what it should be."""
    is_right = layer.place.is_file() if layer.what is What.FILE else layer.place.is_dir()
    if not is_right:
        what = "file" if layer.what is What.FILE else "directory"
        raise PkgviewError(
            f"the layer {layer.named} is no {what}",
            remedy="Name what is there, or take the layer out.",
        )


def files_of(layers: Iterable[HandLayer]) -> Iterator[Path]:
    """Files that count by when they changed."""
    yield from (one.place for one in layers if one.what is What.FILE)


def directories_of(layers: Iterable[HandLayer]) -> Iterator[Path]:
    """Directories of which it counts whose they are."""
    yield from (one.place for one in layers if one.what is not What.FILE)


def _absolute(text: str, directory: Path) -> Path:
    return Path(os.path.normpath(directory / Path(text).expanduser()))
