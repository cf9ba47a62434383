"""Zip files by hand: read once, as they were then."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.layers.listed import HandLayer, What
from unionfs.formats.python import layers
from unionfs.store.local import Store

if TYPE_CHECKING:
    from pathlib import Path


def zipped(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("module.py", content)
        file.writestr("evil.pth", "import evil")
        file.writestr("__pycache__/module.cpython-311.pyc", "")
    return path


def content(store: Store, archive: str) -> bytes:
    opened = store.open(archive)
    number = opened.find(b"purelib/module.py")
    assert number is not None
    assert [path for path, _ in opened.walk()] == [b"purelib", b"purelib/module.py"]
    return opened.read(number, 0, 100)


def packed(store: Store, path: Path) -> str:
    layer = HandLayer(what=What.FILE, place=path, named=path.name)
    return layers._hand(store, layer).archive


def test_a_file_that_is_swapped_while_it_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another project gets for the honest file is the honest file."""
    store, path = Store(tmp_path / "store"), zipped(tmp_path / "x.zip", b"honest")
    honest = path.read_bytes()
    add = layers._add

    def swapped(*arguments: object) -> str:
        zipped(path, b"evil")
        return add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(layers, "_add", swapped)
    assert content(store, packed(store, path)) == b"honest"
    monkeypatch.undo()
    assert content(store, packed(store, path)) == b"evil"
    path.write_bytes(honest)
    assert content(store, packed(store, path)) == b"honest"


def test_what_is_no_file_to_be_read_is_refused(tmp_path: Path) -> None:
    store, fifo, huge = Store(tmp_path / "store"), tmp_path / "fifo.zip", tmp_path / "huge.zip"
    os.mkfifo(fifo)
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    for path in (fifo, huge):
        with pytest.raises(PkgviewError, match="is no file of at most"):
            packed(store, path)
    with pytest.raises(PkgviewError, match="cannot be read"):
        packed(store, tmp_path / "nowhere.zip")
