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
        ({"Pipfile.lock": ""}, "Pipfile.lock is a lock of pipenv's", "`pipenv pylock --generate`"),
        ({"poetry.lock": ""}, "poetry.lock is a lock of poetry's", "`poetry export"),
        ({"pdm.lock": ""}, "pdm.lock is a lock of pdm's", "`pdm export"),
        ({"pylock.dev.toml": ""}, "called pylock.toml", "`ln -s pylock.dev.toml pylock.toml`"),
        ({"conda-lock.yml": ""}, "conda-lock.yml is conda's", "requirements.txt"),
        ({"requirements.in": ""}, "requirements.in is what", "uv pip compile requirements.in"),
        ({"requirements-dev.txt": ""}, "is not picked", "line `-r requirements-dev.txt`"),
        ({"dev-requirements.txt": ""}, "is not picked", "line `-r dev-requirements.txt`"),
        (
            {"requirements/base.txt": "", "requirements/dev.txt": ""},
            "is not picked",
            "line `-r requirements/base.txt`",
        ),
        ({"pyproject.toml": "[tool.pixi.project]\n"}, "pixi only", "which pixi reads too"),
        ({"pyproject.toml": "[tool.rye]\nmanaged = true\n"}, "rye's", "PEP 621"),
        ({"pyproject.toml": "[tool.hatch.envs.default]\n"}, "hatch only", "dependency groups"),
        (
            {"pyproject.toml": "[dependency-groups]\ndev = ['x']\n"},
            "dependency groups, and no",
            "empty requirements.txt",
        ),
    ],
)
def test_each_is_named_with_what_to_do(
    tmp_path: Path, files: dict[str, str], said: str, remedy: str
) -> None:
    inner = tmp_path / "src/deep"
    inner.mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for start in (tmp_path, inner, inner / "script.py"):
        found = foreign(start)
        assert found is not None
        assert said in found.said
        assert str(tmp_path) in found.said
        assert remedy in found.remedy


def test_names_that_no_command_shows(tmp_path: Path) -> None:
    (tmp_path / "pylock.$(halt).toml").write_text("")
    assert foreign(tmp_path) is None


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
