from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs.publishing import link

if TYPE_CHECKING:
    from pathlib import Path

VIEW = ViewId("0" * 32)
OTHER = ViewId("1" * 32)


def test_makes_moves_and_takes_away(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    assert link.link(tmp_path / ".venv", mount, VIEW, force=False) is None
    assert link.is_linked(tmp_path / ".venv", mount, VIEW)
    assert not link.is_linked(tmp_path / ".venv", mount, OTHER)
    link.link(tmp_path / ".venv", mount, OTHER, force=False)
    assert os.readlink(tmp_path / ".venv") == f"{mount}/views/{OTHER}"
    assert link.unlink(tmp_path / ".venv", mount)
    assert not link.unlink(tmp_path / ".venv", mount)
    assert os.listdir(tmp_path) == []


def test_a_real_environment_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/precious").write_text("x")
    with pytest.raises(PkgviewError, match="not pkgview's"):
        link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=False)
    with pytest.raises(PkgviewError, match="left alone"):
        link.unlink(tmp_path / ".venv", tmp_path / "mount")
    aside = link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=True)
    assert aside is not None
    assert (aside / "precious").read_text() == "x"


@pytest.mark.parametrize(
    "target", ["/usr", "env", "/home/me/views/env", f"/home/me/{VIEW}", f"views/{VIEW}/bin"]
)
def test_a_foreign_link_is_foreign(tmp_path: Path, target: str) -> None:
    (tmp_path / ".venv").symlink_to(target)
    with pytest.raises(PkgviewError, match="not pkgview's"):
        link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=False)
    assert os.readlink(tmp_path / ".venv") == target


@pytest.mark.parametrize("mount", ["/home/me/.pkgview", "/scratch/elsewhere"])
def test_a_link_into_a_mount_that_moved_is_ours(tmp_path: Path, mount: str) -> None:
    (tmp_path / ".venv").symlink_to(f"{mount}/views/{OTHER}")
    assert link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=False) is None
    assert link.is_linked(tmp_path / ".venv", tmp_path / "mount", VIEW)


def test_force_twice_keeps_both(tmp_path: Path) -> None:
    for content in ("one", "two"):
        (tmp_path / ".venv").unlink(missing_ok=True)
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv/f").write_text(content)
        link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=True)
    kept = sorted(path.read_text() for path in tmp_path.glob(".venv.before-pkgview*/f"))
    assert kept == ["one", "two"]


def test_what_a_killed_process_left_is_used_up(tmp_path: Path) -> None:
    (tmp_path / ".venv.pkgview-new").symlink_to(f"/elsewhere/views/{OTHER}")
    link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=False)
    assert link.is_linked(tmp_path / ".venv", tmp_path / "mount", VIEW)
    assert os.listdir(tmp_path) == [".venv"]


def test_many_at_once_all_succeed(tmp_path: Path) -> None:
    views = [ViewId(f"{number:032x}") for number in range(8)]
    failures: list[BaseException] = []

    def work(view: ViewId) -> None:
        try:
            for _ in range(50):
                link.link(tmp_path / ".venv", tmp_path / "mount", view, force=False)
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(view,)) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert any(link.is_linked(tmp_path / ".venv", tmp_path / "mount", view) for view in views)
    assert set(os.listdir(tmp_path)) <= {".venv", ".venv.pkgview-new"}


def test_one_that_another_always_forestalls_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = os.symlink
    turns: list[str] = []

    def forestalled(target: str, name: str) -> None:
        turns.append(target)
        made(f"/elsewhere/views/{OTHER}", name)
        made(target, name)

    monkeypatch.setattr(os, "symlink", forestalled)
    link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=False)
    assert len(turns) == 2
    assert os.readlink(tmp_path / ".venv") == f"/elsewhere/views/{OTHER}"
    assert os.listdir(tmp_path) == [".venv"]


def test_what_was_set_aside_comes_back_if_the_link_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".venv").mkdir()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)  # as on vfat
    with pytest.raises(PkgviewError, match=r"cannot link .*Operation not permitted"):
        link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=True)
    assert os.listdir(tmp_path) == [".venv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_not_writable(tmp_path: Path) -> None:
    link.link(tmp_path / ".venv", tmp_path / "mount", VIEW, force=False)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PkgviewError, match="Permission denied"):
            link.unlink(tmp_path / ".venv", tmp_path / "mount")
    finally:
        tmp_path.chmod(0o755)
