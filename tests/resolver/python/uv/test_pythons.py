from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sysconfig
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.python.discovery import MissingPythonError, find_interpreter, find_or_fetch

if TYPE_CHECKING:
    from resolver.python.interpreter import Interpreter


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter) -> str:
    """An empty PATH, and this Python as the only build that uv knows of: its version."""
    libc = "musl" if platform.libc_ver()[0] == "" else "gnu"
    version = interpreter.full
    archive = tmp_path / "build.tar.gz"
    (tmp_path / "empty").mkdir()
    program = shutil.copy(os.path.realpath(interpreter.executable), tmp_path)
    if subprocess.run([program, "-c", "import json"], capture_output=True, check=False).returncode:
        pytest.skip("this Python does not find its library from elsewhere")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        # Nothing but the program: it finds the library of the installation that it is from.
        tar.add(program, f"python/bin/python{interpreter.minor}")
        # uv rewrites this one.
        for path in Path(sysconfig.get_path("stdlib")).glob("_sysconfigdata_*.py"):
            tar.add(path, f"python/lib/python{interpreter.minor}/{path.name}")
    major, minor, patch = interpreter.version
    build = {
        "name": "cpython", "major": major, "minor": minor, "patch": patch, "prerelease": "",
        "arch": {"family": platform.machine(), "variant": None}, "os": "linux", "libc": libc,
        "url": archive.as_uri(), "variant": None, "build": "1",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }  # fmt: skip
    key = f"cpython-{version}-linux-{platform.machine()}-{libc}"
    (tmp_path / "builds.json").write_text(json.dumps({key: build}))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(tmp_path / "builds.json"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    for name in ("UV_PYTHON", "PYENV_ROOT", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return version


def test_a_python_that_is_missing_is_named_and_fetched(
    offered: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state, minor = tmp_path / "state", offered.rpartition(".")[0]
    with pytest.raises(MissingPythonError) as caught:
        find_interpreter(None, minor, state)
    assert f"`uv python install {minor}` brings one" in caught.value.remedy
    with pytest.raises(PkgviewError, match=r"uv could not bring Python 3\.10"):
        find_or_fetch(None, "3.10", state, offline=True)
    assert "3.10" in capfd.readouterr().err
    found = find_or_fetch(None, minor, state)
    assert found.full == offered
    assert Path(found.executable).is_relative_to(tmp_path / "uv")
    assert not (Path.home() / ".local/bin").exists()  # no command was left on PATH
    # From then on it is there, for who merely looks as well.
    assert find_interpreter(None, minor, state, lookup=True) == found
