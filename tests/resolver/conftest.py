"""Projects, a small package index of our own, and an environment that touches nothing real."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from resolver.python.interpreter import Interpreter, inspect
from resolver.python.project import PythonProject, find_project


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv_cache: Path) -> Path:
    """An empty home; no setting of pip's or uv's but the place of uv's cache."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "XDG_", "PYENV_")) or name == "NETRC":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    return home


@pytest.fixture
def state(home: Path) -> Path:
    return home / ".local/state/pkgview"


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return inspect(Path(sys.executable), tmp_path_factory.mktemp("interpreters"))


@dataclass
class Simple:
    """A package index in a directory (PEP 503), of wheels that hold next to nothing."""

    root: Path
    pages: dict[str, list[str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def wheel(
        self, name: str, version: str, *requires: str, tag: str = "py3-none-any", body: str = ""
    ) -> str:
        """Add a wheel; returns its SHA-256."""
        stem = name.replace("-", "_")
        path = self.root / name / f"{stem}-{version}-{tag}.whl"
        path.parent.mkdir(parents=True, exist_ok=True)
        info = f"{stem}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(f"{stem}.py", body or f"version = {version!r}\n")
            file.writestr(f"{info}/METADATA", metadata)
            tagged = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
            file.writestr(f"{info}/WHEEL", tagged)
            file.writestr(f"{info}/RECORD", "")
        return self._listed(name, path)

    def _listed(self, name: str, path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        page = self.pages.setdefault(name, [])
        page.append(f'<a href="{path.name}#sha256={digest}">{path.name}</a>')
        (path.parent / "index.html").write_text("<!DOCTYPE html>" + "\n".join(page))
        return digest


@pytest.fixture
def index(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simple:
    """The only index there is, for uv."""
    assert home
    simple = Simple(tmp_path / "simple")
    simple.root.mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", simple.url)
    return simple


@dataclass
class Tree:
    """A directory to write projects into."""

    root: Path

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def project(self, directory: str = "") -> PythonProject:
        found = find_project(self.root / directory)
        assert found is not None
        return found


@pytest.fixture
def tree(home: Path, tmp_path: Path) -> Tree:
    assert home
    root = tmp_path / "shop"
    root.mkdir()
    return Tree(Path(os.path.realpath(root)))
