"""Wheels that are named by path or address: taken where they fit, whatever names them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.beside.conftest import Beside

pytestmark = [pytest.mark.fuse]

MACHINE = os.uname().machine
LATER = f"cp3{sys.version_info[1] + 1}"
OTHERS = {
    "windows": "py3-none-win_amd64",
    "python": f"{LATER}-{LATER}-manylinux_2_17_{MACHINE}",
    "machine": "cp310-abi3-manylinux_2_17_s390x",
    "library": f"py3-none-musllinux_1_2_{MACHINE}",
    "threads": f"cp315-abi3t-linux_{MACHINE}",
}
HEAD = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = '


@pytest.fixture(scope="module")
def elsewhere(beside: Beside) -> dict[str, Path]:
    """Wheels for other machines and Pythons."""
    return {name: beside.index.wheel(name, tag=tag) for name, tag in OTHERS.items()}


def address(beside: Beside, path: Path) -> str:
    return beside.index.url.replace("/simple", f"/packages/{path.name}")


@pytest.mark.parametrize("name", OTHERS)
def test_by_its_path(beside: Beside, elsewhere: dict[str, Path], name: str) -> None:
    wheel = elsewhere[name]
    files: dict[str, str | bytes] = {
        "requirements.txt": f"./{wheel.name}\n",
        wheel.name: wheel.read_bytes(),
    }
    beside.refused(files, says=rf"{wheel.name}, which is named by its place, is for .*; this is")


def test_by_its_address(beside: Beside, elsewhere: dict[str, Path]) -> None:
    url = address(beside, elsewhere["windows"])
    says = "is for py3 win_amd64; this is"
    beside.refused({"requirements.txt": f"windows @ {url}\n"}, says=says)
    project: dict[str, str | bytes] = {"pyproject.toml": f'{HEAD}["windows @ {url}"]\n'}
    beside.refused(project, says=says)
    locked = beside.project(project)
    beside.site.uv("lock", "--python", beside.site.python, cwd=locked)
    beside.refused({**project, "uv.lock": (locked / "uv.lock").read_text()}, says=says)
    elsewhere_only = f'{HEAD}["windows @ {url} ; sys_platform == \'win32\'", "first"]\n'
    beside.index.wheel("first", tag=f"cp310-abi3-linux_{MACHINE}")
    assert beside.same({"pyproject.toml": elsewhere_only}).distributions == {"first": "1.0"}


@pytest.mark.parametrize("by", ["uv", "pip"])
def test_in_a_lock(beside: Beside, elsewhere: dict[str, Path], by: str) -> None:
    wheel = elsewhere["windows"]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = (
        'lock-version = "1.0"\ncreated-by = "hand"\n[[packages]]\nname = "windows"\n'
        f'archive = {{path = "{wheel.name}", hashes = {{sha256 = "{digest}"}}}}\n'
    )
    beside.refused({"pylock.toml": lock, wheel.name: wheel.read_bytes()},
                   says="is for py3 win_amd64", by=by)  # fmt: skip


def test_for_one_run(beside: Beside, elsewhere: dict[str, Path]) -> None:
    directory = beside.project({"requirements.txt": ""})
    wheel = shutil.copy(elsewhere["windows"], directory)
    ended = beside.site.pkgview("run", "--with", wheel, "--", "true", cwd=directory, code=1)
    assert "is for py3 win_amd64" in ended.stderr


def test_of_another_size_than_its_lock_says(beside: Beside) -> None:
    wheel = beside.index.wheel("sized")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for place in (f'path = "{wheel.name}"', f'url = "{address(beside, wheel)}"'):
        lock = (
            'lock-version = "1.0"\ncreated-by = "hand"\n[[packages]]\nname = "sized"\n'
            f'archive = {{{place}, size = 1, hashes = {{sha256 = "{digest}"}}}}\n'
        )
        files: dict[str, str | bytes] = {"pylock.toml": lock, wheel.name: wheel.read_bytes()}
        beside.refused(files, says="size|has [0-9]+ bytes, the lock says 1")
