from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from unionfs.formats.wheel.scripts import (
    EntryPoint,
    InvalidEntryPointsError,
    entry_points,
    fill_placeholder,
    has_placeholder,
    is_of_activation,
    name_faults,
    with_interpreter,
)

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell[0]), reason="not here"))
    for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"])
]
ODD = [
    "plain",
    "with space",
    "qu'ote",
    'dou"ble',
    "dol$lar",
    "b\\s",
    "-dash",
    "new\nline",
    "ünï",
    "*",
]

SHOW = "import sys\ndef main():\n    print(repr(sys.argv), __import__('os').getppid())\n"
DOCUMENTED = b'''#!python -E
"""What it does."""
from __future__ import annotations
import sys
print(__doc__, sys.argv[1:])
'''


def make(directory: Path, content: bytes, name: str = "tool") -> Path:
    """A `bin` with an interpreter and one script."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "python").exists():
        (directory / "python").symlink_to(sys.executable)
    (directory / "shown.py").write_text(SHOW)
    script = directory / name
    script.write_bytes(content)
    script.chmod(0o755)
    return script


def run(*command: str | Path, cwd: Path | None = None, path: str | None = None) -> str:
    environ = dict(os.environ)
    if path is not None:
        environ["PATH"] = path + os.pathsep + environ["PATH"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env=environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


POINT = EntryPoint(name="tool", module="shown", attribute="main").script()
ARGUMENTS = ["a b", "", "'", "$HOME", "-x"]


@pytest.mark.parametrize("name", ODD)
def test_scripts_run_in_odd_places(tmp_path: Path, name: str) -> None:
    script = make(tmp_path / name, POINT, name=name)
    assert run(script, *ARGUMENTS).startswith(repr([str(script), *ARGUMENTS]))
    script = make(tmp_path / name, fill_placeholder(DOCUMENTED), name=name)
    assert run(script, *ARGUMENTS) == f"What it does. {ARGUMENTS!r}\n"


@pytest.mark.parametrize("content", [POINT, fill_placeholder(DOCUMENTED)])
@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_can_start_a_script(tmp_path: Path, shell: list[str], content: bytes) -> None:
    script = make(tmp_path / "a dir", content)
    assert "a b" in run(*shell, script, "a b")
    # Named without any directory.
    assert "a b" in run(*shell, "tool", "a b", cwd=script.parent)
    assert "a b" in run(*shell, "./tool", "a b", cwd=script.parent)
    assert "a b" in run(*shell, "-c", "tool 'a b'", path=str(script.parent))


@pytest.mark.parametrize("content", [POINT, fill_placeholder(DOCUMENTED)])
def test_scripts_run_through_links(tmp_path: Path, content: bytes) -> None:
    script = make(tmp_path / "view" / "bin", content)
    home = tmp_path / "-home dir"
    home.mkdir()
    (home / "direct").symlink_to(script)
    (home / "chain").symlink_to("direct")
    (tmp_path / "moved").symlink_to(tmp_path / "view")
    for called in (home / "direct", home / "chain", tmp_path / "moved" / "bin" / "tool"):
        assert "a b" in run(called, "a b")
    assert "a b" in run("direct", "a b", path=str(home))
    assert "a b" in run("sh", "chain", "a b", cwd=home)


def test_the_directory_may_be_moved(tmp_path: Path) -> None:
    make(tmp_path / "one", POINT)
    shutil.move(tmp_path / "one", tmp_path / "two")
    assert str(tmp_path / "two" / "tool") in run(tmp_path / "two" / "tool")


@pytest.mark.parametrize("content", [POINT, fill_placeholder(b"#!python\n" + SHOW.encode())])
def test_the_shell_becomes_python(tmp_path: Path, content: bytes) -> None:
    """No process is left between the caller and the script."""
    if content is not POINT:
        content += b"main()\n"
    script = make(tmp_path, content)
    assert run(script).split()[-1] == str(os.getpid())


def test_a_missing_interpreter_is_an_error(tmp_path: Path) -> None:
    script = make(tmp_path, POINT)
    (tmp_path / "python").unlink()
    done = subprocess.run([script], check=False, capture_output=True, text=True)
    assert done.returncode in {126, 127}
    assert "python" in done.stderr


def test_python_can_be_named_by_hand(tmp_path: Path) -> None:
    script = make(tmp_path, fill_placeholder(DOCUMENTED))
    assert run(sys.executable, script, "1") == "What it does. ['1']\n"


@pytest.mark.parametrize("first", ["#!python", "#!pythonw", "#!python3 -u"])
def test_the_coding_declaration_counts(tmp_path: Path, first: str) -> None:
    source = f"{first}\n# -*- coding: latin-1 -*-\nprint(ascii('ä'))\n".encode("latin-1")
    assert run(make(tmp_path, fill_placeholder(source))) == "'\\xe4'\n"


def test_line_ends_of_windows(tmp_path: Path) -> None:
    source = b"#!python\r\n# coding: latin-1\r\nprint(ascii('\xe4'))\r\nprint(2)\r\n"
    assert run(make(tmp_path, fill_placeholder(source))) == "'\\xe4'\n2\n"


@pytest.mark.parametrize("source", [b"#!python", b"#!python\n", b"#!python\n# coding: ascii"])
def test_scripts_of_nothing(tmp_path: Path, source: bytes) -> None:
    assert run(make(tmp_path, fill_placeholder(source))) == ""


@given(st.binary(max_size=200))
def test_the_body_is_kept(body: bytes) -> None:
    ours = b"\f# 2>/dev/null;"
    assume(ours not in body)
    filled = fill_placeholder(b"#!python\n" + body)
    lines = [line for line in filled.split(b"\n") if not line.startswith(ours)]
    assert lines[0] == b"#!/bin/sh"
    assert b"\n".join(lines[1:]).rstrip(b"\n") == body.rstrip(b"\n")


@pytest.mark.parametrize(
    ("start", "asked"),
    [(b"#!python", True), (b"#!pythonw", True), (b"#! python", False), (b"#!/bin/sh", False)],
)
def test_placeholder(start: bytes, *, asked: bool) -> None:
    assert has_placeholder(start) is asked


def test_entry_points() -> None:
    text = (
        "[DEFAULT]\nhidden = x:y\n[console_scripts]\n# a comment\nOne=a.b:c.d\n"
        "two = a : b [extra,more]\n[gui_scripts]\nthree.py = ä:ö\none = a:b\n[other]\nx = 1:2:3\n"
    )
    assert entry_points(text) == (
        EntryPoint(name="One", module="a.b", attribute="c.d"),
        EntryPoint(name="two", module="a", attribute="b"),
        EntryPoint(name="three.py", module="ä", attribute="ö"),
        EntryPoint(name="one", module="a", attribute="b"),
    )


def test_percent_signs_are_nothing_special() -> None:
    with pytest.raises(InvalidEntryPointsError, match="no module:attribute"):
        entry_points("[console_scripts]\na = %(b)s:c\nb = x:y\n")


def test_all_faults_of_entry_points_are_collected() -> None:
    with pytest.raises(InvalidEntryPointsError) as refused:
        entry_points("[console_scripts]\na/b = c:d\nx = y\n")
    assert len(refused.value.faults) == 2


@given(st.text(), st.text())
def test_only_names_reach_a_script(name: str, target: str) -> None:
    try:
        points = entry_points(f"[console_scripts]\n{name} = {target}\n")
    except InvalidEntryPointsError:
        return
    for point in points:
        assert "/" not in point.name
        assert not list(name_faults(point.name))
        parts = [*point.module.split("."), *point.attribute.split(".")]
        assert all(part.isidentifier() for part in parts)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "/x", "a\\b", "a\0", "a\n", "n" * 256),
        *("python", "Python3", "python3.13t", "pypy3"),
    ],
)
def test_names_that_scripts_may_not_have(name: str) -> None:
    assert list(name_faults(name))


@pytest.mark.parametrize(
    "name", ["activate", "activate.fish", "Activate.ps1", "deactivate", "activate_this.py"]
)
def test_names_of_the_environments_own_scripts(name: str) -> None:
    assert is_of_activation(name)
    assert not list(name_faults(name))


@pytest.mark.parametrize(
    "name",
    [
        "python-argcomplete-check",
        "activate-global-python-argcomplete",
        "pythonic",
        "a b",
        "py.test",
    ],
)
def test_names_that_scripts_may_have(name: str) -> None:
    assert not list(name_faults(name))
    assert not is_of_activation(name)


def test_a_script_as_an_installer_writes_it() -> None:
    python = b"/opt/venv/bin/python"
    ours = EntryPoint(name="tool", module="shown", attribute="main").script()
    told = with_interpreter(ours, python)
    assert told is not None
    lines = told.splitlines()
    assert lines[:4] == [b"#!" + python, b"# -*- coding: utf-8 -*-", b"import sys", lines[3]]
    assert lines[3] == b"from shown import main"
    coded = DOCUMENTED.replace(b"\n", b"\n# coding: latin-1\n", 1)
    for source in (DOCUMENTED, coded):
        told = with_interpreter(fill_placeholder(source), python)
        assert told == source.replace(b"#!python -E", b"#!" + python)
    for other in (b"", b"#!/bin/sh\n", b"#!/bin/sh\necho\n", ours[1:], b"#!/bin/sh\n1\n2\n" + ours):
        assert with_interpreter(other, python) is None
