from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from unionfs.mounting import prerequisites

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# Preparing


def test_a_missing_mount_point_is_made_private(tmp_path: Path) -> None:
    prerequisites.prepare(tmp_path / "deep" / "view")
    assert stat.S_IMODE((tmp_path / "deep" / "view").stat().st_mode) == 0o700
    prerequisites.prepare(tmp_path / "deep" / "view")


def test_contents_would_be_hidden(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "a\x1b[2J").touch()
    with pytest.raises(PkgviewError, match=r"hide 'a\\x1b\[2J' and 1 more"):
        prerequisites.prepare(tmp_path)


def test_a_file_is_no_mount_point_nor_is_anything_below_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(PkgviewError, match="no directory") as caught:
            prerequisites.prepare(path)
        assert "PKGVIEW_MOUNT" in caught.value.remedy


def test_a_read_only_home_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(PkgviewError, match="Read-only file system") as caught:
        prerequisites.prepare(tmp_path / "view")
    assert "PKGVIEW_MOUNT" in caught.value.remedy


def test_somebody_elses_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PkgviewError, match="belongs to uid") as caught:
        prerequisites.prepare(tmp_path)
    assert "set PKGVIEW_MOUNT" in caught.value.remedy


# Preflight


def refusing(number: int) -> Callable[..., int]:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("number", "inside", "sentence", "remedy"),
    [
        (errno.ENOENT, False, "does not exist", "sudo modprobe fuse"),
        (errno.ENOENT, True, "does not exist", "--device /dev/fuse"),
        (errno.ENODEV, False, "has no driver", "sudo modprobe fuse"),
        (errno.EACCES, False, "Permission denied", "chmod 666 /dev/fuse"),
        (errno.EPERM, True, "not permitted", "--cap-add SYS_ADMIN"),
    ],
)
def test_a_device_that_cannot_be_opened_is_explained(
    monkeypatch: pytest.MonkeyPatch, number: int, *, inside: bool, sentence: str, remedy: str
) -> None:
    monkeypatch.setattr(os, "open", refusing(number))
    monkeypatch.setattr(prerequisites, "_in_container", lambda: inside)
    with pytest.raises(PkgviewError, match=sentence) as caught:
        prerequisites.preflight()
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("status", "program", "uid", "sentence"),
    [
        ({"CapEff": "0"}, None, 1000, "fusermount3 is not installed"),
        ({"CapEff": "00000000a80425fb"}, None, 0, "no CAP_SYS_ADMIN"),
        ({"CapEff": "0", "NoNewPrivs": "1"}, "/bin/fusermount3", 1000, "no_new_privs"),
        ({"CapEff": "0", "NoNewPrivs": "0"}, "/bin/fusermount3", 65534, ""),
        ({"CapEff": "0"}, "/bin/fusermount3", 4_000_000_000, "has no name"),
        ({"CapEff": "000001fffeffffff"}, None, 0, ""),
    ],
)
def test_who_may_mount(
    monkeypatch: pytest.MonkeyPatch,
    status: dict[str, str],
    program: str | None,
    uid: int,
    sentence: str,
) -> None:
    monkeypatch.setattr(os, "open", lambda *_: os.dup(0))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(prerequisites, "_own_status", lambda: status)
    monkeypatch.setattr(shutil, "which", lambda _: program)
    if not sentence:
        prerequisites.preflight()
        return
    with pytest.raises(PkgviewError, match=sentence) as caught:
        prerequisites.preflight()
    assert caught.value.remedy
