"""Settings are read once for one view, and as often as they are asked for everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver.inputs import current_look
from resolver.looks import Look
from resolver.python.index import uv_environment
from resolver.python.uv.once import once, read_anew, settings_read_once
from resolver.python.uv.settings import effective

if TYPE_CHECKING:
    from pathlib import Path


def _set(project: Path, value: str) -> None:
    (project / "uv.toml").write_text(f'resolution = "{value}"\n', "utf-8")


def _said(project: Path) -> object:
    return effective({"HOME": str(project)}, project).get("resolution")


def test_settings_are_read_once_within_and_anew_after_that(tmp_path: Path) -> None:
    _set(tmp_path, "lowest")
    with settings_read_once():
        assert _said(tmp_path) == "lowest"
        _set(tmp_path, "highest")
        with settings_read_once():
            assert _said(tmp_path) == "lowest"
        read_anew()
        assert _said(tmp_path) == "highest"
        _set(tmp_path, "lowest-direct")
    assert _said(tmp_path) == "lowest-direct"


def test_a_look_reads_for_itself(tmp_path: Path) -> None:
    """What it may not touch, it does not get to know from who could."""
    _set(tmp_path, "lowest")
    with settings_read_once():
        assert _said(tmp_path) == "lowest"
        _set(tmp_path, "highest")
        with Look(lambda _: False, lambda *_: False):
            assert current_look() is not None
            assert _said(tmp_path) == "highest"
        assert _said(tmp_path) == "lowest", "and keeps nothing for others"


def test_askers_are_not_mixed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    with settings_read_once():
        added = uv_environment(tmp_path)
        added["UV_HTTP_TIMEOUT"] = "1"
        assert uv_environment(tmp_path)["UV_HTTP_TIMEOUT"] == "7", "its reader has a copy"
        assert "UV_HTTP_TIMEOUT" not in uv_environment(tmp_path, {"HOME": str(tmp_path)})


def test_a_failure_is_not_kept() -> None:
    def fail() -> int:
        raise ValueError("gone")

    with settings_read_once():
        with pytest.raises(ValueError, match="gone"):
            once("failure", fail)
        assert once("failure", lambda: 1) == 1
