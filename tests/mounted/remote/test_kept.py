"""What a store keeps of archives that it has in part: shared with nobody, mended, collected."""

from __future__ import annotations

import io
import json
import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import unionfs.upkeep.collect
from resolver.manifest import ViewId
from tests.mounted.conftest import _mount as mount
from tests.mounted.conftest import forked
from tests.mounted.remote.conftest import noise, until
from tests.mounted.remote.test_lazy import drop_caches, large_and_small, read
from unionfs.archive.framecache import FrameCache
from unionfs.archive.layer import LayerError
from unionfs.archive.meta import Meta
from unionfs.archive.pack import Member
from unionfs.store.local import Store
from unionfs.store.partial import Partials
from unionfs.upkeep.collect import Limits, collect
from unionfs.upkeep.inuse import survey
from unionfs.view.registry import Registry

if TYPE_CHECKING:
    from tests.mounted.remote.conftest import Remote

pytestmark = pytest.mark.fuse


def test_nothing_is_shared_before_it_is_whole(remote: Remote) -> None:
    """A lie in a partial archive's table would give another archive's files its bytes."""
    files = {"a/one.bin": noise(1 << 20, 1), "a/two.bin": noise(1 << 20, 2)}

    def member(path: str, content: bytes) -> Member:
        opened = partial(io.BytesIO, content)
        return Member(path=f"purelib/{path}".encode(), size=len(content), open=opened)

    own = Store(remote.places.store)
    members = [member(path, content) for path, content in files.items()]
    meta = Meta(kind="distribution", name="a", version="1", stem="a-1-py3")
    first = own.add(members, meta)
    second = remote.archive("a", {**files, "a/more.py": b"2"}, version="2")
    third = own.add(
        [*members, member("a/more.py", b"3")],
        Meta(kind="distribution", name="a", version="3", stem="a-3-py3"),
    )
    fourth = own.add(
        [*members, member("a/more.py", b"4")],
        Meta(kind="distribution", name="a", version="4", stem="a-4-py3"),
    )
    sites = [remote.publish(second, before=(first,)), remote.publish(third, before=())]
    mount(os.environ)
    paths = [site / "a/one.bin" for site in sites]
    assert paths[0].stat().st_ino != paths[1].stat().st_ino
    for path in paths:
        assert read(path) == files["a/one.bin"]
    sites.append(remote.publish(fourth, before=()))
    assert (sites[2] / "a/one.bin").stat().st_ino == paths[1].stat().st_ino


def test_what_is_damaged_on_the_disk_is_fetched_again(remote: Remote) -> None:
    name, site = large_and_small(remote)
    mount(os.environ)
    path = site / "large.bin"
    partials = Partials(remote.places.store)
    with path.open("rb") as file:
        file.seek(1 << 20)
        right = file.read(1 << 19)
    archive = partials.open(name, FrameCache(0))
    here = [one for one in archive.here() if one > 8]
    with partials.path(name).open("rb+") as written:
        written.seek(archive.seek.offsets[here[0]] + 50)
        written.write(b"damage" * 10)
    assert partials.wrong(name) == here[:1]
    drop_caches(path)
    forget_frames = remote.status()["pids"][0]
    os.kill(forget_frames, 9)
    with path.open("rb") as file:
        file.seek(1 << 20)
        assert file.read(1 << 19) == right
    assert partials.wrong(name) == []
    # And a file of marks that is another's is refused by name.
    marks = partials.marks_path(name)
    content = marks.read_bytes()
    marks.write_bytes(content[:-1])
    with pytest.raises(LayerError, match="frames"):
        partials.open(name, FrameCache(0))
    marks.write_bytes(content)


@pytest.mark.parametrize("registered", [True, False])
def test_what_was_whole_and_comes_back_in_part_is_fetched(
    remote: Remote, *, registered: bool
) -> None:
    """A server may have the former file open; and the archive's number may be the same or not."""
    name = remote.archive("a", {"a/large.bin": noise(1 << 20, 1), "a/small.py": b"x = 1\n"})
    own = Store(remote.places.store)
    own.take(Path(remote.there(name).path), name)
    site = remote.publish(name)
    mount(os.environ)
    assert read(site / "a/small.py") == remote.files["a/small.py"]
    own.path(name).unlink()
    view = ViewId(site.parent.name)
    if not registered:
        (remote.places.state / "manifests" / f"{view}.json").unlink()
        with closing(Registry.of(remote.places)) as registry:
            registry.forget(archives=[], views=[], projects=[])
        survey(remote.places).gone([view], [])
    assert remote.publish(name) == site
    assert read(site / "a/large.bin") == remote.files["a/large.bin"]


def test_verify_and_gc(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    name, site = large_and_small(remote)
    mount(os.environ)
    assert (site / "small.py").read_bytes()
    with (site / "large.bin").open("rb") as file:
        file.seek(1 << 20)
        file.read(1 << 19)
    partials = Partials(remote.places.store)
    archive = partials.open(name, FrameCache(0))

    def verify(*more: str) -> dict[str, Any]:
        ended = forked().run(
            ["store", "verify", "--json", *more], cwd=remote.directory, environ=os.environ,
            seconds=60,
        )  # fmt: skip
        said: dict[str, Any] = json.loads(ended.stdout)
        return said

    assert verify()["damaged"] == []
    here = [one for one in archive.here() if one > 8]
    with partials.path(name).open("rb+") as written:
        written.seek(archive.seek.offsets[here[0]] + 50)
        written.write(b"damage" * 10)
    assert [one["archive"] for one in verify()["damaged"]] == [name]
    assert [one["repair"]["settled"] for one in verify("--repair")["damaged"]] == [True]
    assert verify()["damaged"] == []
    # A view that nobody needs goes, with what of it was fetched.
    found = collect(remote.places, Limits())
    assert found is not None
    assert name not in found.archives  # it came within the last minutes
    for directory in (remote.places.store / "partial", remote.places.state / "manifests"):
        for left in directory.iterdir():
            os.utime(left, (1, 1))
    monkeypatch.setattr(unionfs.upkeep.collect, "ON_ITS_WAY", 0.0)
    forked().run(["umount"], cwd=remote.directory, environ=os.environ, seconds=60)
    for pid in remote.fetchers():
        os.kill(pid, 9)
    until(lambda: not remote.fetchers())
    collect(remote.places, Limits())
    assert name not in partials.names()
