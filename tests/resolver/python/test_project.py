from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import PkgviewError
from resolver.project.freshness import Freshness
from resolver.project.project import fingerprint, trust_problem
from resolver.python.project import (
    Origin,
    PythonProject,
    find_project,
    project_of_script,
    project_without_lock,
)
from resolver.toml import inline_block

if TYPE_CHECKING:
    Tree = Any

PYPROJECT = '[project]\nname = "My.Shop"\nversion = "1"\nrequires-python = ">=3.10"\n'


def test_nearest_directory_upwards_decides(tree: Tree) -> None:
    tree.write("requirements.txt", "six\n")
    tree.write("api/pyproject.toml", PYPROJECT)
    deep = tree.root / "api/src/x"
    deep.mkdir(parents=True)
    assert tree.project("api/src/x").root == tree.root / "api"
    assert tree.project().origin is Origin.REQUIREMENTS


def test_order_within_one_directory(tree: Tree) -> None:
    tree.write("requirements.txt", "six\n")
    assert tree.project().origin is Origin.REQUIREMENTS
    tree.write("pyproject.toml", "[tool.ruff]\n")
    assert tree.project().origin is Origin.REQUIREMENTS
    tree.write("pyproject.toml", PYPROJECT)
    assert tree.project().origin is Origin.PYPROJECT
    tree.write("uv.lock", "version = 1\n")
    assert tree.project().origin is Origin.UV
    tree.write("pylock.toml", 'lock-version = "1.0"\n')
    assert tree.project().origin is Origin.PYLOCK
    without = project_without_lock(tree.root)
    assert without is not None
    assert without.origin is Origin.UV


def test_pyproject_without_project_table_is_no_project(tree: Tree) -> None:
    tree.write("requirements.txt", "six\n")
    tree.write("sub/pyproject.toml", "[tool.black]\n")
    assert tree.project("sub").root == tree.root


def test_metadata_and_settings(tree: Tree) -> None:
    tree.write(
        "pyproject.toml",
        PYPROJECT + '[build-system]\nrequires = ["x"]\n'
        '[dependency-groups]\ndev = ["six"]\n'
        '[tool.pkgview]\nprefer = ["Zope.Event"]\npython = "3.12"\nextras = ["X_y"]\n'
        'accept = ["Demo==1.0.post1"]\n',
    )
    tree.write(".python-version", "# ours\n\n3.11\n")
    project = tree.project()
    assert (project.name, project.version, project.requires_python) == ("my-shop", "1", ">=3.10")
    assert project.settings.prefer == ("zope-event",)
    assert project.settings.accept == ("Demo==1.0.post1",)
    assert project.settings.extras == ("x-y",)
    assert project.settings.python == "3.12"
    assert project.python_pin == "3.11"
    assert project.package
    assert project.default_groups == ("dev",)


@pytest.mark.parametrize(
    ("extra", "package", "groups"),
    [
        ("", False, ("dev",)),
        ("[build-system]\n[tool.uv]\npackage = false\n", False, ("dev",)),
        ("[tool.uv]\npackage = true\n", True, ("dev",)),
        ("[tool.uv]\ndefault-groups = []\n", False, ()),
        ('[tool.uv]\ndefault-groups = "all"\n', False, ("dev", "docs")),
        ('[tool.uv]\ndefault-groups = []\n[tool.pkgview]\ngroups = ["docs"]\n', False, ("docs",)),
    ],
)
def test_package_and_default_groups(
    tree: Tree,
    extra: str,
    package: bool,  # noqa: FBT001 - a parameter of the table above
    groups: tuple[str, ...],
) -> None:
    tree.write("pyproject.toml", PYPROJECT + "[dependency-groups]\ndev = []\ndocs = []\n" + extra)
    project = tree.project()
    assert (project.package, project.default_groups) == (package, groups)


def test_uv_workspace_member_is_locked_by_the_workspace(tree: Tree) -> None:
    tree.write("uv.lock", "version = 1\n")
    tree.write(
        "pyproject.toml",
        '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n',
    )
    for name in ("new", "old"):
        tree.write(f"packages/{name}/pyproject.toml", PYPROJECT)
    tree.write("elsewhere/pyproject.toml", PYPROJECT)
    for name, target in (("linked", "../elsewhere"), ("round", "round"), ("nowhere", "none")):
        (tree.root / "packages" / name).symlink_to(target)
    assert tree.project("packages/new").origin is Origin.UV
    inputs = {str(path.relative_to(tree.root)) for path in tree.project("packages/new").inputs}
    assert "uv.lock" in inputs
    members = {name for name in inputs if name.startswith("packages/")}
    assert members == {"packages/new/pyproject.toml", "packages/linked/pyproject.toml"}
    assert tree.project("packages/old").origin is Origin.PYPROJECT


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[project\n", "line 1"),
        ("project = 3\n", "project is not a table"),
        ("[project]\nname = 3\n", "name is not a string"),
        ('[project]\n[tool.pkgview]\nprefer = "six"\n', "prefer is not a list of strings"),
        ('[project]\n[tool.pkgview]\naccept = ["six"]\n', "'six', which names no release"),
        ('[project]\n[tool.pkgview]\naccept = ["six==1.*"]\n', "which names no release"),
        ('[project]\n[tool.pkgview]\naccept = ["six>=1"]\n', "which names no release"),
        ("[project]\n[tool.pkgview]\npython-version = 3\n", "python-version"),
        ("[project]\n[tool]\nuv = []\n", "uv is not a table"),
        ("a = " + "[" * 5000, "not valid TOML"),
    ],
)
def test_malformed_pyproject_names_file_and_remedy(tree: Tree, text: str, named: str) -> None:
    path = tree.write("pyproject.toml", text)
    with pytest.raises(PkgviewError) as caught:
        find_project(tree.root)
    assert str(path) in caught.value.what
    assert named in caught.value.what
    assert caught.value.remedy


@given(data=st.binary(max_size=300))
def test_any_pyproject_gives_a_project_or_a_pkgview_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    import resolver.toml  # noqa: F401, PLC0415 - the first example would pay for it, by the clock

    root = tmp_path_factory.mktemp("any")
    (root / "pyproject.toml").write_bytes(b"[project]\n" + data)
    try:
        assert isinstance(find_project(root), PythonProject)
    except PkgviewError as error:
        assert error.remedy  # noqa: PT017 - either outcome is right


SCRIPT = """#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["six<2"]
#
# [tool.pkgview]
# python = "3.12"
# ///
import six
"""


def test_script_with_a_block_is_its_own_project(tree: Tree) -> None:
    tree.write("requirements.txt", "attrs\n")
    script = tree.write("tool.py", SCRIPT)
    project = project_of_script(script)
    assert project is not None
    assert (project.origin, project.root) == (Origin.SCRIPT, script)
    assert project.directory == tree.root
    assert project.requires_python == ">=3.11"
    assert project.settings.python == "3.12"


def test_script_without_a_block_belongs_to_its_directory(tree: Tree) -> None:
    tree.write("requirements.txt", "attrs\n")
    for text in ("import six\n", "# /// script\nno end\n", "# /// other\n# a = 1\n# ///\n"):
        project = project_of_script(tree.write("tool.py", text))
        assert project is not None
        assert project.origin is Origin.REQUIREMENTS
    binary = tree.root / "latin.py"
    binary.write_bytes(b"# /// script\n# x = '\xe9'\n# ///\n")
    found = project_of_script(binary)
    assert found is not None
    assert found.origin is Origin.REQUIREMENTS


def test_windows_line_ends_in_a_script(tree: Tree) -> None:
    script = tree.root / "tool.py"
    script.write_bytes(SCRIPT.replace("\n", "\r\n").encode())
    project = project_of_script(script)
    assert project is not None
    assert project.requires_python == ">=3.11"


def test_two_blocks_are_refused_with_their_line() -> None:
    with pytest.raises(PkgviewError, match="line 12"):
        inline_block(SCRIPT + "\n" + SCRIPT, Path("/x.py"))


def test_malformed_block_names_the_script(tree: Tree) -> None:
    script = tree.write("tool.py", "# /// script\n# dependencies = [\n# ///\n")
    with pytest.raises(PkgviewError, match=str(script)):
        project_of_script(script)
    script = tree.write("tool.py", "# /// script\n# dependencies = 'six'\n# ///\n")
    with pytest.raises(PkgviewError, match="list of strings"):
        project_of_script(script)


def test_fingerprint_follows_every_input_and_option(tree: Tree) -> None:
    tree.write("requirements.txt", "-r more/base.txt\n")
    base = tree.write("more/base.txt", "six\n")
    project = tree.project()
    first = fingerprint(project, "a")
    assert fingerprint(project, "a") == first
    assert fingerprint(project, "b") != first
    assert fingerprint(project, "", "a") != first
    base.write_text("six\nattrs\n")
    assert fingerprint(tree.project(), "a") != first


def test_metadata_of_local_directories_is_an_input(tree: Tree) -> None:
    tree.write("requirements.txt", "-e ./lib[x]\nother @ file:///nowhere\n")
    tree.write("lib/pyproject.toml", PYPROJECT)
    assert tree.root / "lib/pyproject.toml" in tree.project().inputs


def test_fifo_is_refused_and_does_not_hang(tree: Tree) -> None:
    tree.write("requirements.txt", "-r pipe\n")
    os.mkfifo(tree.root / "pipe")
    with pytest.raises(PkgviewError, match="not a regular file"):
        find_project(tree.root)


def test_finding_a_project_imports_nothing_heavy(tree: Tree) -> None:
    tree.write("pyproject.toml", PYPROJECT)
    code = (
        "import sys; from pathlib import Path; import resolver.python.project as p;"
        "from resolver.project.project import fingerprint;"
        f"fingerprint(p.find_project(Path({str(tree.root)!r})));"
        "print(sorted({'packaging', 'httpx2', 'trio', 'uv', 'subprocess'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestTrust:
    @pytest.fixture
    def project(self, tree: Tree) -> PythonProject:
        tree.write("requirements.txt", "six\n")
        for path in (tree.root, tree.root / "requirements.txt"):
            path.chmod(0o755)
        found: PythonProject = tree.project()
        return found

    def test_own_project(self, project: PythonProject) -> None:
        assert trust_problem(project, os.getuid()) is None

    @pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
    def test_directory_that_all_may_write_to(self, project: PythonProject, mode: int) -> None:
        project.root.chmod(mode)
        assert "everybody may write" in (trust_problem(project, os.getuid()) or "")

    def test_input_that_all_may_write_to(self, project: PythonProject) -> None:
        (project.root / "requirements.txt").chmod(0o666)
        problem = trust_problem(project, os.getuid()) or ""
        assert problem.endswith("requirements.txt")

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
    def test_owners_and_groups(self, project: PythonProject) -> None:
        os.chown(project.root, 65534, -1)
        assert "belongs to user 65534" in (trust_problem(project, 0) or "")
        os.chown(project.root, 0, 12345)
        project.root.chmod(0o775)
        assert "group 12345" in (trust_problem(project, 0) or "")
        assert trust_problem(project, 65534) is not None

    @pytest.mark.skipif(os.getuid() != 0, reason="pytest's directories are then root's")
    def test_what_root_owns_is_trusted_by_all(self, project: PythonProject) -> None:
        assert trust_problem(project, 65534) is None

    def test_input_elsewhere_counts(self, tree: Tree) -> None:
        common = tree.root.parent / "common.txt"
        common.write_text("six\n")
        common.chmod(0o666)
        tree.write("requirements.txt", "-r ../common.txt\n")
        problem = trust_problem(tree.project(), os.getuid()) or ""
        assert "common.txt" in problem

    def test_settings_above_count_by_whose_they_are(self, tree: Tree) -> None:
        tree.write("requirements.txt", "six\n")
        above = tree.root.parent / "uv.toml"
        above.write_text("")
        above.chmod(0o666)
        try:
            assert "uv.toml" in (trust_problem(tree.project(), os.getuid()) or "")
        finally:
            above.unlink()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("requirements.txt", "./theirs/x-1-py3-none-any.whl\n"),
            ("requirements.txt", "x @ file://{}/theirs/x-1-py3-none-any.whl\n"),
            ("requirements.txt", "six\n--find-links=theirs\n"),
            ("requirements.txt", "six\n-f mine\n"),
            ("requirements.txt", "six\n--extra-index-url theirs\n"),
            ("requirements.txt", "-r link.txt\n"),
            ("pyproject.toml", '[project]\nname = "p"\n[tool.uv]\nfind-links = ["theirs"]\n'),
            ("pyproject.toml", '[project]\nname = "p"\n[[tool.uv.index]]\nurl = "theirs"\n'),
            ("pyproject.toml", '[project]\nname = "p"\n[tool.uv.workspace]\nmembers = ["li*"]\n'),
            ("pyproject.toml", '[project]\nname = "p"\n[tool.pkgview]\npython = "theirs/py"\n'),
            ("pyproject.toml", '[project]\nname = "p"\n[tool.pkgview]\npython = "./through"\n'),
            (
                "pyproject.toml",
                '[project]\nname="p"\n[tool.uv.sources]\nx.path = "theirs/x-1-py3-none-any.whl"\n',
            ),
            ("uv.toml", 'find-links = ["theirs"]\n'),
        ],
    )
    def test_what_another_user_may_change_counts_by_whose_it_is(
        self, tree: Tree, name: str, text: str
    ) -> None:
        """Also where only a link on the way is another user's, or what a link of ours leads to."""
        theirs, mine = tree.root / "theirs", tree.root / "mine"
        for directory in (theirs, mine, theirs / "link"):
            directory.mkdir(exist_ok=True)
        for path in ("x-1-py3-none-any.whl", "py", "r.txt"):
            (theirs / path).touch()
        tree.write("theirs/link/pyproject.toml", PYPROJECT)
        (mine / "x-2-py3-none-any.whl").touch()
        (tree.root / "link").symlink_to("theirs/link")
        (tree.root / "link.txt").symlink_to("theirs/r.txt")
        (tree.root / "through").symlink_to(mine / "through")
        (mine / "through").symlink_to("/bin/sh")
        tree.write("requirements.txt", "six\n")
        tree.write(name, text.format(tree.root))
        assert trust_problem(tree.project(), 0) is None
        for path in (theirs, *theirs.rglob("*"), mine / "x-2-py3-none-any.whl", mine / "through"):
            os.chown(path, 65534, -1, follow_symlinks=False)
        assert "belongs to user 65534" in (trust_problem(tree.project(), 0) or "")

    def test_a_local_wheel_counts_by_when_it_became_what_it_is(self, tree: Tree) -> None:
        tree.write("requirements.txt", "./x-1-py3-none-any.whl\n")
        wheel = tree.root / "x-1-py3-none-any.whl"
        wheel.write_bytes(b"one")
        times = wheel.stat()
        fresh = Freshness()
        before, kept = fingerprint(tree.project()), fresh.fingerprint(tree.project())
        assert before == kept == fresh.fingerprint(tree.project())
        wheel.write_bytes(b"two")
        os.utime(wheel, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert before != fingerprint(tree.project()) == fresh.fingerprint(tree.project())


def test_groups_need_their_own_python(tree: Tree) -> None:
    tree.write(
        "pyproject.toml",
        PYPROJECT + '[dependency-groups]\ndev = ["a", {include-group = "New_er"}]\nnew-er = []\n'
        'old = []\n[tool.uv.dependency-groups]\nnew-er = {requires-python = ">=3.13"}\n'
        'old = {requires-python = "<3.12"}\n',
    )
    project = tree.project()
    assert project.requires_python == ">=3.10"
    assert project.needed_python() == ">=3.10, >=3.13"
    assert project.needed_python(["old"]) == ">=3.10, >=3.13, <3.12"
    tree.write("uv.toml", "no-build = true\n")
    assert tree.root / "uv.toml" in tree.project().inputs


def test_a_script_with_a_lock_and_sources(tree: Tree) -> None:
    script = tree.write(
        "s.py", "# /// script\n# [tool.uv.sources]\n# lib = {path = './lib'}\n# ///\nprint()\n"
    )
    build = tree.write("lib/pyproject.toml", "")
    project = project_of_script(script)
    assert project is not None
    assert (project.uv_lock, project.inputs) == (None, (script, build))
    settings = tree.write("uv.toml", "")
    lock = tree.write("s.py.lock", "version = 1\n")
    project = project_of_script(script)
    assert project is not None
    assert (project.uv_lock, project.inputs) == (lock, (script, lock, build, settings))
    before = fingerprint(project)
    script.write_text(script.read_text() + "print()\n")
    assert fingerprint(project) == before, "its code is not what counts"
    lock.write_text("version = 1\nrevision = 5\n")
    assert fingerprint(project) != before
