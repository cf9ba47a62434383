from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

import resolver.python.outdated.refresh
from resolver.errors import PkgviewError
from resolver.python.lock import write_lock
from resolver.python.outdated.refresh import Asked, Found, current_lock
from resolver.python.selection import select
from resolver.python.uv.run import run_uv, uv_binary

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.interpreter import Interpreter

    Tree = Any
    Simple = Any

HEAD = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.9"\n'


class Shop:
    """A project whose lock is asked for."""

    def __init__(self, tree: Tree, interpreter: Interpreter, state: Path) -> None:
        self.tree = tree
        self.interpreter = interpreter
        self.state = state

    def asks(self, *requirements: str, more: str = "") -> None:
        listed = ", ".join(f'"{one}"' for one in requirements)
        self.tree.write("pyproject.toml", f"{HEAD}dependencies = [{listed}]\n{more}")

    async def found(self, at: str = "", **asked: Any) -> tuple[Found, dict[str, str | None]]:  # noqa: ANN401
        project = self.tree.project(at)
        found = await current_lock(project, self.interpreter, Asked(**asked), self.state)
        chosen = select(found.lock, self.interpreter)
        return found, {one.name: one.version for one in chosen}

    async def uv_lock(self) -> None:
        command = [uv_binary(), "lock", "-q", "--python", self.interpreter.executable]
        await trio.run_process(command, cwd=self.tree.root)

    async def pkgview_lock(self) -> None:
        await write_lock(self.tree.project(), self.interpreter)


@pytest.fixture
def shop(tree: Tree, index: Simple, interpreter: Interpreter, state: Path) -> Shop:
    for name, version in (("base", "1"), ("base", "2"), ("more", "1"), ("other", "1")):
        index.wheel(name, version)
    return Shop(tree, interpreter, state)


@pytest.fixture(params=["uv.lock", "pylock.toml"])
async def locked(shop: Shop, request: pytest.FixtureRequest) -> str:
    """A lock, by uv or by us, of base 1, and then base may be any."""
    shop.asks("base==1")
    await (shop.uv_lock() if request.param == "uv.lock" else shop.pkgview_lock())
    shop.asks("base")
    found, versions = await shop.found()
    assert (versions, found.current) == ({"base": "1"}, True)
    assert request.param in found.said
    return str(request.param)


async def test_outdated_lock_is_refreshed_and_changes_no_more_than_it_has_to(
    shop: Shop, locked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop.tree.root / locked
    before = path.read_bytes()
    with monkeypatch.context() as nobody:
        nobody.setattr(resolver.python.outdated.refresh, "write_lock", None)
        shop.asks("base", more="[tool.ruff]\nline-length = 100\n")
        found, _ = await shop.found()
    assert (found.said, found.current, path.read_bytes()) == ("", True, before)

    shop.asks("base", "more")
    found, versions = await shop.found(frozen=True)
    assert (versions, found.current, found.said) == ({"base": "1"}, False, "")
    with pytest.raises(PkgviewError, match=rf"{locked} is outdated: .* asks for more") as caught:
        await shop.found(locked=True)
    assert "lock`" in caught.value.remedy
    assert path.read_bytes() == before

    found, versions = await shop.found()
    assert (versions, found.current) == ({"base": "1", "more": "1"}, True)
    assert f"{locked} was outdated, and is refreshed." in found.said
    assert [str(one) for one in found.renewed] == ["+ more 1"]
    assert found.project == shop.tree.project()
    after = path.read_bytes()
    assert (await shop.found(locked=True))[0].current
    assert path.read_bytes() == after

    shop.asks("more")
    found, versions = await shop.found()
    assert versions == {"more": "1"}
    assert [str(one) for one in found.renewed] == ["- base"]


async def test_who_only_looks_gets_what_is_asked_for_and_the_lock_stays(
    shop: Shop, locked: str
) -> None:
    path = shop.tree.root / locked
    before = path.read_bytes()
    found, _ = await shop.found(no_build=True)
    assert (found.said, found.current) == ("", True)
    shop.asks("base", "more")
    found, versions = await shop.found(no_build=True)
    assert (versions, found.current) == ({"base": "1", "more": "1"}, False)
    assert f"{locked} is outdated" in found.said
    assert "`pkgview up`" in found.said
    assert (path.read_bytes(), found.project) == (before, shop.tree.project())
    # Where that cannot be resolved the lock is what there is.
    shop.asks("base", "nowhere")
    found, versions = await shop.found(no_build=True)
    assert (versions, found.current) == ({"base": "1"}, False)
    assert "nowhere" in found.said


async def test_newer_versions_of_one_package_or_of_all(
    shop: Shop, locked: str, index: Simple
) -> None:
    shop.asks("base", "other")
    await shop.found()
    index.wheel("other", "2")
    found, versions = await shop.found(upgrade_packages=("other",))
    assert versions == {"base": "1", "other": "2"}
    assert f"Renewed {locked}" in found.said
    assert (await shop.found(upgrade=True))[1] == {"base": "2", "other": "2"}


async def test_lock_that_may_not_be_written_is_used_and_what_it_lacks_is_said(
    shop: Shop, locked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.asks("base", "more")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    found, versions = await shop.found()
    assert (versions, found.current) == ({"base": "1"}, False)
    assert f"{locked} is outdated: " in found.said
    assert "asks for more. It is used as it is" in found.said


async def test_lock_of_others_is_used_as_it_is(shop: Shop) -> None:
    shop.asks("base==1")
    await shop.pkgview_lock()
    path = shop.tree.root / "pylock.toml"
    text, _, mark = path.read_text().partition("[tool.pkgview]")
    assert "inputs" in mark
    path.write_text(text)
    shop.asks("Base<2", "other; python_version < '3'")
    found, versions = await shop.found()
    assert (versions, found.current, found.said) == ({"base": "1"}, True, "")
    shop.asks("base>=2", "more")
    found, versions = await shop.found()
    assert (versions, found.current) == ({"base": "1"}, False)
    assert "asks for base>=2, more. It is used as it is" in found.said
    assert path.read_text() == text
    with pytest.raises(PkgviewError, match="asks for base>=2, more"):
        await shop.found(locked=True)
    with pytest.raises(PkgviewError, match="has not written"):
        await shop.found(upgrade=True)


@pytest.mark.parametrize(
    ("listed", "line"), [("more\n-e ../nolib[x]\n", 2), ("# no.whl\n./no.whl\n", 2)]
)
async def test_what_is_not_there_is_named_with_its_line(shop: Shop, listed: str, line: int) -> None:
    path = shop.tree.write("requirements.txt", "-r more.txt\n")
    path = shop.tree.write("more.txt", listed)
    with pytest.raises(PkgviewError, match=rf"{path}, line {line}\)") as caught:
        await shop.found()
    assert caught.value.remedy


async def test_two_locks_are_one_too_many(shop: Shop) -> None:
    """What counts here is said, and what to do; what only edits or renews decides nothing."""
    shop.asks("base==1")
    await shop.pkgview_lock()
    await shop.uv_lock()
    assert not (await shop.found())[0].said
    shop.asks("base")
    await run_uv(["lock", "-P", "base"], cwd=shop.tree.root, added={})
    found, versions = await shop.found()
    assert (versions, found.current) == ({"base": "1"}, False)
    assert f"{shop.tree.root}/uv.lock has other versions than base 1. Delete one" in found.said
    shop.asks("base", "more")
    for option in ("locked", "upgrade"):
        with pytest.raises(PkgviewError) as caught:
            await shop.found(**{option: True})  # type: ignore[arg-type]  # `at` is another
        assert "Delete one of the two" in caught.value.remedy
    pylock = shop.tree.write("pylock.toml", "[[")
    with pytest.raises(PkgviewError, match="not valid TOML") as caught:
        await shop.found()
    assert caught.value.remedy == "Delete it: then the uv.lock beside it is used."
    pylock.unlink()
    shop.tree.write("uv.lock", "[[")
    with pytest.raises(PkgviewError, match=r"uv\.lock is not valid TOML") as caught:
        await shop.found(no_build=True)
    assert "delete it and lock anew" in caught.value.remedy


async def test_requirements_edited_after_pkgview_lock(shop: Shop) -> None:
    """Comments outdate nothing; a file that is named by -r counts."""
    shop.tree.write("requirements.txt", "-r base.txt\n")
    shop.tree.write("base.txt", "base==1\n")
    await shop.pkgview_lock()
    shop.tree.write("base.txt", "base==1  # for the old API\n")
    assert not (await shop.found())[0].said
    shop.tree.write("base.txt", "base==1\nmore\n")
    found, versions = await shop.found()
    assert versions == {"base": "1", "more": "1"}
    assert [str(one) for one in found.renewed] == ["+ more 1"]


async def test_edit_in_a_member_of_the_workspace(shop: Shop, tree: Tree) -> None:
    workspace = (
        '[tool.uv.workspace]\nmembers = ["lib*"]\n[tool.uv.sources]\nlib = {workspace = true}\n'
    )
    build = '[build-system]\nrequires = []\nbuild-backend = "none"\n'
    library = (
        '[project]\nname = "lib"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = [%s]\n'
    )
    tree.write("lib/pyproject.toml", build + library % '"base==1"')
    shop.asks("lib", more=workspace)
    await shop.uv_lock()
    before = tree.project()
    found, versions = await shop.found()
    assert (found.said, set(versions)) == ("", {"base", "lib"})
    assert (await shop.found(no_build=True))[0].current
    tree.write("lib/pyproject.toml", build + library % '"base==1", "more"')
    assert tree.project().inputs == before.inputs
    assert tree.root / "lib/pyproject.toml" in before.inputs
    found, _ = await shop.found(no_build=True)
    assert "asks for more" in found.said
    found, versions = await shop.found()
    assert set(versions) == {"base", "lib", "more"}
    assert "+ more 1" in map(str, found.renewed)


BACKEND = """
def build(directory):
    import pathlib
    pathlib.Path("ran").touch()
    requires = pathlib.Path("needs.txt").read_text().split()
    info = pathlib.Path(directory, "shop-1.dist-info")
    info.mkdir()
    lines = ["Metadata-Version: 2.2", "Name: shop", "Version: 1", "Requires-Python: >=3.9"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    (info / "METADATA").write_text("\\n".join(lines) + "\\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\nTag: py3-none-any\\n")
    return info.name
def prepare_metadata_for_build_wheel(directory, settings=None):
    return build(directory)
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
"""


async def test_requirements_that_a_back_end_reads_from_a_file(shop: Shop, tree: Tree) -> None:
    """uv itself takes what it remembers of the back end's answer."""
    tree.write("backend.py", BACKEND)
    tree.write("needs.txt", "base==1\n")
    tree.write(
        "pyproject.toml",
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dynamic = ["dependencies"]\n'
        '[tool.setuptools.dynamic]\ndependencies = {file = "needs.txt"}\n',
    )
    assert tree.root / "needs.txt" in tree.project().inputs
    await shop.uv_lock()
    assert not (await shop.found())[0].said
    tree.write("needs.txt", "base==1\nmore\n")
    (tree.root / "ran").unlink()
    looked, versions = await shop.found(no_build=True)
    assert "asks for more" in looked.said
    assert (set(versions), looked.own) == ({"base", "shop"}, True)
    assert not (tree.root / "ran").exists(), "who only looks runs no code of the project"
    found, versions = await shop.found()
    assert set(versions) == {"base", "more", "shop"}
    assert "+ more 1" in map(str, found.renewed)


async def test_who_only_looks_follows_no_choice_that_nobody_was_asked_about(shop: Shop) -> None:
    path = shop.tree.write("requirements.txt", "base==1\n")
    await shop.pkgview_lock()
    path.write_text("--extra-index-url https://packages.example/simple\nbase==1\nmore\n")
    found, versions = await shop.found(no_build=True)
    assert (versions, found.own, found.current) == ({"base": "1"}, True, False)
    assert "asks for more). It is used as it is" in found.said
