"""Live layers: which names of a directory a view shows, by links to what lies there.

Only names count here. A file that is edited is seen as it is; one that comes, goes or is renamed is
seen, too, below a directory that the view shows by one link. Where it has to show a directory name
by name, or at the top, it is made anew by the next command or program that asks: so the names of
all directories are what a live layer's state is.
"""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from typing import TYPE_CHECKING

from resolver.errors import PkgviewError
from resolver.local import file_state
from resolver.python.layers.listed import HandLayer, What

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MOST_NAMES = 100_000
"""Names of one layer that are looked at."""

EGG_INFO = "EGG-INFO"
EGG = ".egg"

_NOT_PACKAGES = frozenset(
    (
        *("tests", "test", "docs", "doc", "examples", "example", "scripts", "tools", "build"),
        *("dist", "benchmarks", "benchmark", "setup.py", "conftest.py", "noxfile.py", "tasks.py"),
    )
)
"""What lies beside a project's packages and is none of them (as setuptools takes it)."""


def code_of(place: Path) -> Path:
    """Where a project's modules are taken to lie: in `src/`, else beside pyproject.toml."""
    return place / "src" if (place / "src").is_dir() else place


def names_in(directory: Path) -> list[str]:
    """The names that can be shown one by one, sorted; `PkgviewError` where there are too many.

    None that begin with a dot, and no `__pycache__`. What vanished meanwhile has none.
    """
    return [name for name, _ in entries_in(directory)]


def entries_in(directory: Path) -> list[tuple[str, bool]]:
    """The same, each with whether it is a directory itself, and no link to one."""
    try:
        with os.scandir(directory) as entries:
            found = [
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in islice(entries, MOST_NAMES + 1)
                if not entry.name.startswith(".") and entry.name != "__pycache__"
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PkgviewError(
            f"{directory} cannot be read: {error.strerror}",
            remedy="Let its owner give you leave to read it, or take the layer out.",
        ) from error
    if len(found) > MOST_NAMES:
        raise too_many(directory)
    return sorted(found)


def top_of(layer: HandLayer) -> dict[str, Path]:
    """What a live layer brings to site-packages: name by name, and where each lies.

    No `.pth` files: on `sys.path` they are nothing. Eggs are layers of their own.
    """
    if layer.what is not What.PROJECT:
        return {
            name: layer.place / name
            for name in names_in(layer.place)
            if not name.endswith((".pth", EGG)) and name != EGG_INFO
        }
    code = code_of(layer.place)
    names = (name for name in names_in(code) if not name.endswith((".pth", EGG)))
    if code == layer.place:
        names = (name for name in names if _is_package(code, name))
    return {name: code / name for name in names}


def _is_package(code: Path, name: str) -> bool:
    if name in _NOT_PACKAGES:
        return False
    if name.endswith((".py", ".egg-info")):
        return True
    return (code / name / "__init__.py").is_file()


def eggs_in(layer: HandLayer) -> list[HandLayer]:
    """The eggs that lie in a directory, each a layer in its place."""
    if layer.what is not What.PATH:
        return []
    found = [layer.place / name for name in names_in(layer.place) if name.endswith(EGG)]
    return [
        HandLayer(
            what=What.PATH if place.is_dir() else What.FILE,
            place=place,
            named=os.path.join(layer.named, place.name),  # noqa: PTH118 - as it was written
            over=layer.over,
        )
        for place in found
    ]


def state_of(layers: Iterable[HandLayer]) -> str:
    """Equal as long as the same view comes of them; "" for none."""
    digest, found = hashlib.sha256(), False
    for layer in layers:
        found = True
        for text in _said(layer):
            part = os.fsencode(text)
            digest.update(b"%d:%s" % (len(part), part))
    return digest.hexdigest() if found else ""


def _said(layer: HandLayer) -> Iterator[str]:
    yield f"{layer.what} {layer.over} {layer.place}"
    try:
        if layer.what is What.FILE:
            yield file_state(layer.place)
            return
        for egg in eggs_in(layer):
            yield from _said(egg)
        if (layer.place / EGG_INFO).is_dir():
            yield from _content(layer.place / EGG_INFO)
    except OSError:
        return
    left = MOST_NAMES
    pending = [(name, place, is_directory(place)) for name, place in top_of(layer).items()]
    while pending:
        name, place, is_one = pending.pop()
        yield f"{name} {is_one}"
        if name.endswith((".dist-info", ".egg-info")):
            yield from _content(place)
        if is_one:
            below = entries_in(place)
            left -= len(below)
            if left < 0:
                raise too_many(layer.place)
            pending += [(f"{name}/{one}", place / one, inner) for one, inner in below]
    if layer.what is What.PROJECT:
        yield from _content(layer.place)


def _content(directory: Path) -> Iterator[str]:
    """When files changed that say which distribution it is, and which scripts it has."""
    for name in ("PKG-INFO", "METADATA", "entry_points.txt", "pyproject.toml"):
        try:
            yield f"{name} {file_state(directory / name)}"
        except OSError:
            continue


def is_directory(place: Path) -> bool:
    """Whether it is one itself, and no link to one."""
    return place.is_dir() and not place.is_symlink()


def too_many(place: Path) -> PkgviewError:
    """For a layer with more names than anybody meant."""
    return PkgviewError(
        f"{place} has more than {MOST_NAMES} files, too many for a layer",
        remedy="Name the directory that its packages lie in.",
    )
