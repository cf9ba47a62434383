from __future__ import annotations

import fcntl
import gc
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

import pytest

from resolver.atomic import ABANDONED_AFTER
from resolver.errors import PkgviewError
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from resolver.places import Places

META = Meta(kind="distribution", name="demo", version="1.0", stem="demo-1.0")
KEY = "sha256-" + "ab" * 32


def opener(data: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(data)


def file(path: bytes, data: bytes) -> Member:
    return Member(path=path, size=len(data), open=opener(data))


def tree(number: int = 0) -> list[Member]:
    return [file(b"purelib/a.py", b"a = %d\n" % number), file(b"purelib/b.py", b"b")]


def temporaries(store: Store) -> list[str]:
    return [
        name
        for directory in (store.archives, store.derived)
        if directory.is_dir()
        for name in os.listdir(directory)
        if name.startswith(".tmp-")
    ]


@pytest.fixture
def store(isolated_places: Places) -> Store:
    return Store(isolated_places.store)


def test_add_then_open(store: Store) -> None:
    assert store.names() == []
    name = store.add(tree(), META)
    assert store.names() == [name]
    assert store.has(name)
    assert store.path(name).stat().st_mode & 0o777 == 0o444
    assert store.sizes() == {name: store.path(name).stat().st_size}
    archive = store.open(name)
    assert archive.read(archive.find(b"purelib/a.py"), 0, 99) == b"a = 0\n"  # type: ignore[arg-type]
    assert store.open(name) is archive
    store.verify(name)
    assert temporaries(store) == []


def test_an_archive_is_open_while_somebody_holds_it(store: Store) -> None:
    name = store.add(tree(), META)
    first = id(store.open(name).contents)
    held = store.open(name)
    assert first
    assert store.open(name) is held
    del held
    gc.collect()
    assert len(store._open) == 0


def test_adding_again_keeps_what_is_there(store: Store) -> None:
    name = store.add(tree(), META)
    before = store.path(name).stat()
    assert store.add(tree(), META) == name
    assert store.path(name).stat().st_ino == before.st_ino
    assert temporaries(store) == []


@pytest.mark.parametrize("damage", [b"", b"nothing like it", None])
def test_adding_again_replaces_what_is_damaged(store: Store, damage: bytes | None) -> None:
    name = store.add(tree(), META)
    path = store.path(name)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:] if damage is None else damage)
    with pytest.raises(LayerError):
        store.verify(name)
    assert store.add(tree(), META) == name
    assert path.read_bytes() == whole
    store.verify(name)


def test_whole_bytes_of_another_zstd_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b" ".join(b"%d" % (number * number) for number in range(20_000))
    name = store.add([file(b"a", text)], META)
    path = store.path(name)
    before = (path.stat().st_ino, path.read_bytes())
    monkeypatch.setattr("unionfs.archive.frames.LEVEL", 19)
    assert Store(store.root.with_name("other")).add([file(b"a", text)], META) == name
    assert (store.root.with_name("other") / "archives" / name).read_bytes() != before[1]
    assert store.add([file(b"a", text)], META) == name
    assert (path.stat().st_ino, path.read_bytes()) == before


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a.tar.zst", "\0", "a\n"])
def test_names_from_outside(store: Store, name: str) -> None:
    store.add(tree(), META)
    assert not store.has(name)
    for call in (store.path, store.open, store.verify, store.set_aside):
        with pytest.raises(PkgviewError, match="no archive's name"):
            call(name)
    with pytest.raises(PkgviewError):
        store.record_source(KEY, name)


def test_a_missing_archive_is_a_layer_error(store: Store) -> None:
    name = store.add(tree(), META)
    store.path(name).unlink()
    with pytest.raises(LayerError, match=r"demo-1\.0"):
        store.open(name)
    with pytest.raises(PkgviewError, match="No such file"):
        store.set_aside(name)


def test_set_aside(store: Store) -> None:
    name = store.add(tree(), META)
    held = store.open(name)
    moved = store.set_aside(name)
    assert moved == store.archives / "damaged" / name
    assert moved.is_file()
    assert not store.has(name)
    assert store.names() == []
    assert store.add(tree(), META) == name
    assert store.open(name) is not held
    assert store.set_aside(name) == moved


def test_sources(store: Store) -> None:
    assert store.archive_of(KEY) is None
    one, two = store.add(tree(1), META), store.add(tree(2), META)
    store.record_source(KEY, one)
    assert store.archive_of(KEY) == one
    assert (store.derived / KEY).resolve() == store.path(one)
    store.record_source(KEY, two)
    assert store.archive_of(KEY) == two
    store.set_aside(two)
    assert store.archive_of(KEY) is None
    assert temporaries(store) == []


def test_a_source_that_points_elsewhere_is_not_known(store: Store, tmp_path: Path) -> None:
    store.record_source(KEY, store.add(tree(), META))
    link = store.derived / KEY
    for target in (str(tmp_path), "../../../etc/passwd", "../archives/.."):
        link.unlink()
        link.symlink_to(target)
        assert store.archive_of(KEY) is None
    link.unlink()
    link.write_text("no link")
    assert store.archive_of(KEY) is None


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "../a", ".hidden", "a\0", "x" * 201, "é"])
def test_keys_from_outside(store: Store, key: str) -> None:
    name = store.add(tree(), META)
    with pytest.raises(PkgviewError, match="cannot name the source"):
        store.record_source(key, name)
    with pytest.raises(PkgviewError, match="cannot name the source"):
        store.archive_of(key)


def test_a_member_that_fails_leaves_nothing(store: Store) -> None:
    def gone() -> BinaryIO:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(PkgviewError, match=r"cannot read 'purelib/x'"):
        store.add([*tree(), Member(path=b"purelib/x", size=1, open=gone)], META)

    def interrupted() -> BinaryIO:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add([Member(path=b"x", size=1, open=interrupted)], META)
    assert os.listdir(store.archives) == []


def test_temporaries_of_the_dead_are_removed_and_of_the_living_kept(store: Store) -> None:
    store.add(tree(), META)
    dead, living = store.archives / ".tmp-1-aa", store.archives / ".tmp-1-bb"
    read_only = store.archives / ".tmp-1-cc"
    for path in (dead, living, read_only):
        path.write_bytes(b"half")
    read_only.chmod(0o444)
    with living.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.utime(living, (0, 0))
        store.add(tree(1), META)
        assert temporaries(store) == [living.name]
    store.add(tree(2), META)
    assert temporaries(store) == []


def test_without_locks_the_age_decides(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    store.add(tree(), META)
    old, young = store.archives / ".tmp-1-aa", store.archives / ".tmp-1-bb"
    for path in (old, young):
        path.write_bytes(b"half")
    before = time.time() - ABANDONED_AFTER - 60
    os.utime(old, (before, before))
    store.add(tree(1), META)
    assert temporaries(store) == [young.name]


def test_a_sweep_never_takes_a_temporary_that_is_being_written(store: Store) -> None:
    swept: list[list[str]] = []

    def slow() -> BinaryIO:
        swept.append(temporaries(store))
        Store(store.root).add(tree(7), META)
        swept.append(temporaries(store))
        return io.BytesIO(b"1")

    name = store.add([Member(path=b"x", size=1, open=slow)], META)
    assert len(swept[0]) == 1
    assert swept[0] == swept[1]
    store.verify(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_may_not_be_written(store: Store) -> None:
    store.add(tree(), META)
    store.archives.chmod(0o555)
    try:
        with pytest.raises(PkgviewError, match="Permission denied") as caught:
            store.add(tree(1), META)
        assert "XDG_DATA_HOME" in caught.value.remedy
    finally:
        store.archives.chmod(0o755)


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "pkgview-test", str(place)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(little_disk: Path) -> None:
    store = Store(little_disk / "store")
    name = store.add(tree(), META)
    noise = hashlib.shake_128().digest(3 * 1024 * 1024)
    with pytest.raises(PkgviewError, match="No space left") as caught:
        store.add([file(b"noise", noise)], META)
    assert str(store.archives) in caught.value.what
    assert "Make room" in caught.value.remedy
    assert temporaries(store) == []
    assert store.names() == [name]
    store.verify(name)
    store.add([file(b"small", noise[:1000])], META)


def test_a_read_only_disk(little_disk: Path) -> None:
    store = Store(little_disk / "store")
    name = store.add(tree(), META)
    subprocess.run(["mount", "-o", "remount,ro", str(little_disk)], check=True)
    for attempt in (
        lambda: store.add(tree(1), META),
        lambda: store.record_source(KEY, name),
        lambda: store.set_aside(name),
        lambda: Store(little_disk / "other").add(tree(1), META),
    ):
        with pytest.raises(PkgviewError, match="Read-only") as caught:
            attempt()
        assert "XDG_DATA_HOME" in caught.value.remedy
    store.verify(name)


ADDER = """
import io, random, sys
from pathlib import Path
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store

store, seed = Store(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
chooser = random.Random(seed)
while True:
    data = chooser.randbytes(chooser.randrange(2_000_000))
    member = Member(path=b"a", size=len(data), open=lambda: io.BytesIO(data))
    meta = Meta(kind="distribution", name="demo", version="1", stem="demo-1")
    store.record_source(f"source-{len(data)}", store.add([member], meta))
"""


def adder(store: Store, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", ADDER, str(store.root), str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


def test_killed_at_any_moment_it_holds_whole_archives_or_nothing(store: Store) -> None:
    chooser = random.Random(11)  # noqa: S311 - reproducible moments
    left_over = 0
    for seed in range(8):
        with adder(store, seed) as process, adder(store, seed) as twin:
            time.sleep(chooser.uniform(0.02, 0.25))
            process.send_signal(signal.SIGKILL)
            twin.send_signal(signal.SIGKILL)
        left_over += len(temporaries(store))
        for name in store.names():
            store.verify(name)
        for key in os.listdir(store.derived) if store.derived.is_dir() else ():
            with suppress(PkgviewError):
                assert store.archive_of(key) is not None
    assert left_over, "no kill hit a write: the test shows nothing"
    store.add(tree(), META)
    assert [name for name in os.listdir(store.archives) if name.startswith(".tmp-")] == []


def test_the_cache_is_shared(isolated_places: Places) -> None:
    cache = FrameCache()
    store = Store(isolated_places.store, cache)
    archive = store.open(store.add(tree(), META))
    number = archive.find(b"purelib/a.py")
    assert number is not None
    archive.read(number, 0, 1)
    assert (cache.hits, cache.misses) == (0, 1)
