from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.project import trust
from resolver.python.editable import static_editable
from resolver.python.project import find_project
from resolver.python.unbuilt import as_files_say, own_tree, refuse_editables

if TYPE_CHECKING:
    from pathlib import Path

    from resolver.python.interpreter import Interpreter
    from resolver.python.project import PythonProject

MEMBER = '[project]\nname = "lib"\nversion = "1"\n'
HATCH = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


@pytest.fixture
def workspace(tmp_path: Path) -> PythonProject:
    """`packages/app` of a workspace, beside the member `packages/lib`."""
    root = tmp_path / "ws"
    for name in ("app", "lib"):
        place = root / "packages" / name
        place.mkdir(parents=True)
        (place / "pyproject.toml").write_text(MEMBER.replace("lib", name) + HATCH)
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    (root / "uv.lock").write_text("version = 1\n")
    found = find_project(root / "packages/app")
    assert found is not None
    return found


def test_a_member_is_served_as_its_files_say(workspace: PythonProject, tmp_path: Path) -> None:
    lib = workspace.root.parent / "lib"
    (lib / "src").mkdir()
    (lib / "pyproject.toml").write_text(
        MEMBER + '[project.optional-dependencies]\nX_y = ["six", "a; os_name == \'nt\'"]\n' + HATCH
    )
    assert own_tree(workspace) == tmp_path / "ws"
    found = as_files_say(lib, workspace, tmp_path / "state")
    tree = static_editable(found, tmp_path / "made") / "purelib"
    assert (tree / "__editable__.lib.pth").read_text() == f"{lib}/src\n"
    assert (tree / "lib-1.dist-info/METADATA").read_text().splitlines()[3:] == [
        "Provides-Extra: x-y",
        'Requires-Dist: six ; extra == "x-y"',
        "Requires-Dist: a ; (os_name == 'nt') and extra == \"x-y\"",
    ]


@pytest.mark.parametrize(
    ("pyproject", "why"),
    [
        (None, "has no pyproject.toml with a"),
        ("[tool.poetry]\nname = 'lib'\n", "has no pyproject.toml with a"),
        (MEMBER.replace('version = "1"', 'dynamic = ["version", "readme"]'), "its version"),
        (MEMBER + 'dynamic = ["scripts", "dependencies"]\n', "its dependencies, scripts"),
        (MEMBER + "[build-system]\nbuild-backend = 'maturin'\n", "maturin may make more"),
        (MEMBER + HATCH + "backend-path = ['.']\n", "hatchling.build may make more"),
        (MEMBER, "setup.py may make more"),
    ],
)
def test_what_needs_a_build(
    workspace: PythonProject, tmp_path: Path, pyproject: str | None, why: str
) -> None:
    lib = workspace.root.parent / "lib"
    (lib / "setup.py").touch()
    (lib / "pyproject.toml").unlink()
    if pyproject is not None:
        (lib / "pyproject.toml").write_text(pyproject)
    with pytest.raises(PkgviewError, match=why):
        as_files_say(lib, workspace, tmp_path / "state")


def test_only_what_is_in_its_own_tree_and_its_owners(
    workspace: PythonProject, tmp_path: Path
) -> None:
    state, lib = tmp_path / "state", workspace.root.parent / "lib"
    outside = lib.rename(tmp_path / "outside")
    for path in (outside, lib, workspace.root / "in"):
        if path != outside:
            path.symlink_to(outside)
        with pytest.raises(PkgviewError, match="not in the project's own tree"):
            as_files_say(path, workspace, state)
    lib.unlink()
    outside.rename(lib)
    (lib / "src").symlink_to("/usr")
    with pytest.raises(PkgviewError, match=r"src leads out of"):
        as_files_say(lib, workspace, state)
    (lib / "src").unlink()
    lib.chmod(0o777)
    with pytest.raises(PkgviewError, match="everybody may write to"):
        as_files_say(lib, workspace, state)
    workspace.root.chmod(0o777)  # and that is agreed to
    trust.allow(workspace, os.geteuid(), state, frozenset())
    assert as_files_say(lib, workspace, state).name == "lib"


@pytest.mark.parametrize(
    ("line", "name", "why"),
    [
        ("-e ./lib", "", "without building"),
        ("-e lib[x]", "name = 'lib'\nversion = '99999999999999999999999'", "without building"),
        ("--editable=./lib", "name = 'lib'\nversion = '1'", None),
        ("-e ./li\\\nb", "name = 'lib'\nversion = '1'", "may have to be built"),
        ("-e './lib'", "name = 'lib'\nversion = '1'", "may have to be built"),
        ("--pre -e ./lib", "", "may have to be built"),
    ],
)
async def test_uv_is_not_let_build_what_it_was_told_not_to(
    tmp_path: Path, interpreter: Interpreter, line: str, name: str, why: str | None
) -> None:
    lib = tmp_path / "lib"
    lib.mkdir()
    (lib / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    if name:
        (lib / "pyproject.toml").write_text(f"[project]\n{name}\n")
    (tmp_path / "requirements.txt").write_text(f"six\n{line}\n")
    project = find_project(tmp_path)
    assert project is not None
    if why is None:
        await refuse_editables(project, interpreter.executable)
    else:
        with pytest.raises(PkgviewError, match=why):
            await refuse_editables(project, interpreter.executable)
    assert not (tmp_path / "ran").exists()
