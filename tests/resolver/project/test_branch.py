from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from resolver.project.branch import branches

if TYPE_CHECKING:
    from pathlib import Path


def test_branches_as_git_writes_them(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    inside = tmp_path / "a/b"
    inside.mkdir(parents=True)
    assert branches(inside) == ()
    git("init", "-q", "-b", "main")
    assert branches(inside) == ("main",)
    git("commit", "--allow-empty", "-m", "1")
    git("switch", "-c", "feature")
    assert branches(inside) == ("feature", "main")
    git("commit", "--allow-empty", "-m", "2")
    git("switch", "-c", "deeper")
    assert branches(inside) == ("deeper", "feature", "main")
    git("switch", "main")
    assert branches(inside) == ("main",)
    git("branch", "old", "feature")
    git("switch", "old")  # it was begun elsewhere
    assert branches(inside) == ("old",)
    git("worktree", "add", "-b", "beside", str(tmp_path / "beside"))
    assert branches(tmp_path / "beside")[0] == "beside"
    git("switch", "--detach")
    assert branches(inside) == ()
    (tmp_path / "beside/.git").write_bytes(b"\xff")
    assert branches(tmp_path / "beside") == ()
