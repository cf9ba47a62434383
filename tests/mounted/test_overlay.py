# Names that are no text are asked for, and each question is one system call:
# ruff: noqa: PTH101, PTH102, PTH104, PTH116, PTH123, PTH211
"""Union semantics are those of the kernel's own overlayfs, read-only, with many lower directories.

The same random trees are stacked twice: as directories under an overlay mount, and as archives in
a view. Then every path is asked everything that a program can ask of it, on both sides.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import random
import stat
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.target import Python, Schemes
from unionfs.archive.meta import Meta
from unionfs.archive.pack import members_of_directory
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resolver.places import Places

pytestmark = pytest.mark.fuse

SEEDS = range(6)
STACKS = 50
LAYERS = 5

# A directory is a dict, a link its target, a file its content and whether it is executable.
File = tuple[bytes, bool]
Tree = dict[bytes, "Node"]
Node = Tree | bytes | File

NAMES = [
    b"a",
    b"b",
    b"c",
    b"__init__.py",
    b".wh.a",
    b"a\nb c",
    b"\xff\xfe",
    "\xe9".encode(),
    b"n" * 255,
]
ABSENT = b"absent"
TARGETS = [
    b"a",
    b"b/c",
    b"./a",
    b"..",
    b"../b",
    b"nowhere",
    b"/nowhere/at/all",
    b"\xff",
    b"t" * 300,
]
SIZES = [0, 1, 5, 4096, 4097, 131_072, 300_000]


class Forest:
    """Random stacks of trees, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable

    def stacks(self) -> list[list[Node]]:
        return [
            [self._node(0) for _ in range(self._random.randint(1, LAYERS))] for _ in range(STACKS)
        ]

    def _node(self, depth: int) -> Node:
        kind = self._random.choices(["directory", "file", "link"], [max(6 - 2 * depth, 0), 2, 1])[0]
        if kind == "directory":
            # Few names, so that layers often mean the same path, and not always the same kind.
            names = self._random.sample(NAMES, self._random.randint(0, 4))
            return {name: self._node(depth + 1) for name in names}
        if kind == "link":
            # Nothing leads out of the root: what is asked for there is another's.
            return self._random.choice([t for t in TARGETS if depth or not t.startswith(b"..")])
        size = self._random.choices(SIZES, [4, 4, 4, 2, 2, 1, 1])[0]
        pattern = bytes((self._random.randrange(3), size % 251, 10))
        return (pattern * (size // 3 + 1))[:size], self._random.random() < 0.3


def write(node: Node, path: bytes) -> None:
    if isinstance(node, dict):
        os.mkdir(path, 0o755)
        for name, child in node.items():
            write(child, path + b"/" + name)
    elif isinstance(node, bytes):
        os.symlink(node, path)
    else:
        data, executable = node
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o755 if executable else 0o644)


@pytest.fixture(scope="module")
def overlay_works() -> None:
    """Whether the kernel lets us mount an overlay at all."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount an overlay to compare with")
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no overlayfs to compare with")


class Overlay:
    """`directories` stacked, the first on top, for as long as the context lasts."""

    def __init__(self, directories: list[Path], merged: Path) -> None:
        self.merged = merged
        merged.mkdir()
        # It wants two at least.
        (merged.parent / "empty").mkdir(exist_ok=True)
        lower = ":".join(map(os.fspath, [*directories, merged.parent / "empty"]))
        self.command = ["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}"]

    def __enter__(self) -> Path:
        command = [*self.command, os.fspath(self.merged)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no overlay can be mounted here: {done.stderr.strip()}")
        return self.merged

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.merged], check=True)


def view_of(places: Places, layers: list[Path]) -> Path:
    """A view whose layers are these directories; each holds its tree in `data`."""
    store = Store(places.store)
    archives = [
        store.add(
            members_of_directory(layer),
            Meta(kind="distribution", name="tree", version="1", stem=f"tree-{number}"),
        )
        for number, layer in enumerate(layers)
    ]
    schemes = Schemes(purelib="p", platlib="p", scripts="s", headers="h", data="")
    python = Python(version="3.11", executable="/usr/bin/python3", schemes=schemes)
    manifest = python.manifest(tuple(python.layer(archive) for archive in archives))
    registry = Registry(places.state / "registry.sqlite3")
    try:
        return places.mount / "views" / publish(places, manifest, store, registry)
    finally:
        registry.close()


# What can be asked of a path


def listing(path: bytes) -> list[tuple[bytes, int]]:
    """Names and types as getdents(2) has them: no `stat` is made."""

    def kind(item: os.DirEntry[bytes]) -> int:
        if item.is_symlink():
            return stat.S_IFLNK
        return stat.S_IFDIR if item.is_dir(follow_symlinks=False) else stat.S_IFREG

    with os.scandir(path) as items:
        return sorted((item.name, kind(item)) for item in items)


def facts(path: bytes, *, follow: bool) -> tuple[int, int | None]:
    status = os.stat(path, follow_symlinks=follow)
    return status.st_mode, None if stat.S_ISDIR(status.st_mode) else status.st_size


def opened(path: bytes, flags: int) -> tuple[int, int | None]:
    descriptor = os.open(path, flags, 0o644)
    try:
        status = os.fstat(descriptor)
        return status.st_mode, None if stat.S_ISDIR(status.st_mode) else status.st_size
    finally:
        os.close(descriptor)


def read(path: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """All of it, by read(2); pieces from the middle and past the end; all of it, as a map."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        mapped = b""
        if size and stat.S_ISREG(status.st_mode):
            with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as memory:
                mapped = memory[:]
        middle = os.pread(descriptor, 1000, size // 2)
        data = b"".join(iter(partial(os.read, descriptor, 1 << 20), b""))
        return data, middle, os.pread(descriptor, 10, size), mapped
    finally:
        os.close(descriptor)


QUESTIONS: dict[str, Callable[[bytes], object]] = {
    "lstat": lambda path: facts(path, follow=False),
    "stat": lambda path: facts(path, follow=True),
    "readlink": os.readlink,
    "listing": listing,
    "read": read,
    "access": lambda path: [os.access(path, mode) for mode in (os.R_OK, os.W_OK, os.X_OK)],
    **{
        f"open {name}": lambda path, flags=flags: opened(path, flags)  # type: ignore[misc]
        for name, flags in {
            "for reading": os.O_RDONLY,
            "for writing": os.O_WRONLY,
            "for both": os.O_RDWR,
            "to truncate": os.O_WRONLY | os.O_TRUNC,
            "to append": os.O_WRONLY | os.O_APPEND,
            "as a directory": os.O_RDONLY | os.O_DIRECTORY,
            "without following": os.O_RDONLY | os.O_NOFOLLOW,
            "to create": os.O_WRONLY | os.O_CREAT,
            "as new": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
            "as a name": os.O_PATH | os.O_NOFOLLOW,
        }.items()
    },
    "mkdir": os.mkdir,
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "symlink": lambda path: os.symlink(b"x", path),
    "link": lambda path: os.link(path, path + b".new", follow_symlinks=False),
    "rename": lambda path: os.rename(path, path + b".new"),
    "chmod": lambda path: os.chmod(path, 0o600),
    "chown": lambda path: os.chown(path, 1, 1, follow_symlinks=False),
    "utime": os.utime,
    "truncate": lambda path: os.truncate(path, 0),
    "setxattr": lambda path: os.setxattr(path, b"user.x", b"1", follow_symlinks=False),
    "mkfifo": os.mkfifo,
}


def answer(question: Callable[[bytes], object], path: bytes) -> object:
    """What is answered, or the errno."""
    try:
        return question(path)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def paths(root: bytes) -> Iterator[bytes]:
    """Every path below a root, and beside and below each what is not there."""
    pending = [b""]
    while pending:
        path = pending.pop()
        yield path
        yield path + b"/" + ABSENT
        yield path + b"/" + ABSENT + b"/" + ABSENT
        if stat.S_ISDIR(os.lstat(root + path).st_mode):
            pending += [path + b"/" + name for name in os.listdir(root + path)]


@pytest.mark.usefixtures("overlay_works")
def test_views_are_what_overlayfs_shows(mounted: Places, tmp_path: Path) -> None:
    for seed in SEEDS:
        here = tmp_path / f"seed-{seed}"
        layers = [here / f"layer-{number}" for number in range(LAYERS)]
        for layer in layers:
            (layer / "data").mkdir(parents=True)
        for number, stack in enumerate(Forest(seed).stacks()):
            for layer, tree in zip(layers, stack, strict=False):
                write(tree, os.fsencode(layer / "data" / f"t{number}"))
        ours = os.fsencode(view_of(mounted, layers))
        with Overlay([layer / "data" for layer in layers], here / "merged") as merged:
            different = differences(os.fsencode(merged), ours)
        assert not different, f"seed {seed}: (overlayfs, ours) of {different[:10]}"


def differences(theirs: bytes, ours: bytes) -> list[object]:
    asked = sorted(paths(theirs))
    assert sorted(paths(ours)) == asked
    assert len(asked) > 10 * STACKS
    return [
        (path, name, expected, found)
        for path in asked[1:]  # the first is the root, here a mount point and there none
        for name, question in QUESTIONS.items()
        if (expected := answer(question, theirs + path)) != (found := answer(question, ours + path))
    ]


@pytest.mark.usefixtures("overlay_works")
def test_long_names_and_paths(mounted: Places, tmp_path: Path) -> None:
    top = tmp_path / "layer/data"
    deep = top.joinpath(*["d" * 200] * 15)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    ours = os.fsencode(view_of(mounted, [tmp_path / "layer"]))
    with Overlay([top], tmp_path / "merged") as merged:
        for root in (os.fsencode(merged), ours):
            for length in (254, 255, 256, 257, 1023, 1024, 1025, 4095):
                wanted = "ENOENT" if length <= 255 else "ENAMETOOLONG"
                for directory in (b"", b"/" + b"d" * 200):
                    path = root + directory + b"/" + b"n" * length
                    assert answer(os.lstat, path) == wanted, (root, length)
            path = root + b"/" + b"/".join([b"d" * 200] * 15)
            assert listing(path) == [(b"file", stat.S_IFREG)]
            assert answer(os.lstat, path + b"/" + b"n" * 1500) == "ENAMETOOLONG"
            assert answer(os.listdir, path + b"/file") == "ENOTDIR"
            assert answer(os.lstat, path + b"/file/below") == "ENOTDIR"


def test_the_trees_are_worth_comparing() -> None:
    """What makes unions difficult must be there: else nothing is shown."""
    seen: Counter[str] = Counter()
    for stack in itertools.chain.from_iterable(Forest(seed).stacks() for seed in SEEDS):
        kinds = [isinstance(tree, dict) for tree in stack]
        names = [set(tree) for tree in stack if isinstance(tree, dict)]
        seen["stacks"] += 1
        seen["a file over a directory"] += not kinds[0] and any(kinds)
        seen["a directory over a file"] += kinds[0] and not all(kinds)
        seen["merged"] += len(names) > 1 and bool(set.intersection(*names))
        seen["deep"] += any(
            isinstance(inner, dict)
            for tree in stack if isinstance(tree, dict)
            for node in tree.values() if isinstance(node, dict)
            for inner in node.values()
        )  # fmt: skip
    assert seen["stacks"] == 300
    assert min(seen.values()) > 15, seen
