"""Looks: what the daemon reads of a project nobody has named, and what it leaves alone."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from resolver import looks
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.places import Places
from resolver.project import trust
from resolver.python.choices.phrases import variable_choice
from resolver.python.project import PythonProject, find_project, project_of_script
from unionfs.publishing import resolve_job
from unionfs.publishing.look import look
from unionfs.publishing.view_index import ViewIndex

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places.from_environ({"HOME": str(tmp_path)})
    (found.mount / "views/x").mkdir(parents=True)
    (found.mount / "views/x/pyproject.toml").write_text("[project]\nname='x'\nversion='1'\n")
    (found.mount / "views/x/a.txt").write_text("six\n")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    return root


@pytest.fixture
def touched(places: Places, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths below the mount, all links followed, that anybody opens or asks about."""
    found: list[str] = []
    realpath = os.path.realpath
    mounted = f"{places.mount}/"

    def watched(name: str) -> None:
        real = getattr(os, name)

        def asked(path: Any, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as wide as os
            itself = name in {"lstat", "readlink"} or more.get("follow_symlinks") is False
            if not isinstance(path, int):
                with monkeypatch.context() as plain:
                    for one, function in reals.items():
                        plain.setattr(os, one, function)
                    text = os.fspath(path)
                    head, tail = os.path.split(text)
                    there = f"{realpath(head)}/{tail}" if itself else realpath(text)
                if there.startswith(mounted):
                    found.append(text)
            return real(path, *args, **more)

        monkeypatch.setattr(os, name, asked)

    reals = {one: getattr(os, one) for one in ("stat", "open", "lstat", "scandir", "readlink")}
    for one in reals:
        watched(one)
    return found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "-r ../{mount}/views/x/a.txt\n"),
        ("requirements.txt", "-r link/a.txt\n"),
        ("requirements.txt", "-e link\n"),
        (
            "pyproject.toml",
            "[project]\nname='a'\nversion='1'\n[tool.uv.sources]\nx = {{path = 'link'}}\n",
        ),
        (
            "pyproject.toml",
            (
                "[project]\nname='a'\nversion='1'\ndynamic=['dependencies']\n"
                "[tool.setuptools.dynamic]\ndependencies = {{file = 'link/a.txt'}}\n"
            ),
        ),
        (
            "pyproject.toml",
            "[project]\nname='a'\nversion='1'\n[tool.uv.workspace]\nmembers = ['*', 'link/*']\n",
        ),
    ],
)
def test_a_look_touches_nothing_in_the_mount(
    places: Places, project: Path, touched: list[str], name: str, text: str
) -> None:
    (project / "link").symlink_to(places.mount / "views/x")
    (project / name).write_text(text.format(mount=places.mount.name))
    (project / "uv.lock").write_text("version = 1\n")
    with look(places), contextlib.suppress(PkgviewError):
        found = find_project(project)
        assert found is not None
        assert {path.parent for path in found.inputs} == {project}
    assert touched == []
    find_project(project)
    assert touched  # by a command


def test_a_projects_file_that_leads_into_the_mount_is_none(
    places: Places, project: Path, touched: list[str]
) -> None:
    (project / "pyproject.toml").symlink_to(places.mount / "views/x/pyproject.toml")
    with look(places):
        assert find_project(project) is None
    assert touched == []


def test_large_files_are_not_understood_in_a_look(places: Places, project: Path) -> None:
    index = ViewIndex(places, ViewId(""))
    requirements = project / "requirements.txt"
    requirements.write_text("six\n" + "#" * looks.LARGEST)
    with pytest.raises(PkgviewError, match="too large to look at"):
        index.project_of(str(project), os.geteuid())
    assert find_project(project) is not None  # a command that means it

    requirements.write_text("".join(f"-r {number}.txt\n" for number in range(10)))
    for number in range(10):
        (project / f"{number}.txt").write_text("#" * (looks.LARGEST - 9))
    with pytest.raises(PkgviewError, match=r"with all that the project names.* too large"):
        index.project_of(str(project), os.geteuid())

    requirements.write_text("six\n")
    script = project / "x.py"
    script.write_text("#" * looks.LARGEST + "\n")
    found = index.script_project(str(script), os.geteuid())
    assert found is not None
    assert found.root == str(project)
    script.write_text("# /// script\n# ///\n" + "#" * looks.LARGEST)
    with pytest.raises(PkgviewError, match="too large to look at"):
        index.script_project(str(script), os.geteuid())


def test_a_variable_names_no_file_before_a_yes(
    places: Places, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "requirements.txt").write_text("-r ${WHICH}.txt\n")
    (project / "secret.txt").write_text("six\n")
    monkeypatch.setenv("WHICH", "secret")

    def files() -> set[str]:
        with look(places):
            found = find_project(project)
        assert isinstance(found, PythonProject)
        return {path.name for path in found.inputs}

    assert files() == {"requirements.txt"}
    known = find_project(project)
    assert known is not None
    trust.agree(known, places.state, frozenset())
    assert files() == {"requirements.txt"}
    trust.agree(known, places.state, frozenset({variable_choice("WHICH")}))
    assert files() == {"requirements.txt", "secret.txt"}


def test_reading_ends_after_a_time(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve_job, "READING", 0.05)

    def read() -> None:
        end = time.monotonic() + 10
        with resolve_job.in_time(project):
            while time.monotonic() < end:
                with contextlib.suppress(Exception):  # as what reads does
                    sum(range(1000))

    with pytest.raises(PkgviewError, match=r"was read for 0\.05 s"):
        read()
    with resolve_job.in_time(project):
        pass
    time.sleep(0.1)  # no alarm is left


def test_a_script_is_read_as_before(places: Places, project: Path) -> None:
    script = project / "x.py"
    script.write_text("# /// script\n# dependencies = ['six']\n# ///\n")
    with look(places):
        found = project_of_script(script)
    assert found is not None
    assert found.root == script
