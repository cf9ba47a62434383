"""uv and pkgview in one project, by turns: what either did, the other finds done."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.mounted.conftest import Index, Site

pytestmark = pytest.mark.fuse

BACKEND = """\
import base64, hashlib, tomllib, zipfile
from pathlib import Path

def _wheel(directory, files):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    stem = f"{project['name']}-{project['version']}"
    metadata = f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n"
    metadata += "".join(f"Requires-Dist: {one}\\n" for one in project.get("dependencies", []))
    files[f"{stem}.dist-info/METADATA"] = metadata
    files[f"{stem}.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    lines = "".join(f"{name} = {call}\\n" for name, call in project.get("scripts", {}).items())
    files[f"{stem}.dist-info/entry_points.txt"] = "[console_scripts]\\n" + lines
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text)}\\n"
    files[f"{stem}.dist-info/RECORD"] = record + f"{stem}.dist-info/RECORD,,\\n"
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, name), "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
    return name

def build_wheel(directory, settings=None, metadata=None):
    return _wheel(directory, {path.name: path.read_text() for path in Path("src").glob("*.py")})

def build_editable(directory, settings=None, metadata=None):
    name = Path.cwd().name
    return _wheel(directory, {f"_{name}.pth": f"{Path('src').absolute()}\\n"})
"""
"""A build back end that needs nothing."""

READ_ONLY = "Read-only file system"


def package(directory: Path, requires: Iterable[str] = (), more: str = "") -> Path:
    """A project that is a package with a src layout, and has no dependency to be built."""
    (directory / "src").mkdir(parents=True)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{directory.name}"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = {list(requires)}\n"
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n' + more
    )
    (directory / "backend.py").write_text(BACKEND)
    (directory / f"src/{directory.name}.py").write_text("value = 1\n")
    return directory


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def checked(shop: Site, directory: Path) -> None:
    """`uv sync` finds nothing to do, and neither does `uv run`."""
    assert "Checked" in shop.uv("sync", cwd=directory).stderr
    shop.uv("run", "python", "-c", "import app, lib, tool, alpha, beta", cwd=directory)


def test_uv_has_nothing_to_do_where_the_view_is_up_to_date(shop: Site, index: Index) -> None:
    """A package, a member of its workspace, a path dependency, a wheel by its path."""
    index.wheel("alpha")
    app = package(
        shop.home / "app", ["alpha", "lib", "tool", "beta"],
        '[tool.uv.workspace]\nmembers = ["lib"]\n[tool.uv.sources]\nlib = { workspace = true }\n'
        'tool = { path = "tool" }\nbeta = { path = "beta-1.0-py3-none-any.whl" }\n',
    )  # fmt: skip
    lib, tool = package(app / "lib", ["alpha"]), package(app / "tool")
    wheel = shutil.move(index.wheel("beta"), app / "beta-1.0-py3-none-any.whl")
    shop.uv("lock", cwd=app)
    shop.up(app)
    checked(shop, app)

    # Times say nothing of content.
    for path in (app, lib, tool):
        os.utime(path / "pyproject.toml")
        append(path / f"src/{path.name}.py", "value = 2\n")
        (path / "src").rename(path / "kept")
        shutil.copytree(path / "kept", path / "src")
    os.utime(wheel)
    checked(shop, app)

    # Content does: there is something to do, for both.
    append(tool / "pyproject.toml", '[project.scripts]\nshow = "tool:show"\n')
    assert READ_ONLY in shop.uv("sync", cwd=app, code=2).stderr
    shop.up(app)
    checked(shop, app)
    assert (app / ".venv/bin/show").exists()
