"""What a large file costs that is read through the mount: frames, bytes from the disk, memory."""

from __future__ import annotations

import io
import mmap
import random
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.python.interpreter import inspect
from scripts.bench.pagecache import read_from_disk, resident
from tests.pagecache import forget
from unionfs.archive import advice
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.archive.table import FRAME_SIZE
from unionfs.control import client
from unionfs.control.endpoint import endpoint_of
from unionfs.daemon import launch
from unionfs.formats.python.generated import skeleton_layer
from unionfs.mounting import mounts
from unionfs.publishing.publish import publish
from unionfs.store.local import Store
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from resolver.places import Places

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("supervised")]

SIZE = advice.LARGE + 12 * advice.BEHIND
"""Bytes of the file, which cannot be compressed."""


def published(places: Places) -> tuple[Path, Path]:
    """A large file in a view, and its archive."""
    store = Store(places.store)
    interpreter = inspect(Path(sys.executable).resolve(), places.state)
    content = random.Random(5).randbytes(SIZE)  # noqa: S311 - the same each time
    member = Member(path=b"platlib/large.so", size=SIZE, open=partial(io.BytesIO, content))
    meta = Meta(kind="distribution", name="large", version="1", stem="large-1")
    archive = store.add([member], meta)
    layers = (skeleton_layer(store, interpreter), interpreter.python.layer(archive))
    with closing(Registry(places.state / "registry.sqlite3")) as registry:
        view = publish(places, interpreter.python.manifest(layers), store, registry)
    version = interpreter.python.version
    site = places.mount / f"views/{view}/lib/python{version}/site-packages"
    return site / "large.so", next(store.paths(archive))


@pytest.mark.parametrize("workers", [1, 3])
def test_fetched_once_and_not_kept_twice(
    places: Places, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKGVIEW_WORKERS", str(workers))
    launch.ensure_mounted(places)
    endpoint = endpoint_of(places, mounts.canonical(places.mount))
    file, archive = published(places)
    assert file.stat().st_size == SIZE
    pids: list[int] = []
    while len(pids) < workers:
        pids = client.ask(endpoint, "status", seconds=30)["pids"]
        time.sleep(0.01)
    forget(archive)

    # Faults here and there: none is taken for order, and the disk reads what they touch.
    touched = list(range(8 * FRAME_SIZE, SIZE - 8 * FRAME_SIZE, 9 * FRAME_SIZE))
    random.Random(6).shuffle(touched)  # noqa: S311 - as above
    before = read_from_disk(pids)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as area:
        sum(area[place] for place in touched)
    time.sleep(0.05)
    assert read_from_disk(pids) - before <= len(touched) * 2 * (FRAME_SIZE + 2 * mmap.PAGESIZE)
    if workers == 1:
        frames = client.ask(endpoint, "status", seconds=30)["frames"]
        assert len(touched) <= frames["misses"] <= 2 * len(touched) + 4  # the interpreter's own

    # In order: all is fetched once, and in the end one copy of it is in memory.
    before = read_from_disk(pids)
    with file.open("rb", buffering=0) as reader:
        while reader.read(1 << 20):
            pass
    assert read_from_disk(pids) - before <= SIZE * 11 // 10 + workers * advice.AHEAD
    assert resident(file) > SIZE * 9 // 10
    assert resident(archive) < SIZE // 4
