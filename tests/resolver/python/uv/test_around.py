"""The files that uv itself takes settings from are among those that count, in every layout."""

from __future__ import annotations

import os
import stat
import subprocess
from socket import AF_UNIX, socket
from typing import TYPE_CHECKING

import pytest

from resolver.errors import PkgviewError
from resolver.looks import Look
from resolver.python.project import project_at, project_of_script
from resolver.python.uv.above import NAMES
from resolver.python.uv.around import settings_files
from resolver.python.uv.run import uv_binary
from resolver.python.uv.settings import uv_tables

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = '[project]\nname = "{}"\nversion = "1"\n'
TOOL = "[tool.uv]\noffline = true\n"
ROOT = '[tool.uv.workspace]\nmembers = ["sub"]\n'
OTHERS = '[tool.uv.workspace]\nmembers = ["other"]\n'

LAYOUTS: dict[str, dict[str, str]] = {
    "its own": {"sub/uv.toml": "", "uv.toml": ""},
    "its own table": {"sub/pyproject.toml": PROJECT + TOOL, "uv.toml": ""},
    "above": {"sub/pyproject.toml": PROJECT, "uv.toml": "", "../uv.toml": ""},
    "a table above": {"pyproject.toml": TOOL, "../uv.toml": ""},
    "no table above": {"pyproject.toml": PROJECT, "../uv.toml": ""},
    "a workspace": {"sub/pyproject.toml": PROJECT, "sub/uv.toml": "", "pyproject.toml": ROOT},
    "a file at its root": {
        "sub/pyproject.toml": PROJECT + TOOL,
        "pyproject.toml": PROJECT + ROOT,
        "uv.toml": "",
    },
    "a workspace of others": {
        "sub/pyproject.toml": PROJECT,
        "pyproject.toml": PROJECT + OTHERS,
        "../uv.toml": "",
    },
    "below a project": {"sub/uv.toml": "", "pyproject.toml": PROJECT, "../uv.toml": ""},
    "escapes": {"pyproject.toml": '["\\u0074ool"."\\u0075v"]\noffline = true\n'},
    "no TOML": {"pyproject.toml": "[tool", "uv.toml": "", "../uv.toml": ""},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_uv_reads_counts(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "top/middle"
    sub = inner / "sub"
    sub.mkdir(parents=True)
    for place, text in LAYOUTS[name].items():
        (inner / place).write_text(text.replace("{}", (inner / place).parent.name))
    (sub / "requirements.txt").touch()
    places = [sub / "uv.toml", inner / "uv.toml", inner.parent / "uv.toml"]
    read = {place for place in places if place.exists() and complains_of(place, sub)}
    tables = (sub / "pyproject.toml", inner / "pyproject.toml")
    read |= {place for place in tables if place.exists() and has_settings_of(place, sub)}
    counted = {path for path in settings_files(sub) if path.is_relative_to(tmp_path)}
    assert read
    assert read <= counted
    with Look(lambda _: False, lambda *_: False):
        project = project_at(os.fspath(sub))
    assert project is not None
    assert counted <= set(project.inputs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "directory", "nowhere", "to a fifo"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    """uv opens it all the same; in a look nothing of it is opened."""
    sub, place = tmp_path / "sub", tmp_path / name
    sub.mkdir()
    (sub / "requirements.txt").touch()
    match kind:
        case "fifo":
            os.mkfifo(place)
        case "socket":
            with socket(AF_UNIX) as bound:
                bound.bind(os.path.relpath(place))
        case "device":
            if os.geteuid() != 0:
                pytest.skip("only root can make one")
            os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        case "directory":
            place.mkdir()
        case "nowhere":
            place.symlink_to("nowhere")
        case _:
            os.mkfifo(tmp_path / "pipe")
            place.symlink_to("pipe")
    own = os.geteuid()
    for owner in (own, 61009) if own == 0 else (own,):
        os.chown(place, owner, owner, follow_symlinks=False)
        whose = f", and belongs to user {owner}" if owner != own else ""
        with pytest.raises(PkgviewError, match=f"{place} is no regular file{whose}:"):
            project_at(os.fspath(sub))
        with (
            Look(lambda _: False, lambda *_: False),
            pytest.raises(PkgviewError, match=f"{place} is no regular file{whose}:"),
        ):
            project_at(os.fspath(sub))


def test_those_of_a_script_count_as_they_are(tmp_path: Path) -> None:
    script, own = tmp_path / "s.py", tmp_path / "uv.toml"
    script.write_text("# /// script\n# dependencies = []\n# ///\n")
    own.write_text("offline = true\n")
    project = project_of_script(script)
    assert project is not None
    assert project.content(own) == b"offline = true\n"
    assert own in project.inputs


def test_the_way_up_is_bounded_by_what_is_there(tmp_path: Path) -> None:
    """A file too large to look at in a look counts by its bytes, and is not understood."""
    sub = tmp_path / "sub"
    sub.mkdir()
    (tmp_path / "pyproject.toml").write_text("#" * 1_100_000)
    with Look(lambda _: False, lambda *_: False):
        assert tmp_path / "pyproject.toml" in settings_files(sub)


def complains_of(place: Path, directory: Path) -> bool:
    """Whether uv, run there, stumbles over a `uv.toml` that has nothing that uv knows."""
    before = place.read_text()
    place.write_text("nonsense = true\n")
    try:
        return "nonsense" in compiled(directory)
    finally:
        place.write_text(before)


def has_settings_of(place: Path, directory: Path) -> bool:
    """Whether uv, run there, takes what a `[tool.uv]` asks for that cannot be had."""
    before = place.read_text()
    wanted = 'required-version = "==0.0.1"\n'
    if "offline = true\n" in before:
        place.write_text(before.replace("offline = true\n", wanted))
    elif "[tool.uv.workspace]\n" in before:
        place.write_text(f"{before}[tool.uv]\n{wanted}")
    else:
        return False
    try:
        return "0.0.1" in compiled(directory)
    finally:
        place.write_text(before)


def compiled(directory: Path) -> str:
    """What uv says there, and the settings that we take from there ourselves."""
    done = subprocess.run(
        [uv_binary(), "pip", "compile", "--offline", "requirements.txt"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return f"{done.stderr}{list(uv_tables(os.environ, directory))}"
