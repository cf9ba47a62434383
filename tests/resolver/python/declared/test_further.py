"""What counts beside files at fixed names: each change of it is another situation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from resolver import remembered
from resolver.python.declared.further import situation_of
from resolver.python.project import project_at, project_of_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = '[project]\nname = "a"\nversion = "1"\n'
DYNAMIC = (
    HEAD + 'dynamic = ["dependencies"]\n'
    '[tool.setuptools.dynamic]\ndependencies = {file = ["one.txt", "two.txt"]}\n'
)


@pytest.fixture
def key(tmp_path: Path, isolated_places: object) -> Callable[[str], str | None]:
    del isolated_places

    def found(directory: str) -> str | None:
        project = project_at(os.fspath(tmp_path / directory))
        assert project is not None
        situation = situation_of(project, (), (), (), tmp_path / "state")
        return None if situation is None else situation.here

    return found


def other(directory: Path) -> str:
    """The key that a clone has which nobody has looked at."""
    state = os.fspath(directory / "no-state")
    found = remembered.situation(os.fspath(directory), state, (), (), os.environ)
    assert found is not None
    return found.anywhere


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)


def test_what_a_dynamic_field_names(tmp_path: Path, key: Callable[[str], str | None]) -> None:
    write(tmp_path / "a", pyproject_toml=DYNAMIC, one_txt="b\n")
    found = [key("a")]
    for name, text in (("two_txt", "c\n"), ("one_txt", "d\n"), ("uv_toml", "")):
        write(tmp_path / "a", **{name: text})
        found.append(key("a"))
    assert None not in found
    assert len(set(found)) == len(found)
    # A variable in it may be another file tomorrow.
    write(tmp_path / "a", one_txt="-r ${HOME}/more.txt\n")
    assert key("a") is None
    write(tmp_path / "b", requirements_txt="-r more.in\n", more_in="${HOME}/x.whl\n")
    assert key("b") is None


def test_what_lies_above(tmp_path: Path, key: Callable[[str], str | None]) -> None:
    write(tmp_path / "a", pyproject_toml="[tool.ruff]\n")
    write(tmp_path / "a/b", pyproject_toml=HEAD)
    found = [key("a/b")]
    write(tmp_path / "a", pyproject_toml="[tool.ruff]\n# edited\n")
    assert [key("a/b")] == found
    for text in ("[tool.uv]\nno-build-isolation = true\n", '["\\u0074ool"."\\u0075v"]\n'):
        write(tmp_path / "a", pyproject_toml=text)
        found.append(key("a/b"))
    write(tmp_path, uv_toml="")
    found.append(key("a/b"))
    assert None not in found
    assert len(set(found)) == len(found)
    # Another clone of it has no view that was made without settings above.
    (tmp_path / "uv.toml").unlink()
    write(tmp_path / "c/b", pyproject_toml=HEAD)
    anywhere = other(tmp_path / "c/b")
    write(tmp_path / "c", uv_toml="")
    assert other(tmp_path / "c/b") != anywhere
    write(tmp_path / "a", uv_lock="")  # perhaps a workspace's
    assert key("a/b") is None


def test_a_workspace_and_its_members(tmp_path: Path, key: Callable[[str], str | None]) -> None:
    top = tmp_path / "top"
    members = '[tool.uv.workspace]\nmembers = ["x/*"]\n'
    write(top, pyproject_toml=HEAD + members, uv_lock="version = 1\n")
    write(top / "x/one", pyproject_toml=HEAD)
    found = [(key("top"), key("top/x/one"))]
    for directory, name in (
        (top / "x/one", "pyproject_toml"), (top / "x/two", "pyproject_toml"), (top, "uv_lock"),
        (top, "_python-version"), (top / "x", "_python-version"),
        (top / "x/three", "pyproject_toml"),
    ):  # fmt: skip
        write(directory, **{name: f"# {len(found)}\n{HEAD if 'toml' in name else ''}"})
        found.append((key("top"), key("top/x/one")))
    for several in zip(*found, strict=True):
        assert None not in several
        assert len(set(several)) == len(several)
    write(top, pylock_toml='lock-version = "1.0"\n')
    before = key("top")
    write(top / "x/four", pyproject_toml=HEAD)
    assert before is not None
    assert key("top") not in {None, before}
    (top / "pylock.toml").unlink()
    for pattern in ("*/one", "/x/*"):
        write(top, pyproject_toml=HEAD + members.replace("x/*", pattern))
        assert key("top") is None, pattern


def test_a_script_and_a_path_dependency_are_for_none(
    tmp_path: Path, key: Callable[[str], str | None]
) -> None:
    write(tmp_path / "b", pyproject_toml=HEAD)
    write(tmp_path / "a", pyproject_toml=HEAD + '[tool.uv.sources]\nb = { path = "../b" }\n')
    assert key("a") is None
    script = tmp_path / "s.py"
    script.write_text("# /// script\n# dependencies = []\n# ///\n")
    project = project_of_script(script)
    assert project is not None
    assert situation_of(project, (), (), (), tmp_path / "state") is None
