"""A script's own settings of uv, in its inline block: the same packages as with `uv run`.

What matters most is where a package comes from: one that the block takes from a private index must
not come from the public one, which has a higher version of that name.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from resolver.python.uv.run import uv_binary
from tests.mounted.beside.conftest import Ended
from tests.mounted.conftest import an_index, forked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside
    from tests.mounted.conftest import Index

pytestmark = [pytest.mark.fuse]

LISTS = """
import importlib.metadata as m
print(dict(sorted((d.name, d.version) for d in m.distributions())))
"""

BACK_END = """
import shutil
def build_wheel(directory, settings=None, metadata=None):
    shutil.copy("{built}/lib-3.0-py3-none-any.whl", directory)
    return "lib-3.0-py3-none-any.whl"
build_editable = build_wheel
"""

LIB = {
    "lib/pyproject.toml": '[project]\nname = "lib"\nversion = "3.0"\n'
    '[build-system]\nrequires = []\nbuild-backend = "back"\nbackend-path = ["."]\n',
    "lib/back.py": BACK_END,
}

PRIVATE = """
[[tool.uv.index]]
name = "private"
url = "{private}"
"""

ON_LINUX = """explicit = true
[tool.uv.sources.corp]
index = "private"
marker = "sys_platform == 'linux'"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """Scripts that are run by both tools; the site's only index is the public one."""

    beside: Beside
    private: Index

    def write(self, dependencies: list[str], settings: str, files: dict[str, str]) -> Path:
        """A script that prints what it sees; `{private}` is the index, `{here}` the directory."""
        built = os.fspath(self.private.directory)
        texts = {name: text.replace("{built}", built) for name, text in files.items()}
        directory = self.beside.project(texts)
        settings = settings.replace("{private}", self.private.url)
        settings = settings.replace("{here}", os.fspath(directory))
        block = f"dependencies = {dependencies}\n{settings}"
        lines = "".join(f"# {line}\n" if line else "#\n" for line in block.splitlines())
        script = directory / "s.py"
        script.write_text(f"# /// script\n{lines}# ///\n{LISTS}")
        return script

    def ours(self, script: Path, *arguments: str) -> Ended:
        site = self.beside.site
        command = ["run", "--python", os.fspath(site.python), *arguments, script.name]
        ended = forked().run(command, cwd=script.parent, environ=site.environ, seconds=240)
        said = ended.stdout if ended.returncode == 0 else ended.stderr
        return Ended(status=ended.returncode, said=said, root=script.parent)

    def uvs(self, script: Path, *arguments: str) -> Ended:
        site = self.beside.site
        command = [uv_binary(), "run", "-q", "-p", os.fspath(site.python), *arguments, script.name]
        ended = subprocess.run(
            command, cwd=script.parent, env=site.environ, capture_output=True, text=True,
            check=False, timeout=240,
        )  # fmt: skip
        said = ended.stdout if ended.returncode == 0 else ended.stderr
        return Ended(status=ended.returncode, said=said, root=script.parent)


@pytest.fixture(scope="module")
def scripts(beside: Beside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripts]:
    for name, versions in (
        ("corp", ["9.0"]),
        ("other", ["1.0", "2.0", "3.0a1"]),
        ("above", ["1.0"]),
        ("lib", ["9.0"]),
    ):
        for version in versions:
            requires = ["other", "corp"] if name == "above" else []
            beside.index.wheel(name, version, requires=requires)
    beside.index.wheel("young", python=">=3.10")
    with an_index(tmp_path_factory.mktemp("private") / "index") as private:
        private.wheel("corp", "1.0")
        private.wheel("other", "5.0")
        private.wheel("lib", "3.0")
        yield Scripts(beside=beside, private=private)


ROWS: dict[str, tuple[list[str], str, dict[str, str], dict[str, str]]] = {
    "nothing set": (["corp"], "", {}, {"corp": "9.0"}),
    "explicit index": (
        ["corp", "other"],
        PRIVATE + 'explicit = true\n[tool.uv.sources]\ncorp = {index = "private"}\n',
        {},
        {"corp": "1.0", "other": "2.0"},
    ),
    "index of one platform": (
        ["corp"],
        PRIVATE + ON_LINUX,
        {},
        {"corp": "1.0"},
    ),
    "index in front": (
        ["above"], PRIVATE, {}, {"above": "1.0", "corp": "1.0", "other": "5.0"}
    ),
    "best of all indexes": (
        ["corp"],
        f'[tool.uv]\nindex-strategy = "unsafe-best-match"\n{PRIVATE}',
        {},
        {"corp": "9.0"},
    ),
    "extra-index-url": (
        ["corp"], '[tool.uv]\nextra-index-url = ["{private}"]\n', {}, {"corp": "1.0"}
    ),
    "find-links, and no index": (
        ["corp"],
        '[tool.uv]\nno-index = true\nfind-links = ["wheels"]\n',
        {"wheels/{private}": ""},
        {"corp": "1.0"},
    ),
    "a directory": (["lib"], '[tool.uv.sources]\nlib = {path = "lib"}\n', LIB, {"lib": "3.0"}),
    "an editable directory": (
        ["lib"], '[tool.uv.sources]\nlib = {path = "./lib", editable = true}\n', LIB, {"lib": "3.0"}
    ),
    "a file": (
        ["corp"],
        '[tool.uv.sources]\ncorp = {path = "wheels/corp-1.0-py3-none-any.whl"}\n',
        {"wheels/{private}": ""},
        {"corp": "1.0"},
    ),
    "a repository": (
        ["lib"], '[tool.uv.sources]\nlib = {git = "file://{here}/lib"}\n', LIB, {"lib": "3.0"}
    ),
    "resolution": (["other"], '[tool.uv]\nresolution = "lowest"\n', {}, {"other": "1.0"}),
    "prerelease": (["other"], '[tool.uv]\nprerelease = "allow"\n', {}, {"other": "3.0a1"}),
    "prerelease of one": (
        ["other"], '[tool.uv.prerelease-package]\nother = "allow"\n', {}, {"other": "3.0a1"}
    ),
    "constraint": (["above"], '[tool.uv]\nconstraint-dependencies = ["other<2"]\n', {},
                   {"above": "1.0", "corp": "9.0", "other": "1.0"}),
    "override": (["above"], '[tool.uv]\noverride-dependencies = ["other==1.0"]\n', {},
                 {"above": "1.0", "corp": "9.0", "other": "1.0"}),
    "exclude": (["above"], '[tool.uv]\nexclude-dependencies = ["other"]\n', {},
                {"above": "1.0", "corp": "9.0"}),
    "dependency-metadata": (
        ["above"],
        '[[tool.uv.dependency-metadata]]\nname = "above"\nrequires-dist = ["corp"]\n',
        {},
        {"above": "1.0", "corp": "9.0"},
    ),
    "settings of its directory": (
        ["other"], "", {"uv.toml": 'resolution = "lowest"\n'}, {"other": "1.0"}
    ),
    "its own before those of its directory": (
        ["other"],
        '[tool.uv]\nresolution = "highest"\n',
        {"uv.toml": 'resolution = "lowest"\nprerelease = "allow"\n'},
        {"other": "3.0a1"},
    ),
    "requires-python that a dependency does not hold": (
        ["young"], 'requires-python = ">=3.8"\n', {}, {"young": "1.0"}
    ),
}  # fmt: skip
"""Dependencies, settings, files beside the script, and what is installed by both."""


@pytest.mark.parametrize("row", ROWS)
def test_the_same_packages(scripts: Scripts, row: str) -> None:
    dependencies, settings, files, wanted = ROWS[row]
    script = scripts.write(dependencies, settings, {k: v for k, v in files.items() if "{" not in k})
    if "wheels/{private}" in files:
        (script.parent / "wheels").symlink_to(scripts.private.directory)
    if "git" in settings:
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
            subprocess.run([*git, *command], cwd=script.parent / "lib", check=True)
    before = sorted(os.listdir(script.parent))
    theirs = scripts.uvs(script)
    assert theirs.status == 0, theirs.said
    ours = scripts.ours(script)
    assert ours.status == 0, ours.said
    assert ast.literal_eval(ours.said) == ast.literal_eval(theirs.said) == wanted
    assert sorted(os.listdir(script.parent)) == before, "something was written beside the script"


REFUSED = {
    "newer than all": (["corp"], '[tool.uv]\nexclude-newer = "2001-01-01T00:00:00Z"\n', "corp"),
    "an index that is not there": (
        ["corp"], '[tool.uv.sources]\ncorp = {index = "nowhere"}\n', "nowhere"
    ),
    "another version of uv": (["corp"], '[tool.uv]\nrequired-version = "<0.1"\n', "0\\.1"),
    "no such setting": (["corp"], "[tool.uv]\nsoruces = {}\n", "soruces"),
    "a setting of projects": (["corp"], "[tool.uv]\nconflicts = []\n", "conflicts"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_refused_by_both(scripts: Scripts, row: str) -> None:
    dependencies, settings, says = REFUSED[row]
    script = scripts.write(dependencies, settings, {})
    theirs = scripts.uvs(script)
    assert theirs.status != 0
    ours = scripts.ours(script)
    assert ours.status == 1
    assert re.search(says, ours.said), ours.said


def test_its_lock(scripts: Scripts) -> None:
    """As a uv.lock: used, refreshed where it is outdated, an error with --locked."""
    settings = PRIVATE + 'explicit = true\n[tool.uv.sources]\ncorp = {index = "private"}\n'
    script = scripts.write(["corp", "other<2"], settings, {})
    environ = scripts.beside.site.environ
    subprocess.run([uv_binary(), "lock", "-q", "--script", script], env=environ, check=True)
    lock = script.with_name("s.py.lock")
    text = script.read_text()
    assert ast.literal_eval(scripts.ours(script).said) == {"corp": "1.0", "other": "1.0"}
    script.write_text(text.replace("other<2", "other>=1"))
    before = lock.read_bytes()
    refused = scripts.ours(script, "--locked")
    assert refused.status == 1
    assert "s.py.lock is outdated: the script asks for other>=1" in refused.said
    assert lock.read_bytes() == before
    assert ast.literal_eval(scripts.ours(script).said) == {"corp": "1.0", "other": "1.0"}
    assert lock.read_bytes() != before
    script.write_text(text.replace("other<2", "other>1"))
    assert ast.literal_eval(scripts.ours(script, "--frozen").said)["other"] == "1.0"
    assert ast.literal_eval(scripts.ours(script).said) == {"corp": "1.0", "other": "2.0"}
    assert ast.literal_eval(scripts.uvs(script, "--locked").said)["other"] == "2.0"


def test_edits_keep_versions(scripts: Scripts) -> None:
    script = scripts.write(["other<2"], "", {})
    assert ast.literal_eval(scripts.ours(script).said) == {"other": "1.0"}
    script.write_text(script.read_text().replace("other<2", "other', 'corp"))
    assert ast.literal_eval(scripts.ours(script).said) == {"corp": "9.0", "other": "1.0"}


def test_an_edit_of_the_index(scripts: Scripts) -> None:
    """Versions of before are preferred, but not what another index had under them."""
    public = scripts.beside.index.url
    block = f'[[tool.uv.index]]\nurl = "{public}"\n'
    script = scripts.write(["corp"], block, {})
    assert ast.literal_eval(scripts.ours(script).said) == {"corp": "9.0"}
    script.write_text(script.read_text().replace(public, scripts.private.url))
    for found in (scripts.uvs(script), scripts.ours(script)):
        assert ast.literal_eval(found.said) == {"corp": "1.0"}


def test_what_is_added_for_one_run_is_from_its_indexes(scripts: Scripts) -> None:
    script = scripts.write(["other<2"], f'[tool.uv]\nprerelease = "allow"\n{PRIVATE}', {})
    (script.parent / "uv.toml").write_text('constraint-dependencies = ["other<9"]\n')
    script.write_text(script.read_text().replace("'other<2'", "'lib'"))
    theirs, ours = (run(script, "--with", "corp") for run in (scripts.uvs, scripts.ours))
    assert theirs.status == ours.status == 0, ours.said
    assert ast.literal_eval(ours.said) == {"corp": "1.0", "lib": "3.0"}
    assert ast.literal_eval(theirs.said)["corp"] == "1.0"
