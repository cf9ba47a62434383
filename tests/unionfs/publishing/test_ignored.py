"""What git says of a project's link: real repositories, worktrees and submodules."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from unionfs.publishing.ignored import MARK, hide, show

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = ", which git ignores here (info/exclude)"


@pytest.fixture(autouse=True)
def _home(isolated_places: object, monkeypatch: pytest.MonkeyPatch) -> None:
    del isolated_places
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(directory: Path, *arguments: str) -> str:
    named = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    command = ["git", *named, "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


def repository(directory: Path) -> Path:
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet")
    (directory / "file").write_text("")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message=first")
    return directory


def linked(directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    (directory / ".venv").symlink_to("/nowhere")
    return hide(os.fspath(directory / ".venv"))


def unlinked(directory: Path) -> None:
    (directory / ".venv").unlink()
    show(os.fspath(directory / ".venv"))


def new(directory: Path) -> str:
    return git(directory, "status", "--porcelain")


def test_link_is_hidden_and_shown(tmp_path: Path) -> None:
    assert linked(tmp_path / "alone") == ""
    top = repository(tmp_path / "top")
    exclude = top / ".git/info/exclude"
    exclude.write_text("mine")  # without a line's end
    exclude.chmod(0o640)
    assert linked(top) == HIDDEN
    assert linked(top / "a b[c]*") == HIDDEN
    assert new(top) == ""
    assert exclude.read_text().startswith(f"mine\n{MARK}\n/.venv\n{MARK}\n/a\\ b")
    unlinked(top)
    (top / ".venv").write_text("")  # which is the user's, and seen
    assert new(top) == "?? .venv\n"
    (top / ".venv").unlink()
    unlinked(top / "a b[c]*")
    assert exclude.read_text() == "mine\n"
    assert exclude.stat().st_mode & 0o777 == 0o640
    # Where it has no `info`.
    exclude.unlink()
    exclude.parent.rmdir()
    assert linked(top) == HIDDEN
    assert new(top) == ""


@pytest.mark.parametrize(
    ("where", "pattern", "hidden"),
    [
        (".gitignore", ".venv", ""),
        (".gitignore", "/.venv", HIDDEN),
        (".gitignore", ".venv/", HIDDEN),
        ("sub/.gitignore", "/.ve*", ""),
        (".git/info/exclude", "/sub/.venv", ""),
        ("../config/git/ignore", "*venv", ""),
    ],
)
def test_what_is_ignored_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, pattern: str, hidden: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path / "config"))
    top = repository(tmp_path / "top")
    file = top / where
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# it\n{pattern}\n")
    assert linked(top / "sub") == hidden
    assert ".venv" not in git(top, "status", "--porcelain", "--untracked-files=all")


def test_worktrees_and_submodules(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    git(top, "worktree", "add", "--quiet", "../tree")
    tree, exclude = tmp_path / "tree", top / ".git/info/exclude"
    assert (linked(tree), linked(top)) == (HIDDEN, "")
    assert new(tree) == new(top) == ""
    unlinked(tree)
    assert new(top) == ""  # the other one needs it
    unlinked(top)
    assert MARK not in exclude.read_text()
    outer = repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", os.fspath(top), "inner")
    git(outer, "commit", "--quiet", "--message=inner")
    assert linked(outer / "inner") == HIDDEN
    assert new(outer) == new(outer / "inner") == ""
    unlinked(outer / "inner")
    assert MARK not in (outer / ".git/modules/inner/info/exclude").read_text()


def test_nothing_is_written_where_it_is_not_ours(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    exclude = top / ".git/info/exclude"
    exclude.unlink()
    exclude.symlink_to(tmp_path / "elsewhere")
    assert "git shows as new" in linked(top)
    assert not (tmp_path / "elsewhere").exists()
    # A file that is no repository's, and a directory that is none.
    for name, content in (("one", "gitdir: ../top"), ("two", "nonsense")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".git").write_text(content)
        assert linked(tmp_path / name) == ""
    (tmp_path / "three/.git").mkdir(parents=True)
    assert linked(tmp_path / "three") == ""
    # Nor may an archive that was unpacked name a repository that knows nothing of it.
    mine = repository(tmp_path / "mine")
    before = (mine / ".git/info/exclude").read_bytes()
    (tmp_path / "four").mkdir()
    (tmp_path / "four/.git").write_text(f"gitdir: {mine}/.git\n")
    assert linked(tmp_path / "four") == ""
    git(mine, "worktree", "add", "--quiet", "../tree")
    (tmp_path / "four/.git").write_text(f"gitdir: {mine}/.git/worktrees/tree\n")
    unlinked(tmp_path / "four")
    assert linked(tmp_path / "four") == ""
    # Nor by the directory that a worktree has in common with it, whatever names that.
    for name, git_dir in (("five", "dot"), ("six", ".git")):
        place = tmp_path / name / git_dir
        for inside in ("objects", "refs"):
            (place / inside).mkdir(parents=True)
        (place / "HEAD").write_text("ref: refs/heads/main\n")
        (place / "gitdir").write_text(f"{tmp_path / name}/.git\n")
        (place / "commondir").write_text(f"{mine}/.git\n")
        if git_dir != ".git":
            (tmp_path / name / ".git").write_text(f"gitdir: ./{git_dir}\n")
        assert linked(tmp_path / name) == ""
    # Nor by links.
    (tmp_path / "seven").mkdir()
    (tmp_path / "seven/.git").symlink_to(mine / ".git")
    assert linked(tmp_path / "seven") == ""
    assert (mine / ".git/info/exclude").read_bytes() == before
    assert linked(mine) == HIDDEN
    eight = repository(tmp_path / "eight")
    shutil.rmtree(eight / ".git/info")
    (eight / ".git/info").symlink_to(mine / ".git/info")
    before = (mine / ".git/info/exclude").read_bytes()
    assert MARK.encode() in before
    for name in ("seven", "eight"):
        (tmp_path / name / ".venv").unlink(missing_ok=True)
        show(os.fspath(tmp_path / name / ".venv"))
    assert (mine / ".git/info/exclude").read_bytes() == before
    if os.geteuid() == 0:
        other = repository(tmp_path / "other")
        before = (other / ".git/info/exclude").read_bytes()
        os.chown(other / ".git", 65534, 65534)
        assert linked(other) == ""
        assert (other / ".git/info/exclude").read_bytes() == before
