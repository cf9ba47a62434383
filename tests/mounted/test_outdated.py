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


def has(shop: Site, directory: Path, *names: str, by: str = "run") -> str:
    """Which are there, by `run` or a program that starts; what was said."""
    code = "import importlib.util as u; print(*(n for n in %r if u.find_spec(n)))"
    words = ("-c", code % (["alpha", "beta", "gamma", "delta"],))
    if by == "run":
        done = shop.pkgview("run", "python", *words, cwd=directory)
    else:
        done = shop.run(shop.places.mount / "bin/python", *words, cwd=directory)
    assert done.stdout.split() == list(names)
    return done.stderr


LISTS = '[project.optional-dependencies]\nmore = ["beta"]\n[dependency-groups]\n'


def test_what_the_files_do_not_define_is_passed_over_until_they_do(
    shop: Site, index: Index
) -> None:
    """As on a branch that has no such group: nobody has asked for it there."""
    for name in ("alpha", "beta", "gamma", "delta"):
        index.wheel(name)
    directory = shop.project("project")
    pyproject = directory / "pyproject.toml"
    pyproject.write_text(plain := PYPROJECT % ["alpha"])
    (directory / ".python-version").write_text(f"{shop.python}\n")
    # A default group is not asked for by who adds to it, any other is.
    shop.uv("lock", "--python", shop.python, cwd=directory)
    shop.pkgview("up", cwd=directory)
    shop.pkgview("add", "--dev", "gamma", cwd=directory)
    has(shop, directory, "alpha", "gamma")
    assert "Without" not in shop.pkgview("up", cwd=directory).stderr
    shop.pkgview("add", "--group", "lint", "delta", cwd=directory)
    branch = pyproject.read_bytes(), (directory / "uv.lock").read_bytes()
    has(shop, directory, "alpha", "gamma", "delta")
    pyproject.write_text(plain)
    shop.uv("lock", "--python", shop.python, cwd=directory)
    without = "Without --group lint, which the last `up` had: the project has no such one now."
    assert without in has(shop, directory, "alpha", by="mount")
    assert not has(shop, directory, "alpha")
    shop.pkgview("add", "beta", cwd=directory)
    shop.pkgview("remove", "beta", cwd=directory)
    assert "Group `nope` is not defined" in (
        shop.pkgview("run", "--group", "nope", "true", cwd=directory, code=1).stderr
    )
    pyproject.write_bytes(branch[0])
    (directory / "uv.lock").write_bytes(branch[1])
    has(shop, directory, "alpha", "gamma", "delta")
    pyproject.write_text(plain)
    shop.uv("lock", "--python", shop.python, cwd=directory)
    assert "Without" not in shop.pkgview("up", cwd=directory).stderr


def test_all_that_there_are_is_a_wish_and_no_list_of_names(shop: Site, index: Index) -> None:
    for name in ("alpha", "beta", "gamma", "delta"):
        index.wheel(name)
    directory = shop.project("project")
    pyproject = directory / "pyproject.toml"
    plain = PYPROJECT % ["alpha"]
    (directory / ".python-version").write_text(f"{shop.python}\n")
    pyproject.write_text(plain + LISTS)
    shop.pkgview("up", "--all-groups", "--all-extras", "--no-dev", cwd=directory)
    has(shop, directory, "alpha", "beta")
    pyproject.write_text(plain + LISTS + 'test = ["gamma"]\ndev = ["delta"]\n')
    has(shop, directory, "alpha", "beta", "gamma")
    has(shop, directory, "alpha", "beta", "gamma", by="mount")
    pyproject.write_text(plain + LISTS + 'tests = ["gamma"]\n')
    has(shop, directory, "alpha", "beta", "gamma", by="mount")
    assert shop.pkgview("run", "true", cwd=directory).stderr == ""
    said = shop.pkgview("up", cwd=directory).stderr
    assert "Without --all-extras --all-groups --no-group dev, which the last `up` had" in said
    # What is run quickly does not miss what an `up` has asked for since.
    shop.pkgview("run", "--with", "delta", "true", cwd=directory)
    shop.pkgview("up", "--extra", "more", cwd=directory)
    code = "import beta, delta"
    shop.pkgview("run", "--with", "delta", "python", "-c", code, cwd=directory)

    # The same for a lock of our own.
    pyproject.write_text(plain + LISTS + 'tests = ["gamma"]\n')
    shop.pkgview("lock", "--all-groups", "--extra", "more", cwd=directory)
    shop.pkgview("up", cwd=directory)
    has(shop, directory, "alpha", "beta", "gamma")
    pyproject.write_text(plain + '[dependency-groups]\ntests = ["gamma"]\nlint = ["delta"]\n')
    shop.pkgview("up", cwd=directory)
    has(shop, directory, "alpha", "gamma", "delta")
