"""Adding and removing, by uv and by hand; and that nothing is left of what failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from resolver.errors import PkgviewError
from resolver.python.declared.mark import mark_of
from resolver.python.editing.edit import Edit, edit
from resolver.python.editing.whole import all_or_nothing
from resolver.python.lock import lock, write_lock
from resolver.python.locks.own import document_of, own_lock
from resolver.python.selection import select
from resolver.python.uv.run import run_uv

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from resolver.python.interpreter import Interpreter

    Tree = Any
    Simple = Any
    Editor = Callable[..., Awaitable[None]]

HEAD = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n# the first\n'


@pytest.fixture
def editor(tree: Tree, index: Simple, interpreter: Interpreter, state: Path) -> Editor:
    """Edits the project of `tree`, wholly or not at all."""
    for name in ("alpha", "beta"):
        index.wheel(name, "1.5")
    index.wheel("beta", "2.0", "nowhere")

    async def do(*requirements: str, offline: bool = False, **options: Any) -> None:  # noqa: ANN401
        with all_or_nothing(tree.project(), state):
            asked = Edit(requirements=requirements, **options)
            await edit(tree.project(), interpreter, asked, state=state, offline=offline)

    return do


def files(*directories: Path) -> dict[Path, bytes]:
    found = (path for directory in directories for path in directory.rglob("*"))
    return {path: path.read_bytes() for path in found if path.is_file()}


async def test_pyproject_alone(
    tree: Tree, editor: Editor, interpreter: Interpreter, state: Path
) -> None:
    path = tree.write("pyproject.toml", HEAD + 'dependencies = ["beta<2"]  # why\n')
    tree.write("lib/pyproject.toml", HEAD.replace("shop", "lib"))
    await editor("alpha", 'beta[x]; python_version > "3"', group="dev")
    text = path.read_text()
    assert text.startswith(HEAD + 'dependencies = ["beta<2"]  # why\n')
    assert 'dev = [\n    "alpha>=1.5",\n    "beta[x]>=1.5 ; python' in text
    await editor("alpha", group="dev", removed=True)
    assert "alpha" not in path.read_text()
    await editor(editables=(tree.root / "lib",), extra="x")
    assert 'x = [\n    "lib",\n]' in path.read_text()
    assert "lib = { workspace = true" in path.read_text()
    assert not (tree.root / "uv.lock").exists()

    # Nothing that a failure has found is preferred later, nor is anything left of it.
    await lock(tree.project(), interpreter, state=state)
    before = files(tree.root, state)
    for wanted in ("beta>=2", "nonesuch", "a b"):
        with pytest.raises(PkgviewError, match=wanted):
            await editor("alpha", wanted)
    with pytest.raises(PkgviewError, match="could not be found"):
        await editor("nonesuch", removed=True)
    assert files(tree.root, state) == before


async def test_a_lock_of_its_own_follows(
    tree: Tree, editor: Editor, interpreter: Interpreter
) -> None:
    listed = tree.write("pyproject.toml", HEAD + "dependencies = []\n")
    pylock = await write_lock(tree.project(), interpreter)
    await editor("alpha", offline=True)
    assert 'name = "alpha"' in pylock.read_text()
    assert '"alpha>=1.5"' in listed.read_text()

    pylock.unlink()
    await run_uv(["lock"], cwd=tree.root, added={})
    await editor("beta")
    uv_lock = tree.root / "uv.lock"
    assert 'name = "beta"' in uv_lock.read_text()
    assert '"beta>=1.5"' in (tree.root / "pyproject.toml").read_text()
    before = files(tree.root)
    with pytest.raises(PkgviewError, match="nonesuch"):
        await editor("nonesuch")

    def fail() -> None:
        with all_or_nothing(tree.project(), tree.root):
            uv_lock.unlink()
            tree.write("pylock.toml", "")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert files(tree.root) == before
    await editor("alpha", removed=True)
    assert 'name = "alpha"' not in uv_lock.read_text()


async def test_a_pylock_keeps_its_options(
    tree: Tree, editor: Editor, interpreter: Interpreter, index: Simple
) -> None:
    """What is put into groups and extras is in the lock, now and later, and may be asked for."""
    listed = tree.write("pyproject.toml", HEAD + 'dependencies = ["alpha"]\n')
    pylock = await write_lock(tree.project(), interpreter)
    for name in ("docs", "x", "dev", "last"):
        index.wheel(name, "1.5")
    await editor("docs", group="docs")
    await editor("x", extra="more")
    await editor("dev", group="dev")
    await editor("last")
    await editor("dev", group="dev", removed=True, offline=True)
    project = tree.project()
    found = own_lock(project, ["more"], ["dev", "Docs"])
    chosen = {one.name for one in select(found, interpreter)}
    assert chosen == {"alpha", "docs", "x", "last"}
    with pytest.raises(PkgviewError, match=r"no 'nope' among its extras \(more\)"):
        own_lock(project, ["nope"], [])
    mark = mark_of(document_of(pylock))
    assert mark is not None
    assert mark.groups == ("docs",)
    group = 'docs = [\n    "docs>=1.5",\n]\n'
    assert group in listed.read_text()
    listed.write_text(listed.read_text().replace(group, ""))
    await editor("last", removed=True)
    assert 'name = "docs"' not in pylock.read_text()

    # Another's is not written anew by the way, nor one that uv does not know.
    ours = pylock.read_text()
    pylock.write_text(ours.partition("[tool.pkgview]")[0])
    before = files(tree.root)
    with pytest.raises(PkgviewError, match="pkgview has not written"):
        await editor("beta")
    pylock.write_text(ours)
    await run_uv(["lock"], cwd=tree.root, added={})
    for change in (editor("beta"), write_lock(project, interpreter)):
        with pytest.raises(PkgviewError, match=r"has a pylock.toml, which is used, and .*uv\.lock"):
            await change
    assert listed.read_bytes() == before[listed]


async def test_requirements_txt(tree: Tree, editor: Editor) -> None:
    path = tree.write("requirements.txt", "# the first\nalpha  # why\n")
    path.chmod(0o640)
    path.rename(tree.root / "real.txt")
    path.symlink_to("real.txt")
    tree.write("lib/pyproject.toml", HEAD.replace("shop", "lib"))
    await editor("beta", editables=(tree.root / "lib",))
    assert path.read_text() == "# the first\nalpha  # why\nbeta\n-e ./lib\n"
    assert path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    await editor("alpha", "LIB", removed=True)
    assert path.read_text() == "# the first\nbeta\n"
    for wanted, options in (
        ("alpha", {"removed": True}), ("alpha", {"group": "dev"}), ("--pre", {}),
    ):  # fmt: skip
        with pytest.raises(PkgviewError) as caught:
            await editor(wanted, **options)
        assert caught.value.remedy
    assert sorted(os.listdir(tree.root)) == ["lib", "real.txt", "requirements.txt"]
    assert path.read_text() == "# the first\nbeta\n"


async def test_no_index_of_the_users_own_gets_into_the_project(
    tree: Tree, editor: Editor, index: Simple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has that from a team's repository would send requests there, or read a password."""
    path = tree.write("pyproject.toml", HEAD)
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    await editor("alpha")
    assert '"alpha>=1.5"' in path.read_text()
    assert "index" not in path.read_text()
