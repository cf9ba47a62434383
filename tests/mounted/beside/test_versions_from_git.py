"""Distributions from git whose build asks the repository for their version, by real back ends.

A commit has to be fetched with what uv fetches: with less, the version is another than uv has
locked, or silently another where a lock says none.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.mounted.beside.repositories import a_host, git, repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse, pytest.mark.network, pytest.mark.slow]

_BACK_ENDS = (
    "hatch-vcs==0.5.0", "hatchling==1.33.0", "poetry-core==2.5.0",
    "poetry-dynamic-versioning==1.10.1", "setuptools==84.2.1", "setuptools-git-versioning==3.2.0",
    "setuptools-scm==10.3.4", "uv-dynamic-versioning==0.14.1", "versioningit==3.3.0",
)  # fmt: skip


def project(name: str, back_end: str, requires: str, more: str) -> dict[str, str]:
    """A module of that name, and a pyproject.toml without a version."""
    return {
        f"{name}.py": "",
        "pyproject.toml": f'[project]\nname = "{name}"\ndynamic = ["version"]\n'
        f'[build-system]\nrequires = [{requires}]\nbuild-backend = "{back_end}"\n{more}',
    }


def by_setuptools(name: str, tool: str, more: str) -> dict[str, str]:
    """The same by setuptools with a tool."""
    modules = f'[tool.setuptools]\npy-modules = ["{name}"]\n'
    return project(name, "setuptools.build_meta", f'"setuptools", "{tool}"', modules + more)


def by_hatchling(name: str, tool: str, more: str) -> dict[str, str]:
    """The same by hatchling with a tool."""
    include = f'[tool.hatch.build]\ninclude = ["{name}.py"]\n'
    return project(name, "hatchling.build", f'"hatchling", "{tool}"', include + more)


SCM = "[tool.setuptools_scm]\n"
MONO = by_setuptools(
    "mono", "setuptools-scm",
    SCM + "root = '..'\ntag_regex = '^mono-v(?P<version>.+)$'\n"
    "git_describe_command = ['git', 'describe', '--dirty', '--tags', '--long', "
    "'--match', 'mono-v*']\n",
)  # fmt: skip
ROWS: Mapping[str, tuple[dict[str, str], str, str]] = {
    "scm": (by_setuptools("scm", "setuptools-scm", SCM), "v1.2.0", "1.2.1.dev1+g"),
    "scmfile": (  # which is in the package; of the branch
        by_setuptools(
            "scmfile", "setuptools-scm",
            SCM + "version_scheme = 'release-branch-semver'\nversion_file = 'scmfile.py'\n",
        ), "v1.2.0", "1.3.0.dev1+g",
    ),
    "hvcs": (
        by_hatchling("hvcs", "hatch-vcs", '[tool.hatch.version]\nsource = "vcs"\n'),
        "1.2", "1.3.dev1+g",
    ),
    "vit": (
        by_setuptools(
            "vit", "versioningit",
            "[tool.versioningit.format]\n"
            "distance = '{next_version}.dev{distance}+{vcs}{rev}.{branch}'\n",
        ), "v1.2", "1.3.0.dev1+g",
    ),
    "dun": (  # dunamai
        by_hatchling(
            "dun", "uv-dynamic-versioning",
            '[tool.hatch.version]\nsource = "uv-dynamic-versioning"\n',
        ), "v1.2.0", "1.2.0.post1.dev0+",
    ),
    "sgv": (
        by_setuptools(
            "sgv", "setuptools-git-versioning",
            "[tool.setuptools-git-versioning]\nenabled = true\n",
        ), "1.2.0", "1.2.0.post1+git.",
    ),
    "pdv": (  # dunamai, with a placeholder
        project(
            "pdv", "poetry_dynamic_versioning.backend",
            '"poetry-core", "poetry-dynamic-versioning"',
            "[tool.poetry]\nversion = '0.0.0'\n[tool.poetry-dynamic-versioning]\nenable = true\n",
        ), "v1.2.0", "1.2.0.post1.dev0+",
    ),
    "mono": (  # of a repository with several projects
        {"README": "", **{f"part/{name}": content for name, content in MONO.items()}},
        "mono-v1.2.0", "1.2.1.dev1+g",
    ),
}  # fmt: skip
"""A repository's files, its tag, and how its third commit's version begins."""


@pytest.fixture(scope="module", autouse=True)
def _back_ends(beside: Beside) -> None:
    """Those of the real index, in that of the rows."""
    into = beside.index.directory
    command = [sys.executable, "-m", "pip", "download", "-q", "-d", str(into), *_BACK_ENDS]
    subprocess.run(command, check=True, timeout=240)
    for path in into.glob("*.whl"):
        with zipfile.ZipFile(path) as wheel:
            said = next(
                n for n in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)
            )
            beside.index.metadata[path.name] = wheel.read(said)


@pytest.fixture(scope="module")
def root(beside: Beside) -> Path:
    """Where the repositories are."""
    return beside.site.home / "repositories"


@pytest.fixture(scope="module")
def host(root: Path) -> Iterator[str]:
    """A server of all rows' repositories, and of what tests add."""
    for name, (files, tag, _) in ROWS.items():
        repository(root / name, files, tag, *(["other-v9"] if name == "mono" else []))
    with a_host(root) as url:
        yield url


@pytest.fixture(scope="module")
def named(host: str) -> list[str]:
    """A requirement for each row."""
    parts = {"mono": "#subdirectory=part"}
    return [f"{name} @ git+{host}/{name}{parts.get(name, '')}" for name in ROWS]


def expected(distributions: Mapping[str, str]) -> None:
    """All rows, in their versions."""
    assert distributions.keys() == ROWS.keys()
    for name, version in distributions.items():
        assert version.startswith(ROWS[name][2]), (name, version)


def test_requirements(beside: Beside, named: list[str]) -> None:
    expected(beside.same({"requirements.txt": "\n".join(named)}).distributions)


@pytest.fixture(scope="module")
def locked(beside: Beside, named: list[str]) -> Path:
    """A project with a uv.lock of all rows."""
    listed = "".join(f'"{one}",\n' for one in named)
    directory = beside.project({
        "pyproject.toml": f'[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f"dependencies = [\n{listed}]\n",
    })  # fmt: skip
    beside.site.uv("lock", "--python", beside.site.python, cwd=directory)
    return directory


def test_locks(beside: Beside, locked: Path) -> None:
    files = {name: (locked / name).read_text() for name in ("pyproject.toml", "uv.lock")}
    expected(beside.same(files).distributions)


def test_a_lock_without_versions(beside: Beside, locked: Path) -> None:
    beside.site.uv("export", "-q", "--format=pylock.toml", "-o", "pylock.toml", cwd=locked)
    text = (locked / "pylock.toml").read_text()
    text = re.sub(r'^version = ".*\n', "", text, flags=re.MULTILINE)
    directory = beside.project({"pylock.toml": text})
    ours, theirs = beside.pkgview(directory), beside.uv(directory)
    assert ours.status == 0, ours.said
    expected(ours.distributions)
    # Files are not compared: uv writes down that the commit was the revision asked for.
    assert ours.distributions == theirs.distributions


def test_a_tag_that_was_set_after_the_lock(beside: Beside, root: Path, host: str) -> None:
    """The same files have another version now than the lock says, and both take them."""
    files = by_setuptools("later", "setuptools-scm", SCM)
    place = repository(root / "later", files, "v1.0")
    directory = beside.project({
        "pyproject.toml": '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f'dependencies = ["later @ git+{host}/later"]\n'
    })  # fmt: skip
    beside.site.uv("lock", "--python", beside.site.python, cwd=directory)
    git(place, "tag", "v2.0")
    fresh = {"UV_CACHE_DIR": str(directory / "cache")}
    theirs = beside.uv(directory, environ=fresh)
    assert theirs.distributions == {"later": "2.0"}
    ours = beside.pkgview(directory, environ=fresh)
    assert ours.distributions == theirs.distributions, ours.said
    assert "2.0" in beside.site.pkgview("list", cwd=directory).stdout
