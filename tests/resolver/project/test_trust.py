from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver import ownership
from resolver.errors import PkgviewError
from resolver.manifest import ViewId
from resolver.ownership import identity
from resolver.project import trust
from resolver.project.project import fingerprint, trust_faults
from resolver.project.resolved import Resolved, ResolvedView, save
from resolver.python.project import find_project, project_of_script

if TYPE_CHECKING:
    from resolver.python.project import PythonProject

UID = os.geteuid()
NOTHING: frozenset[str] = frozenset()


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


def test_what_is_ours_alone_is_still_to_be_said_yes_to(project: PythonProject, state: Path) -> None:
    assert trust.problem(project, UID, state) is None
    assert not trust.is_agreed(project, state)
    assert trust.allow(project, UID, state, NOTHING).faults == frozenset()
    assert trust.is_agreed(project, state)


def test_it_counts_once_it_is_allowed(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    assert "everybody may write" in (trust.problem(project, UID, state) or "")
    given = trust.allow(project, UID, state, NOTHING)
    assert given.root == str(project.root)
    assert trust.problem(project, UID, state) is None
    assert trust.load(state) == {given.root: given}
    assert trust.revoke(given.root, state)
    assert "everybody may write" in (trust.problem(project, UID, state) or "")
    assert not trust.revoke(given.root, state)


def workspace(tmp_path: Path) -> tuple[PythonProject, PythonProject]:
    """The root, and a member of it."""
    top = tmp_path / "top"
    (top / "packages/lib").mkdir(parents=True)
    head = '[project]\nname = "{}"\nversion = "1"\n'
    (top / "pyproject.toml").write_text(
        head.format("top") + '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    )
    (top / "packages/lib/pyproject.toml").write_text(head.format("lib"))
    (top / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "lib"\nsource = { virtual = "packages/lib" }\n'
    )
    root, member = find_project(top), find_project(top / "packages/lib")
    assert root is not None
    assert member is not None
    return root, member


def test_a_yes_to_a_workspace_is_one_to_its_members(tmp_path: Path, state: Path) -> None:
    root, member = workspace(tmp_path)
    same = {"use the index https://a.example/simple", "fetch packages from https://a.example"}
    # A relative path is another place, by whichever directory it is said.
    other = {"take x from ../x", "set uv's a to 1", "use the index ./a", trust.STORE}
    assert not trust.is_agreed(member, state)
    trust.allow(root, UID, state, frozenset(same | other))
    assert trust.is_agreed(member, state)
    assert not trust.is_agreed(member, state, itself=True)
    assert trust.not_agreed(member, state, frozenset(same | other)) == other
    assert not trust.believes_store(member, state)
    assert not trust.shows(Resolved(root=str(member.root)), state)
    # It can be taken back of one, or of all.
    assert not trust.revoke(str(member.root), state)
    assert trust.revoke(str(member.root), state, covered=True)
    assert not trust.is_agreed(member, state)
    trust.forget(str(member.root), state)
    assert trust.is_agreed(member, state)
    # Not of what was put there: a clone of its own, or what the lock does not list.
    (member.root / ".git").touch()
    assert not trust.is_agreed(member, state)
    (member.root / ".git").unlink()
    lock = root.root / "uv.lock"
    text = lock.read_text()
    lock.write_text(text.replace("packages/lib", "packages/other"))
    assert not trust.is_agreed(member, state)
    lock.write_text(text)
    trust.revoke(str(root.root), state)
    assert not trust.is_agreed(member, state)


def test_a_member_of_what_has_taken_a_workspaces_place(tmp_path: Path, state: Path) -> None:
    root, _ = workspace(tmp_path)
    trust.allow(root, UID, state, NOTHING)
    root.root.rename(tmp_path / "aside")
    _, member = workspace(tmp_path)
    assert not trust.is_agreed(member, state)


def test_another_user_is_not_bound_by_it(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    trust.allow(project, UID, state, NOTHING)
    assert trust.problem(project, UID + 1, state) is not None


def test_more_of_the_same_is_nothing_new(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    trust.allow(project, UID, state, NOTHING)
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
    trust.allow(project, UID, state, NOTHING)
    project.root.chmod(0o755)
    assert trust.problem(project, UID, state) is None


def test_everybody_is_more_than_a_group(project: PythonProject, state: Path) -> None:
    if UID != 0:
        pytest.skip("only root can give a file to any group")
    os.chown(project.root, -1, 12345)
    project.root.chmod(0o775)
    trust.allow(project, UID, state, NOTHING)
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
    trust.allow(project, UID, state, NOTHING)
    os.chown(project.root / "requirements.txt", 65534, -1)
    assert "belongs to user 65534" in (trust.problem(project, UID, state) or "")
    os.chown(project.root / "requirements.txt", UID, -1)
    os.chown(project.root, 65534, -1)
    problem = trust.problem(project, UID, state) or ""
    assert f"belonged to user {UID} when it was trusted, now to user 65534" in problem
    # Said again, it counts again.
    trust.allow(project, UID, state, NOTHING)
    assert trust.problem(project, UID, state) is None


def test_another_directory_in_its_place(project: PythonProject, state: Path) -> None:
    open_to_all(project)
    trust.allow(project, UID, state, NOTHING)
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
    trust.allow(one, UID, state, NOTHING)
    # As editors save.
    (directory / "new").write_text((directory / "one.py").read_text())
    (directory / "new").rename(directory / "one.py")
    assert trust.problem(one, UID, state) is None
    assert trust.problem(two, UID, state) is not None


def test_what_cannot_be_examined_cannot_be_trusted(project: PythonProject, state: Path) -> None:
    (project.root / "requirements.txt").unlink()
    with pytest.raises(PkgviewError, match="cannot be examined"):
        trust.allow(project, UID, state, NOTHING)
    assert [fault.kind for fault in trust_faults(project, UID)] == ["unseen"]


ENTRY = {
    "root": "/p", "directory": [1, 2, 3], "faults": [["everybody", -1]], "choices": [],
    "agreed": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", "[" * 100000,
        *(json.dumps({**ENTRY, **change}) for change in (
            {"root": 1}, {"root": "/elsewhere"}, {"directory": ["0", 1, 2]}, {"directory": [1, 2]},
            {"directory": None}, {"faults": ["everybody"]}, {"faults": [["owner", "0"]]},
            {"faults": [[1, 1]]}, {"faults": [[[], 1]]}, {"choices": [1]}, {"agreed": 1},
        )),
    ],
)  # fmt: skip
def test_a_damaged_file_trusts_nobody(project: PythonProject, state: Path, content: str) -> None:
    open_to_all(project)
    trust.allow(project, UID, state, NOTHING)
    (kept,) = (state / "trusted").iterdir()
    kept.write_text(content.replace('"/p"', json.dumps(str(project.root))))
    assert not trust.is_agreed(project, state)
    assert trust.problem(project, UID, state) is not None
    trust.allow(project, UID, state, NOTHING)
    assert trust.problem(project, UID, state) is None


def test_what_an_earlier_version_kept(project: PythonProject, state: Path) -> None:
    """It kept all projects in one file, and knew neither choices nor generations."""
    open_to_all(project)
    found = project.root.stat()
    entry = {
        "root": str(project.root), "device": found.st_dev, "inode": found.st_ino,
        "owner": found.st_uid, "faults": [["everybody", -1]],
    }  # fmt: skip
    gone = {**entry, "root": "/nowhere/at/all"}
    state.mkdir()
    (state / "trusted.json").write_text(json.dumps({"format": 1, "projects": [gone, entry]}))
    assert trust.problem(project, UID, state) is None
    assert trust.is_agreed(project, state)
    assert trust.not_agreed(project, state, frozenset({"this"})) == {"this"}
    assert str(project.root) in trust.load(state)
    assert trust.revoke(str(project.root), state)
    assert trust.problem(project, UID, state) is not None
    assert str(project.root) not in trust.load(state)


# Whose idea it was

ONE, TWO = frozenset({"do this"}), frozenset({"do this", "do that"})


def test_more_choices_are_asked_about_again(project: PythonProject, state: Path) -> None:
    assert trust.not_agreed(project, state, NOTHING) == NOTHING
    assert trust.not_agreed(project, state, ONE) == ONE
    trust.agree(project, state, ONE)
    assert trust.is_agreed(project, state)
    assert trust.not_agreed(project, state, ONE) == NOTHING
    assert trust.not_agreed(project, state, TWO) == {"do that"}
    trust.agree(project, state, TWO)
    assert trust.not_agreed(project, state, ONE) == NOTHING
    assert trust.agreed_choices(project, state) == TWO


def test_a_yes_forgives_no_faults_and_keeps_those_that_were(
    project: PythonProject, state: Path
) -> None:
    open_to_all(project)
    trust.agree(project, state, NOTHING)
    assert trust.problem(project, UID, state) is not None
    trust.allow(project, UID, state, NOTHING)
    trust.agree(project, state, ONE)
    assert trust.problem(project, UID, state) is None


def test_another_clone_in_its_place(project: PythonProject, state: Path) -> None:
    trust.agree(project, state, ONE)
    project.root.rename(project.root.with_name("aside"))
    project.root.mkdir()
    (project.root / "requirements.txt").write_text("")
    assert not trust.is_agreed(project, state)
    assert trust.not_agreed(project, state, ONE) == ONE


def test_a_number_that_comes_round_again(project: PythonProject, state: Path) -> None:
    """File systems give a removed directory's inode to the next one that is made."""
    trust.agree(project, state, NOTHING)
    inode = identity(project.root)[0]
    for _ in range(200):
        shutil.rmtree(project.root)
        project.root.mkdir()
        if identity(project.root)[0] == inode:
            break
    else:
        pytest.skip("here they do not")
    (project.root / "requirements.txt").write_text("")
    assert not trust.is_agreed(project, state)


REMOUNT = """
import sys
from pathlib import Path
from resolver.ownership import identity
place = Path(sys.argv[1])
(place / "clone").mkdir()
print(*identity(place / "clone"))
"""


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_a_file_system_without_generations(tmp_path: Path, kind: str) -> None:
    """A new mount counts from the beginning; what is removed leaves its number to the next one."""
    options = ""
    for name in ("lower", "upper", "work", "place"):
        (tmp_path / name).mkdir()
    if kind == "overlay":
        names = ("lower", "upper", "work")
        options = "-o " + ",".join(f"{name}dir={tmp_path / name}" for name in names)
    once = f'mount -t {kind} {options} none "$1" && "$2" -c "$3" "$1" && rmdir "$1/clone"'
    script = f'{once} && umount "$1" && {once}'
    said = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path / "place", sys.executable, REMOUNT],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        pytest.skip(f"nothing can be mounted here: {said.stderr}")
    one, other = (line.split() for line in said.stdout.splitlines())
    assert one != other
    if kind == "tmpfs":
        assert one[0] == other[0]  # their numbers are the same


def test_where_nothing_says_when_it_was_made_it_is_another_one_after_a_boot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proc = Path("/proc/self")  # has neither generations nor times of making
    before = identity(proc)
    assert before[1]
    assert identity(proc)[1] == before[1]
    monkeypatch.setattr(ownership, "boot_id", lambda: "another")
    assert identity(proc)[1] != before[1]


def test_whoever_ran_up_before_there_was_a_question(project: PythonProject, state: Path) -> None:
    view = ResolvedView(
        kind="python",
        variant="3.11",
        view=ViewId("0" * 32),
        fingerprint="",
        inputs=fingerprint(project),
        format=0,
    )
    root = str(project.root)
    save(state / "projects", Resolved(root=root, views=(view,)))
    assert trust.is_agreed(project, state)
    assert trust.not_agreed(project, state, ONE) == NOTHING
    # For what it was.
    (project.root / "requirements.txt").write_text("more\n")
    assert trust.is_agreed(project, state)
    assert trust.not_agreed(project, state, ONE) == ONE
    # A view of this version was made for somebody who looked.
    save(state / "projects", Resolved(root=root, views=(replace(view, format=1),)))
    assert not trust.is_agreed(project, state)
    save(state / "projects", Resolved(root=root, views=(view,)))
    assert trust.revoke(root, state)
    assert not trust.is_agreed(project, state)
    assert not trust.revoke(root, state)


def test_two_at_once_both_count(tmp_path: Path, state: Path) -> None:
    for name in "abcdef":
        (tmp_path / name).mkdir()
        (tmp_path / name / "requirements.txt").write_text("")
        (tmp_path / name).chmod(0o777)
    code = (
        "import sys, os; from pathlib import Path; from resolver.project import trust\n"
        "from resolver.python.project import find_project\n"
        "found, state = find_project(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "trust.allow(found, os.geteuid(), state, frozenset())\n"
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
        trust.allow(project, UID, tmp_path / "file/state", NOTHING)


def test_of_what_is_gone_nothing_is_kept(project: PythonProject, state: Path) -> None:
    trust.agree(project, state, ONE)
    trust.forget_gone(state)
    assert trust.is_agreed(project, state)
    project.root.rename(project.root.with_name("aside"))
    save(state / "projects", Resolved(root=str(project.root), views=()))
    trust.forget_gone(state)
    assert trust.load(state)
    shutil.rmtree(state / "projects")
    trust.forget_gone(state)
    assert not list((state / "trusted").iterdir())
