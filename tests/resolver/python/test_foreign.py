from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resolver.python.foreign import EXPORTS, foreign, unread_lock
from resolver.python.project import find_project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("files", "said", "remedy"),
    [
        (
            {"pyproject.toml": "[tool.poetry]\nname = 'x'\n", "setup.py": ""},
            "poetry only",
            "poetry export",
        ),
        ({"pyproject.toml": "[tool.uv.workspace]\nmembers = []\n"}, "workspace", "uv lock"),
        ({"pyproject.toml": "[tool.flit.metadata]\n"}, "flit only", "PEP 621"),
        ({"pyproject.toml": "[tool.ruff]\n", "setup.py": ""}, "have to be run", "-e ."),
        ({"setup.cfg": "[metadata]\n"}, "setuptools only", "-e ."),
        (
            {"pyproject.toml": "[tool.ruff]\n", "Pipfile": ""},
            "pipenv's",
            "pipenv pylock --generate",
        ),
        ({"environment.yaml": ""}, "conda's", "requirements.txt"),
        ({"pixi.toml": ""}, "pixi's", "requirements.txt"),
        ({"pyproject.toml": "[project"}, "no [project] table", "Write one"),
    ],
)
def test_each_is_named_with_what_to_do(
    tmp_path: Path, files: dict[str, str], said: str, remedy: str
) -> None:
    inner = tmp_path / "src/deep"
    inner.mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for start in (tmp_path, inner, inner / "script.py"):
        found = foreign(start)
        assert found is not None
        assert said in found.said
        assert str(tmp_path) in found.said
        assert remedy in found.remedy


@pytest.mark.parametrize("name", EXPORTS)
def test_a_lock_that_nobody_reads(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    (tmp_path / "requirements.txt").write_text("")
    listed = find_project(tmp_path)
    assert listed is not None
    assert not unread_lock(listed)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "demo"\nversion = "1"\n')
    described = find_project(tmp_path)
    assert described is not None
    assert f"{name} is not read: `{EXPORTS[name]}`" in unread_lock(described)
    (tmp_path / name).unlink()
    assert not unread_lock(described)
