"""Live layers and archives show in one union what the kernel's overlayfs shows of such trees."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.interpreter import Interpreter
from resolver.python.layers.listed import HandLayer, What
from resolver.python.layers.trees import state_of
from resolver.python.target import Python, Schemes
from tests.mounted.test_overlay import Overlay, overlay_works
from unionfs.archive.layer import EntryNo, Kind
from unionfs.archive.meta import Meta
from unionfs.archive.pack import members_of_directory
from unionfs.formats.python.layers import laid
from unionfs.store.local import Store
from unionfs.view.union import ROOT_PLACE, Stacked, Union

if TYPE_CHECKING:
    from resolver.manifest import LayerSpec

__all__ = ["overlay_works"]

PYTHON = Python(
    version="3.11",
    executable="/usr/bin/python3",
    schemes=Schemes(purelib="p", platlib="p", scripts="s", headers="h", data=""),
)
INTERPRETER = Interpreter(
    executable=PYTHON.executable,
    version=(3, 11, 0),
    full="3.11.0",
    implementation="cpython",
    free_threaded=False,
    python=PYTHON,
    tags=("py3-none-any",),
    environment={},
    cache_tag="cpython-311",
    magic="",
)
NAMES = ("a", "b", "c", "d.py")
SEEDS = range(4)
STACKS = 25


def fill(directory: Path, chance: random.Random, depth: int = 0) -> None:
    """Few names, so that layers often mean the same path, and not always the same kind."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in chance.sample(NAMES, chance.randint(0, 4)):
        place = directory / name
        if os.path.lexists(place):
            continue
        kind = chance.choices(("directory", "file", "link"), (6 - 2 * min(depth, 3), 2, 1))[0]
        if kind == "directory":
            fill(place, chance, depth + 1)
        elif kind == "file":
            place.write_text(str(chance.random()))
        else:
            place.symlink_to(chance.choice(NAMES))


def edit(directory: Path, chance: random.Random) -> None:
    """Something becomes otherwise, somewhere below."""
    places = sorted(directory.rglob("*"))
    place = chance.choice(places) if places else directory / "a"
    if place.is_dir() and not place.is_symlink():
        fill(place / chance.choice(("new", "other")), chance, 2)
    elif os.path.lexists(place) and chance.random() < 0.5:
        place.rename(place.with_name("renamed"))
    else:
        place.unlink(missing_ok=True)
        place.write_text(str(chance.random()))


def seen(directory: Path) -> dict[str, str]:
    """What a directory shows, by path."""
    return {str(path.relative_to(directory)): shown(path) for path in directory.rglob("*")}


def shown(path: Path) -> str:
    if path.is_symlink():
        return f"-> {os.readlink(path)}"
    return "directory" if path.is_dir() else path.read_text()


def seen_in(union: Union) -> dict[str, str]:
    """The same of a view's site-packages, where what is live is followed to where it lies."""
    root = union.lookup(ROOT_PLACE, b"p")
    found: dict[str, str] = {}
    for raw, place in union.walk(root) if root is not None else ():
        path, entry = os.fsdecode(raw), union.entry(place)
        if entry.kind is Kind.DIRECTORY:
            found[path] = "directory"
            continue
        layer = union.layers[place.layer]
        if entry.kind is Kind.FILE:
            found[path] = layer.read(EntryNo(place.number), 0, 1000).decode()
            continue
        target = os.fsdecode(layer.target(EntryNo(place.number)))
        if not target.startswith("/"):
            found[path] = f"-> {target}"
            continue
        found[path] = shown(Path(target))
        if found[path] == "directory":
            found |= {f"{path}/{one}": what for one, what in seen(Path(target)).items()}
    return found


@pytest.mark.usefixtures("overlay_works")
@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_the_kernels_union(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    store = Store(tmp_path / "store")
    for number in range(STACKS):
        here = tmp_path / str(number)
        count = chance.randint(2, 4)
        trees = [here / str(one) for one in range(count)]
        for tree in trees:
            fill(tree, chance)
        # One or more in the middle is a lock's.
        first, last = sorted(chance.sample(range(count), 2))
        hands = [
            HandLayer(what=What.PATH, place=tree, named=str(tree), over=one < first)
            for one, tree in enumerate(trees)
            if not first <= one < last
        ]
        layers = []
        for tree in trees[first:last]:
            packed = here / f"{tree.name}-packed"
            shutil.copytree(tree, packed / "purelib", symlinks=True)
            meta = Meta(kind="skeleton", name="", version="", stem="tree")
            layers.append(PYTHON.layer(store.add(members_of_directory(packed), meta)))
        state = ""
        made: tuple[LayerSpec, ...] = ()
        for turn in range(4):
            if state_of(hands) != state:  # else it is as it is, edited or not
                state = state_of(hands)
                made = laid(store, INTERPRETER, layers, hands).layers
            stack = [
                Stacked(
                    layer=store.open(one.archive),
                    grafts={os.fsencode(a): os.fsencode(b) for a, b in one.grafts},
                )
                for one in made
            ]
            with Overlay(trees, here / f"merged{turn}") as merged:
                assert seen_in(Union(stack)) == seen(merged), (seed, number, turn)
            edit(chance.choice(hands).place, chance)
