from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest

from resolver import config
from resolver.config import ConfiguredStore
from resolver.errors import PkgviewError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.cli.progress import Display
from unionfs.store import arrival
from unionfs.store import ordered as stores_module
from unionfs.store.claims import Claims
from unionfs.store.directory import TEMPORARY_PREFIX
from unionfs.store.local import Store
from unionfs.store.ordered import Stores
from unionfs.upkeep import bundle, collect
from unionfs.upkeep.bundle import Moved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resolver.places import Places

KEY = "sha256-" + "ab" * 32
OTHER = "sha256-" + "cd" * 32
# A name that no ustar header has room for.
LONG = "demo-1.0-cp311-abi3-" + "manylinux_2_17_x86_64." * 6 + "any"
NOISE = os.urandom(300_000)
QUIET = Display(quiet=True)


def add(store: Store, key: str, data: bytes, stem: str = "demo-1.0") -> str:
    member = Member(path=b"purelib/a", size=len(data), open=lambda: io.BytesIO(data))
    name = store.add([member], Meta(kind="distribution", name="demo", version="1.0", stem=stem))
    store.record_source(key, name)
    return name


@pytest.fixture
def stores(isolated_places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.setattr(stores_module, "SYSTEM", (tmp_path / "system",))
    own = Store(isolated_places.store)
    Claims(own.root, isolated_places.state).begin()
    add(own, KEY, NOISE)
    add(own, OTHER, b"second", LONG)
    return Stores(isolated_places)


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return Store(tmp_path / "target")


def exported(stores: Stores) -> bytes:
    out = io.BytesIO()
    bundle.export(stores, stores.own.names(), out, QUIET)
    return out.getvalue()


def imported(store: Store, data: bytes) -> Moved:
    return bundle.import_(store, io.BytesIO(data), QUIET)


def ways(stores: Stores, target: Store, data: bytes) -> list[Callable[[], Moved]]:
    return [
        partial(imported, target, data),
        partial(bundle.copy, stores, stores.own.names(), target.root, QUIET),
    ]


def assert_equal(store: Store, original: Store) -> None:
    assert store.names() == original.names()
    for name in store.names():
        store.verify(name)
    assert store.known_sources() == original.known_sources()
    assert_clean(store)


def assert_clean(store: Store) -> None:
    """Nothing half done: no temporary, and whatever has a name is whole."""
    assert not [*store.root.glob(f"*/{TEMPORARY_PREFIX}*")]
    for name in store.names():
        store.verify(name)


def test_a_copy_is_the_same_store(stores: Stores, target: Store) -> None:
    size = sum(stores.own.sizes().values())
    names = stores.own.names()
    first = bundle.copy(stores, names, target.root, QUIET)
    assert first == Moved(archives=2, size=size, sources=2)
    assert_equal(target, stores.own)
    assert bundle.copy(stores, names, target.root, QUIET) == Moved(kept=2)


def test_a_bundle_is_the_same_store(stores: Stores, target: Store) -> None:
    data = exported(stores)
    assert data == exported(stores)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [m.name.split("/")[0] for m in tar] == ["archives"] * 2 + ["imported"] * 2
        assert tar.getmembers()[-1].linkname.startswith("../archives/demo-1.0")
    assert imported(target, data).archives == 2
    assert_equal(target, stores.own)
    assert imported(target, data) == Moved(kept=2)


def test_what_is_damaged_there_is_mended(stores: Stores, target: Store) -> None:
    data = exported(stores)
    imported(target, data)
    for again in ways(stores, target, data):
        path = target.path(target.names()[0])
        path.chmod(0o644)
        path.write_bytes(b"x" * 100)
        assert again().archives == 1
        assert_equal(target, stores.own)


def test_a_part_and_what_another_store_has(
    stores: Stores, isolated_places: Places, target: Store, tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    name = add(other, "built-1", b"third")
    config.add_store(isolated_places, ConfiguredStore(path=str(other.root)))
    assert bundle.copy(stores, [name], target.root, QUIET).archives == 1
    assert target.names() == [name]
    assert target.known_sources() == {"built-1": name}


def test_what_a_source_became_here_stays(stores: Stores, target: Store) -> None:
    mine = add(target, KEY, b"mine")
    assert imported(target, exported(stores)).sources == 1
    bundle.copy(stores, stores.own.names(), target.root, QUIET)
    assert target.archive_of(KEY) == mine


def test_a_source_of_nothing_is_not_recorded(stores: Stores, target: Store) -> None:
    link = tarfile.TarInfo(f"imported/{KEY}")
    link.type, link.linkname = tarfile.SYMTYPE, f"../archives/{stores.own.names()[0]}"
    assert imported(target, tar(link)) == Moved()
    assert not target.derived.exists()


def test_damaged_ones_do_not_travel(stores: Stores, target: Store) -> None:
    path = stores.own.path(stores.own.names()[0])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(PkgviewError, match=r"demo-1\.0") as caught:
        exported(stores)
    assert "verify --repair" in caught.value.remedy
    with pytest.raises(PkgviewError, match=r"demo-1\.0"):
        bundle.copy(stores, [path.name], target.root, QUIET)
    assert target.names() == []


def test_not_onto_itself(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stores.root)
    with pytest.raises(PkgviewError, match="your own store"):
        bundle.copy(stores, [], tmp_path / "link", QUIET)


# Hostile bundles

NEW = "sha256-" + "ef" * 32
NAME = f"a.{'0' * 64}.tar.zst"


def tar(*members: tarfile.TarInfo, form: Literal[1, 2] = tarfile.GNU_FORMAT) -> bytes:
    """Headers, each with as many zeros as it says (but no more than some), and the end mark."""
    said = b""
    for member in members:
        size = max(0, min(member.size, 4096))
        said += member.tobuf(form) + bytes(size + -size % 512)
    return said + bytes(1024)


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../archives/" + NAME),
        member("/archives/" + NAME),
        member("archives/../" + NAME),
        member("archives/damaged/" + NAME),
        member("archives/.tmp-0123456789abcdef"),
        member("archives/" + NAME, tarfile.SYMTYPE, "/etc/passwd"),
        member("archives/" + NAME, tarfile.LNKTYPE, "/etc/passwd"),
        member("archives/" + NAME, tarfile.FIFOTYPE),
        member("archives/" + NAME, tarfile.CHRTYPE),
        member("archives/" + NAME, tarfile.GNUTYPE_SPARSE),
        member("archives/" + NAME, size=8 << 30),
        member("archives/" + NAME, size=-512),
        member("archives", tarfile.DIRTYPE),
        member("users/0-0123456789abcdef"),
        member("imported/" + NEW),
        member("imported/" + NEW, tarfile.LNKTYPE, "../archives/" + NAME),
        member("imported/" + NEW, tarfile.SYMTYPE, "/etc/passwd"),
        member("imported/" + NEW, tarfile.SYMTYPE, "../archives/../../x"),
        member("imported/" + NEW, tarfile.SYMTYPE, NAME),
        member("imported/..", tarfile.SYMTYPE, "../archives/" + NAME),
        member("imported/a/b", tarfile.SYMTYPE, "../archives/" + NAME),
        member("imported/" + NEW, tarfile.SYMTYPE, "../archives/" + NAME, size=512),
        member("readme"),
        member("archives/\udcff\x1b[31m" + NAME),
        member("x" * 500),
    ],
    ids=lambda m: ascii(f"{m.name[:40]} {m.type} {m.linkname[:20]} {m.size}"),
)
def test_other_members_are_refused(stores: Stores, target: Store, bad: tarfile.TarInfo) -> None:
    data = exported(stores)[:-1024] + tar(bad)
    with pytest.raises(PkgviewError, match="is refused") as caught:
        imported(target, data)
    assert repr(bad.name)[1:20] in caught.value.what
    assert target.known_sources() == {}, "sources are recorded when all of it was seen"
    assert_clean(target)


def twice(name: str) -> bytes:
    return tar(*[member(name, tarfile.SYMTYPE, "../archives/" + NAME)] * 2)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off"),
        (b"PK" * 1000, "no bundle"),
        (os.urandom(5000), "no bundle"),
        (tar(member("archives/" + NAME, size=4096))[:2000], "ends within"),
        (tar(member("archives/" + NAME, size=1 << 30)), "ends within"),
        (tar(member("archives/" + NAME, size=4096)), "a."),
        (tar(member("archives/" + NAME)), "a."),
        (twice("imported/" + KEY), "is refused"),
        (tar(member("x", tarfile.GNUTYPE_LONGNAME, size=1 << 40)), "too long"),
        (tar(member("x", tarfile.GNUTYPE_LONGLINK, size=0)), "too long"),
        (tar(*[member("x", tarfile.GNUTYPE_LONGNAME, size=5)] * 2), "too long"),
        (tar(member("archives/" + "y" * 200 + NAME), form=tarfile.PAX_FORMAT), "is refused"),
    ],
)
def test_what_is_no_bundle(target: Store, data: bytes, said: str) -> None:
    with pytest.raises(PkgviewError) as caught:
        imported(target, data)
    assert said in caught.value.what
    assert target.names() == []
    assert target.known_sources() == {}
    assert_clean(target)


def test_an_archive_of_another_name(stores: Stores, target: Store) -> None:
    data = exported(stores)
    first = stores.own.names()[0]
    forged = first.replace(first[-10], "0" if first[-10] != "0" else "1")
    with pytest.raises(PkgviewError):
        imported(target, data.replace(first.encode(), forged.encode()))
    assert_clean(target)
    assert forged not in target.names()


def test_cut_off_anywhere(stores: Stores, target: Store) -> None:
    data = exported(stores)
    for end in (*range(0, len(data) - 1024, 9973), len(data) - 1024):
        with pytest.raises(PkgviewError):
            imported(target, data[:end])
        assert target.known_sources() == {}
    assert_clean(target)
    imported(target, data)
    assert_equal(target, stores.own)


@pytest.mark.parametrize("key", ["made-1", "bytecode-1"])
def test_what_every_store_makes_itself_does_not_travel(
    stores: Stores, target: Store, key: str
) -> None:
    name = add(stores.own, key, b"own")
    assert name not in bundle.carried(stores.own)
    assert exported(stores).count(key.encode()) == 0
    link = member(f"imported/{key}", tarfile.SYMTYPE, "../archives/" + NAME)
    with pytest.raises(PkgviewError, match="is refused"):
        imported(target, link.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert target.known_sources() == {}


def test_a_bundle_of_an_earlier_version(target: Store) -> None:
    link = member(f"sources/{KEY}", tarfile.SYMTYPE, "../archives/" + NAME)
    with pytest.raises(PkgviewError, match="export it anew"):
        imported(target, link.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_too_many_members(target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_MEMBERS", 1)
    link = [
        member(f"imported/{key}", tarfile.SYMTYPE, "../archives/" + NAME) for key in (KEY, OTHER)
    ]
    with pytest.raises(PkgviewError, match="too many"):
        imported(target, tar(*link))


# What goes wrong on the way


def test_a_full_disk(stores: Stores, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = exported(stores)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for act in ways(stores, target, data):
        with monkeypatch.context() as patched:
            patched.setattr("unionfs.store.local.os.fsync", full)
            with pytest.raises(PkgviewError, match="No space left") as caught:
                act()
        assert "Make room" in caught.value.remedy
        assert target.names() == []
        assert_clean(target)
    imported(target, data)
    assert_equal(target, stores.own)


def test_killed_half_way(stores: Stores, target: Store) -> None:
    """What a kill leaves is swept by the next who writes there."""
    data = exported(stores)
    program = (
        "import sys\nfrom pathlib import Path\nfrom unionfs.upkeep.bundle import import_\n"
        "from unionfs.cli.progress import Display\nfrom unionfs.store.local import Store\n"
        "import_(Store(Path(sys.argv[1])), sys.stdin.buffer, Display(quiet=True))\n"
    )
    command = [sys.executable, "-c", program, str(target.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(data[: len(data) - 20_000])
        running.stdin.flush()  # more than a pipe holds: it is within the second archive by now
        running.send_signal(signal.SIGKILL)
        assert running.wait(30) == -signal.SIGKILL
        running.stdin.close()
    assert target.names() == stores.own.names()[:1]
    assert [*target.archives.glob(f"{TEMPORARY_PREFIX}*")]
    assert target.known_sources() == {}
    imported(target, data)
    assert_equal(target, stores.own)


def test_what_was_imported_may_be_on_its_way_whatever_the_clock_says(
    stores: Stores, isolated_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New or here for long: no view needs it yet."""
    data = exported(stores)
    known, new = stores.own.names()
    stores.own.remove(new)
    now, passed = time.time, time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(time, "time", lambda: now() + 7200)
    for later, gone in ((700.0, set()), (1400.0, {known, new})):
        monkeypatch.setattr(arrival, "since_boot", lambda later=later: passed + later)
        if not gone:
            imported(stores.own, data)
        found = collect.collect(isolated_places, collect.Limits())
        assert found is not None
        assert set(found.archives) == gone
