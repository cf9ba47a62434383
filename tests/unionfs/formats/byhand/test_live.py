"""Live layers that change while they are read, and what of them is no file."""

from __future__ import annotations

import os
import shutil
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.layers import trees
from resolver.python.layers.listed import HandLayer, What
from resolver.python.layers.trees import state_of
from unionfs.formats.byhand import live

if TYPE_CHECKING:
    from pathlib import Path


def layer_at(place: Path) -> HandLayer:
    return HandLayer(what=What.PATH, place=place, named=place.name)


def test_it_may_change_at_any_moment(tmp_path: Path) -> None:
    """It is read as one or the other, or an error says what cannot be read: never a traceback."""
    ended, place = Event(), tmp_path / "changing"

    def change() -> None:
        while not ended.is_set():
            (place / "pkg/inner").mkdir(parents=True, exist_ok=True)
            (place / "pkg/inner/x.py").write_text("")
            (place / "x-1.dist-info").mkdir(exist_ok=True)
            (place / "x-1.dist-info/METADATA").write_text("Name: x\nVersion: 1\n")
            shutil.rmtree(place / "pkg")
            (place / "pkg").symlink_to("/etc")
            (place / "pkg").unlink()
            os.mkfifo(place / "pkg")
            (place / "pkg").unlink()
            shutil.rmtree(place / "x-1.dist-info")

    place.mkdir()
    changing = Thread(target=change)
    changing.start()
    try:
        for _ in range(300):
            state_of([layer_at(place)])
            try:
                tree = live.tree_of(layer_at(place))
                found = list(live.members(tree, lambda _: True, ()))
            except PkgviewError:
                continue
            assert all(os.fsencode(place) in (one.target or b"") for one in found if one.target)
    finally:
        ended.set()
        changing.join()


def test_too_many_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}/x.py").touch()
    monkeypatch.setattr(trees, "MOST_NAMES", 3)
    with pytest.raises(PkgviewError, match="too many for a layer"):
        state_of([layer_at(tmp_path)])
    monkeypatch.setattr(trees, "MOST_NAMES", 5)
    state_of([layer_at(tmp_path)])
