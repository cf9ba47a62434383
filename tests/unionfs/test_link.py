from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from unionfs import link

if TYPE_CHECKING:
    from pathlib import Path

VIEW = ViewId("0" * 32)
OTHER = ViewId("1" * 32)


def test_makes_moves_and_takes_away(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    assert link.link(tmp_path, mount, VIEW, force=False) is None
    assert link.is_linked(tmp_path, mount, VIEW)
    link.link(tmp_path, mount, OTHER, force=False)
    assert os.readlink(tmp_path / ".venv") == f"{mount}/views/{OTHER}"
    assert link.unlink(tmp_path, mount)
    assert not link.unlink(tmp_path, mount)
    assert os.listdir(tmp_path) == []


def test_a_real_environment_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/precious").write_text("x")
    with pytest.raises(PkgviewError, match="not pkgview's"):
        link.link(tmp_path, tmp_path / "mount", VIEW, force=False)
    with pytest.raises(PkgviewError, match="left alone"):
        link.unlink(tmp_path, tmp_path / "mount")
    aside = link.link(tmp_path, tmp_path / "mount", VIEW, force=True)
    assert aside is not None
    assert (aside / "precious").read_text() == "x"


def test_a_foreign_link_is_foreign(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to("/usr")
    with pytest.raises(PkgviewError, match="not pkgview's"):
        link.link(tmp_path, tmp_path / "mount", VIEW, force=False)
    assert os.readlink(tmp_path / ".venv") == "/usr"


def test_force_twice_keeps_both(tmp_path: Path) -> None:
    for content in ("one", "two"):
        (tmp_path / ".venv").unlink(missing_ok=True)
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv/f").write_text(content)
        link.link(tmp_path, tmp_path / "mount", VIEW, force=True)
    kept = sorted(path.read_text() for path in tmp_path.glob(".venv.before-pkgview*/f"))
    assert kept == ["one", "two"]
