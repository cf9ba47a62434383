from __future__ import annotations

import dataclasses
import hashlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from unionfs.archive.layer import ROOT, EntryNo, Kind, LayerError
from unionfs.formats import plain
from unionfs.formats.plain import DirectoryLayer, ZipLayer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unionfs.conftest import WheelMaker
    from unionfs.archive.layer import Layer

BIG = bytes(range(256)) * 8192


def walk(layer: Layer, at: EntryNo = ROOT, above: str = "") -> Iterator[tuple[str, EntryNo]]:
    for name, number, _ in layer.children(at):
        assert layer.lookup(at, name) == number
        path = above + name.decode()
        yield path, number
        yield from walk(layer, number, path + "/")


def entries(layer: Layer) -> dict[str, EntryNo]:
    return dict(walk(layer))


def check_against(layer: Layer, root: Path) -> None:
    """The layer and the directory have the same tree."""
    found = entries(layer)
    there = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert set(found) == there
    for name, number in found.items():
        entry = layer.entry(number)
        path = root / name
        if path.is_symlink():
            assert entry.kind is Kind.SYMLINK
            assert layer.target(number) == os.fsencode(path.readlink())
            assert entry.size == len(layer.target(number))
            assert layer.digest(number) == hashlib.sha256(layer.target(number)).digest()
        elif path.is_dir():
            assert (entry.kind, entry.size) == (Kind.DIRECTORY, 0)
        else:
            content = path.read_bytes()
            assert (entry.kind, entry.size) == (Kind.FILE, len(content))
            assert entry.executable == os.access(path, os.X_OK)
            assert layer.digest(number) == hashlib.sha256(content).digest()
            check_reads(layer, number, content)


def check_reads(layer: Layer, number: EntryNo, content: bytes) -> None:
    for offset, size in ((0, len(content) + 9), (1, 3), (len(content), 5), (70_000, 70_000)):
        assert layer.read(number, offset, size) == content[offset : offset + size]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a" / "big.bin").write_bytes(BIG)
    (root / "a" / "b" / "none").write_bytes(b"")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("a/big.bin")
    (root / "out").symlink_to("/etc/passwd")
    (root / "loop").symlink_to("loop")
    return root


def test_a_directory_is_what_it_is(tree: Path) -> None:
    with DirectoryLayer(tree) as layer:
        check_against(layer, tree)
        assert layer.lookup(ROOT, b"gone") is None
        assert layer.lookup(entries(layer)["run"], b"x") is None
        for number in (10_000, -1):
            with pytest.raises(IndexError):
                layer.entry(EntryNo(number))


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"x")
    with DirectoryLayer(tmp_path) as layer:
        number = layer.lookup(ROOT, b"\xff")
        assert number is not None
        assert layer.read(number, 0, 9) == b"x"


def test_special_files_are_left_out(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tree / "socket"))
        with DirectoryLayer(tree) as layer:
            assert not {"pipe", "socket"} & set(entries(layer))


@pytest.mark.parametrize("change", ["content", "longer", "gone", "link", "pipe", "other"])
def test_a_changed_file_is_refused(tree: Path, change: str) -> None:
    path = tree / "a" / "big.bin"
    with DirectoryLayer(tree) as layer:
        number = entries(layer)["a/big.bin"]
        match change:
            case "content":
                path.write_bytes(BIG[::-1])
            case "longer":
                with path.open("ab") as file:
                    file.write(b"x")
            case "gone":
                path.unlink()
            case "link":
                path.rename(tree / "moved")
                path.symlink_to(tree / "moved")
            case "pipe":
                path.unlink()
                os.mkfifo(path)
            case _:
                (tree / "new").write_bytes(BIG)
                (tree / "new").rename(path)
        with pytest.raises(LayerError, match=r"big\.bin"):
            layer.read(number, 0, 10)


def test_a_directory_swapped_for_a_link_leads_nowhere(tree: Path, tmp_path: Path) -> None:
    with DirectoryLayer(tree) as layer:
        number = entries(layer)["a/big.bin"]
        (tree / "a").rename(tmp_path / "outside")
        (tree / "a").symlink_to(tmp_path / "outside")
        # The very same file, but for the link on the way.
        with pytest.raises(LayerError):
            layer.read(number, 0, 10)
        with pytest.raises(OSError, match=r"symbolic|directory"):
            layer._open((b"a", b"b"), os.O_DIRECTORY)


def test_a_root_that_is_moved_stays_open(tree: Path, tmp_path: Path) -> None:
    with DirectoryLayer(tree) as layer:
        moved = tree.rename(tmp_path / "moved")
        check_against(layer, moved)


def test_no_descriptor_is_lost(tree: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with DirectoryLayer(tree) as layer:
        number = entries(layer)["a/big.bin"]
        for _ in range(3):
            layer.read(number, 0, 10)
        (tree / "a" / "big.bin").unlink()
        with pytest.raises(LayerError):
            layer.read(number, 0, 10)
        with pytest.raises(LayerError, match="no file"):
            layer.read(ROOT, 0, 10)
    layer.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("gone", "file"):
        with pytest.raises(PkgviewError, match=name):
            DirectoryLayer(tmp_path / name)


# -- Zip -------------------------------------------------------------------------------------------


@pytest.fixture
def egg(wheel_maker: WheelMaker) -> Path:
    wheel_maker.files |= {
        "demo/big.bin": BIG,
        "demo/run": b"#!/bin/sh\n",
        "demo/none": b"",
        "demo/empty/": b"",
        "demo/": b"",
    }
    wheel_maker.modes = {"demo/run": 0o100755}
    return wheel_maker.write()


def test_a_zip_file_is_what_it_is(egg: Path, wheel_maker: WheelMaker) -> None:
    with ZipLayer(egg) as layer:
        found = entries(layer)
        parts = {part.name.decode(): part for part in wheel_maker.parts()}
        files = {name for name in parts if not name.endswith("/")}
        assert set(found) == {*files, "demo", "demo/empty", "demo-1.0.dist-info"}
        assert layer.entry(found["demo/empty"]).kind is Kind.DIRECTORY
        assert layer.children(found["demo/empty"]) == []
        for name in files:
            content = parts[name].content
            entry = layer.entry(found[name])
            assert (entry.kind, entry.size) == (Kind.FILE, len(content))
            assert entry.executable is (name == "demo/run")
            assert layer.digest(found[name]) == hashlib.sha256(content).digest()
            check_reads(layer, found[name], content)


def test_few_members_are_kept_unpacked(egg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "UNPACKED_KEPT", 2)
    with ZipLayer(egg) as layer:
        found = entries(layer)
        for name in ("demo/run", "demo/big.bin", "demo/none", "demo/run"):
            layer.read(found[name], 0, 9)
        assert list(layer._unpacked) == [found["demo/none"], found["demo/run"]]
        assert layer.read(found["demo/big.bin"], 300, 4) == BIG[300:304]


def test_a_zip_file_that_changes_is_refused(wheel_maker: WheelMaker) -> None:
    wheel_maker.method = 0
    path = wheel_maker.write()
    with ZipLayer(path) as layer:
        number = entries(layer)["demo/__init__.py"]
        path.write_bytes(path.read_bytes().replace(b"x = 1\n", b"x = 2\n"))
        with pytest.raises(LayerError, match="CRC-32"):
            layer.read(number, 0, 1)


def test_unsound_zip_files_are_refused(wheel_maker: WheelMaker, tmp_path: Path) -> None:
    parts = wheel_maker.parts()
    parts[0] = dataclasses.replace(parts[0], name=b"../evil")
    with pytest.raises(PkgviewError, match="climbs out"):
        ZipLayer(wheel_maker.write(wheel_maker.zip_bytes(parts)))
    parts[0] = dataclasses.replace(parts[0], name=b"fine", crc=5)
    with pytest.raises(PkgviewError, match="CRC-32"):
        ZipLayer(wheel_maker.write(wheel_maker.zip_bytes(parts)))
    with pytest.raises(PkgviewError, match="gone"):
        ZipLayer(tmp_path / "gone.egg")


@pytest.mark.parametrize("name", ["egg", "tree"])
def test_threads_may_share_a_layer(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "UNPACKED_KEPT", 1)
    path: Path = request.getfixturevalue(name)
    wrong: list[str] = []
    with DirectoryLayer(path) if path.is_dir() else ZipLayer(path) as layer:
        files = [n for _, n in walk(layer) if layer.entry(n).kind is Kind.FILE]

        def read() -> None:
            for _ in range(20):
                for number in files:
                    content = layer.read(number, 0, 2**24)
                    if hashlib.sha256(content).digest() != layer.digest(number):
                        wrong.append(str(number))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
