from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.git.checkout import check_out
from tests.mounted.beside.repositories import git, repository

if TYPE_CHECKING:
    from pathlib import Path

STATIC = '[project]\nname = "demo"\nversion = "1"\n'


@pytest.mark.parametrize(
    ("text", "commits"),
    [
        (STATIC, 1),
        ('[project]\nname = "demo"\ndynamic = ["version"]\n', 3),
        ('[tool.poetry]\nname = "demo"\nversion = "0.0.0"\n', 3),
        ("[project\n", 3),
        (None, 3),
    ],
)
async def test_as_much_of_history_as_the_version_needs(
    tmp_path: Path, text: str | None, commits: int
) -> None:
    files = {"README": ""} if text is None else {"in/pyproject.toml": text, "README": ""}
    source = repository(tmp_path / "source", files, "v1")
    head, tree = git(source, "rev-parse", "HEAD"), tmp_path / "tree"
    await check_out(tree, name="demo", address=source.as_uri(), commit=head, subdirectory="in")
    assert git(tree, "rev-parse", "HEAD") == head
    assert git(tree, "rev-list", "--count", "HEAD") == str(commits)
    assert git(tree, "tag") == ("" if commits == 1 else "v1")
    assert not git(tree, "status", "--porcelain")


@pytest.mark.parametrize("text", [STATIC, ""])
async def test_a_host_that_serves_no_bare_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Then all branches and tags are fetched."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.version")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "0")
    source = repository(tmp_path / "source", {"pyproject.toml": text}, "v1")
    commit = git(source, "rev-parse", "HEAD~2")
    tree = tmp_path / "tree"
    await check_out(tree, name="demo", address=source.as_uri(), commit=commit)
    assert git(tree, "rev-parse", "HEAD") == commit


async def test_no_hook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one of the user's own templates, which every new repository gets."""
    hooks = tmp_path / "templates/hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(hooks.parent))
    inner = repository(tmp_path / "inner", {"inner.txt": ""})
    source = repository(tmp_path / "source", {"README": ""})
    git(source, "submodule", "add", "-q", str(inner), "inner")
    git(source, "commit", "-qam", "with a submodule")
    (tmp_path / "ran").unlink(missing_ok=True)
    head, tree = git(source, "rev-parse", "HEAD"), tmp_path / "tree"
    await check_out(tree, name="demo", address=str(source), commit=head)
    assert (tree / "inner/inner.txt").is_file()
    assert not (tmp_path / "ran").exists()


async def test_no_lfs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = repository(tmp_path / "source", {"pyproject.toml": STATIC})
    head = git(source, "rev-parse", "HEAD")
    found = shutil.which("git")
    assert found
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(PkgviewError, match="there is no git-lfs"):
        await check_out(tmp_path / "tree", name="demo", address=str(source), commit=head, lfs=True)
