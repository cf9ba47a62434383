"""Room is counted as it is taken, on a file system that is nearly full, too."""

from __future__ import annotations

import io
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.deputies import room as module
from unionfs.deputies.room import LEAST, PART, RESERVE, Measured, Room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resolver.places import Places

UID = 61009
MIB = 1 << 20
VIEW = ViewId("ab" * 16)


def archive(number: int) -> str:
    return f"it-1.{number:064x}.tar.zst"


@pytest.fixture
def small(isolated_places: Places, tmp_path: Path) -> Iterator[Places]:
    """A store on a disk with 64 MiB above the reserve."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={RESERVE + 64 * MIB}", "tmpfs", disk], check=True
    )
    try:
        yield replace(isolated_places, store=disk / "store")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_the_reserve_is_looked_at_while_it_is_written(small: Places) -> None:
    room = Room(small, UID)
    with pytest.raises(PkgviewError, match="no room left"):
        room.check(65 * MIB, "it")
    room.check(60 * MIB, "it")
    file = Measured(io.BytesIO(bytes(60 * MIB)), "it", 60 * MIB, room)
    with (small.store / "copy").open("wb") as out:
        out.write(file.read(10 * MIB))
        # Somebody else, or another copy, takes what there was.
        (small.store / "other").write_bytes(bytes(50 * MIB))
        with pytest.raises(PkgviewError, match="no room left"):
            out.writelines(iter(lambda: file.read(MIB), b""))
    there = os.statvfs(small.store)
    assert there.f_bavail * there.f_frsize >= RESERVE


def test_a_file_that_grew_is_no_longer_read(isolated_places: Places) -> None:
    room = Room(isolated_places, UID)
    file = Measured(io.BytesIO(bytes(3 * MIB)), "it", 2 * MIB, room)
    assert len(file.read(MIB)) + len(file.read(MIB)) == 2 * MIB
    with pytest.raises(PkgviewError, match="grew while"):
        file.read(MIB)
    whole = Measured(io.BytesIO(bytes(MIB)), "it", MIB, room)
    assert (len(whole.read(2 * MIB)), whole.read(MIB)) == (MIB, b"")


def test_a_view_has_its_limit(isolated_places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_VIEW", 4 * MIB)
    room = Room(isolated_places, UID)
    room.take(3 * MIB, "it")
    with pytest.raises(PkgviewError, match="view is larger"):
        room.take(2 * MIB, "it")
    Room(isolated_places, UID).take(2 * MIB, "another")


def test_a_user_has_a_limit_over_all_views_until_they_are_collected(
    isolated_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_USER", 10 * MIB)
    names = [archive(number) for number in range(3)]
    Room(isolated_places, UID).note(VIEW, names)
    # What did not come takes nothing.
    Room(isolated_places, UID).check(9 * MIB, "it")
    directory = isolated_places.store / "archives"
    directory.mkdir()
    for name in names:
        with (directory / name).open("wb") as file:
            file.truncate(3 * MIB)
    with pytest.raises(PkgviewError, match=f"user {UID} has as much") as caught:
        Room(isolated_places, UID).check(2 * MIB, "it")
    assert "pkgview gc" in caught.value.remedy
    Room(isolated_places, UID + 1).check(9 * MIB, "it")
    (directory / names[0]).unlink()
    Room(isolated_places, UID).check(2 * MIB, "it")
    Room(isolated_places, UID).note(VIEW, [archive(9)])
    ledger = (isolated_places.state / "adopted" / str(UID)).read_text("ascii")
    assert ledger.split() == [*names[1:], VIEW, archive(9)]


def test_small_files_count_for_what_they_cost(
    isolated_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_USER", 10 * LEAST)
    directory = isolated_places.state / "manifests"
    directory.mkdir(parents=True)
    for number in range(10):
        view = ViewId(f"{number:032x}")
        (directory / f"{view}.json").write_bytes(b"{}")
        Room(isolated_places, UID).note(view, [])
    with pytest.raises(PkgviewError, match="has as much"):
        Room(isolated_places, UID).check(1, "it")


def test_no_user_may_fill_a_small_disk(small: Places) -> None:
    with pytest.raises(PkgviewError, match="has as much"):
        Room(small, UID).check((RESERVE + 64 * MIB) // PART + MIB, "it")
