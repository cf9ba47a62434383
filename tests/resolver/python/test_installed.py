"""Which Pythons a look at somebody's project may run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from resolver.errors import PkgviewError
from resolver.python.discovery import find_interpreter
from resolver.python.installed import is_installed, named_installation, without_projects
from resolver.python.project import PythonProject, find_project


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "tools").mkdir(parents=True)
    (home / "requirements.txt").touch()  # which makes no clone of all that its user has
    return home


@pytest.fixture
def clone(home: Path) -> PythonProject:
    (home / "clone/bin").mkdir(parents=True)
    (home / "clone/requirements.txt").touch()
    found = find_project(home / "clone")
    assert found is not None
    return found


def executable(path: Path, target: str | Path = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if target:
        path.symlink_to(target)
    else:
        path.write_text("#!/bin/false\n")
        path.chmod(0o755)
    return path


def environ(home: Path, *path: Path | str, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.pathsep.join(map(str, path)), **more}


def test_path_without_projects(home: Path, clone: PythonProject) -> None:
    other = home / "other"
    (other / ".venv/bin").mkdir(parents=True)
    (other / "pyproject.toml").touch()
    (home / "link").symlink_to(clone.root / "bin")
    env = environ(
        home, clone.root / "bin", home / "tools", home / "link", other / ".venv/bin", "/usr/bin",
        "relative", "", PYENV_ROOT=str(clone.root),
    )  # fmt: skip
    found = without_projects(env, clone)
    assert found["PATH"].split(os.pathsep) == [str(home / "tools"), "/usr/bin"]
    assert "PYENV_ROOT" not in found
    assert without_projects(env, None)["PATH"] == found["PATH"]
    mine = environ(home, PYENV_ROOT=str(home / ".pyenv"))
    assert without_projects(mine, clone)["PYENV_ROOT"] == mine["PYENV_ROOT"]


def test_what_is_of_one_clone_with_a_project(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for top, said in (home / "mono", True), (home / "aside", False):
        (top / "app").mkdir(parents=True)
        (top / "app/requirements.txt").touch()
        if said:
            (top / ".git").touch()
        beside = executable(top / "py/bin/python3.12").parent
        project = find_project(top / "app")
        env = environ(home, beside, home / "tools")
        kept = without_projects(env, project)["PATH"].split(os.pathsep)
        assert (str(beside) in kept, str(home / "tools") in kept) == (not said, True)
        assert is_installed(str(beside / "python3.12"), env) == (not said)
    # Below a place where root keeps programs, nothing need say so; home itself is no clone.
    monkeypatch.setattr("resolver.python.installed._SHARED", (str(home),))
    assert str(beside) not in without_projects(env, project)["PATH"].split(os.pathsep)
    assert str(home / "tools") in without_projects(env, project)["PATH"].split(os.pathsep)
    (home / ".git").touch()
    assert is_installed(str(beside / "python3.12"), env)
    # pyenv is a clone itself.
    pyenv = executable(home / ".pyenv/versions/3.12.1/bin/python3.12")
    (home / ".pyenv/.git").mkdir()
    assert is_installed(str(pyenv), env)


def named(asked: str, clone: PythonProject, *path: Path) -> str:
    env = without_projects(environ(clone.root.parent, *path), clone)
    return named_installation(asked, "it", clone, env)


@pytest.mark.parametrize(
    "asked", ["3", "3.12", "312", "cp312", "python3.12", "3.13t", "pypy3.10", "cpython-3.12"]
)
def test_versions_and_names(clone: PythonProject, asked: str) -> None:
    assert named(asked, clone) == asked


@pytest.mark.parametrize("asked", ["reboot", "rm", "pythonw.sh", "python3-config", "uv"])
def test_no_other_program(clone: PythonProject, asked: str) -> None:
    with pytest.raises(PkgviewError, match="no Python that you or root installed") as caught:
        named(asked, clone)
    assert f"pkgview trust {clone.root}" in caught.value.remedy


def test_a_path(home: Path, clone: PythonProject) -> None:
    tools = executable(home / "tools/python3.12")
    assert named("../tools/python3.12", clone, home / "tools") == str(tools)
    assert named(f"{home}/tools/python3.12", clone, home / "tools") == str(tools)
    pyenv = executable(home / ".pyenv/versions/3.12.1/bin/python3.12")
    assert named(str(pyenv), clone) == str(pyenv)
    # An environment of its own stands for what it was made from.
    executable(clone.root / "env/bin/python3", pyenv)
    assert named("./env", clone) == str(pyenv)
    assert named("env/bin/python3", clone) == str(pyenv)
    real = os.path.realpath("/usr/bin/python3")
    if Path(real).name.startswith("python") and Path(real).exists():
        executable(clone.root / "bin/python3", "/usr/bin/python3")
        assert named("bin/python3", clone) == real


def test_a_path_to_somewhere_else(home: Path, clone: PythonProject, tmp_path: Path) -> None:
    executable(clone.root / "own/python3.12")
    executable(home / "other/bin/python3.12")
    (home / "other/pyproject.toml").touch()
    executable(home / "downloads/python3.12")
    executable(home / "tools/false")
    executable(home / "tools/mono/bin/python3.12")  # no Python of PATH: only below it
    executable(clone.root / "python3", home / "downloads/python3.12")
    executable(clone.root / "python3.11", home / "tools/false")
    for asked in (
        "own/python3.12", "./python3", "./python3.11", "../other/bin/python3.12", "/bin/false",
        "../downloads/python3.12", "../tools/mono/bin/python3.12", str(tmp_path / "nothing"),
        "own/../own/python3.12",
    ):  # fmt: skip
        with pytest.raises(PkgviewError, match="no Python that you or root"):
            named(asked, clone, home / "tools", home / "other/bin")


def test_it_is_asked_for_that_only_where_somebody_looks(
    clone: PythonProject, tmp_path: Path
) -> None:
    (clone.root / ".python-version").write_text("bin/python3\n")
    executable(clone.root / "bin/python3", os.path.realpath(sys.executable))
    found = find_project(clone.root)
    assert found is not None
    state = tmp_path / "state"
    assert find_interpreter(found, None, state).executable
    env = environ(clone.root.parent, "/usr/bin")
    executable(clone.root / "own/python3", clone.root / "own/python3.12")
    executable(clone.root / "own/python3.12")
    (clone.root / ".python-version").write_text("own/python3\n")
    found = find_project(clone.root)
    with pytest.raises(PkgviewError, match="no Python that you or root"):
        find_interpreter(found, None, state, environ=env, lookup=True)


def test_what_user_or_root_have_installed(home: Path, clone: PythonProject) -> None:
    own = executable(clone.root / "bin/python3")
    aside = executable(home / "aside/python3")  # a clone's may lie where nothing says so
    here = executable(home / "tools/python3")
    managed = executable(home / ".local/share/uv/python/cpython-3.12/bin/python3.12")
    env = environ(home, clone.root / "bin", home / "tools")
    assert [is_installed(str(one), env) for one in (own, aside, here, managed)] == [
        *(False, False, True, True)
    ]
    assert is_installed("/usr/bin/python3", env)
    below = executable(home / "tools/mono/bin/python3")
    for path in (str(below), "/opt/mono/py/bin/python3", "/usr/local/src/mono/bin/python3"):
        assert not is_installed(path, env)
    # By its own path, and by where it leads.
    linked = executable(clone.root / "bin/python3.9", here)
    assert not is_installed(str(linked), env)
    assert not is_installed(str(executable(home / "tools/python3.9", aside)), env)
