from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.project import trust
from resolver.project.project import trust_faults
from resolver.python.project import find_project, project_of_script

if TYPE_CHECKING:
    from resolver.python.project import PythonProject

UID = os.geteuid()


@pytest.fixture
def project(tmp_path: Path) -> PythonProject:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/requirements.txt").write_text("")
    return found(tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def found(tmp_path: Path) -> PythonProject:
    project = find_project(tmp_path / "shared")
    assert project is not None
    return project


def open_to_all(project: PythonProject) -> None:
    project.root.chmod(0o777)


def test_what_is_ours_alone_needs_no_trust(project: PythonProject, state: Path) -> None:
    assert trust.problem(project, UID, state) is None
    assert trust.allow(project, UID, state) is None
    assert not (state / "trusted.json").exists()


def test_it_counts_once_it_is_allowed(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    assert "everybody may write" in (trust.problem(project, UID, state) or "")
    given = trust.allow(project, UID, state)
    assert given is not None
    assert given.root == str(project.root)
    assert trust.problem(project, UID, state) is None
    assert trust.load(state) == {given.root: given}
    assert trust.revoke(given.root, state)
    assert "everybody may write" in (trust.problem(project, UID, state) or "")
    assert not trust.revoke(given.root, state)


def test_another_user_is_not_bound_by_it(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    trust.allow(project, UID, state)
    assert trust.problem(project, UID + 1, state) is not None


def test_more_of_the_same_is_nothing_new(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    trust.allow(project, UID, state)
    (project.root / "requirements.txt").write_text("-r more.txt\n")
    (project.root / "more.txt").write_text("")
    (project.root / "more.txt").chmod(0o666)
    (project.root / "requirements.txt").chmod(0o660)
    again = found(project.root.parent)
    assert len(again.inputs) == 2
    assert trust.problem(again, UID, state) is None


def test_less_is_not_worse(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    (project.root / "requirements.txt").chmod(0o666)
    trust.allow(project, UID, state)
    project.root.chmod(0o755)
    assert trust.problem(project, UID, state) is None


def test_everybody_is_more_than_a_group(project: PythonProject, state: Path) -> None:
    if UID != 0:
        pytest.skip("only root can give a file to any group")
    os.chown(project.root, -1, 12345)
    project.root.chmod(0o775)
    trust.allow(project, UID, state)
    assert trust.problem(project, UID, state) is None
    open_to_all(project)
    assert "everybody may write" in (trust.problem(project, UID, state) or "")
    project.root.chmod(0o775)
    os.chown(project.root, -1, 12346)
    assert "group 12346" in (trust.problem(project, UID, state) or "")


def test_another_owner_is_asked_about_again(project: PythonProject, state: Path) -> None:
    if UID != 0:
        pytest.skip("only root can give a file away")
    open_to_all(project)
    trust.allow(project, UID, state)
    os.chown(project.root / "requirements.txt", 65534, -1)
    assert "belongs to user 65534" in (trust.problem(project, UID, state) or "")
    os.chown(project.root / "requirements.txt", UID, -1)
    os.chown(project.root, 65534, -1)
    problem = trust.problem(project, UID, state) or ""
    assert f"belonged to user {UID} when it was trusted, now to user 65534" in problem
    # Said again, it counts again.
    trust.allow(project, UID, state)
    assert trust.problem(project, UID, state) is None


def test_another_directory_in_its_place(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    trust.allow(project, UID, state)
    project.root.rename(project.root.with_name("aside"))
    project.root.mkdir()
    (project.root / "requirements.txt").write_text("")
    open_to_all(project)
    assert "is not the directory any more" in (trust.problem(project, UID, state) or "")


def test_a_script_is_trusted_by_itself(tmp_path: Path, state: Path) -> None:
    directory = tmp_path / "scripts"
    directory.mkdir()
    for name in ("one.py", "two.py"):
        (directory / name).write_text("# /// script\n# dependencies = []\n# ///\n")
    directory.chmod(0o777)
    one, two = (project_of_script(directory / name) for name in ("one.py", "two.py"))
    assert one is not None
    assert two is not None
    trust.allow(one, UID, state)
    # As editors save.
    (directory / "new").write_text((directory / "one.py").read_text())
    (directory / "new").rename(directory / "one.py")
    assert trust.problem(one, UID, state) is None
    assert trust.problem(two, UID, state) is not None


def test_what_cannot_be_examined_cannot_be_trusted(project: PythonProject, state: Path) -> None:
    (project.root / "requirements.txt").unlink()
    with pytest.raises(PkgviewError, match="cannot be examined"):
        trust.allow(project, UID, state)
    assert [fault.kind for fault in trust_faults(project, UID)] == ["unseen"]


ENTRY = {"root": "/p", "device": 1, "inode": 2, "owner": 3, "faults": [["everybody", -1]]}


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"format": 1}', '{"format": 2, "projects": []}',
        '{"format": 1, "projects": {}}', '{"format": 1, "projects": [1]}', "[" * 100000,
        *(json.dumps({"format": 1, "projects": [{**ENTRY, **change}]}) for change in (
            {"root": 1}, {"owner": "0"}, {"inode": None}, {"faults": ["everybody"]},
            {"faults": [["owner", "0"]]}, {"faults": [[1, 1]]}, {"faults": [[[], 1]]}, {"more": 1},
        )),
    ],
)  # fmt: skip
def test_a_damaged_file_trusts_nobody(project: PythonProject, state: Path, content: str) -> None:
    open_to_all(project)
    state.mkdir()
    (state / "trusted.json").write_text(content)
    assert trust.load(state) == {}
    assert trust.problem(project, UID, state) is not None
    trust.allow(project, UID, state)
    assert trust.problem(project, UID, state) is None


def test_two_at_once_both_count(tmp_path: Path, state: Path) -> None:
    for name in "abcdef":
        (tmp_path / name).mkdir()
        (tmp_path / name / "requirements.txt").write_text("")
        (tmp_path / name).chmod(0o777)
    code = (
        "import sys, os; from pathlib import Path; from resolver.project import trust\n"
        "from resolver.python.project import find_project\n"
        "trust.allow(find_project(Path(sys.argv[1])), os.geteuid(), Path(sys.argv[2]))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / name, state]) for name in "abcdef"
    ]
    assert [process.wait() for process in running] == [0] * 6
    assert sorted(Path(root).name for root in trust.load(state)) == list("abcdef")


def test_a_state_that_cannot_be_written(project: PythonProject, tmp_path: Path) -> None:
    open_to_all(project)
    (tmp_path / "file").write_text("")
    with pytest.raises(PkgviewError, match="cannot use"):
        trust.allow(project, UID, tmp_path / "file/state")
