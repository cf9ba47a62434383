"""What `--with` adds, and what it takes the place of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from resolver.errors import PkgviewError
from resolver.python.added.additions import addition
from resolver.python.added.overlay import overlay
from resolver.python.index import uv_environment
from resolver.python.lock import lock, write_lock
from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.added.overlay import Overlay
    from resolver.python.interpreter import Interpreter

    Tree = Any
    Simple = Any

HEAD = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.9"\n'
LIBRARY = '[project]\nname = "{}"\nversion = "{}"\nrequires-python = ">=3.9"\n{}\n'
BUILT = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'


class Shop:
    """The project of a tree, with what is added to it."""

    def __init__(self, tree: Tree, interpreter: Interpreter, state: Path) -> None:
        self.tree, self.interpreter, self.state = tree, interpreter, state

    async def with_(self, *texts: str) -> Overlay:
        base = await lock(self.tree.project(), self.interpreter, state=self.state)
        added = [addition(text) for text in texts]
        return await overlay(base, self.interpreter, added, state=self.state)

    def library(self, name: str, version: str = "1", more: str = "") -> Path:
        path: Path = self.tree.root.parent / f"lib {name}"
        path.mkdir(exist_ok=True)
        (path / "pyproject.toml").write_text(BUILT + LIBRARY.format(name, version, more))
        return path


@pytest.fixture
def shop(tree: Tree, index: Simple, interpreter: Interpreter, state: Path) -> Shop:
    for version in ("1", "2"):
        index.wheel("base", version)
    index.wheel("tool", "1", "base")
    index.wheel("old", "1", "base<2")
    return Shop(tree, interpreter, state)


def versions(found: Overlay) -> dict[str, str | None]:
    return {choice.name: choice.version for choice in found.choices}


@pytest.mark.parametrize("by", ["requirements.txt", "pylock.toml", "uv.lock"])
async def test_a_place_wins_whatever_the_lock_is(shop: Shop, by: str) -> None:
    """By an index or as another place, with other dependencies, and followed as it is edited."""
    tree = shop.tree
    tree.write("pyproject.toml", HEAD + 'dependencies = ["base<2"]\n')
    if by == "pylock.toml":
        await write_lock(tree.project(), shop.interpreter)
    elif by == "uv.lock":
        command = [uv_binary(), "lock", "--quiet", "--python", shop.interpreter.executable]
        environ = {**os.environ, **uv_environment(tree.root)}
        await trio.run_process(command, cwd=tree.root, env=environ)
    else:
        (tree.root / "pyproject.toml").unlink()
        tree.write(by, "base<2\n")
    before = {path: path.read_bytes() for path in tree.root.iterdir()}
    path = shop.library("base", "7.dev0", 'dependencies = ["tool"]')
    for text in (f"{path}", f"-e {path}", path.as_uri()):
        found = await shop.with_(text)
        base, tool = found.choices
        assert (base.name, base.path, base.editable) == ("base", path, True)
        assert (tool.name, tool.version) == ("tool", "1")
        assert found.said == f"For this run only: base ({path}) instead of base 1."
    # Its dependencies are looked at again.
    shop.library("base", "7.dev0")
    assert [choice.name for choice in (await shop.with_(str(path))).choices] == ["base"]
    assert {path: path.read_bytes() for path in tree.root.iterdir()} == before


async def test_versions_of_the_lock_are_preferred_and_those_asked_for_win(shop: Shop) -> None:
    shop.tree.write("requirements.txt", "base==1\n")
    found = await shop.with_("tool")
    assert (versions(found), found.said) == ({"base": "1", "tool": "1"}, "")
    found = await shop.with_("base>=2")
    assert versions(found) == {"base": "2"}
    assert found.said == "For this run only: base 2 instead of base 1."
    shop.tree.write("requirements.txt", "base==2\n")
    found = await shop.with_("old")  # what it needs is another version than the lock's
    assert versions(found) == {"base": "1", "old": "1"}
    with pytest.raises(PkgviewError, match="cannot resolve base>3"):
        await shop.with_("base>3")


async def test_a_place_of_the_lock_is_left_only_for_what_was_asked_for(shop: Shop) -> None:
    """No index is asked for what the project has from elsewhere: perhaps none knows it."""
    near = shop.library("near")
    shop.tree.write("requirements.txt", f"-e {near.as_uri()}\nbase==1\n")
    far = shop.library("far", more='dependencies = ["near", "base"]')
    found = await shop.with_(f"{far}")
    assert [choice.path for choice in found.choices if choice.name == "near"] == [near]
    assert {choice.name for choice in found.choices} == {"base", "far", "near"}
    assert not found.said
    found = await shop.with_("near")
    assert not found.said
    with pytest.raises(PkgviewError, match="near"):
        await shop.with_("near>=5")
    # The same place again is nothing else.
    assert not (await shop.with_(f"{near}")).said


def test_what_is_a_place_and_what_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = tmp_path / "a b" / "c"
    tree.mkdir(parents=True)
    wheel = tmp_path / "x-1-py3-none-any.whl"
    wheel.touch()
    assert addition("./a b/c[x, y]").line == f"-e {tree.as_uri()}[x, y]"
    assert addition("--editable=a b/c").path == tree
    assert addition("a b/c").path == tree
    assert addition(wheel.name).line == wheel.as_uri()
    for text in ("a", "b @ https://x/y", "rich[x]>=14,<15; python_version>'3'"):
        assert addition(text).line == text
    for hostile in ("-r /etc/passwd", "a\nb", "--index-url=http://x", "-e", "", "-e  "):
        with pytest.raises(PkgviewError, match="is no requirement"):
            addition(hostile)
    with pytest.raises(PkgviewError, match=r"there is no .*/nowhere"):
        addition("./nowhere")
