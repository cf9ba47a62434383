"""`pkgview tool`: commands that belong to no project, as uvx and pipx have them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unionfs.cli.command import tool_requirement
from unionfs.publishing.tools import link_commands, tool_named

if TYPE_CHECKING:
    from resolver.places import Places
    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

PKGVIEW = Path(sys.executable).with_name("pkgview")

MAIN = b"""\
import sys
from importlib.metadata import entry_points, version
def main():
    beside = [name for name in ("beside",) if not __import__("importlib.util").util.find_spec(name)]
    print(version("hello"), "alone" if beside else "beside", *sys.argv[1:])
"""


def offer(index: Index, version: str, *commands: str) -> None:
    scripts = [f"{name} = hello:main" for name in commands]
    index.wheel("hello", version, {"hello.py": MAIN}, scripts=scripts, requires=["needed"])


def tool(site: Site, *arguments: str | Path, cwd: Path, code: int = 0) -> Any:  # noqa: ANN401 - a process
    return site.pkgview("tool", *arguments, cwd=cwd, code=code)


def known(site: Site) -> set[str]:
    found = json.loads(site.pkgview("projects", "--json", cwd=site.home).stdout)
    return {each["project"] for each in found}


def works_on_its_callers_environment(shop: Site, here: Path) -> None:
    """As with uvx; and what it starts sees the project."""
    sees = (
        shop.places.mount / "bin/python",
        "-c",
        "import os, beside; print(os.path.realpath(beside.__file__))",
    )
    for words in (("--from", "hello<2"), ("--from", "hello<2"), ("--from", "hello==2.0")):
        printed = tool(shop, "run", *words, "printenv", cwd=here).stdout
        assert "VIRTUAL_ENV=" not in printed
        assert "PKGVIEW_VIEW=" not in printed
        assert "/views/" in tool(shop, "run", *words, *sees, cwd=here).stdout
    within = ("run", "--", PKGVIEW, "tool", "run", "--from", "hello<2")
    active = shop.pkgview("run", "--", "printenv", "VIRTUAL_ENV", cwd=here).stdout
    assert shop.pkgview(*within, "printenv", "VIRTUAL_ENV", cwd=here).stdout == active
    assert "/views/" in shop.pkgview(*within, *sees, cwd=here).stdout


def says_what_an_upgrade_changed(shop: Site, index: Index, here: Path) -> None:
    assert "as before" in tool(shop, "upgrade", "hello", cwd=here).stderr
    index.wheel("needed", "2.0", scripts=["needed = needed:hello"])
    said = tool(shop, "upgrade", "hello", cwd=here).stderr
    assert said == "hello 2.0: ~ needed 1.0 \N{RIGHTWARDS ARROW} 2.0.\n"


def test_a_tool_from_its_installation_to_its_end(shop: Site, index: Index) -> None:
    index.wheel("needed", scripts=["needed = needed:hello"])
    index.wheel("beside")
    offer(index, "1.0", "hello", "old")
    here = shop.project("here")  # a project whose packages are no tool's
    (here / "requirements.txt").write_text("beside\n")
    shop.pkgview("up", cwd=here)
    bin_ = shop.home / ".local/bin"
    bin_.mkdir(parents=True)
    (bin_ / "old").write_text("mine")
    said = tool(shop, "install", "hello", cwd=here, code=1).stderr
    assert f"{bin_}/old is there already and not of hello" in said
    assert os.listdir(bin_) == ["old"]
    assert tool(shop, "list", "--json", cwd=here).stdout.strip() == "[]"
    (bin_ / "old").unlink()
    said = tool(shop, "install", "hello", cwd=here).stderr
    assert "Installed hello 1.0: hello, old.\n" in said
    assert f"{bin_} is not on PATH" in said
    # Not what it depends on; from wherever it is called, by whatever name the directory has.
    assert sorted(os.listdir(bin_)) == ["hello", "old"]
    assert shop.run(bin_ / "hello", "x", cwd=here).stdout == "1.0 alone x\n"
    assert "installed already" in tool(shop, "install", "hello", cwd=here).stderr
    (listed,) = json.loads(tool(shop, "list", "--json", cwd=here).stdout)
    assert (listed["name"], listed["version"], listed["commands"]) == (
        "hello", "1.0", ["hello", "old"],
    )  # fmt: skip
    shop.pkgview("gc", cwd=here)
    assert shop.run(bin_ / "old", cwd=shop.home).stdout == "1.0 alone\n"
    assert tool(shop, "run", "hello", "y", cwd=here).stdout == "1.0 alone y\n"
    # Another version for one run leaves it as it is; so does one with more beside it.
    offer(index, "2.0", "hello", "new")
    for words, expected in (
        (("hello@2.0", "x"), "2.0 alone x"),
        (("hello@2.0", "x"), "2.0 alone x"),
        (("--from", "hello<2", "old"), "1.0 alone"),
        (("--with", "beside", "hello@latest"), "2.0 beside"),
    ):
        assert tool(shop, "run", *words, cwd=here).stdout == f"{expected}\n", words
    works_on_its_callers_environment(shop, here)
    assert shop.run(bin_ / "hello", cwd=here).stdout == "1.0 alone\n"
    assert "Installed hello 2.0: hello, new." in tool(shop, "upgrade", "--all", cwd=here).stderr
    assert sorted(os.listdir(bin_)) == ["hello", "new"]
    assert shop.run(bin_ / "hello", cwd=here).stdout == "2.0 alone\n"
    says_what_an_upgrade_changed(shop, index, here)
    said = tool(shop, "install", "hello<2", "--with", "beside", cwd=here).stderr
    assert "Installed hello 1.0: hello, old." in said
    assert shop.run(bin_ / "old", cwd=here).stdout == "1.0 beside\n"
    # What a distribution does not bring is said with what it does.
    for line, told in (
        ("--from hello==1.0 nosuch", "hello brings no command nosuch\n  It brings hello, old:"),
        ("beside", "beside brings no command beside\n  It brings none"),
        ("beside", "beside brings no command beside\n  It brings none"),
    ):
        assert told in tool(shop, "run", *line.split(), cwd=here, code=127).stderr
    # What cannot be had changes nothing, and what brings no command is none.
    tool(shop, "install", "hello>2", cwd=here, code=1)
    assert "brings no commands" in tool(shop, "install", "beside", cwd=here, code=1).stderr
    assert known(shop) == {str(here), f"{shop.home}/.local/share/pkgview/tools/hello"}
    assert shop.run(bin_ / "old", cwd=here).stdout == "1.0 beside\n"
    (bin_ / "another").symlink_to(bin_ / "hello")
    tool(shop, "uninstall", "hello", cwd=here)
    assert os.listdir(bin_) == ["another"]
    assert known(shop) == {str(here)}
    assert "there is no tool hello" in tool(shop, "uninstall", "hello", cwd=here, code=1).stderr
    tool(shop, "upgrade", cwd=here, code=2)
    assert tool(shop, "list", cwd=here).returncode == 0
    assert os.listdir(shop.home / ".local/share/pkgview/tools") == []


def test_the_directory_of_commands_is_its_users_whatever_the_umask(
    isolated_places: Places, tmp_path: Path
) -> None:
    directory = tmp_path / "local/bin"
    before = os.umask(0)
    try:
        link_commands(isolated_places, tool_named(isolated_places, "a"), [], directory)
    finally:
        os.umask(before)
    for made in (directory, directory.parent):
        assert made.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("ruff", ("ruff", "ruff")),
        ("ruff@0.14.0", ("ruff==0.14.0", "ruff")),
        ("ruff@latest", ("ruff", "ruff")),
        ("ruff>=0.14,<1", ("ruff>=0.14,<1", "ruff")),
        ("black[d]>=24", ("black[d]>=24", "black")),
        ("x @ git+https://a/b", ("x @ git+https://a/b", "x")),
        ("x@git+https://a/b", ("x@git+https://a/b", "x")),
        ("x@/srv/x.whl", ("x@/srv/x.whl", "x")),
        ("x@https://a/x-1.whl", ("x@https://a/x-1.whl", "x")),
    ],
)
def test_how_a_tool_is_named(said: str, expected: tuple[str, str]) -> None:
    assert tool_requirement(said) == expected
