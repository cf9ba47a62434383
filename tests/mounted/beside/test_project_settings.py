"""What uv's settings make of a project: the same as `uv sync`, without a uv.lock and with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mounted.conftest import an_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mounted.beside.conftest import Beside
    from tests.mounted.conftest import Index

pytestmark = [pytest.mark.fuse]

HEAD = """
[project]
name = "shop"
version = "1"
requires-python = ">=3.10"
dependencies = {dependencies}
"""
EXPLICIT = """
[[tool.uv.index]]
name = "private"
url = "{private}"
explicit = true
[tool.uv.sources]
corp = {index = "private"}
"""
GROUPS = """
[dependency-groups]
dev = ["other<2"]
more = ["corp"]
"""
CONFLICT = """
[project.optional-dependencies]
a = ["other<2"]
b = ["other>=2"]
[tool.uv]
conflicts = [[{extra = "a"}, {extra = "b"}]]
"""
IN_CONFLICT = """
[tool.uv]
default-groups = "all"
conflicts = [[{group = "dev"}, {group = "more"}]]
"""
NOTHING_TO_DO = """
[tool.uv]
link-mode = "copy"
compile-bytecode = false
add-bounds = "exact"
concurrent-installs = 1
python-preference = "only-system"
reinstall = true
"""
MEMBER = """
[project]
name = "member"
version = "1"
requires-python = ">=3.10"
dependencies = ["corp"]
[tool.uv.sources]
corp = {index = "private"}
[tool.uv]
resolution = "lowest"
package = false
"""


@pytest.fixture(scope="module")
def private(beside: Beside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    for name, versions in (("corp", ["9.0"]), ("other", ["1.0", "2.0", "3.0a1"])):
        for version in versions:
            beside.index.wheel(name, version)
    beside.index.wheel("above", "1.0", requires=["other", "corp"])
    with an_index(tmp_path_factory.mktemp("private") / "index") as served:
        served.wheel("corp", "1.0")
        yield served


ROWS: dict[str, tuple[list[str], str, dict[str, str]]] = {
    "explicit index": (["corp", "other"], EXPLICIT, {"corp": "1.0", "other": "2.0"}),
    "no sources": (
        ["corp"], f"{EXPLICIT}[tool.uv]\nno-sources = true\n", {"corp": "9.0"}
    ),
    "no source of one": (
        ["corp"], f'{EXPLICIT}[tool.uv]\nno-sources-package = ["corp"]\n', {"corp": "9.0"}
    ),
    "resolution": (["other"], '[tool.uv]\nresolution = "lowest"\n', {"other": "1.0"}),
    "prerelease": (["other"], '[tool.uv]\nprerelease = "allow"\n', {"other": "3.0a1"}),
    "prerelease of one": (
        ["other"], '[tool.uv.prerelease-package]\nother = "allow"\n', {"other": "3.0a1"}
    ),
    "fork strategy": (["other"], '[tool.uv]\nfork-strategy = "fewest"\n', {"other": "2.0"}),
    "constraint": (
        ["above"], '[tool.uv]\nconstraint-dependencies = ["other<2"]\n',
        {"above": "1.0", "corp": "9.0", "other": "1.0"},
    ),
    "override": (
        ["above"], '[tool.uv]\noverride-dependencies = ["other==1.0"]\n',
        {"above": "1.0", "corp": "9.0", "other": "1.0"},
    ),
    "exclude": (
        ["above"], '[tool.uv]\nexclude-dependencies = ["other"]\n', {"above": "1.0", "corp": "9.0"}
    ),
    "dependency-metadata": (
        ["above"],
        '[[tool.uv.dependency-metadata]]\nname = "above"\nrequires-dist = ["corp"]\n',
        {"above": "1.0", "corp": "9.0"},
    ),
    "environments": (
        ["other"], "[tool.uv]\nenvironments = [\"sys_platform == 'linux'\"]\n", {"other": "2.0"}
    ),
    "required environments": (
        ["other"], "[tool.uv]\nrequired-environments = [\"sys_platform == 'linux'\"]\n",
        {"other": "2.0"},
    ),
    "conflicts": (
        ["corp"],
        CONFLICT,
        {"corp": "9.0"},
    ),
    "a group": (["above"], GROUPS, {"above": "1.0", "corp": "9.0", "other": "1.0"}),
    "no group": ([], f"{GROUPS}[tool.uv]\ndefault-groups = ['more']\n", {"corp": "9.0"}),
    "all groups": (
        [], f'{GROUPS}[tool.uv]\ndefault-groups = "all"\n', {"corp": "9.0", "other": "1.0"}
    ),
    "a group that needs this Python": (
        [], f"{GROUPS}[tool.uv.dependency-groups]\ndev = {{requires-python = '>=3.11'}}\n",
        {"other": "1.0"},
    ),
    "a group that is not asked for": (
        [], f"{GROUPS}[tool.uv.dependency-groups]\nmore = {{requires-python = '<3'}}\n",
        {"other": "1.0"},
    ),
    "dev-dependencies": ([], '[tool.uv]\ndev-dependencies = ["corp"]\n', {"corp": "9.0"}),
    "no package": (
        ["corp"],
        '[build-system]\nrequires = ["nowhere"]\n[tool.uv]\npackage = false\n', {"corp": "9.0"},
    ),
    "what changes nothing here": (
        ["other"],
        NOTHING_TO_DO,
        {"other": "2.0"},
    ),
    "upgrade": (["other"], "[tool.uv]\nupgrade = true\n", {"other": "2.0"}),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_the_same_packages(beside: Beside, private: Index, row: str) -> None:
    dependencies, settings, wanted = ROWS[row]
    settings = settings.replace("{private}", private.url)
    ours = beside.same({"pyproject.toml": HEAD.format(dependencies=dependencies) + settings})
    assert ours.distributions == wanted
    directory = ours.root.parent
    assert (directory / "uv.lock").exists(), "uv sync has made it"
    (directory / ".venv").unlink()
    again = beside.pkgview(directory)
    assert again.status == 0, again.said
    assert again.distributions == wanted


def test_a_members_settings_are_its_workspaces(beside: Beside, private: Index) -> None:
    root = EXPLICIT.partition("[tool.uv.sources]")[0].replace("{private}", private.url)
    root += '[tool.uv.sources]\nmember = {workspace = true}\n[tool.uv.workspace]\nmembers = ["m"]\n'
    text = HEAD.format(dependencies=["member", "other"]) + root
    ours = beside.same({"pyproject.toml": text, "m/pyproject.toml": MEMBER})
    assert ours.distributions == {"corp": "1.0", "other": "2.0"}


LISTS = {
    "constraint": 'constraint-dependencies = ["other==1.0"]\n',
    "override": 'override-dependencies = ["other==1.0"]\n',
    "exclude": 'exclude-dependencies = ["other"]\n',
}


@pytest.mark.parametrize("row", LISTS)
def test_lists_of_requirements_beside_a_project(beside: Beside, private: Index, row: str) -> None:
    """uv sync takes them of pyproject.toml alone: those of uv.toml count for `uv pip` only."""
    head = HEAD.format(dependencies=["above", "privately"]).strip() + "\n"
    own = head + f"[tool.uv]\n{LISTS[row]}"
    private.wheel("privately")
    # That it has the settings that it had otherwise, `[pip]` too.
    index = f'[[index]]\nurl = "{private.url}"\n[pip]\nextra-index-url = ["{private.url}"]\n'
    newest = {"above": "1.0", "corp": "1.0", "other": "2.0", "privately": "1.0"}
    ours = beside.same({"pyproject.toml": head, "uv.toml": LISTS[row] + index})
    assert ours.distributions == newest
    beside.same({"pyproject.toml": own, "uv.toml": index})
    listed = {"requirements.txt": "above\nprivately\n", "uv.toml": LISTS[row] + index}
    assert beside.same(listed).distributions != newest
    users = beside.site.home / ".config/uv/uv.toml"
    users.parent.mkdir(parents=True, exist_ok=True)
    try:
        users.write_text(LISTS[row])
        assert beside.same({"pyproject.toml": head, "uv.toml": index}).distributions == newest
    finally:
        users.unlink()


REFUSED: dict[str, tuple[str, str]] = {
    "a group that needs another Python": (
        f"{GROUPS}[tool.uv.dependency-groups]\ndev = {{requires-python = '<3.11'}}\n", "<3.11"
    ),
    "newer than all": ('[tool.uv]\nexclude-newer = "2001-01-01T00:00:00Z"\n', "other"),
    "a conflict of default groups": (
        GROUPS + IN_CONFLICT, "conflict"
    ),
    "environments without this one": (
        "[tool.uv]\nenvironments = [\"sys_platform == 'win32'\", \"python_version < '3.9'\"]\n",
        "is for sys_platform == 'win32' or python_version < '3.9' only",
    ),
    "no such index": ("[tool.uv.sources]\nother = {index = 'nowhere'}\n", "nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_refused_by_both(beside: Beside, private: Index, row: str) -> None:  # noqa: ARG001 - it fills the index
    settings, says = REFUSED[row]
    beside.refused({"pyproject.toml": HEAD.format(dependencies=["other"]) + settings}, says=says)


@pytest.mark.parametrize("by", ["its own word", "the source's"])
def test_a_directory_that_is_no_package(beside: Beside, private: Index, by: str) -> None:  # noqa: ARG001 - it fills the index
    own, more = "[tool.uv]\npackage = false\n", ""
    if by == "the source's":
        own, more = "", ", package = false"
    member = MEMBER.partition("[tool.uv")[0] + own
    text = HEAD.format(dependencies=["member"])
    text += f"[tool.uv.sources]\nmember = {{path = 'm'{more}}}\n"
    ours = beside.same({"pyproject.toml": text, "m/pyproject.toml": member})
    assert ours.distributions == {"corp": "9.0"}


def test_another_uv(beside: Beside, private: Index) -> None:  # noqa: ARG001 - it fills the index
    """uv says how it would renew itself, which is not how ours is."""
    said = 'required-version = ">=99"\n'
    own = HEAD.format(dependencies=["other"])
    locked = beside.project({"pyproject.toml": own})
    beside.site.uv("lock", "--python", beside.site.python, cwd=locked)
    (locked / "pyproject.toml").write_text(f"{own}[tool.uv]\n{said}")
    for directory in (
        locked,
        beside.project({"pyproject.toml": f"{own}[tool.uv]\n{said}"}),
        beside.project({"requirements.txt": "other\n", "uv.toml": said}),
    ):
        ended = beside.pkgview(directory)
        assert ended.status == 1
        assert "self update" not in ended.said
        assert "uv of pkgview's own environment: renew that" in " ".join(ended.said.split())
