"""uv's note of a distribution from this machine, compared with the one that uv itself writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from resolver.python.uv import cachekeys
from resolver.python.uv.note import forget_gone, notes, refresh, written
from resolver.python.uv.run import uv_binary

if TYPE_CHECKING:
    from pathlib import Path

BACKEND = """\
import zipfile
from pathlib import Path

def build_editable(directory, settings=None, metadata=None):
    with zipfile.ZipFile(Path(directory, "lib-1-py3-none-any.whl"), "w") as file:
        file.writestr("lib-1.dist-info/METADATA",
            "Metadata-Version: 2.1\\nName: lib\\nVersion: 1\\n")
        file.writestr("lib-1.dist-info/WHEEL",
            "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr("lib-1.dist-info/RECORD", "")
    return "lib-1-py3-none-any.whl"
"""

PYPROJECT = """\
[project]
name = "lib"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

EVERYTHING = """\
[tool.uv]
cache-keys = [
    "pyproject.toml", { file = "rust/**/*.rs" }, { file = "*.lock" }, { dir = "nowhere" },
    { dir = "rust" }, { env = "LIB_NOTED" }, { env = "LIB_UNSET" },
    { git = { commit = true, tags = true } }, { file = "missing" },
]
"""


@pytest.fixture
def lib(home: Path) -> Path:
    """A project that can be built for editing."""
    directory = home / "lib"
    (directory / "src").mkdir(parents=True)
    (directory / "pyproject.toml").write_text(PYPROJECT)
    (directory / "backend.py").write_text(BACKEND)
    return directory


def of_uv(directory: Path) -> dict[str, Any]:
    """What uv notes of it now."""
    target = directory.parent / "target"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(
        [uv_binary(), "pip", "install", "--quiet", "--offline", "--no-deps", "--reinstall",
         f"--python={sys.executable}", f"--target={target}", "--editable", directory],
        check=True,
    )  # fmt: skip
    (note,) = target.glob("*.dist-info/uv_cache.json")
    found: dict[str, Any] = json.loads(note.read_bytes())
    return found


def git(directory: Path, *arguments: str) -> None:
    named = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *named, *arguments], cwd=directory, check=True, capture_output=True)


def test_the_note_is_the_one_that_uv_writes(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cachekeys.cache_info(lib, os.environ) == of_uv(lib)
    (lib / "setup.cfg").write_text("")
    (lib / "src").rename(lib / "rust")
    assert cachekeys.cache_info(lib, os.environ) == of_uv(lib)

    # Whatever it is told to look at; the youngest file of a pattern is below others.
    (lib / "pyproject.toml").write_text(PYPROJECT + EVERYTHING)
    (lib / "rust/deep").mkdir()
    (lib / "rust/deep/one.rs").write_text("")
    (lib / "rust/deep/Some.lock").write_text("")
    monkeypatch.setenv("LIB_NOTED", "yes")
    assert cachekeys.cache_info(lib, os.environ) == of_uv(lib)
    git(lib, "init", "--quiet")
    git(lib, "add", "--all")
    git(lib, "commit", "--quiet", "--message=one")
    git(lib, "tag", "first")
    first = cachekeys.cache_info(lib, os.environ)
    assert first == of_uv(lib)
    assert first["tags"] == {"first": first["commit"]}
    git(lib, "pack-refs", "--all")
    git(lib, "worktree", "add", "--quiet", "../other", "-b", "topic/one")
    assert cachekeys.cache_info(lib, os.environ) == of_uv(lib)
    assert cachekeys.cache_info(lib.parent / "other", os.environ) == of_uv(lib.parent / "other")


def test_a_note_follows_times_and_no_other_content(lib: Path, state: Path) -> None:
    note = written(lib, state, {})
    first = json.loads(note.read_bytes())
    os.utime(lib / "pyproject.toml")
    refresh(note)
    touched = json.loads(note.read_bytes())
    assert touched["timestamp"] != first["timestamp"]
    assert touched | {"timestamp": None} == first | {"timestamp": None}

    (lib / "pyproject.toml").write_text(PYPROJECT + "# another\n")
    refresh(note)
    assert json.loads(note.read_bytes()) == touched
    assert written(lib, state, {}) != note
    (lib / "pyproject.toml").write_text(PYPROJECT)
    assert written(lib, state, {}) == note

    wheel = lib / "lib-1-py3-none-any.whl"
    wheel.write_bytes(b"1")
    note = written(wheel, state, {})
    wheel.write_bytes(b"1")
    refresh(note)
    now = cachekeys.cache_info(wheel, {})
    assert json.loads(note.read_bytes()) | now == json.loads(note.read_bytes())


def test_what_is_named_besides_counts_as_content(lib: Path) -> None:
    (lib / "pyproject.toml").write_text(PYPROJECT + EVERYTHING)
    (lib / "rust").mkdir()
    seen = {cachekeys.made_of(lib)}
    (lib / "rust/one.rs").write_text("1")
    seen.add(cachekeys.made_of(lib))
    git(lib, "init", "--quiet")
    git(lib, "commit", "--quiet", "--allow-empty", "--message=one")
    seen.add(cachekeys.made_of(lib))
    git(lib, "tag", "first")
    seen.add(cachekeys.made_of(lib))
    assert len(seen) == 4
    # What is no pattern here keeps nobody from anything.
    odd = '[tool.uv]\ncache-keys = ["/*.txt", "a**b", { file = 1 }, 1]\n'
    (lib / "pyproject.toml").write_text(PYPROJECT + odd)
    assert len(cachekeys.made_of(lib)) == 64
    assert cachekeys.cache_info(lib, {})["timestamp"] is None


def test_notes_are_nobody_elses_files(lib: Path, state: Path) -> None:
    """A link may lead to anything: what is no note is not written."""
    note = written(lib, state, {})
    for name, content in (("0" * 32 + ".json", "[]"), ("1" * 32 + ".json", "{"), ("x.json", "{}")):
        other = notes(state) / name
        other.write_text(content)
        refresh(other)
        assert other.read_text() == content
    shutil.rmtree(lib)
    refresh(note)
    assert note.exists()
    forget_gone(state)
    assert not note.exists()
    assert len(list(notes(state).iterdir())) == 3
