"""`.python-version` as people's tools write it, beside what uv says of the same file."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.discovery import MissingPythonError, find_interpreter
from resolver.python.project import find_project, project_of_script
from resolver.python.uv.request import VersionRequest, pinned, version_request
from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from resolver.places import Places

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
FULL = ".".join(map(str, sys.version_info[:3]))
MACHINE = os.uname().machine

ELSEWHERE = "aarch64" if os.uname().machine == "x86_64" else "x86_64"

READ = [
    "3", MINOR, FULL, f"v{MINOR}", f"cp{MINOR.replace('.', '')}", f"cp{MINOR}", f"python{MINOR}",
    f"cpython@{MINOR}", f"cpython-{MINOR}", f"cpython-{FULL}-linux-{os.uname().machine}-gnu",
    f"{MINOR}-linux", f"CPython{MINOR}", f"  {MINOR}\t", ">=3.10,<4", ">=3.10, !=3.10.99",
    f"~={MINOR}.0", f"=={MINOR}.*", "any", "default", "cpython", f"\n\n{MINOR}\n3.99\n",
    f"# ours\n{MINOR}", f"{MINOR}\r\n3.99\r\n", "any\n3.99",
]  # fmt: skip
"""What this Python is an answer to."""

PASSED_OVER = [
    "my-env-3.11", "system", "3.12-dev", "3.x", "3.11.*", "pypy3.10-7.3.12", "miniconda3-latest",
    "myproject", "3.11:latest", "latest", "stackless-3.7.5", "anaconda3-2023.09-0", "ref:v3.11",
    "3.11 3.12", "3_11", f"system\n{MINOR}", f"3.10.x\n{MINOR}", f"{MINOR} # ours", "3.99#",
    f"python-{FULL}", "python", f"{MINOR}\r3.99", "\N{BYTE ORDER MARK}3.99",
    "\N{FULLWIDTH DIGIT THREE}.99", "3.\N{FULLWIDTH DIGIT NINE}", "pypython3.11", "3.99\x0c3.99",
]  # fmt: skip
"""Lines that name nothing for uv, nor for us."""

FOREIGN_PATHS = ["3.99/envs/web", "path:~/src/python", "path:/none", f"envs/web\n{MINOR}"]
"""What uv takes for a path and gives up at, and we pass over."""

MISSING = [
    "3.99", "3.99.1", "cp399", "3.99t", "3.99+freethreaded", ">=3.99", "3.99rc1", "3.99\n3.11",
    f"{MINOR}-linux-{ELSEWHERE}", "./none/python",
]  # fmt: skip
"""What is read, and is not here."""


def uvs(directory: Path) -> tuple[bool, bool]:
    """Whether uv finds a Python by the file, and whether it has passed over something."""
    path = os.fspath(Path(os.path.realpath(sys.executable)).parent)
    ended = subprocess.run(
        [uv_binary(), "python", "find", "--offline"], cwd=directory, check=False, text=True,
        env={"PATH": path, "HOME": os.fspath(directory), "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
    )  # fmt: skip
    return not ended.returncode, "Ignoring unsupported Python request" in ended.stderr


def ours(directory: Path, places: Places) -> tuple[bool, bool]:
    project = find_project(directory)
    assert project
    path = os.fspath(Path(os.path.realpath(sys.executable)).parent)
    environ = {"PATH": path, "HOME": os.fspath(directory)}
    try:
        find_interpreter(project, None, places.state, environ=environ)
    except PkgviewError as error:
        return ".python-version" not in str(error), bool(project.pins_remark)
    return True, bool(project.pins_remark)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, (True, False)) for text in READ),
        *((text, (True, True)) for text in PASSED_OVER),
        *((text, (False, False)) for text in MISSING),
    ],
)
def test_it_is_read_as_by_uv(
    tmp_path: Path, isolated_places: Places, text: str, expected: tuple[bool, bool]
) -> None:
    (tmp_path / "requirements.txt").touch()
    (tmp_path / ".python-version").write_bytes(text.encode())
    assert uvs(tmp_path) == ours(tmp_path, isolated_places) == expected


@pytest.mark.parametrize("text", FOREIGN_PATHS)
def test_what_other_tools_mean_by_a_path(
    tmp_path: Path, isolated_places: Places, text: str
) -> None:
    (tmp_path / "requirements.txt").touch()
    (tmp_path / ".python-version").write_text(text)
    assert uvs(tmp_path) == (False, False)
    assert ours(tmp_path, isolated_places) == (True, True)


PROJECT = "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.10'\n"
ABOVE: dict[str, tuple[dict[str, str], str, bool]] = {
    "of a directory with requirements": ({"a/requirements.txt": ""}, "a", True),
    "further up": ({"a/b/requirements.txt": ""}, "a/b", True),
    "of a project": ({"a/pyproject.toml": PROJECT}, "a", False),
    "of a project that uv leaves alone": (
        {"a/pyproject.toml": f"{PROJECT}[tool.uv]\nmanaged = false\n"}, "a", True
    ),
    "of what has settings": (
        {"a/pyproject.toml": "[tool.a]", "a/requirements.txt": ""}, "a", False
    ),
    "beside a project": ({"pyproject.toml": PROJECT, "a/requirements.txt": ""}, "a", True),
    "above a project": ({"a/pyproject.toml": PROJECT, "a/b/requirements.txt": ""}, "a/b", False),
    "of a member": (
        {"pyproject.toml": f"{PROJECT}[tool.uv.workspace]\nmembers = ['*']\n",
         "a/pyproject.toml": PROJECT.replace("x", "y")}, "a", True,
    ),
    "of a member of what is no project": (
        {"pyproject.toml": "[tool.uv.workspace]\nmembers = ['*']\n", "a/pyproject.toml": PROJECT},
        "a", True,
    ),
    "of no member": (
        {"pyproject.toml": f"{PROJECT}[tool.uv.workspace]\nmembers = ['*']\nexclude = ['a']\n",
         "a/pyproject.toml": PROJECT.replace("x", "y")}, "a", False,
    ),
    "above a workspace": (
        {"a/pyproject.toml": f"{PROJECT}[tool.uv.workspace]\nmembers = ['*']\n",
         "a/b/pyproject.toml": PROJECT.replace("x", "y")}, "a/b", False,
    ),
    "hidden by a nearer one": (
        {"a/.python-version": "system", "a/requirements.txt": ""}, "a", False
    ),
}  # fmt: skip
"""Files below a directory with a `.python-version`, where the project is, and whether it counts."""


@pytest.mark.parametrize("row", ABOVE)
def test_one_above_the_project(tmp_path: Path, isolated_places: Places, row: str) -> None:
    files, where, counts = ABOVE[row]
    for name, text in {**files, ".python-version": "3.99\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert uvs(tmp_path / where)[0] is not counts
    assert ours(tmp_path / where, isolated_places)[0] is not counts
    project = find_project(tmp_path / where)
    assert project
    assert (tmp_path / ".python-version" in project.inputs) is counts
    assert tmp_path not in project.holding


def test_one_of_others_above_the_project(tmp_path: Path, isolated_places: Places) -> None:
    """Anybody who may write there would say which Python runs."""
    directory = tmp_path / "a"
    directory.mkdir()
    (directory / "requirements.txt").touch()
    (tmp_path / ".python-version").write_text("3.99\n")
    for path, mode in ((tmp_path, 0o777), (tmp_path / ".python-version", 0o666)):
        before = path.stat().st_mode
        path.chmod(mode)
        assert ours(directory, isolated_places) == (True, True)
        project = find_project(directory)
        assert project
        assert f"everybody may write to {path}" in project.pins_remark
        assert tmp_path / ".python-version" not in project.inputs
        path.chmod(before)
    assert ours(directory, isolated_places) == (False, False)
    tmp_path.chmod(0o1777)  # as /tmp
    assert ours(directory, isolated_places) == (False, False)


def test_of_a_script(tmp_path: Path, isolated_places: Places) -> None:
    """Whatever project it lies in; one that it cannot have says nothing."""
    script = tmp_path / "a/s.py"
    script.parent.mkdir()
    (script.parent / "pyproject.toml").write_text(PROJECT)
    (tmp_path / ".python-version").write_text("3.99\n")
    block = "# /// script\n# {}\n# ///\nimport sys\nprint(*sys.version_info[:2])\n"
    path = os.fspath(Path(os.path.realpath(sys.executable)).parent)
    environ = {"PATH": path, "HOME": os.fspath(tmp_path), "UV_PYTHON_DOWNLOADS": "never"}
    for said, found in (("dependencies = []", False), ("requires-python = '<3.90'", True)):
        script.write_text(block.format(said))
        command = [uv_binary(), "run", "-q", "--offline", "s.py"]
        ended = subprocess.run(command, cwd=script.parent, check=False, env=environ)
        assert (ended.returncode == 0) is found
        project = project_of_script(script)
        assert project
        assert tmp_path / ".python-version" in project.inputs
        with nullcontext() if found else pytest.raises(MissingPythonError):
            find_interpreter(project, None, isolated_places.state, environ=environ)


def test_of_a_workspace_the_root_says_it_for_its_members(tmp_path: Path) -> None:
    member = tmp_path / "member"
    member.mkdir()
    (member / "pyproject.toml").write_text("[project]\nname = 'member'\nversion = '1'\n")
    (tmp_path / ".python-version").write_text("3.99\n")
    project = find_project(member)
    assert project
    assert project.python_pin is None
    assert uvs(member) == (True, False)
    (tmp_path / "pyproject.toml").write_text("[tool.uv.workspace]\nmembers = ['*']\n")
    (tmp_path / "uv.lock").write_text("version = 1\n")
    assert uvs(member) == (False, False)
    project = find_project(member)
    assert project
    assert project.python_pin == "3.99"
    assert tmp_path / ".python-version" in project.inputs
    (member / ".python-version").write_text("3.98\n")
    project = find_project(member)
    assert project
    assert project.python_pin == "3.98"


def test_what_is_asked() -> None:
    assert version_request("cp312") == VersionRequest((3, 12))
    assert version_request("3.13t") == VersionRequest((3, 13), threads=True)
    assert version_request("3.15.0rc1") == VersionRequest(specifier="==3.15.0rc1")
    assert version_request("any") == VersionRequest()
    assert version_request("my-env") is None
    assert pinned("system\r\n# or so\n 3.11\n", Path()) == (
        "3.11", ".python-version names no Python by 'system': passed over."
    )  # fmt: skip
