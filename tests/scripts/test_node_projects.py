"""`scripts/node-projects`: real projects of Node's beside npm."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).parents[2] / "scripts/node-projects"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_what_it_tries() -> None:
    projects = tomllib.loads(SCRIPT.with_name("node-projects.toml").read_text())
    assert len(projects) >= 10
    for name, project in projects.items():
        assert project["about"], name
        assert project["checks"], name
        assert "package.json" in project["files"], name
        for member in project.get("members", ()):
            assert f"{member}/package.json" in project["files"]
        if "serve" in project:
            text = project["files"][project["serve"]["file"]]
            assert project["serve"]["replace"][0] in text
    done = run("nothing")
    assert done.returncode == 2
    assert "no project nothing; there are react, express" in done.stderr


@pytest.mark.slow
@pytest.mark.fuse
@pytest.mark.network
def test_one_of_them(needs: Callable[..., None]) -> None:
    needs("node", "npm")
    done = run("express")
    assert done.returncode == 0, done.stdout
    assert "files, as npm made them" in done.stdout
    assert "Everything held" in done.stdout
