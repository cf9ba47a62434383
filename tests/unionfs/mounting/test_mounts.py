from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from unionfs.mounting import mounts

OURS = b"42 27 0:39 / /home/me/.pkgview ro,nosuid,nodev - fuse.pkgview pkgview ro,user_id=%d\n"


def line(number: int, parent: int, path: str, fstype: str = "tmpfs") -> bytes:
    """One line as seq_path(9) writes it: space, tab, newline and backslash escaped."""
    escaped = b"".join(
        b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in os.fsencode(path)
    )
    return b"%d %d 0:39 / %b rw shared:1 - %b none rw\n" % (
        number,
        parent,
        escaped,
        fstype.encode(),
    )


# The table


def test_a_line_is_read_field_by_field() -> None:
    (mount,) = mounts.parse(OURS % 1000)
    assert mount == mounts.Mount(
        number=42, parent=27, device=(0, 39), path=Path("/home/me/.pkgview"),
        fstype="fuse.pkgview", source="pkgview", owner=1000,
    )  # fmt: skip


def test_optional_fields_and_their_absence_are_skipped() -> None:
    with_two = b"1 2 8:1 / /a rw shared:1 master:2 - ext4 /dev/sda1 rw\n"
    assert [found.fstype for found in mounts.parse(with_two)] == ["ext4"]
    assert mounts.parse(with_two)[0].owner is None


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw))
def test_any_path_survives_the_kernels_escapes(name: bytes) -> None:
    path = "/" + os.fsdecode(name.replace(b"/", b"_"))
    (found,) = mounts.parse(line(1, 2, path))
    assert found.path == Path(path)


@given(st.binary())
def test_nonsense_is_left_out(content: bytes) -> None:
    mounts.parse(content)
    assert mounts.parse(b"\n" + content.replace(b"\n", b" ") + b"\n" + OURS % 0)[-1].number == 42


def test_the_uppermost_mount_counts_whatever_the_order() -> None:
    lower, upper = line(50, 1, "/m"), line(40, 50, "/m", "ext4")
    for content in (lower + upper, upper + lower):
        found = mounts.mounted_at(Path("/m"), mounts.parse(content))
        assert found is not None
        assert found.fstype == "ext4"
    assert mounts.mounted_at(Path("/elsewhere"), mounts.parse(lower)) is None


def test_only_this_users_mounts_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    (mount,) = mounts.parse(OURS % 1000)
    (tmpfs,) = mounts.parse(line(1, 2, "/m"))
    for uid, ours in ((1000, True), (0, True), (1001, False)):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        assert mount.ours is ours
        assert not tmpfs.ours


def test_the_running_kernels_table_is_read() -> None:
    assert Path("/proc") in [mount.path for mount in mounts.table()]


# Names of mount points


def test_links_on_the_way_and_at_the_end_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to("disk")
    (tmp_path / "disk" / "view").symlink_to(tmp_path / "disk" / "target")
    assert mounts.canonical(tmp_path / "home" / "view", []) == tmp_path / "disk" / "target"
    assert mounts.canonical(tmp_path / "home" / "absent", []) == tmp_path / "disk" / "absent"


def test_a_mount_point_is_not_touched(tmp_path: Path) -> None:
    """A link stands for the mount: following it shows that it was looked at."""
    (tmp_path / "view").symlink_to("elsewhere")
    there = mounts.parse(line(1, 2, os.fspath(tmp_path / "view")))
    assert mounts.canonical(tmp_path / "view", there) == tmp_path / "view"
    assert mounts.canonical(tmp_path / "view", []) == tmp_path / "elsewhere"


def test_a_loop_of_links_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(PkgviewError, match="loop of symbolic links"):
        mounts.canonical(tmp_path / "a", [])
