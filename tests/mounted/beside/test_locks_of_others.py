"""Locks (PEP 751) that pdm and pipenv write, with their groups."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]


@pytest.fixture(scope="module", autouse=True)
def _wheels(beside: Beside) -> None:
    for name in ("main", "extra", "dev", "docs"):
        beside.index.wheel(f"{name}_part")


def package(beside: Beside, name: str, marker: str) -> str:
    """`[[packages]]` of one of the wheels."""
    file = beside.index.directory / f"{name}_part-1.0-py3-none-any.whl"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    url = beside.index.url.replace("/simple", f"/packages/{file.name}")
    return (
        f'\n[[packages]]\nname = "{name}-part"\nversion = "1.0"\n'
        f"marker = '{marker}'\n"
        f'wheels = [{{name = "{file.name}", url = "{url}", '
        f'hashes = {{sha256 = "{digest}"}}}}]\n'
    )


@pytest.fixture(scope="module")
def pdms(beside: Beside) -> str:
    """As `pdm lock -G :all` (2.29) writes it: what the project depends on is a group, too."""
    return (
        'lock-version = "1.0"\nrequires-python = ">=3.10"\n'
        'environments = [\n    "python_version >= \\"3.10\\"",\n]\n'
        'extras = ["plot"]\ndependency-groups = ["default", "dev", "docs"]\n'
        'default-groups = ["default"]\ncreated-by = "pdm"\n'
        + package(beside, "main", '"default" in dependency_groups')
        + "\n[packages.tool.pdm]\ndependencies = []\n"
        + package(beside, "extra", '"plot" in extras')
        + package(beside, "dev", '"dev" in dependency_groups')
        + package(beside, "docs", '"docs" in dependency_groups')
        + '\n[tool.pdm]\nhashes = {sha256 = "00"}\n'
    )


@pytest.mark.parametrize(
    ("settings", "arguments", "expected"),
    [
        ("", "", "main"),
        ("", "--group docs", "docs main"),
        ("", "--extra plot", "extra main"),
        ('groups = ["dev"]', "", "dev main"),
        ("groups = []", "", "main"),
        ('groups = ["Dev"]\nextras = ["PLOT"]', "--group docs", "dev docs extra main"),
        ('groups = ["nowhere"]', "", "main"),
    ],
)
def test_groups_are_added_to_what_the_project_depends_on(
    beside: Beside, pdms: str, settings: str, arguments: str, expected: str
) -> None:
    directory = beside.project(
        {
            "pyproject.toml": f"[project]\nname='app'\nversion='1'\n[tool.pkgview]\n{settings}\n",
            "pylock.toml": pdms,
        }
    )
    ours = beside.pkgview(directory, *arguments.split())
    assert ours.status == 0, ours.said
    assert sorted(ours.distributions) == [f"{name}-part" for name in expected.split()]
    if expected == "main":  # of a lock uv and pip install no more
        for theirs in (beside.uv(directory), beside.pip(directory)):
            assert theirs.distributions == ours.distributions


def test_a_lock_that_names_no_environment(beside: Beside) -> None:
    """As `pipenv pylock --generate` (2026.10) writes it. pip takes it, and uv (0.13.9) does not."""
    beside.same({
        "pylock.toml": 'lock-version = "1.0"\nenvironments = []\nextras = []\n'
        'dependency-groups = ["dev"]\ndefault-groups = ["default"]\ncreated-by = "pipenv"\n'
        + package(beside, "main", 'python_version >= "2.7"')
        + package(beside, "dev", '("dev" in dependency_groups) and (python_version >= "3.7")')
    }, by="pip")  # fmt: skip
