"""Whose directories and links lead to a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resolver.way import way_faults

ANOTHER = 61009


@pytest.fixture
def top(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def said(path: Path, *mounted: Path) -> list[str]:
    return [
        fault.said for fault in way_faults(os.fspath(path), os.geteuid(), set(map(str, mounted)))
    ]


def given(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give something away")
    os.chown(path, ANOTHER, ANOTHER, follow_symlinks=False)


def test_own_directories_and_what_is_missing(top: Path) -> None:
    (top / "own/view").mkdir(parents=True)
    for path in (top, top / "own/view", top / "missing/view", top / "own/../own/./view"):
        assert said(path) == []


def test_a_directory_on_the_way_that_others_may_write_to(top: Path) -> None:
    view = top / "open/own/view"
    view.mkdir(parents=True)
    (top / "open").chmod(0o777)
    assert said(view) == [f"everybody may write to {top}/open"]
    assert said(top / "open/own/missing/view") == [f"everybody may write to {top}/open"]
    # As /tmp: nobody can replace what is not theirs there.
    (top / "open").chmod(0o1777)
    assert said(view) == []
    assert said(top / "open") == [f"everybody may write to {top}/open"]


def test_a_group(top: Path) -> None:
    (top / "team/view").mkdir(parents=True)
    (top / "team").chmod(0o775)
    if os.geteuid() == 0:
        os.chown(top / "team", -1, ANOTHER)
        assert said(top / "team/view") == [f"group {ANOTHER} may write to {top}/team"]


def test_anothers_directory(top: Path) -> None:
    (top / "theirs/view").mkdir(parents=True)
    given(top / "theirs")
    assert said(top / "theirs/view") == [f"{top}/theirs belongs to user {ANOTHER}"]
    # Sticky is no help: its owner may do all.
    (top / "theirs").chmod(0o1777)
    assert said(top / "theirs/view") == [f"{top}/theirs belongs to user {ANOTHER}"]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_is_followed_through_what_it_passes(top: Path, *, absolute: bool) -> None:
    (top / "open/own").mkdir(parents=True)
    (top / "open").chmod(0o777)
    (top / "link").symlink_to(top / "open/own" if absolute else "./open/own")
    (top / "again").symlink_to("link/view")
    assert said(top / "link/view") == [f"everybody may write to {top}/open"]
    assert said(top / "again") == [f"everybody may write to {top}/open"]


def test_anothers_link(top: Path) -> None:
    (top / "own").mkdir()
    (top / "link").symlink_to("own")
    given(top / "link")
    assert said(top / "link/view") == [f"{top}/link belongs to user {ANOTHER}"]


def test_a_loop(top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")
    assert said(top / "a/view") == [f"{top}/a/view is a loop of symbolic links"]


def test_a_mount_point_is_not_touched(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = top / "view"
    view.mkdir(mode=0o777)
    view.chmod(0o777)
    looked: list[str] = []
    lstat = os.lstat

    def seen(path: str) -> os.stat_result:
        looked.append(path)
        return lstat(path)

    monkeypatch.setattr(os, "lstat", seen)
    assert said(view, view) == []
    assert os.fspath(view) not in looked
    assert os.fspath(top) in looked
    # What lies below one is no mount point's own.
    assert said(view / "below", view) == [f"everybody may write to {view}"]


def test_whom_a_user_namespace_calls_nobody_may_be_root(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
    (top / "view").mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can give something away")
    os.chown(top, nobody, nobody)
    assert said(top / "view") == [f"{top} belongs to user {nobody}"]
    import builtins  # noqa: PLC0415 - here alone

    real = open

    def opened(file: object, *args: object, **options: object) -> object:
        if file == "/proc/self/uid_map":
            file = top / "map"
        return real(file, *args, **options)  # type: ignore[call-overload]

    (top / "map").write_text("         0       1000          1\n")
    monkeypatch.setattr(builtins, "open", opened)
    assert said(top / "view") == []
