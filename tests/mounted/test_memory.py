"""What a server keeps of what it has served: its frames, up to a limit, not the holes, not long."""

from __future__ import annotations

import io
import os
import random
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.interpreter import inspect
from unionfs.archive.framecache import CACHE_SIZE
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
from unionfs.formats.python.generated import skeleton_layer
from unionfs.kernel.quiet import QUIET
from unionfs.mounting import mounts
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from resolver.places import Places

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("supervised")]

FILES = 1500
ROUNDS = 4
LARGEST = 150_000
BESIDES = 6 << 20
"""What the rest may take: an archive's contents, replies on their way, what was never touched
before. With an arena for each thread it takes 10 MB."""


def private(pid: int) -> int:
    """Bytes that only that process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


def filled(places: Places) -> Path:
    """A directory of a view with more than the cache has room for."""
    dice = random.Random(3)  # noqa: S311 - the same each time
    half = LARGEST // 2
    members = [
        Member(path=f"purelib/much/m{number:04}".encode(), size=2 * size,
               open=partial(io.BytesIO, dice.randbytes(size) * 2))
        for number in range(FILES)
        for size in [dice.randrange(half) if number % 20 else 10 * half]
    ]  # fmt: skip
    store = Store(places.store)
    interpreter = inspect(Path(sys.executable).resolve(), places.state)
    meta = Meta(kind="distribution", name="much", version="1", stem="much-1")
    layers = (
        skeleton_layer(store, interpreter),
        interpreter.python.layer(store.add(members, meta)),
    )
    with closing(Registry(places.state / "registry.sqlite3")) as registry:
        view = publish(places, interpreter.python.manifest(layers), store, registry)
    version = interpreter.python.version
    return places.mount / f"views/{view}/lib/python{version}/site-packages/much"


def test_frames_that_come_and_go_leave_no_holes(mounted: Places) -> None:
    root = filled(mounted)
    endpoint = endpoint_of(mounted, mounts.canonical(mounted.mount))
    server = client.ask(endpoint, "status", seconds=30)["server"]
    names = os.listdir(root)
    before = private(server)
    dice = random.Random(4)  # noqa: S311 - as above
    for _ in range(ROUNDS):
        dice.shuffle(names)
        for name in names:
            number = os.open(root / name, os.O_RDONLY)
            while os.read(number, 1 << 20):
                pass
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)
    frames = client.ask(endpoint, "status", seconds=30)["frames"]
    assert frames["misses"] > 10 * CACHE_SIZE // (128 << 10), "too little was asked for"
    grown = private(server) - before
    assert grown < CACHE_SIZE + BESIDES
    # Once nobody reads any more, it has given back what it had for the frames.
    until = time.monotonic() + 3 * QUIET
    while private(server) - before > BESIDES:
        assert time.monotonic() < until
        time.sleep(0.5)
    frames = client.ask(endpoint, "status", seconds=30)["frames"]
    assert frames["bytes"] == 0
