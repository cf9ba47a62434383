"""A lock that the project's files have outdated, as the person meets it who edited them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PYPROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = %s\n'


def test_added_dependency_is_there_whatever_is_run_next(shop: Site, index: Index) -> None:
    for name in ("alpha", "beta", "gamma"):
        index.wheel(name)
    directory = shop.project("project")
    pyproject = directory / "pyproject.toml"
    python = directory / ".venv/bin/python"

    def asks(*names: str) -> None:
        pyproject.write_text(PYPROJECT % list(names))

    def imports(*names: str, program: Path = python, code: int = 0) -> str:
        return shop.run(
            program, "-c", f"import {', '.join(names)}", cwd=directory, code=code
        ).stderr

    asks("alpha")
    shop.uv("lock", "--python", shop.python, cwd=directory)
    lock = directory / "uv.lock"
    (directory / ".python-version").write_text(f"{shop.python}\n")
    shop.pkgview("up", cwd=directory)
    assert "Nothing to do" in shop.pkgview("up", "--locked", cwd=directory).stderr
    before = lock.read_bytes()

    asks("alpha", "beta")
    # Who only starts a program changes no file; it is there all the same.
    said = imports("alpha", "beta", program=shop.places.mount / "bin/python")
    assert f"{lock} is outdated (pyproject.toml asks for beta)" in said
    assert "is outdated" not in imports("beta", program=shop.places.mount / "bin/python")
    said = shop.pkgview("up", "--locked", cwd=directory, code=1).stderr
    assert f"{lock} is outdated: pyproject.toml asks for beta" in said
    assert "Without --locked it is refreshed." in said
    shop.pkgview("up", "--frozen", cwd=directory)
    assert "No module named 'beta'" in imports("beta", code=1)
    assert "Nothing to do" in shop.pkgview("up", "--frozen", cwd=directory).stderr
    assert lock.read_bytes() == before
    said = shop.pkgview("up", cwd=directory).stderr
    assert f"{lock.name} was outdated, and is refreshed.\n + beta 1.0\n" in said
    assert said.count("beta") == 1
    imports("alpha", "beta")
    assert "Nothing to do" in shop.pkgview("up", "--locked", cwd=directory).stderr

    asks("alpha", "beta", "gamma")
    command = ("--", "python", "-c", "import alpha, beta, gamma")
    said = shop.pkgview("run", *command, cwd=directory).stderr
    assert "is refreshed.\nIn the lock: + gamma 1.0.\n" in said
    assert not shop.pkgview("run", *command, cwd=directory).stderr

    # Another clone of it has a lock that is good.
    clone = shop.home / "clone"
    shutil.copytree(directory, clone, symlinks=True)
    (clone / ".venv").unlink()
    assert "refreshed" not in shop.pkgview("up", cwd=clone).stderr


def test_only_up_decides_and_all_else_repeats_it(shop: Site, index: Index) -> None:
    for name in ("alpha", "beta", "gamma"):
        index.wheel(name)
    index.wheel("alpha", "2.0")
    directory = shop.project("project")
    pyproject = directory / "pyproject.toml"
    extra = '[project.optional-dependencies]\nmore = ["beta"]\n'
    pyproject.write_text(PYPROJECT % ["alpha<2"] + extra)
    python = str(shop.python)
    first = shop.pkgview("up", "--extra", "more", "--python", python, cwd=directory).stderr
    assert " + " not in first  # there is nothing to compare it with

    pyproject.write_text(PYPROJECT % ["alpha", "gamma"] + extra)
    command = ("--", "python", "-c", "import alpha, beta, gamma")
    said = shop.pkgview("run", *command, cwd=directory).stderr
    assert "Without" not in said
    shop.run(shop.places.mount / "bin/python", "-c", "import beta, gamma", cwd=directory)
    # The link follows what is run, as with `uv run`.
    shop.run(directory / ".venv/bin/python", "-c", "import alpha, beta, gamma", cwd=directory)

    said = shop.pkgview("up", "--upgrade-package", "alpha", cwd=directory).stderr
    assert f"Without --python {python} --extra more, which the last `up` had: " in said
    lines = [line for line in said.splitlines() if line.startswith(" ")]
    assert lines == [" ~ alpha 1.0 \N{RIGHTWARDS ARROW} 2.0", " - beta"]
    said = shop.pkgview("up", cwd=directory).stderr
    assert "Nothing to do" in said
    assert "Without" not in said

    said = shop.pkgview("list", "--format", "freeze", cwd=directory).stdout
    assert said == "alpha==2.0\ngamma==1.0\n"
    assert shop.pkgview("outdated", "--json", cwd=directory).stdout == "[]\n"
    index.wheel("gamma", "1.1")
    (one,) = json.loads(shop.pkgview("outdated", "--json", cwd=directory).stdout)
    assert (one["name"], one["version"], one["latest_version"]) == ("gamma", "1.0", "1.1")
    assert "gamma v1.0" in shop.pkgview("tree", cwd=directory).stdout
